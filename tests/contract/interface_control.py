"""What every InterfaceControl keeps: run on the fake by tests/unit, on the kernel by tests/netns.

A subclass defines the fixture `host`: a control with the interfaces `one` and `two`, up, MTU 1500,
without addresses, and the administrator's means to change them behind its back.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import pytest

from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.netlink.control import (
    FOREVER,
    Address,
    AddressEvent,
    Event,
    EventSource,
    InterfaceControl,
    Link,
    LinkEvent,
    Route,
    RouteEvent,
    Rule,
)
from wg_dynamic.netlink.errors import InterfaceNotFoundError, NetlinkError

ABSENT = 99_999


class HostUnderTest(Protocol):
    """A control, and the administrator beside it."""

    @property
    def control(self) -> InterfaceControl:
        """The one that is tested."""

    def set_up(self, name: str, *, up: bool) -> None:
        """`ip link set NAME up|down`."""

    def delete(self, name: str) -> None:
        """`ip link delete NAME`."""

    def remove_rules(self, priority: int) -> None:
        """`ip rule delete priority PRIORITY`, until there is none."""

    def wait(self, condition: Callable[[], bool]) -> None:
        """Return when the condition holds; raise after some seconds."""

    def wait_readable(self, events: EventSource) -> None:
        """Return when `read` may have something; raise after some seconds."""


def a_route(text: str, link: Link, source: str | None = None) -> Route:
    packed = None if source is None else parse_address(source)
    return Route(parse_prefix(text), link.ifindex, preferred_source=packed)


def ours(control: InterfaceControl, link: Link) -> list[Route]:
    return [route for route in control.routes(link.ifindex) if route.protocol == 97]


def addresses(control: InterfaceControl, link: Link) -> set[str]:
    """All but what the kernel gave the interface by itself."""
    found = {str(address.prefix) for address in control.addresses(link.ifindex)}
    return {text for text in found if not text.startswith("fe80::") or text == "fe80::1/128"}


def _read(events: EventSource, told: list[Event]) -> bool:
    """Read on; whether a link's event has come."""
    told += events.read()
    return any(isinstance(event, LinkEvent) for event in told)


