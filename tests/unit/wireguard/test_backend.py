from pathlib import Path

import pytest

from wg_dynamic.errors import PrivilegeError
from wg_dynamic.netlink.control import Link
from wg_dynamic.wireguard import backend
from wg_dynamic.wireguard.backend import open_control
from wg_dynamic.wireguard.control import NotWireGuardError, WireGuardError, WireGuardGoneError

SOCKETS = Path("/sockets")


def a_link(kind: str) -> Link:
    return Link(7, "wg0", kind, True, 1420)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[tuple[object, ...]]]:
    made: dict[str, list[tuple[object, ...]]] = {"genetlink": [], "uapi": []}
    monkeypatch.setattr(backend, "GenetlinkControl", lambda *a: made["genetlink"].append(a))
    monkeypatch.setattr(backend, "UapiControl", lambda *a: made["uapi"].append(a))
    return made


def test_a_kernel_interface_is_the_kernels_whatever_socket_there_is(
    opened: dict[str, list[tuple[object, ...]]],
) -> None:
    open_control(a_link("wireguard"), SOCKETS)
    assert opened == {"genetlink": [(7,)], "uapi": []}


@pytest.mark.parametrize("kind", ["tun", ""])
def test_behind_a_tun_interface_there_may_be_a_process(
    opened: dict[str, list[tuple[object, ...]]], kind: str
) -> None:
    open_control(a_link(kind), SOCKETS)
    assert opened == {"genetlink": [], "uapi": [("wg0", SOCKETS)]}


def test_another_kind_of_interface_is_never_wireguard(
    opened: dict[str, list[tuple[object, ...]]],
) -> None:
    with pytest.raises(NotWireGuardError, match="interface wg0 is of kind 'veth'"):
        open_control(a_link("veth"), SOCKETS)
    assert opened == {"genetlink": [], "uapi": []}


@pytest.mark.parametrize("kind", [WireGuardGoneError, WireGuardError])
def test_a_tun_interface_without_an_answer_is_not_wireguard(
    monkeypatch: pytest.MonkeyPatch, kind: type[WireGuardError]
) -> None:
    def fail(*_arguments: object) -> None:
        msg = "no WireGuard at /sockets/wg0.sock: refused"
        raise kind(msg)

    monkeypatch.setattr(backend, "UapiControl", fail)
    with pytest.raises(NotWireGuardError, match="wg0 is not a WireGuard one: no WireGuard at"):
        open_control(a_link("tun"), SOCKETS)


def test_a_socket_that_is_not_ours_to_use_is_a_matter_of_privilege(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_arguments: object) -> None:
        msg = "connect"
        raise PrivilegeError(msg)

    monkeypatch.setattr(backend, "UapiControl", fail)
    with pytest.raises(PrivilegeError):
        open_control(a_link("tun"), SOCKETS)
