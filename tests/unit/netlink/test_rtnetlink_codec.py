from struct import pack

import pytest

from tests.data.netlink import captured
from wg_dynamic.address import Prefix, parse_prefix
from wg_dynamic.address import parse_address as packed
from wg_dynamic.netlink.control import (
    FOREVER,
    Address,
    AddressEvent,
    Link,
    LinkEvent,
    Route,
    RouteEvent,
)
from wg_dynamic.netlink.errors import MalformedMessageError
from wg_dynamic.netlink.rtnetlink_codec import (
    build_address,
    build_address_query,
    build_address_removal,
    build_link_mtu,
    build_link_query,
    build_route,
    build_route_query,
    build_route_removal,
    parse_address,
    parse_event,
    parse_link,
    parse_route,
)
from wg_dynamic.netlink.wire import (
    Message,
    pack_attribute,
    pack_u32,
    parse_attributes,
    split_messages,
)

IFINFOMSG = pack("=BxHiII", 0, 0, 4, 1, 0)


def payload_of(datagram: bytes) -> bytes:
    return split_messages(datagram)[0].payload


def an_address(family: int, length: int, *attributes: bytes) -> bytes:
    return pack("=BBBBI", family, length, 0, 0, 4) + b"".join(attributes)


def a_route(family: int, length: int, *attributes: bytes, flags: int = 0) -> bytes:
    return pack("=BBBBBBBBI", family, length, 0, 0, 254, 4, 0, 1, flags) + b"".join(attributes)


def test_real_links_are_read() -> None:
    assert parse_link(payload_of(captured.LINK_VETH)) == Link(4, "one", "veth", True, 1500)
    expected = Link(5, "wg0", "wireguard", False, 1420)
    assert parse_link(payload_of(captured.LINK_WIREGUARD)) == expected


def test_a_link_without_a_kind_has_an_empty_one() -> None:
    assert parse_link(IFINFOMSG + pack_attribute(3, b"lo\0")) == Link(4, "lo", "", True, 0)


def test_what_only_looks_like_a_link_is_none() -> None:
    assert parse_link(payload_of(captured.BRIDGE_PORT_GONE)) is None
    assert parse_link(IFINFOMSG + pack_attribute(3, b"wlan0\0") + pack_attribute(11, b"")) is None


def test_a_link_is_asked_for_by_name_or_index_without_its_statistics() -> None:
    assert parse_attributes(build_link_query(name="wg0"), 16) == {3: b"wg0\0", 29: pack("=I", 8)}
    assert build_link_query(ifindex=7)[4:8] == pack("=i", 7)
    assert parse_attributes(build_link_query(ifindex=7), 16) == {29: pack("=I", 8)}


def test_the_mtu_is_set_on_a_link_by_index() -> None:
    message = build_link_mtu(7, 1280)
    assert message[4:8] == pack("=i", 7)
    assert parse_attributes(message, 16) == {4: pack("=I", 1280)}


def test_real_addresses_are_read() -> None:
    messages = split_messages(captured.ADDRESSES)[:-1]
    found = [parse_address(message.payload) for message in messages]
    assert found[:3] == [
        Address(4, parse_prefix("10.0.0.1/24"), valid_time=600, preferred_time=300),
        Address(4, parse_prefix("10.0.0.5/32")),
        Address(4, parse_prefix("2001:db8::1/128")),
    ]
    assert found[3] is not None
    assert found[3].prefix.length == 64
    assert found[3].protocol == 3  # IFAPROT_KERNEL_LL


def test_an_address_without_lifetimes_lasts_forever() -> None:
    found = parse_address(an_address(2, 32, pack_attribute(2, bytes(4))))
    assert found == Address(4, Prefix(bytes(4), 32), FOREVER, FOREVER)


def test_an_address_of_another_family_is_none() -> None:
    assert parse_address(an_address(28, 0)) is None


