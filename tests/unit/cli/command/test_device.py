"""The interface that a command is about, opened for it and closed behind it."""

import pytest

from tests.fakes.wireguard import FakeWireGuard
from wg_dynamic.cli.command import device
from wg_dynamic.netlink.control import Link


def test_an_interface_is_opened_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interfaces:
        closed = False

        def close(self) -> None:
            self.closed = True

    interfaces, wireguard = Interfaces(), FakeWireGuard()
    monkeypatch.setattr(device, "RtnetlinkControl", lambda: interfaces)
    link = Link(7, "wg0", "wireguard", up=True, mtu=1420)
    monkeypatch.setattr(device, "find_wireguard", lambda *_: (link, wireguard))
    with device.control_of("wg0") as (control, ifindex):
        assert control is wireguard
        assert ifindex == 7
        assert interfaces.closed
    assert wireguard.closed
