from dataclasses import replace
from pathlib import Path

import pytest

from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.errors import UsageError
from wg_dynamic.helper.config.document import (
    Problems,
    ServerConfig,
    parse_config,
    parse_peers,
    with_peers,
)
from wg_dynamic.leases.pool import parse_pool
from wg_dynamic.leases.push import Push, PushedRoute
from wg_dynamic.leases.terms import (
    INFINITE,
    AddressRange,
    LeaseTerms,
    PeerName,
    PeerTerms,
    PoolTerms,
    Reservation,
)
from wg_dynamic.wireguard.key import format_key

NAME = "/etc/wg-dynamic/wg0.toml"
ALICE, BOB = bytes([1]) * 32, bytes([2]) * 32
WHOLE = f"""
lease_time = "1h"
min_lease_time = "5m"
max_lease_time = "7d"
addresses_per_peer = 2
max_new_addresses = 20
grace_time = 600
quarantine_time = "1d"
database = "/srv/leases.sqlite"
user = "leaser"
mtu = 1420
routes = ["10.20.0.0/16", {{ network = "fd00:20::/48", metric = 50 }}]

[dns]
servers = ["10.44.0.53", "fd00:44::53"]
search = ["Corp.Example"]

[[pool]]
network = "10.44.0.0/24"
lease_time = "30m"
network_length = 16
exclude = ["10.44.0.1-10.44.0.9", "10.44.0.128/25", "10.44.0.77"]
routes = []
mtu = 1380
dns = {{ servers = [] }}

[[pool]]
network = "fd00:44::/64"
[[pool.routes]]
network = "fd00:30::/48"
[pool.dns]
search = ["lab.example"]

[[peer]]
name = "laptop"
public_key = "{format_key(BOB)}"
routes = ["0.0.0.0/0"]
mtu = 1280

[[peer]]
public_key = "{format_key(ALICE)}"

[[reservation]]
name = "printer"
public_key = "{format_key(ALICE)}"
addresses = ["10.44.0.77", "fd00:44::77"]
lease_time = "infinite"

[[reservation]]
public_key = "{format_key(BOB)}"
addresses = ["10.44.0.78"]
lease_time = 7200
"""


def a_range(first: str, last: str) -> AddressRange:
    return AddressRange(parse_address(first), parse_address(last))


def a_route(network: str, metric: int | None = None) -> PushedRoute:
    return PushedRoute(parse_prefix(network), metric)


def problems(text: str) -> list[str]:
    """What is said about a document, each line without the document's name."""
    with pytest.raises(UsageError) as caught:
        parse_config(text, NAME)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{NAME}: ") for line in lines)
    return [line.removeprefix(f"{NAME}: ") for line in lines]


def test_everything_that_can_be_said() -> None:
    config = parse_config(WHOLE, NAME)
    ranges = (
        a_range("10.44.0.1", "10.44.0.9"),
        a_range("10.44.0.128", "10.44.0.255"),
        a_range("10.44.0.77", "10.44.0.77"),
    )
    addresses = (parse_address("10.44.0.77"), parse_address("fd00:44::77"))
    assert config == ServerConfig(
        source=NAME,
        pools=(
            PoolTerms(parse_pool("10.44.0.0/24"), 1800, 16, ranges, Push((), (), mtu=1380)),
            PoolTerms(
                parse_pool("fd00:44::/64"),
                push=Push((a_route("fd00:30::/48"),), search=("lab.example",)),
            ),
        ),
        reservations=(
            Reservation(ALICE, addresses, INFINITE),
            Reservation(BOB, (parse_address("10.44.0.78"),), 7200),
        ),
        names=("printer", ""),
        lease_time=3600,
        min_lease_time=300,
        max_lease_time=604800,
        addresses_per_peer=2,
        max_new_addresses=20,
        grace_time=600,
        quarantine_time=86400,
        database=Path("/srv/leases.sqlite"),
        user="leaser",
        push=Push(
            (a_route("10.20.0.0/16"), a_route("fd00:20::/48", 50)),
            (parse_address("10.44.0.53"), parse_address("fd00:44::53")),
            ("corp.example",),
            1420,
        ),
        peers=(PeerTerms(BOB, Push((a_route("0.0.0.0/0"),), mtu=1280)), PeerTerms(ALICE, Push())),
        peer_names=("laptop", ""),
    )
    settings = (3600, 300, 604800, 2, 20, 600, 86400, config.push, config.peers)
    assert config.terms() == LeaseTerms(
        config.pools,
        config.reservations,
        *settings,
        names=(PeerName(ALICE, "printer"), PeerName(BOB, "laptop")),
    )