@pytest.mark.parametrize(
    "message",
    [
        b"",
        an_address(2, 32),
        an_address(2, 33, pack_attribute(2, bytes(4))),
        an_address(10, 129, pack_attribute(1, bytes(16))),
        an_address(10, 64, pack_attribute(1, bytes(4))),
        an_address(2, 32, pack_attribute(2, bytes(4)), pack_attribute(6, bytes(15))),
    ],
)
def test_an_address_without_sense_is_refused(message: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        parse_address(message)


def test_an_address_is_set_without_a_prefix_route_and_without_detection() -> None:
    wanted = Address(4, parse_prefix("10.0.0.7/24"), valid_time=600, preferred_time=300)
    message = build_address(wanted)
    assert message[:8] == pack("=BBBBI", 2, 24, 0, 0, 4)
    assert parse_attributes(message, 8) == {
        1: packed("10.0.0.7"),
        2: packed("10.0.0.7"),
        6: pack("=IIII", 300, 600, 0, 0),
        8: pack("=I", 0x200),
    }
    six = parse_attributes(build_address(Address(4, parse_prefix("fd00::1/128"), protocol=9)), 8)
    assert six[8] == pack("=I", 0x202)
    assert six[11] == b"\x09"


def test_an_address_is_set_with_a_prefix_route_when_asked_to() -> None:
    for text, flags in (("fe80::/64", 0x02), ("10.0.0.1/24", 0)):
        message = build_address(Address(4, parse_prefix(text)), prefix_route=True)
        assert parse_attributes(message, 8)[8] == pack("=I", flags)


def test_what_is_built_for_an_address_reads_the_same() -> None:
    for text in ("10.0.0.7/24", "fd00::7/64"):
        wanted = Address(4, parse_prefix(text), 600, 300, 5)
        assert parse_address(build_address(wanted)) == wanted


def test_an_address_is_removed_with_its_length_and_no_other_end() -> None:
    message = build_address_removal(4, parse_prefix("10.0.0.7/24"))
    assert message[:8] == pack("=BBBBI", 2, 24, 0, 0, 4)
    assert parse_attributes(message, 8) == {1: packed("10.0.0.7"), 2: packed("10.0.0.7")}


def test_addresses_are_asked_for_by_interface() -> None:
    assert build_address_query(4) == pack("=BBBBI", 0, 0, 0, 0, 4)


@pytest.mark.parametrize("size", [0, 3, 5, 15, 17])
def test_an_address_is_4_or_16_bytes(size: int) -> None:
    with pytest.raises(ValueError, match=f"address of {size} bytes, expected 4 or 16"):
        build_address(Address(4, Prefix(bytes(size), 0)))


def test_real_routes_are_read() -> None:
    assert parse_route(payload_of(captured.ROUTE_IPV4)) == Route(
        parse_prefix("10.9.0.0/16"), 4, scope=253, preferred_source=packed("10.0.0.1")
    )
    assert parse_route(payload_of(captured.ROUTE_IPV4_GATEWAY)) == Route(
        parse_prefix("10.8.0.0/16"),
        4,
        table=1000,
        protocol=3,
        metric=7,
        gateway=packed("10.0.0.9"),
    )
    assert parse_route(payload_of(captured.ROUTE_IPV4_VIA_IPV6)) == Route(
        parse_prefix("10.5.0.0/16"), 4, protocol=3, gateway=packed("fe80::9")
    )
    assert parse_route(payload_of(captured.ROUTE_BLACKHOLE)) == Route(
        parse_prefix("10.4.0.0/16"), 0, kind=6, protocol=3
    )
    assert parse_route(payload_of(captured.ROUTE_DEFAULT)) == Route(
        parse_prefix("0.0.0.0/0"), 4, protocol=3, scope=253
    )
    assert parse_route(payload_of(captured.ROUTE_IPV6)) == Route(
        parse_prefix("fe80::/128"), 4, protocol=3, metric=1024
    )


def test_the_expiry_of_a_real_route_is_read_in_seconds() -> None:
    found = parse_route(payload_of(captured.ROUTE_IPV6_EXPIRES))
    expected = Route(parse_prefix("fd09::/48"), 4, metric=1024, expires_time=599)
    assert found == expected


def test_a_real_route_out_of_several_interfaces_has_none() -> None:
    found = parse_route(payload_of(captured.ROUTE_IPV6_MULTIPATH))
    assert found == Route(parse_prefix("fd07::/48"), 0, protocol=3, metric=1024)


def test_next_hops_out_of_one_interface_have_that() -> None:
    hop = pack("=HBBi", 8, 0, 0, 4)
    found = parse_route(a_route(2, 0, pack_attribute(9, hop + hop)))
    assert found is not None
    assert found.ifindex == 4
    assert found.table == 254


def test_clones_and_other_families_are_none() -> None:
    assert parse_route(a_route(10, 0, flags=0x200)) is None
    assert parse_route(a_route(28, 0)) is None


@pytest.mark.parametrize(
    "message",
    [
        b"",
        a_route(2, 33),
        a_route(10, 129),
        a_route(2, 32, pack_attribute(1, bytes(16))),
        a_route(2, 0, pack_attribute(4, b"abc")),
        a_route(2, 0, pack_attribute(5, bytes(16))),
        a_route(2, 0, pack_attribute(7, bytes(3))),
        a_route(2, 0, pack_attribute(12, bytes(31))),
        a_route(2, 0, pack_attribute(9, bytes(7))),
        a_route(2, 0, pack_attribute(9, bytes(8))),
        a_route(2, 0, pack_attribute(9, pack("=HBBi", 9, 0, 0, 4))),
        a_route(2, 0, pack_attribute(9, pack("=HBBi", 8, 0, 0, -1))),
    ],
)
def test_a_route_without_sense_is_refused(message: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        parse_route(message)


def test_an_ipv4_route_without_a_gateway_gets_scope_link() -> None:
    prefix = parse_prefix("10.9.0.0/16")
    source = packed("10.0.0.1")
    message = build_route(Route(prefix, 4, preferred_source=source, metric=7))
    assert message[:12] == pack("=BBBBBBBBI", 2, 16, 0, 0, 0, 97, 253, 1, 0)
    assert parse_attributes(message, 12) == {
        1: prefix.packed,
        4: pack("=I", 4),
        6: pack("=I", 7),
        7: source,
        15: pack("=I", 254),
    }


@pytest.mark.parametrize(
    ("route", "scope"),
    [
        (Route(parse_prefix("10.9.0.0/16"), 4), 253),
        (Route(parse_prefix("10.9.0.0/16"), 4, scope=254), 254),
        (Route(parse_prefix("10.9.0.0/16"), 4, gateway=packed("10.0.0.9")), 0),
        (Route(parse_prefix("10.9.0.0/16"), 0, kind=6), 0),
        (Route(parse_prefix("fd09::/48"), 4), 0),
    ],
)
def test_what_is_built_for_a_route_reads_the_same(route: Route, scope: int) -> None:
    found = parse_route(build_route(route))
    assert found is not None
    assert found.scope == scope
    assert (found.prefix, found.ifindex, found.gateway) == (
        route.prefix,
        route.ifindex,
        route.gateway,
    )


def test_the_expiry_of_an_ipv6_route_is_given_in_seconds() -> None:
    message = build_route(Route(parse_prefix("fd09::/48"), 4, expires_time=600))
    assert parse_attributes(message, 12)[23] == pack("=I", 600)


def test_a_route_is_removed_by_prefix_interface_table_and_protocol_alone() -> None:
    route = Route(parse_prefix("10.9.0.0/16"), 4, preferred_source=packed("10.0.0.1"), table=1000)
    message = build_route_removal(route)
    assert message[:12] == pack("=BBBBBBBBI", 2, 16, 0, 0, 0, 97, 255, 1, 0)
    assert set(parse_attributes(message, 12)) == {1, 4, 15}


@pytest.mark.parametrize(("ifindex", "protocol"), [(0, 97), (4, 0)])
def test_removing_any_route_there_may_be_is_refused(ifindex: int, protocol: int) -> None:
    with pytest.raises(ValueError, match="expected both to be named"):
        build_route_removal(Route(parse_prefix("10.9.0.0/16"), ifindex, protocol=protocol))


def test_routes_are_asked_for_by_family_interface_and_table() -> None:
    assert build_route_query(ipv4=True) == pack("=BBBBBBBBI", 2, *[0] * 8)
    message = build_route_query(ipv4=False, ifindex=4, table=1000)
    assert message[0] == 10
    assert parse_attributes(message, 12) == {4: pack("=I", 4), 15: pack("=I", 1000)}


@pytest.mark.parametrize("gone", [False, True])
def test_events_tell_what_came_and_what_is_gone(gone: bool) -> None:
    link = parse_event(Message(16 + gone, 0, 0, payload_of(captured.LINK_VETH)))
    assert link == LinkEvent(Link(4, "one", "veth", True, 1500), gone)
    address = parse_event(Message(20 + gone, 0, 0, payload_of(captured.ADDRESSES)))
    assert isinstance(address, AddressEvent)
    assert address.gone is gone
    route = parse_event(Message(24 + gone, 0, 0, payload_of(captured.ROUTE_IPV6)))
    assert isinstance(route, RouteEvent)
    assert route.gone is gone


def test_events_of_no_interest_are_none() -> None:
    (bridge,) = split_messages(captured.BRIDGE_PORT_GONE)
    assert parse_event(bridge) is None
    assert parse_event(Message(20, 0, 0, an_address(28, 0))) is None
    assert parse_event(Message(24, 0, 0, a_route(28, 0))) is None
    assert parse_event(Message(28, 0, 0, b"a neighbour")) is None


def test_a_number_of_another_size_is_refused() -> None:
    with pytest.raises(MalformedMessageError):
        parse_link(IFINFOMSG + pack_attribute(4, b"ab"))
    assert parse_link(IFINFOMSG + pack_u32(4, 99)) == Link(4, "", "", True, 99)
