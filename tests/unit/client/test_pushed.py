from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.client.machine import Lease, Pushed
from wg_dynamic.client.pushed import MAX_TOLD, apply_message, merged, pushed_by
from wg_dynamic.privsep.requests import AddressSetting, ApplyLease, RouteSetting
from wg_dynamic.protocol import Dns, RequestIPReply, Route, Update
from wg_dynamic.protocol.messages import LeasedAddress, host_network

IP = ip_address("10.44.0.7")
ADDRESS = LeasedAddress(IP, host_network(IP), 30, 60)
SETTING = AddressSetting(parse_prefix("10.44.0.7"), parse_prefix("10.44.0.7"), 20, 50)


def message(pushed: Pushed) -> ApplyLease:
    return apply_message(Lease((ADDRESS,), 1000.0, pushed), 1010.0)


def test_a_reply_without_more_pushes_nothing() -> None:
    assert pushed_by(RequestIPReply(addresses=(ADDRESS,))) == Pushed()
    assert message(Pushed()) == ApplyLease((SETTING,))


def test_all_that_a_reply_brings_is_passed_on() -> None:
    dns = Dns((ip_address("10.44.0.53"), ip_address("fd00::53")), ("example.org",))
    routes = (Route(ip_network("10.9.0.0/16")), Route(ip_network("fd09::/32"), 5))
    pushed = pushed_by(RequestIPReply(addresses=(ADDRESS,), routes=routes, dns=(dns,), mtu=1380))
    assert pushed == Pushed(routes, dns, 1380)
    assert message(pushed) == ApplyLease(
        (SETTING,),
        (RouteSetting(parse_prefix("10.9.0.0/16")), RouteSetting(parse_prefix("fd09::/32"), 5)),
        0,
        (parse_address("10.44.0.53"), parse_address("fd00::53")),
        ("example.org",),
        1380,
    )


def test_a_network_counts_once_with_the_metric_that_it_came_with_first() -> None:
    network = ip_network("10.9.0.0/16")
    passed_on = message(Pushed((Route(network, 5), Route(network, 7))))
    assert passed_on.routes == (RouteSetting(parse_prefix("10.9.0.0/16"), 5),)
    assert passed_on.more_routes == 0


def test_routes_beyond_what_the_helper_takes_are_counted() -> None:
    many = tuple(Route(ip_network((0x0A000000 + (n << 8), 24))) for n in range(4096))
    assert len(message(Pushed(many[:256])).routes) == 256
    assert message(Pushed(many[:256])).more_routes == 0
    passed_on = message(Pushed(many))
    assert (len(passed_on.routes), passed_on.more_routes) == (256, 3840)
    assert passed_on.routes[255].network == parse_prefix("10.0.255.0/24")


def test_names_that_the_helper_would_not_take_are_left_out() -> None:
    servers = tuple(ip_address(f"10.44.0.{n}") for n in range(1, 20))
    search = ("example.org", "-x", "example.org", *(f"n{n}" for n in range(20)))
    passed_on = message(Pushed(dns=Dns((*servers[:1], *servers), search)))
    assert passed_on.name_servers == tuple(one.packed for one in servers[:8])
    assert passed_on.search == ("example.org", *(f"n{n}" for n in range(15)))


ROUTE, OTHER = (Route(ip_network(each)) for each in ("10.9.0.0/16", "10.8.0.0/16"))
DNS = Dns((ip_address("10.44.0.53"),))
WHOLE = Update(7, reset=True, addresses=(ADDRESS,), routes=(ROUTE,), dns=(DNS,), mtu=1380)


def test_a_push_of_the_whole_is_all_that_holds() -> None:
    assert merged(WHOLE, Update(8, reset=True, routes=(OTHER,))) == Update(
        8, reset=True, routes=(OTHER,)
    )
    assert merged(Update(), WHOLE) == WHOLE


def test_a_push_of_a_part_leaves_the_rest_as_it_is() -> None:
    assert merged(WHOLE, Update(8)) == replace(WHOLE, serial=8)
    added = merged(WHOLE, Update(8, routes=(OTHER, Route(ROUTE.network, 5)), mtu=1280))
    assert added.routes == (Route(ROUTE.network, 5), OTHER)
    assert (added.mtu, added.addresses, added.dns) == (1280, (ADDRESS,), (DNS,))


def test_what_is_removed_is_gone_whatever_else_is_said_of_it() -> None:
    gone = merged(
        WHOLE,
        Update(
            8,
            addresses=(LeasedAddress.removed(IP),),
            routes=(Route(ROUTE.network, 9, remove=True), Route(OTHER.network, remove=True)),
            dns=(Dns(remove=True),),
        ),
    )
    assert gone == Update(8, reset=True, mtu=1380)


def test_what_parts_add_up_to_has_an_end() -> None:
    many = tuple(Route(ip_network((0x0A000000 + (n << 8), 24))) for n in range(MAX_TOLD))
    with pytest.raises(ValueError, match="more than 4096 addresses and routes"):
        merged(WHOLE, Update(8, routes=many))
    assert len(merged(Update(), Update(8, routes=many)).routes) == MAX_TOLD
