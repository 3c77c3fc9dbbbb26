"""Version 2, form only: docs/protocol.md section 6."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest

from wg_dynamic.protocol import version2
from wg_dynamic.protocol.messages import (
    ANY_IPV4,
    Ack,
    DeclineIP,
    Dns,
    ErrorReply,
    LeasedAddress,
    Message,
    Ping,
    ReleaseIP,
    RequestIP,
    RequestIPReply,
    Route,
    Subscribe,
    SubscribeReply,
    Update,
)
from wg_dynamic.protocol.schema import (
    FROM_CLIENT,
    FROM_SERVER,
    MAX_ADDRESSES,
    MAX_DNS_SEARCH,
    MAX_DNS_SERVERS,
    MAX_DOMAIN_LENGTH,
    MAX_ERRMSG_LENGTH,
    MAX_MESSAGE_SIZE,
    MAX_NAME_LENGTH,
    MAX_NAMES,
    MAX_NUMBER,
    MAX_REPLY_PARTS,
    MAX_ROUTES,
    MAX_WISHES,
)
from wg_dynamic.protocol.version2 import MAX_NETWORK_TEXTS

V4 = IPv4Address("192.168.4.9")
LEASED = LeasedAddress(V4, IPv4Network("192.168.4.0/24"), 30, 60)
LEASED_LINES = (
    "section=address\nip=192.168.4.9\nnetwork=192.168.4.0/24\npreferred_time=30\nvalid_time=60\n"
)
ROUTE = Route(IPv4Network("10.0.0.0/8"))


def ask(command: str, text: str) -> Any:
    return version2.decode(FROM_CLIENT[command], text.split("\n")[:-1])


def answer(command: str, text: str) -> Any:
    return version2.decode(FROM_SERVER[command], text.split("\n")[:-1])


def test_a_wish_is_a_section_with_an_address() -> None:
    request = RequestIP(id=1, wishes=(ANY_IPV4, V4))
    text = "request_ip=2\nid=1\nsection=address\nip=0.0.0.0\nsection=address\nip=192.168.4.9\n\n"
    assert version2.encode(request) == text
    assert ask("request_ip", text.partition("\n")[2].removesuffix("\n")) == request


def test_a_reply_has_its_sections_after_its_attributes() -> None:
    reply = RequestIPReply(
        id=1,
        addresses=(LEASED,),
        routes=(replace(ROUTE, metric=0),),
        dns=(Dns((V4,), ("a.example", "b.example")),),
    )
    body = (
        f"id=1\nerrno=0\n{LEASED_LINES}section=route\nnetwork=10.0.0.0/8\nmetric=0\n"
        "section=dns\nserver=192.168.4.9\nsearch=a.example\nsearch=b.example\n"
    )
    assert version2.encode(reply) == f"request_ip=2\n{body}\n"
    assert answer("request_ip", body) == reply


def test_zero_is_printed_and_what_is_not_there_is_not() -> None:
    assert version2.encode(SubscribeReply(id=0, serial=0)) == (
        "subscribe=2\nid=0\nerrno=0\nserial=0\n\n"
    )
    assert version2.encode(Subscribe()) == "subscribe=2\n\n"
    assert version2.encode(Update(reset=True)) == "update=2\nserial=0\nreset=true\n\n"


def test_an_error_reply_takes_the_name_of_any_command() -> None:
    assert version2.encode(ErrorReply("frob", 3, errmsg="no")) == (
        "frob=2\nid=3\nerrno=8\nerrmsg=no\n\n"
    )
    assert answer("ping", "id=3\nerrno=8\n") == ErrorReply("ping", 3)
    with pytest.raises(ValueError, match="expected a name"):
        version2.encode(ErrorReply("Frob"))


def test_lines_that_are_not_defined_here_are_skipped() -> None:
    assert ask("request_ip", "errno=9\nnew=1\nnew=1\nid=5\n") == RequestIP(id=5)
    assert ask("release_ip", "section=address\nip=192.168.4.9\nmood=good\n") == ReleaseIP(
        addresses=(V4,)
    )


def test_a_section_that_is_not_defined_swallows_its_lines() -> None:
    text = "section=peer\nip=bogus\nid=x\nsection=peer\nsection=address\nip=192.168.4.9\n"
    assert ask("request_ip", text) == RequestIP(wishes=(V4,))
    assert ask("request_ip", "section=peer\nid=7\n").id is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("id\n", "expected name=value"),
        ("id=\n", "expected name=value"),
        ("=1\n", "expected a name"),
        ("Id=1\n", "expected a name"),
        ("x-y=1\n", "expected a name"),
        ("id=1\nid=1\n", "id occurs twice"),
        ("id=x\n", "id: 'x', expected a decimal"),
        ("release_ip=2\n", "command release_ip inside a message"),
        ("section=peer\nupdate=1\n", "command update inside a message"),
        ("section=Peer\n", "expected a name"),
        ("section=address\n", "ip is missing"),
        ("section=address\nip=192.0.2.1\nip=192.0.2.2\n", "ip occurs twice"),
        ("section=peer\nx\n", "expected name=value"),
    ],
)
def test_a_fault_of_form_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        ask("request_ip", text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("id=1\n", "errno is missing"),
        ("errno=0\nsection=address\nip=192.0.2.1\n", "network is missing"),
        ("errno=0\n" + LEASED_LINES.replace("=30", "=61"), "expected at most 60"),
        ("errno=0\n" + LEASED_LINES.replace("4.0/24", "5.0/24"), "does not hold ip"),
        ("errno=0\n" + LEASED_LINES.replace("192.168.4.0/24", "::/0"), "does not hold ip"),
        ("errno=0\nsection=dns\nsection=dns\n", "more than 1 of section=dns"),
        ("errno=0\nsection=route\nmetric=1\n", "network is missing"),
    ],
)
def test_a_fault_in_a_reply_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        answer("request_ip", text)


def test_the_number_of_wishes_is_bounded() -> None:
    one = "section=address\nip=192.0.2.1\n"
    assert len(ask("request_ip", one * MAX_WISHES).wishes) == MAX_WISHES
    with pytest.raises(ValueError, match="more than 64"):
        ask("request_ip", one * (MAX_WISHES + 1))
    wishes = (V4,) * MAX_WISHES
    assert version2.encode(RequestIP(wishes=wishes)).count("section=") == MAX_WISHES
    with pytest.raises(ValueError, match="65 of section=address, expected 64"):
        version2.encode(RequestIP(wishes=(*wishes, V4)))


def test_the_numbers_of_addresses_and_routes_are_bounded() -> None:
    route = "section=route\nnetwork=10.0.0.0/8\n"
    text = "errno=0\n" + LEASED_LINES * MAX_ADDRESSES + route * MAX_ROUTES
    reply = answer("request_ip", text)
    assert (len(reply.addresses), len(reply.routes)) == (MAX_ADDRESSES, MAX_ROUTES)
    with pytest.raises(ValueError, match="more than 128"):
        answer("request_ip", text + LEASED_LINES)
    with pytest.raises(ValueError, match="more than 256"):
        answer("request_ip", text + route)


def test_the_numbers_of_name_servers_and_search_domains_are_bounded() -> None:
    text = "errno=0\nsection=dns\n" + "server=::1\n" * MAX_DNS_SERVERS
    text += "search=a\n" * MAX_DNS_SEARCH
    (dns,) = answer("request_ip", text).dns
    assert (len(dns.servers), len(dns.search)) == (MAX_DNS_SERVERS, MAX_DNS_SEARCH)
    assert version2.encode(RequestIPReply(dns=(dns,))) == f"request_ip=2\n{text}\n"
    for line in ("server=::1\n", "search=a\n"):
        with pytest.raises(ValueError, match="occurs"):
            answer("request_ip", text + line)
    for longer in (
        replace(dns, servers=(*dns.servers, V4)),
        replace(dns, search=(*dns.search, "b")),
    ):
        with pytest.raises(ValueError, match="occurs"):
            version2.encode(RequestIPReply(dns=(longer,)))


def test_a_decline_names_at_least_one_address() -> None:
    with pytest.raises(ValueError, match="no section=address"):
        ask("decline_ip", "id=1\n")
    with pytest.raises(ValueError, match="0 of section=address"):
        version2.encode(DeclineIP())
    assert ask("decline_ip", "section=address\nip=192.168.4.9\n") == DeclineIP(addresses=(V4,))


def test_a_push_removes_by_name_only() -> None:
    push = Update(
        serial=9,
        addresses=(LEASED, LeasedAddress.removed(V4)),
        routes=(replace(ROUTE, remove=True),),
        dns=(Dns(remove=True),),
    )
    body = (
        f"serial=9\n{LEASED_LINES}section=address\nip=192.168.4.9\nremove=true\n"
        "section=route\nnetwork=10.0.0.0/8\nremove=true\nsection=dns\nremove=true\n"
    )
    assert version2.encode(push) == f"update=2\n{body}\n"
    assert answer("update", body) == push


def test_what_a_removal_says_besides_is_ignored() -> None:
    body = "serial=9\nsection=address\nremove=true\nvalid_time=5\nip=192.168.4.9\nnetwork=::/0\n"
    body += "section=dns\nsearch=a\nremove=true\nsection=route\nmetric=3\nremove=true\n"
    with pytest.raises(ValueError, match="network is missing"):
        answer("update", body)
    push = answer("update", body + "network=10.0.0.0/8\n")
    assert push.addresses == (LeasedAddress.removed(V4),)
    assert push.routes == (replace(ROUTE, remove=True),)
    assert push.dns == (Dns(remove=True),)


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (Ack(serial=-1), "serial"),
        (Update(serial=None), "serial is missing"),  # type: ignore[arg-type]
        (RequestIPReply(errno=None), "errno is missing"),  # type: ignore[arg-type]
        (RequestIPReply(addresses=(LeasedAddress.removed(V4),)), "outside a push"),
        (RequestIPReply(addresses=(replace(LEASED, valid_time=1),)), "expected at most 1"),
        (RequestIPReply(addresses=(ROUTE,)), "as section=address"),  # type: ignore[arg-type]
        (Ping(id=MAX_NUMBER + 1), "id"),
    ],
)
def test_what_breaks_a_rule_is_not_printed(message: Message, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        version2.encode(message)


def messages_of(text: str) -> list[str]:
    return [part + "\n\n" for part in text.split("\n\n")[:-1]]


@pytest.mark.parametrize(
    ("addresses", "routes", "parts"),
    [
        (MAX_ADDRESSES, MAX_ROUTES, 1),
        (MAX_ADDRESSES + 1, 0, 2),
        (0, MAX_ROUTES + 1, 2),
        (MAX_ADDRESSES, MAX_ROUTES * MAX_REPLY_PARTS, MAX_REPLY_PARTS),
    ],
)
def test_a_long_reply_is_cut_into_parts(addresses: int, routes: int, parts: int) -> None:
    reply = RequestIPReply(id=4, addresses=(LEASED,) * addresses, routes=(ROUTE,) * routes)
    cut = messages_of(version2.encode(reply))
    read = [answer("request_ip", text.partition("\n")[2].removesuffix("\n")) for text in cut]
    assert [part.more for part in read] == [True] * (parts - 1) + [False]
    assert sum(len(part.addresses) for part in read) == addresses
    assert sum(len(part.routes) for part in read) == routes


def test_a_reply_of_too_many_parts_is_refused() -> None:
    routes = (ROUTE,) * (MAX_ROUTES * MAX_REPLY_PARTS + 1)
    with pytest.raises(ValueError, match="17 parts, expected at most 16"):
        version2.encode(Update(routes=routes))


def test_two_dns_sections_are_not_cut_into_two_parts_that_each_have_one() -> None:
    with pytest.raises(ValueError, match="expected 1 or fewer"):
        version2.encode(RequestIPReply(dns=(Dns(), Dns())))
    long = RequestIPReply(routes=(ROUTE,) * (MAX_ROUTES + 1), dns=(Dns(),))
    assert ["section=dns" in text for text in messages_of(version2.encode(long))] == [True, False]


def test_the_largest_message_that_the_counts_allow_is_within_the_limit() -> None:
    ip = IPv6Address("2001:db8:1111:2222:3333:4444:5555:6666")
    names = tuple("x" * (MAX_NAME_LENGTH - 2) + f"{number:02}" for number in range(MAX_NAMES))
    domain = ".".join(["a" * 63] * 3 + ["a" * 61])
    assert len(domain) == MAX_DOMAIN_LENGTH
    network = IPv6Network((ip, 128))
    reply = RequestIPReply(
        id=MAX_NUMBER,
        errno=MAX_NUMBER,
        errmsg="x" * MAX_ERRMSG_LENGTH,
        retry_after=MAX_NUMBER,
        addresses=(LeasedAddress(ip, network, MAX_NUMBER, MAX_NUMBER),) * MAX_ADDRESSES,
        routes=(Route(network, MAX_NUMBER),) * MAX_ROUTES,
        dns=(Dns((ip,) * MAX_DNS_SERVERS, (domain,) * MAX_DNS_SEARCH),),
        more=True,
        features=names,
        critical=names,
    )
    assert len(version2.encode(reply)) <= MAX_MESSAGE_SIZE


def test_a_route_that_is_sent_again_and_again_is_printed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    route = Route(IPv4Network("10.20.0.0/16"), 50)
    first = version2.encode(RequestIPReply(routes=(route,)))
    monkeypatch.setattr(version2, "print_value", lambda _attribute, _value: "printed")
    assert "network=10.20.0.0/16\nmetric=50" in version2.encode(RequestIPReply(routes=(route,)))
    same = replace(route)
    assert "network=printed" in version2.encode(RequestIPReply(routes=(same,)))
    assert "network=printed" in version2.encode(Update(routes=(route,))), "another message's own"
    monkeypatch.undo()
    assert version2.encode(RequestIPReply(routes=(replace(route),))) == first


def test_the_routes_that_are_known_again_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    version2._ROUTE_TEXTS.clear()
    monkeypatch.setattr(version2, "MAX_ROUTE_TEXTS", 10)
    routes = tuple(Route(IPv4Network((number << 8, 24))) for number in range(11))
    texts = [version2.encode(RequestIPReply(routes=(route,))) for route in routes[:10]]
    assert len(version2._ROUTE_TEXTS) == 10
    version2.encode(RequestIPReply(routes=routes[10:]))
    assert len(version2._ROUTE_TEXTS) == 1
    assert [version2.encode(RequestIPReply(routes=(route,))) for route in routes[:10]] == texts


def test_a_route_that_breaks_a_rule_is_refused_each_time() -> None:
    removed = Route(IPv4Network("10.20.0.0/16"), remove=True)
    assert "remove=true" in version2.encode(Update(routes=(removed,)))
    for _ in range(2):
        with pytest.raises(ValueError, match="with remove=true outside a push"):
            version2.encode(RequestIPReply(routes=(removed,)))


@pytest.mark.parametrize(
    ("item", "complaint"),
    [
        (replace(LEASED, remove=True), "in a reply"),
        (replace(LEASED, preferred_time=61), "in a reply"),
        (replace(LEASED, valid_time=MAX_NUMBER + 1), "in a reply"),
        (replace(LEASED, network=IPv4Network("192.168.5.0/24")), "does not hold"),
        (replace(LEASED, network=IPv6Network("2001:db8::/64")), "does not hold"),
    ],
)
def test_the_short_way_prints_no_reply_that_makes_no_sense(
    item: LeasedAddress, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        version2.encode_usual(RequestIPReply(addresses=(item,)))


def test_however_many_networks_there_are_their_texts_are_right() -> None:
    networks = [
        IPv4Network((0x0A000000 + (number << 8), 24)) for number in range(MAX_NETWORK_TEXTS + 2)
    ]
    for network in networks:
        item = LeasedAddress(network[9], network, 30, 60)
        reply = RequestIPReply(addresses=(item,))
        assert version2.encode_usual(reply) == version2.encode(reply)