def test_an_empty_document_says_what_no_document_says() -> None:
    assert parse_config("", "") == ServerConfig()
    assert ServerConfig().terms() == LeaseTerms((), max_lease_time=3600)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lease_time = 300", 300),
        ('[[pool]]\nnetwork = "10.44.0.0/24"\nlease_time = 7200', 7200),
        ('[[pool]]\nnetwork = "10.44.0.0/24"\nlease_time = 600', 3600),
        (
            f'[[reservation]]\npublic_key = "{"A" * 43}="\naddresses = []\nlease_time = "infinite"',
            3600,
        ),
        ("min_lease_time = 7200", 7200),
    ],
)
def test_nobody_gets_more_by_asking_than_the_document_gives(text: str, expected: float) -> None:
    assert parse_config(text, NAME).terms().max_lease_time == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max_lease_time = 1800", 1800),
        ("min_lease_time = 7200", 7200),
        ("max_lease_time = 7200", 3600),
        ("max_lease_time = 1800\nlease_time = 3600", 3600),
    ],
)
def test_a_lease_time_that_nobody_said_keeps_to_the_bounds(text: str, expected: float) -> None:
    assert parse_config(text, NAME).terms().lease_time == expected


def test_other_pools_keep_what_the_document_says_of_them() -> None:
    config = parse_config(WHOLE, NAME)
    pools = [parse_pool(text) for text in ("10.45.0.0/24", "10.44.0.0/24", "10.45.0.0/24")]
    assert config.with_pools(pools) == (PoolTerms(pools[0]), config.pools[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lease_time = ", "not understood as TOML: Invalid value (at end of document)"),
        ("a = 1\nb 2", "not understood as TOML: Expected '=' after a key in a key/value pair"),
        ("a = 1\nb 2", "(at line 2, column 3)"),
        ("[[pool]]\n[pool]", "(at line 2, column 6)"),
        ("[" + "k" * 999 + "]\n[" + "k" * 999 + "]", "…"),
        ("a = 1\nb" + ".b" * 150 + " = 1", "line 2 has a key of 150 names or more"),
        ("a." * 150, "line 1 has a key of 150 names or more"),
        ("\"a b\" . 'a b'." * 75, "line 1 has a key of 150 names or more"),
        ("a." * 149, "not understood as TOML: Invalid initial character for a key part"),
        (f"a = {'9' * 5000}", "not understood as TOML: Exceeds the limit (4300 digits)"),
        ("a = " + "[" * 100_000, "not understood as TOML: maximum recursion depth exceeded"),
    ],
)
def test_what_is_no_toml_is_refused_with_its_line(text: str, expected: str) -> None:
    (problem,) = problems(text)
    assert expected in problem


