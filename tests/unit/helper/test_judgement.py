import pytest

from wg_dynamic.address import Prefix, parse_address, parse_prefix
from wg_dynamic.helper.judgement import Judgement, Taken, aged, judge
from wg_dynamic.helper.policy import Acceptance, Surroundings
from wg_dynamic.leases.push import MAX_DNS_SEARCH, MAX_DNS_SERVERS, MAX_ROUTES
from wg_dynamic.netlink.control import FOREVER
from wg_dynamic.privsep.codec import MessageCodec
from wg_dynamic.privsep.requests import (
    CLIENT_REPLIES,
    MAX_ADDRESSES,
    MAX_WHY,
    AddressSetting,
    Applied,
    ApplyLease,
    Refused,
    RefusedAddress,
    RouteSetting,
)
from wg_dynamic.wireguard.device import Device, Peer

HUB = bytes([1]) * 32
IPV4 = AddressSetting(parse_prefix("10.44.0.7"), parse_prefix("10.44.0.0/24"), 60, 60)
IPV6 = AddressSetting(parse_prefix("fd00:44::7"), parse_prefix("fd00:44::/64"), 60, 60)
PUBLIC = AddressSetting(parse_prefix("8.8.8.8"), parse_prefix("8.8.8.8"), 60, 60)
SERVER = parse_address("10.44.0.53")


def around(
    dns: tuple[Prefix, ...] = (parse_prefix("10.44.0.0/24"),), *, default_route: bool = False
) -> Surroundings:
    return Surroundings(
        ifindex=3,
        addresses=(),
        routes=(),
        device=Device(None, 51820, 0, (Peer(HUB, (parse_prefix("fe80::/128"),)),)),
        server_key=HUB,
        ours=frozenset(),
        name_servers=(),
        accepts=Acceptance(dns=dns, default_route=default_route),
    )


def routes(*texts: str) -> tuple[RouteSetting, ...]:
    return tuple(RouteSetting(parse_prefix(text)) for text in texts)


def test_all_that_is_good_is_taken() -> None:
    pushed = routes("10.9.0.0/16", "fd09::/32")
    request = ApplyLease((IPV4, IPV6), pushed, 0, (SERVER,), ("example.org",), 1380)
    taken = Taken((IPV4, IPV6), pushed, (), (SERVER,), ("example.org",), 1380)
    assert judge(request, around(), 1420) == Judgement(taken)
    expected = ("10.44.0.0/24", "fd00:44::/64", "10.9.0.0/16", "fd09::/32")
    assert tuple(map(str, taken.networks())) == expected


def test_what_is_bad_is_refused_alone() -> None:
    request = ApplyLease((IPV4, PUBLIC), routes("10.9.0.0/16", "8.8.8.8/32"))
    judgement = judge(request, around(), 1420)
    assert judgement.taken == Taken((IPV4,), routes("10.9.0.0/16"))
    assert list(judgement.reasons()) == ["8.8.8.8/32", "route 8.8.8.8/32"]


def test_routes_wait_for_an_address_of_their_family() -> None:
    request = ApplyLease((IPV4, PUBLIC), routes("fd09::/32", "10.9.0.0/16"))
    judgement = judge(request, around(), 1420)
    assert judgement.taken.routes == routes("10.9.0.0/16")
    assert judgement.reasons()["route fd09::/32"] == "it waits for an IPv6 address"
    judgement = judge(ApplyLease((IPV6,), routes("10.9.0.0/16")), around(), 1420)
    assert judgement.reasons() == {"route 10.9.0.0/16": "it waits for an IPv4 address"}


def test_without_an_address_nothing_is_taken() -> None:
    request = ApplyLease((PUBLIC,), routes("10.9.0.0/16"), 0, (SERVER,), ("example.org",), 1380)
    judgement = judge(request, around(), 1420)
    assert judgement.taken == Taken()
    assert list(judgement.reasons()) == ["8.8.8.8/32", "route 10.9.0.0/16"]


def test_the_network_of_an_address_is_no_pushed_route() -> None:
    judgement = judge(ApplyLease((IPV4,), routes("10.44.0.0/24")), around(), 1420)
    assert judgement == Judgement(Taken((IPV4,)))


def test_a_default_route_is_set_apart() -> None:
    request = ApplyLease((IPV4,), routes("0.0.0.0/0", "10.9.0.0/16"))
    judgement = judge(request, around(default_route=True), 1420)
    assert judgement.taken.routes == routes("10.9.0.0/16")
    assert judgement.taken.default_routes == routes("0.0.0.0/0")
    assert "route 0.0.0.0/0" in judge(request, around(), 1420).reasons()