class InterfaceControlContract:
    def test_a_link_is_found_by_name_and_by_index(self, host: HostUnderTest) -> None:
        one, two = host.control.link("one"), host.control.link("two")
        assert (one.name, one.up, one.mtu) == ("one", True, 1500)
        assert one.ifindex != two.ifindex
        assert host.control.link_by_index(two.ifindex) == two

    @pytest.mark.parametrize("name", ["absent", "", "a-name-that-no-interface-can-have"])
    def test_a_link_that_is_not_there_is_not_found(self, host: HostUnderTest, name: str) -> None:
        with pytest.raises(InterfaceNotFoundError):
            host.control.link(name)
        with pytest.raises(InterfaceNotFoundError):
            host.control.link_by_index(ABSENT)
        with pytest.raises(InterfaceNotFoundError):
            host.control.link_by_index(0)

    def test_up_and_down_are_seen(self, host: HostUnderTest) -> None:
        host.set_up("one", up=False)
        assert not host.control.link("one").up
        host.set_up("one", up=True)
        assert host.control.link("one").up

    def test_the_mtu_is_set(self, host: HostUnderTest) -> None:
        one = host.control.link("one")
        host.control.set_link_mtu(one.ifindex, 1300)
        assert host.control.link("one").mtu == 1300
        assert host.control.link("two").mtu == 1500

    @pytest.mark.parametrize(
        "text", ["10.0.0.1/32", "10.0.0.1/24", "2001:db8::1/128", "fd00::1/64"]
    )
    def test_an_address_is_set_read_and_removed(self, host: HostUnderTest, text: str) -> None:
        one, two = host.control.link("one"), host.control.link("two")
        address = Address(one.ifindex, parse_prefix(text))
        host.control.set_address(address)
        assert address in host.control.addresses(one.ifindex)
        assert address in host.control.addresses()
        assert address not in host.control.addresses(two.ifindex)
        assert host.control.remove_address(one.ifindex, address.prefix)
        assert address not in host.control.addresses(one.ifindex)
        assert not host.control.remove_address(one.ifindex, address.prefix)

    @pytest.mark.parametrize("text", ["10.0.0.1/32", "2001:db8::1/128"])
    def test_lifetimes_are_set_and_changed(self, host: HostUnderTest, text: str) -> None:
        one = host.control.link("one")
        address = Address(one.ifindex, parse_prefix(text), valid_time=600, preferred_time=300)
        for valid, preferred in ((600, 300), (7200, 3600), (900, FOREVER - 1), (FOREVER, FOREVER)):
            wanted = replace(address, valid_time=valid, preferred_time=min(valid, preferred))
            host.control.set_address(wanted)
            (found,) = [a for a in host.control.addresses(one.ifindex) if a.prefix == wanted.prefix]
            assert found.valid_time in (wanted.valid_time, wanted.valid_time - 1)
            assert found.preferred_time in (wanted.preferred_time, wanted.preferred_time - 1)

    def test_a_lifetime_without_sense_is_refused(self, host: HostUnderTest) -> None:
        one = host.control.link("one")
        for text in ("10.0.0.1/32", "2001:db8::1/128"):
            for valid, preferred in ((0, 0), (100, 200)):
                with pytest.raises(NetlinkError):
                    host.control.set_address(
                        Address(one.ifindex, parse_prefix(text), valid, preferred)
                    )
        assert addresses(host.control, one) == set()

    @pytest.mark.parametrize("text", ["10.0.0.1/24", "fd00::1/64"])
    def test_the_kernel_makes_a_prefix_route_only_when_asked_to(
        self, host: HostUnderTest, text: str
    ) -> None:
        one = host.control.link("one")
        address = Address(one.ifindex, parse_prefix(text))
        network = address.prefix.network()
        host.control.set_address(address)
        assert network not in {route.prefix for route in host.control.routes(one.ifindex)}
        host.control.remove_address(one.ifindex, address.prefix)
        host.control.set_address(address, prefix_route=True)
        assert network in {route.prefix for route in host.control.routes(one.ifindex)}

    @pytest.mark.parametrize(("there", "other"), [("10.0.0.1/24", "10.0.0.1/32")])
    def test_only_the_address_of_this_length_is_removed(
        self, host: HostUnderTest, there: str, other: str
    ) -> None:
        one = host.control.link("one")
        host.control.set_address(Address(one.ifindex, parse_prefix(there)))
        assert not host.control.remove_address(one.ifindex, parse_prefix(other))
        assert not host.control.remove_address(one.ifindex, parse_prefix("10.0.0.2/24"))
        assert addresses(host.control, one) == {there}

    def test_setting_an_ipv6_address_of_another_length_keeps_the_length(
        self, host: HostUnderTest
    ) -> None:
        one = host.control.link("one")
        host.control.set_address(Address(one.ifindex, parse_prefix("fd00::1/64")))
        host.control.set_address(Address(one.ifindex, parse_prefix("fd00::1/128"), 600, 600))
        assert addresses(host.control, one) == {"fd00::1/64"}
        assert not host.control.remove_address(one.ifindex, parse_prefix("fd00::1/128"))

    def test_an_address_has_its_local_route(self, host: HostUnderTest) -> None:
        one = host.control.link("one")
        for text in ("10.0.0.1/24", "fd00::1/64"):
            host.control.set_address(Address(one.ifindex, parse_prefix(text)))
        expected = {(parse_prefix("10.0.0.1"), 255), (parse_prefix("fd00::1"), 255)}

        def are_there() -> bool:
            routes = host.control.routes(one.ifindex)
            return {(r.prefix, r.table) for r in routes if r.kind == 2} == expected

        host.wait(are_there)  # the kernel makes an IPv6 address's in a work queue

    @pytest.mark.parametrize("text", ["10.9.0.0/16", "10.9.9.9/32", "fd09::/48", "fe80::/128"])
    def test_a_route_is_added_once_read_and_removed(self, host: HostUnderTest, text: str) -> None:
        one, two = host.control.link("one"), host.control.link("two")
        route = a_route(text, one)
        assert host.control.add_route(route)
        assert not host.control.add_route(route)
        (found,) = ours(host.control, one)
        assert (found.prefix, found.ifindex, found.kind, found.table) == (
            route.prefix,
            one.ifindex,
            1,
            254,
        )
        assert found.scope == (253 if route.prefix.is_ipv4 else 0)
        assert ours(host.control, two) == []
        assert found in host.control.routes()
        assert host.control.remove_route(route)
        assert not host.control.remove_route(route)
        assert ours(host.control, one) == []

    @pytest.mark.parametrize("text", ["0.0.0.0/0", "::/0"])
    def test_a_default_route_has_length_zero(self, host: HostUnderTest, text: str) -> None:
        one = host.control.link("one")
        route = replace(a_route(text, one), table=51820, metric=77)
        assert host.control.add_route(route)
        (found,) = ours(host.control, one)
        assert (found.prefix, found.table, found.metric) == (parse_prefix(text), 51820, 77)
        assert not host.control.remove_route(replace(route, table=254))
        assert not host.control.remove_route(replace(route, metric=78))
        assert host.control.remove_route(route)

    def test_adding_never_replaces_and_appending_puts_beside(self, host: HostUnderTest) -> None:
        one, two = host.control.link("one"), host.control.link("two")
        assert host.control.add_route(a_route("fe80::/128", one))
        assert not host.control.add_route(a_route("fe80::/128", two))
        assert host.control.add_route(a_route("fe80::/128", two), append=True)
        assert not host.control.add_route(a_route("fe80::/128", two), append=True)
        assert len(ours(host.control, one)) == len(ours(host.control, two)) == 1

    def test_only_the_route_of_this_interface_and_protocol_is_removed(
        self, host: HostUnderTest
    ) -> None:
        one, two = host.control.link("one"), host.control.link("two")
        foreign = replace(a_route("fe80::/128", one), protocol=4)
        assert host.control.add_route(foreign)
        assert not host.control.remove_route(a_route("fe80::/128", one))
        assert not host.control.remove_route(replace(foreign, ifindex=two.ifindex))
        assert host.control.remove_route(foreign)

    def test_removing_any_route_there_may_be_is_refused(self, host: HostUnderTest) -> None:
        route = a_route("10.9.0.0/16", host.control.link("one"))
        for vague in (replace(route, protocol=0), replace(route, ifindex=0)):
            with pytest.raises(ValueError, match="expected"):
                host.control.remove_route(vague)

    def test_an_ipv4_route_goes_with_its_preferred_source(self, host: HostUnderTest) -> None:
        one = host.control.link("one")
        route = a_route("10.9.0.0/16", one, "10.0.0.1")
        with pytest.raises(NetlinkError):
            host.control.add_route(route)
        host.control.set_address(Address(one.ifindex, parse_prefix("10.0.0.1/32")))
        assert host.control.add_route(route)
        assert ours(host.control, one)[0].preferred_source == parse_address("10.0.0.1")
        host.control.remove_address(one.ifindex, parse_prefix("10.0.0.1/32"))
        assert ours(host.control, one) == []

    def test_the_last_ipv4_address_takes_every_ipv4_route_along_without_a_word(
        self, host: HostUnderTest
    ) -> None:
        one = host.control.link("one")
        for text in ("10.0.0.1/32", "10.0.0.2/32"):
            host.control.set_address(Address(one.ifindex, parse_prefix(text)))
        for text in ("10.9.0.0/16", "fd09::/48"):
            host.control.add_route(a_route(text, one))
        elsewhere = replace(a_route("10.8.0.0/16", one), table=1234)
        host.control.add_route(elsewhere)
        host.control.remove_address(one.ifindex, parse_prefix("10.0.0.1/32"))
        assert len(ours(host.control, one)) == 3
        events = host.control.events()
        host.control.remove_address(one.ifindex, parse_prefix("10.0.0.2/32"))
        assert [str(route.prefix) for route in ours(host.control, one)] == ["fd09::/48"]
        # What is told next comes after all that is told of the address.
        host.control.set_link_mtu(one.ifindex, 1400)
        told: list[Event] = []
        host.wait(lambda: _read(events, told))
        assert not [e for e in told if isinstance(e, RouteEvent) and e.route.protocol == 97]
        events.close()

    def test_an_ipv6_route_has_an_expiry_that_can_be_refreshed(self, host: HostUnderTest) -> None:
        one = host.control.link("one")
        for seconds in (600, 1200, 60, None):
            host.control.replace_route(replace(a_route("fd09::/48", one), expires_time=seconds))
            (found,) = ours(host.control, one)
            allowed = (None,) if seconds is None else (seconds, seconds - 1)
            assert found.expires_time in allowed

    @pytest.mark.parametrize("text", ["10.9.0.0/16", "fd09::/48"])
    def test_replacing_leaves_the_routes_of_others_alone(
        self, host: HostUnderTest, text: str
    ) -> None:
        one, two = host.control.link("one"), host.control.link("two")
        foreign = replace(a_route(text, two), protocol=4)
        assert host.control.add_route(foreign)
        for _ in range(2):
            host.control.replace_route(a_route(text, one))
            assert [r.prefix for r in ours(host.control, one)] == [foreign.prefix]
            others = [r for r in host.control.routes(two.ifindex) if r.protocol == 4]
            assert [r.prefix for r in others] == [foreign.prefix]

    @pytest.mark.parametrize("ipv4", [True, False])
    def test_rules_are_added_once_read_in_order_and_removed(
        self, host: HostUnderTest, ipv4: bool
    ) -> None:
        control = host.control
        before = control.rules()
        marked = Rule(ipv4, 32765, 51820, fwmark=0x1234, inverted=True)
        suppressed = Rule(ipv4, 32764, 254, suppress_prefix_length=0)
        for rule in (marked, suppressed):
            assert control.add_rule(rule)
            assert not control.add_rule(rule)
        found = [rule for rule in control.rules() if rule.ipv4 == ipv4]
        assert [r.priority for r in found] == sorted(r.priority for r in found)
        assert found[1:3] == [suppressed, marked]
        assert [r for r in control.rules() if r.ipv4 != ipv4] == [
            r for r in before if r.ipv4 != ipv4
        ]
        for rule in (marked, suppressed):
            assert control.remove_rule(rule)
            assert not control.remove_rule(rule)
        assert control.rules() == before

    def test_only_exactly_this_rule_is_removed(self, host: HostUnderTest) -> None:
        control = host.control
        before = control.rules()
        foreign = Rule(True, 1000, 51820, fwmark=7, inverted=True, protocol=4)
        ours = replace(foreign, protocol=97)
        assert control.add_rule(foreign)
        for other in (
            ours,
            replace(foreign, ipv4=False),
            replace(foreign, priority=1001),
            replace(foreign, table=51821),
            replace(foreign, fwmark=8),
            replace(foreign, fwmark=0),
            replace(foreign, inverted=False),
            replace(foreign, suppress_prefix_length=0),
        ):
            assert not control.remove_rule(other)
        assert control.remove_rule(foreign)
        assert control.rules() == before

    def test_a_rule_beside_one_that_the_kernel_takes_for_it_stays(
        self, host: HostUnderTest
    ) -> None:
        control = host.control
        foreign = Rule(True, 1000, 51820, fwmark=7, protocol=4)
        ours = replace(foreign, inverted=True, protocol=97)
        control.add_rule(foreign)
        control.add_rule(ours)
        assert not control.remove_rule(ours)
        assert {foreign, ours} <= set(control.rules())
        host.remove_rules(1000)

    def test_a_rule_that_is_not_wholly_told_is_refused(self, host: HostUnderTest) -> None:
        rule = Rule(True, 1000, 51820)
        for vague in (replace(rule, protocol=0), replace(rule, table=0), replace(rule, other=True)):
            for call in (host.control.add_rule, host.control.remove_rule):
                with pytest.raises(ValueError, match="expected"):
                    call(vague)

    def test_link_down_takes_ipv6_addresses_and_routes(self, host: HostUnderTest) -> None:
        one = host.control.link("one")
        for text in ("10.0.0.1/32", "fd00::1/128", "fe80::1/128"):
            host.control.set_address(Address(one.ifindex, parse_prefix(text)))
        for text in ("10.9.0.0/16", "fe80::/128"):
            host.control.add_route(a_route(text, one))
        host.set_up("one", up=False)
        assert addresses(host.control, one) == {"10.0.0.1/32"}
        assert ours(host.control, one) == []
        host.set_up("one", up=True)
        assert addresses(host.control, one) == {"10.0.0.1/32"}
        assert ours(host.control, one) == []

    def test_a_route_over_an_interface_that_is_down_is_refused(self, host: HostUnderTest) -> None:
        one = host.control.link("one")
        host.set_up("one", up=False)
        for text in ("10.9.0.0/16", "fd09::/48"):
            with pytest.raises(NetlinkError):
                host.control.add_route(a_route(text, one))

    def test_changes_are_told(self, host: HostUnderTest) -> None:
        events = host.control.events()
        one = host.control.link("one")
        while events.read():  # the making of the host may still be told
            pass
        address = Address(one.ifindex, parse_prefix("10.0.0.1/32"))
        host.control.set_address(address)
        told = self.told(host, events, lambda e: e == AddressEvent(address, gone=False))
        host.control.add_route(a_route("10.9.0.0/16", one))
        told += self.told(host, events, lambda e: isinstance(e, RouteEvent) and is_ours(e))
        host.control.remove_route(a_route("10.9.0.0/16", one))
        told += self.told(host, events, lambda e: isinstance(e, RouteEvent) and e.gone)
        host.control.remove_address(one.ifindex, address.prefix)
        told += self.told(host, events, lambda e: e == AddressEvent(address, gone=True))
        assert [e.gone for e in told if isinstance(e, RouteEvent) and is_ours(e)] == [False, True]
        host.set_up("one", up=False)
        self.told(host, events, lambda e: isinstance(e, LinkEvent) and not e.link.up)
        host.delete("one")
        gone = self.told(host, events, lambda e: isinstance(e, LinkEvent) and e.gone)
        assert isinstance(gone[-1], LinkEvent)
        assert gone[-1].link.name == "one"
        events.close()
        events.close()

    def told(
        self, host: HostUnderTest, events: EventSource, wanted: Callable[[Event], bool]
    ) -> list[Event]:
        """All events up to one that is wanted."""
        found: list[Event] = []
        while True:
            host.wait_readable(events)
            for event in events.read():
                found.append(event)
                if wanted(event):
                    return found

    def test_what_names_an_absent_interface_says_so(self, host: HostUnderTest) -> None:
        control = host.control
        address = Address(ABSENT, parse_prefix("10.0.0.1/32"))
        calls: list[Callable[[], object]] = [
            lambda: control.set_address(address),
            lambda: control.remove_address(ABSENT, address.prefix),
            lambda: control.add_route(Route(parse_prefix("10.9.0.0/16"), ABSENT)),
            lambda: control.set_link_mtu(ABSENT, 1400),
            lambda: control.addresses(ABSENT),
            lambda: control.routes(ABSENT),
        ]
        for call in calls:
            with pytest.raises(InterfaceNotFoundError):
                call()
        assert not control.remove_route(Route(parse_prefix("10.9.0.0/16"), ABSENT))

    def test_a_deleted_interface_is_gone_with_all_that_was_on_it(self, host: HostUnderTest) -> None:
        one = host.control.link("one")
        host.control.set_address(Address(one.ifindex, parse_prefix("10.0.0.1/32")))
        host.control.add_route(a_route("fd09::/48", one))
        host.delete("one")
        with pytest.raises(InterfaceNotFoundError):
            host.control.link_by_index(one.ifindex)
        assert all(address.ifindex != one.ifindex for address in host.control.addresses())
        assert all(route.ifindex != one.ifindex for route in host.control.routes())

    def test_closing_twice_is_fine(self, host: HostUnderTest) -> None:
        host.control.close()
        host.control.close()


def is_ours(event: RouteEvent) -> bool:
    return event.route.protocol == 97
