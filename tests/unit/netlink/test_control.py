"""The contract of InterfaceControl, kept by the fake that other tests stand on."""

from collections.abc import Callable

import pytest

from tests.contract.interface_control import HostUnderTest, InterfaceControlContract
from tests.fakes.netlink import FakeInterfaces
from wg_dynamic.address import parse_prefix
from wg_dynamic.netlink.control import Address, EventSource, LinkEvent, Overrun


class FakeHost:
    def __init__(self) -> None:
        self.control = FakeInterfaces()
        for name in ("one", "two"):
            self.control.add_link(name, kind="veth", mtu=1500)

    def set_up(self, name: str, *, up: bool) -> None:
        self.control.set_up(self.control.link(name).ifindex, up=up)

    def delete(self, name: str) -> None:
        self.control.remove_link(self.control.link(name).ifindex)

    def remove_rules(self, priority: int) -> None:
        self.control.all_rules = [r for r in self.control.all_rules if r.priority != priority]

    def wait(self, condition: Callable[[], bool]) -> None:
        assert condition()

    def wait_readable(self, events: EventSource) -> None:
        pass


class TestFakeInterfaces(InterfaceControlContract):
    @pytest.fixture
    def host(self) -> HostUnderTest:
        return FakeHost()


def test_an_interface_that_is_made_anew_has_another_index() -> None:
    fake = FakeInterfaces()
    first = fake.add_link("wg0")
    fake.remove_link(first.ifindex)
    assert fake.add_link("wg0").ifindex != first.ifindex


def test_the_fake_plays_what_time_and_others_do() -> None:
    fake = FakeInterfaces()
    events = fake.events()
    link = fake.add_link("wg0")
    address = Address(link.ifindex, parse_prefix("10.0.0.1/32"), 60, 60)
    fake.set_address(address)
    fake.expire_address(link.ifindex, address.prefix)
    assert fake.addresses() == []
    fake.rename(link.ifindex, "wg1")
    assert isinstance(events.read()[-1], LinkEvent)
    fake.overrun()
    assert events.read() == [Overrun()]
    fake.error = RuntimeError("planted")
    with pytest.raises(RuntimeError):
        fake.link("wg1")


def test_an_mtu_below_1280_takes_all_ipv6_of_the_interface() -> None:
    fake = FakeInterfaces()
    link = fake.add_link("wg0")
    for text in ("10.0.0.1/32", "fe80::1/128"):
        fake.set_address(Address(link.ifindex, parse_prefix(text)))
    fake.set_link_mtu(link.ifindex, 1279)
    assert [str(a.prefix) for a in fake.addresses(link.ifindex)] == ["10.0.0.1/32"]
