"""Who is turned away at the listening socket, and that it leaves no trace. Over loopback."""

import socket
from collections.abc import Iterator

import pytest

from wg_dynamic.address import parse_address
from wg_dynamic.server import door as door_module
from wg_dynamic.server.door import Door, Source, filter_program


class Host:
    """A door, what it was asked, and what it is to answer."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.answer = True
        self.door = Door(socket.create_server(("::1", 0), family=socket.AF_INET6), self.admits)
        self.door.setblocking(False)

    def admits(self, host: str, port: int) -> bool:
        self.asked.append((host, port))
        return self.answer

    def knock(self) -> socket.socket:
        return socket.create_connection(self.door.getsockname()[:2], timeout=5.0)


@pytest.fixture
def host() -> Iterator[Host]:
    one = Host()
    yield one
    one.door.close()


def test_who_may_come_in_comes_in(host: Host) -> None:
    with host.knock() as outside:
        inside, address = host.door.accept()
        with inside:
            assert address == outside.getsockname()
            assert host.asked == [outside.getsockname()[:2]]
            outside.sendall(b"hello")
            inside.setblocking(True)
            assert inside.recv(10) == b"hello"


def test_who_may_not_is_reset(host: Host) -> None:
    host.answer = False
    with host.knock() as outside:
        with pytest.raises(BlockingIOError):
            host.door.accept()
        with pytest.raises(ConnectionResetError):
            outside.recv(10)


def test_so_many_are_turned_away_at_once_and_no_more(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_module, "TURNED_AWAY_AT_ONCE", 2)
    host.answer = False
    outside = [host.knock() for _ in range(3)]
    with pytest.raises(BlockingIOError):
        host.door.accept()
    assert len(host.asked) == 2
    host.answer = True
    inside, address = host.door.accept()
    assert address == outside[2].getsockname()
    for each in (*outside, inside):
        each.close()


# --- the filter ---------------------------------------------------------------------------------

HERE = parse_address("::1")
ELSEWHERE = parse_address("fe80::1")


def is_heard(host: Host) -> bool:
    """Whether a SYN is answered: over loopback, at once."""
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as outside:
        outside.settimeout(0.05)
        try:
            outside.connect(host.door.getsockname()[:2])
        except TimeoutError:
            return False
        host.door.accept()[0].close()
        return True


@pytest.mark.parametrize(
    ("sources", "limit", "heard"),
    [
        ([Source(HERE, unprivileged=True)], 1, False),
        ([Source(HERE, unprivileged=True)], 65535, True),
        ([Source(HERE, unprivileged=False)], 1, True),
        ([Source(HERE, unprivileged=False)], 65535, False),
        ([Source(ELSEWHERE, unprivileged=True)], 1, True),
        ([Source(ELSEWHERE, unprivileged=True), Source(HERE, unprivileged=True)], 1, False),
        ([Source(HERE, unprivileged=True), Source(ELSEWHERE, unprivileged=True)], 1, False),
        ([Source(HERE[:15] + bytes([2]), unprivileged=True)], 1, True),
        ([Source(bytes([1]) + HERE[1:], unprivileged=True)], 1, True),
        (
            [Source(ELSEWHERE, unprivileged=True)] * 127 + [Source(HERE, unprivileged=True)],
            1,
            False,
        ),
        ([], 1, True),
    ],
)
def test_the_kernel_drops_what_comes_from_a_source_and_nothing_else(
    host: Host, sources: list[Source], limit: int, *, heard: bool
) -> None:
    if sources:
        host.door.shut_out(sources, limit)
    assert is_heard(host) is heard


def test_who_was_shut_out_comes_in_when_nobody_is(host: Host) -> None:
    host.door.shut_out([Source(HERE, unprivileged=True)], 1)
    assert not is_heard(host)
    host.door.shut_out([], 1)
    assert is_heard(host)


def test_a_connection_that_is_there_goes_on(host: Host) -> None:
    with host.knock() as outside:
        inside, _ = host.door.accept()
        with inside:
            host.door.shut_out([Source(HERE, unprivileged=True)], 1)
            outside.sendall(b"hello")
            inside.setblocking(True)
            inside.settimeout(2.0)
            assert inside.recv(10) == b"hello"


def test_the_filter_is_eleven_steps_for_each_source_and_one() -> None:
    sources = [Source(HERE, unprivileged=False)] * 3
    assert len(filter_program(sources, 1024)) == 8 * (3 * 11 + 1)