KEYS = (
    "addresses_per_peer, admin_group, database, dns, grace_time, hook, lease_time,"
    " max_lease_time, max_new_addresses, metrics, min_lease_time, mtu, names, peer, pool,"
    " quarantine_time, reservation, routes, user"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "lease_tme = 60",
            f"unknown key 'lease_tme', did you mean lease_time? Expected any of {KEYS}",
        ),
        ("x = 60", f"unknown key 'x', not used here. Expected any of {KEYS}"),
        ("lease_time = 1.5", "lease_time: 1.5, expected 60 to 31536000 seconds, or text as in"),
        ("lease_time = 'infinite'", "lease_time: 'infinite', expected 60 to 31536000 seconds"),
        ("grace_time = -1", "grace_time: -1, expected 0 to 31536000 seconds"),
        ("addresses_per_peer = 9", "addresses_per_peer: 9, expected a whole number from 1 to 8"),
        ("max_new_addresses = 0", "max_new_addresses: 0, expected a whole number from 1 to"),
        ("database = 'x.sqlite'", "database: 'x.sqlite', expected a path that begins with /"),
        ("user = 1", "user: 1, expected text in quotes"),
        (
            "pool = '10.44.0.0/24'",
            "pool: '10.44.0.0/24', expected tables that each begin with [[po",
        ),
        ("[pool]", "pool: a table, expected tables that each begin with [[pool]]"),
        ("reservation = [1]", "reservation: a list of other things, expected tables that each"),
        ("[[pool]]", "[[pool]] 1: network is missing, expected it"),
        ("[[reservation]]", "[[reservation]] 1: public_key is missing, expected it"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, expected: str) -> None:
    assert problems(text)[0].startswith(expected)


def test_what_is_wrong_is_told_all_at_once() -> None:
    text = f"""
        lease_time = true
        [[pool]]
        netwrk = "10.44.0.0/24"
        [[pool]]
        network = "10.44.0.1/24"
        network_length = 0
        exclude = ["10.45.0.9-10.45.0.1", "10.44.0.1", 7]
        [[pool]]
        network = "10.46.0.0/24"
        exclude = "10.46.0.1"
        [[reservation]]
        public_key = "{format_key(ALICE)[:-1]}"
        addresses = ["10.44.0.7/32"]
        lease_time = "forever"
    """
    found = problems(text)
    expected = [
        "[[reservation]] 1: public_key: text of 43 characters, expected a public key",
        "[[reservation]] 1: addresses, item 1: '10.44.0.7/32', expected one address",
        "[[reservation]] 1: lease_time: 'forever', expected 60 to 31536000 seconds",
        "[[pool]] 1: network is missing, expected it",
        "[[pool]] 1: unknown key 'netwrk', did you mean network?",
        "[[pool]] 2: network: pool '10.44.0.1/24' has host bits set, expected 10.44.0.0/24",
        "[[pool]] 2: network_length: 0, expected a whole number from 1 to 128",
        "[[pool]] 2: exclude, item 1: '10.45.0.9-10.45.0.1': a range needs two addresses",
        "[[pool]] 2: exclude, item 3: 7, expected text in quotes",
        "[[pool]] 3: exclude: '10.46.0.1', expected a list in brackets",
        "lease_time: true, expected 60 to 31536000 seconds",
    ]
    assert [line[: len(start)] for line, start in zip(found, expected, strict=True)] == expected


def test_what_is_wrong_with_what_clients_are_told_is_told_too() -> None:
    found = problems("""
        mtu = 1279
        routes = ["10.20.0.1/16", { network = "fe80::/64", metrc = 50 }, 7, { metric = -1 }]
        [dns]
        servers = ["127.0.0.1", "ns.example"]
        search = ["corp.example.", 7]
        server = "10.44.0.53"
        [[pool]]
        network = "10.44.0.0/24"
        dns = ["10.44.0.53"]
        routes = "10.20.0.0/16"
        mtu = 65536
        [[peer]]
        route = []
        [[peer.routes]]
        metric = 4294967296
    """)
    expected = [
        "[[peer]] 1: public_key is missing, expected it",
        "[[peer]] 1: routes, item 1: network is missing, expected it",
        "[[peer]] 1: routes, item 1: metric: 4294967296, expected a whole number from 0 to",
        "[[peer]] 1: unknown key 'route', did you mean routes? Expected any of dns, mtu",
        "[[pool]] 1: mtu: 65536, expected a whole number from 1280 to 65535",
        "[[pool]] 1: routes: '10.20.0.0/16', expected a list in brackets",
        "[[pool]] 1: dns: a list, expected a table of servers and search",
        "mtu: 1279, expected a whole number from 1280 to 65535",
        "routes, item 1: '10.20.0.1/16' has host bits set, expected 10.20.0.0/16",
        "routes, item 2: network: 'fe80::/64' is link-local, expected a network",
        "routes, item 2: unknown key 'metrc', did you mean metric? Expected any of metric, network",
        "routes, item 3: 7, expected a network in quotes, or a table of network and metric",
        "routes, item 4: network is missing, expected it",
        "routes, item 4: metric: -1, expected a whole number from 0 to 4294967295",
        "dns: servers, item 1: '127.0.0.1' is loopback, link-local, multicast or",
        "dns: servers, item 2: 'ns.example', expected one address as in 10.44.0.7",
        "dns: search, item 1: 'corp.example.', expected a domain name as in corp.example",
        "dns: search, item 2: 7, expected text in quotes",
        "dns: unknown key 'server', did you mean servers? Expected any of search, servers",
    ]
    assert [line[: len(start)] for line, start in zip(found, expected, strict=True)] == expected