def test_routes_beyond_the_most_are_one_refusal() -> None:
    judgement = judge(ApplyLease((IPV4,), more_routes=9744), around(), 1420)
    assert judgement.reasons() == {"a rest of 9744 routes": "more than 256 are not looked at"}


def test_search_domains_go_with_a_name_server() -> None:
    request = ApplyLease((IPV4,), name_servers=(SERVER,), search=("com", "example.org"))
    judgement = judge(request, around(dns=()), 1420)
    assert judgement.taken == Taken((IPV4,))
    assert judgement.reasons() == {
        "name server 10.44.0.53": "10.44.0.53 is in no network that --accept-dns names",
        "search domains com, example.org": "without a name server that is taken they are not",
    }
    assert judge(request, around(), 1420).taken.search == request.search


@pytest.mark.parametrize(
    ("mtu", "taken", "reason"),
    [
        (0, 0, ""),
        (1279, 0, "below 1280 the kernel takes every IPv6 address off the interface"),
        (1280, 1280, ""),
        (1419, 1419, ""),
        (1420, 0, ""),
        (1421, 0, "it is only ever lowered, and is 1420 here"),
    ],
)
def test_an_mtu_is_lowered_only_and_not_too_far(mtu: int, taken: int, reason: str) -> None:
    judgement = judge(ApplyLease((IPV4,), mtu=mtu), around(), 1420)
    assert judgement.taken.mtu == taken
    assert judgement.reasons() == ({f"MTU {mtu}": reason} if reason else {})


def test_what_differs_in_times_only_is_timeless_alike() -> None:
    later = AddressSetting(IPV4.address, IPV4.network, 30, 30)
    assert Taken((IPV4,)) != Taken((later,))
    assert Taken((IPV4,)).timeless() == Taken((later,)).timeless()
    assert Taken((IPV4,)).timeless() != Taken((IPV6,)).timeless()


def test_a_lease_ages_address_by_address() -> None:
    forever = AddressSetting(IPV6.address, IPV6.network, 30, FOREVER)
    request = ApplyLease((IPV4, forever), routes("10.9.0.0/16"))
    assert aged(request, 0.0) == request
    older = aged(request, 29.5)
    assert [(one.preferred_time, one.valid_time) for one in older.addresses] == [
        (31, 31),
        (1, FOREVER),
    ]
    assert older.routes == request.routes
    assert [one.address for one in aged(request, 60.0).addresses] == [forever.address]
    assert len(aged(request, 59.9).addresses) == 2


def test_the_longest_answer_fits_into_a_message() -> None:
    long = parse_prefix("2001:db8:1111:2222:3333:4444:5555:6666/128")
    why = "x" * 500
    names = ", ".join(["a" * 253] * MAX_DNS_SEARCH)
    called = [f"route {long}"] * MAX_ROUTES
    called += [f"name server {long}"] * MAX_DNS_SERVERS
    called += [f"search domains {names}", "MTU 65535", "a rest of 4294967295 routes"]
    judgement = Judgement(
        addresses=(RefusedAddress(long, why),) * MAX_ADDRESSES,
        others=tuple(Refused(what, why[:MAX_WHY]) for what in called),
    )
    answer = judgement.answer()
    codec = MessageCodec(CLIENT_REPLIES)
    assert codec.decode(codec.encode(answer)) == answer
    assert {len(one.reason) for one in answer.refused} == {MAX_WHY}


def test_refusals_are_answered_as_they_are() -> None:
    refused = (RefusedAddress(PUBLIC.address, "no"),)
    others = (Refused("MTU 576", "no"),)
    assert Judgement(Taken(), refused, others).answer() == Applied(refused, others)


def test_what_could_not_be_set_after_all_is_not_taken() -> None:
    server2 = parse_address("10.44.0.54")
    taken = Taken((IPV4,), (), routes("0.0.0.0/0", "::/0"), (SERVER, server2), ("example.org",))
    judgement = Judgement(taken)
    assert judgement.without(()) == judgement
    refused = (Refused("route ::/0", "no"), Refused("name server 10.44.0.53", "no"))
    less = judgement.without(refused)
    assert less.taken == Taken((IPV4,), (), routes("0.0.0.0/0"), (server2,), ("example.org",))
    assert less.others == refused
    assert less.without((Refused("name server 10.44.0.54", "no"),)).taken.search == ()
