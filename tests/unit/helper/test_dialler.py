"""Where connections come from; what becomes of them is tests/unit/helper/test_client.py's."""

import errno
import socket
from dataclasses import dataclass, field

import pytest

from wg_dynamic.address import parse_address
from wg_dynamic.helper.dialler import PUSH_PORT_TRIES, PUSH_PORTS, Dialler
from wg_dynamic.netlink.control import Link

LINK = Link(7, "wg0", "wireguard", up=True, mtu=1420)


@dataclass
class Kernel:
    """Which ports are taken, and who asked for which."""

    taken: dict[int, int] = field(default_factory=dict)
    """Port -> the error of a bind to it."""
    bound: list[int] = field(default_factory=list)
    open: int = 0


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    one = Kernel()

    class FakeSocket:
        def __init__(self, *_: object) -> None:
            one.open += 1

        def setsockopt(self, *_: object) -> None:
            pass

        def setblocking(self, _: bool) -> None:
            pass

        def bind(self, address: tuple[object, int, int, int]) -> None:
            one.bound.append(address[1])
            if address[1] in one.taken:
                raise OSError(one.taken[address[1]], "told to")

        def connect(self, address: tuple[str, int, int, int]) -> None:
            assert address == ("fe80::", 970, 0, 7)
            raise BlockingIOError(errno.EINPROGRESS, "told to")

        def close(self) -> None:
            one.open -= 1

    monkeypatch.setattr(socket, "socket", FakeSocket)
    return one


def test_requests_come_from_970_and_subscriptions_do_not(kernel: Kernel) -> None:
    dialler = Dialler(parse_address("fe80::1"))
    dialler.connect(LINK, pushes=False)
    for _ in range(500):
        dialler.connect(LINK, pushes=True)
    assert kernel.bound[0] == 970
    assert set(kernel.bound[1:]) == set(PUSH_PORTS)
    assert max(PUSH_PORTS) < 970
    assert kernel.open == 501


@pytest.mark.parametrize("code", [errno.EADDRINUSE, errno.EADDRNOTAVAIL])
def test_a_port_that_is_taken_is_passed_over(kernel: Kernel, code: int) -> None:
    kernel.taken = {port: code for port in PUSH_PORTS if port % 4}
    Dialler(parse_address("fe80::1")).connect(LINK, pushes=True)
    assert kernel.bound[-1] % 4 == 0
    assert kernel.open == 1


def test_there_are_so_many_tries(kernel: Kernel) -> None:
    kernel.taken = dict.fromkeys(PUSH_PORTS, errno.EADDRINUSE)
    with pytest.raises(OSError, match="told to"):
        Dialler(parse_address("fe80::1")).connect(LINK, pushes=True)
    assert len(kernel.bound) == PUSH_PORT_TRIES
    assert kernel.open == 0


def test_another_error_is_no_reason_to_try_the_next(kernel: Kernel) -> None:
    kernel.taken = dict.fromkeys(PUSH_PORTS, errno.EACCES)
    with pytest.raises(PermissionError):
        Dialler(parse_address("fe80::1")).connect(LINK, pushes=True)
    assert len(kernel.bound) == 1
    assert kernel.open == 0