@pytest.mark.parametrize("mtu", [1280, 65535])
def test_an_mtu_is_taken_up_to_its_bounds(mtu: int) -> None:
    assert parse_config(f"mtu = {mtu}", NAME).push == Push(mtu=mtu)


def test_nobody_wants_to_read_a_thousand_lines() -> None:
    found = problems("\n".join(f"x{number} = 1" for number in range(1000)))
    assert len(found) == 31
    assert found[-1] == "970 more of the kind"


def test_problems_without_a_document_stand_for_themselves() -> None:
    wrong = Problems("")
    wrong.raise_any()
    wrong.add("this")
    wrong.add("that")
    with pytest.raises(UsageError, match=r"\Athis\nthat\Z"):
        wrong.raise_any()


def test_a_document_is_a_value_like_another() -> None:
    config = parse_config(WHOLE, NAME)
    assert replace(config) == parse_config(WHOLE, NAME)
    assert hash(config)


def test_peers_and_reservations_alone_make_a_document_of_their_own() -> None:
    tables = WHOLE[WHOLE.index("[[peer]]") :]
    found, whole = parse_peers(tables, NAME), parse_config(WHOLE, NAME)
    assert (found.peers, found.peer_names) == (whole.peers, whole.peer_names)
    assert (found.reservations, found.names) == (whole.reservations, whole.names)
    with pytest.raises(UsageError, match="unknown key 'lease_time'"):
        parse_peers(WHOLE, NAME)
    with pytest.raises(UsageError, match="not understood as TOML"):
        parse_peers("[[peer]", NAME)


def test_two_documents_are_one_and_a_peer_of_both_is_one_peer() -> None:
    tables = f"""
[[peer]]
name = "alices"
public_key = "{format_key(ALICE)}"
[[peer]]
name = "not the laptop"
public_key = "{format_key(BOB)}"
[[peer]]
name = "new"
public_key = "{format_key(bytes([3]) * 32)}"
[[reservation]]
name = "nas"
public_key = "{format_key(bytes([3]) * 32)}"
addresses = ["10.44.0.79"]
"""
    config = parse_config(WHOLE, NAME)
    both = with_peers(config, parse_peers(tables, "more"))
    assert both.source == f"{NAME} with more"
    assert both.peer_names == ("laptop", "alices", "new")
    assert both.peers == (*config.peers, PeerTerms(bytes([3]) * 32, Push()))
    assert both.names == (*config.names, "nas")
    assert both.reservations[:2] == config.reservations
    assert both.lease_time == config.lease_time
    assert with_peers(config, parse_peers("", "more")) == config
    assert with_peers(ServerConfig(), parse_peers(tables, "more")).source == "more"


def test_a_peer_of_both_that_is_told_things_by_both_is_left_to_the_checks() -> None:
    more = parse_peers(f'[[peer]]\npublic_key = "{format_key(BOB)}"\nmtu = 1300\n', "more")
    both = with_peers(parse_config(WHOLE, NAME), more)
    assert [peer.public_key for peer in both.peers].count(BOB) == 2
