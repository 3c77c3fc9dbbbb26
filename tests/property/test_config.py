"""Any document either loads or is refused, and nothing else happens; ranges mean what they say."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wg_dynamic.address import format_address
from wg_dynamic.errors import ConfigError, UsageError
from wg_dynamic.helper.config.checks import checked_terms
from wg_dynamic.helper.config.document import ServerConfig, parse_config
from wg_dynamic.helper.config.values import parse_range, read_domain, read_range
from wg_dynamic.leases.push import MAX_DOMAIN_LENGTH
from wg_dynamic.leases.terms import LeaseTerms
from wg_dynamic.privsep.codec import MessageCodec
from wg_dynamic.privsep.requests import SERVER_REPLIES, ServerStart
from wg_dynamic.privsep.terms import join_terms, terms_parts, without_parts
from wg_dynamic.protocol.values import parse_domain
from wg_dynamic.wireguard.key import format_key

CODEC = MessageCodec(SERVER_REPLIES)


def try_to_load(text: str) -> LeaseTerms | None:
    """The terms of a document, or None when it is refused as it should be."""
    try:
        config = parse_config(text, "x.toml")
        assert config == parse_config(text, "x.toml")
        return checked_terms(config)
    except UsageError as error:
        lines = str(error).splitlines()
        assert lines
        assert all(line.startswith("x.toml: ") and len(line) < 2000 for line in lines)
        return None


def check_that_it_travels(terms: LeaseTerms) -> None:
    """Whatever loads can be sent to the network process, and comes out as it went in."""
    start = ServerStart("wg0", 1, without_parts(terms), (), "/x")
    received = CODEC.decode(CODEC.encode(start))
    parts = [CODEC.decode(CODEC.encode(part)) for part in terms_parts(terms)]
    assert isinstance(received, ServerStart)
    assert join_terms(received.terms, parts) == terms  # type: ignore[arg-type]


@settings(max_examples=300)
@given(st.text(max_size=200))
def test_any_text_loads_or_is_refused(text: str) -> None:
    try_to_load(text)


WORDS = st.sampled_from(
    [
        *("lease_time", "min_lease_time", "max_lease_time", "addresses_per_peer", "exclude"),
        *("max_new_addresses", "grace_time", "quarantine_time", "database", "user", "network"),
        *("network_length", "name", "public_key", "addresses", "pool", "reservation"),
        *("routes", "metric", "dns", "servers", "search", "mtu", "peer", "[dns]", "[[peer]]"),
        *("[[pool]]", "[[reservation]]", "=", ",", ".", "[", "]", "{", "}", '"', "'", "\n", " "),
        *("#", "0x", "1e9", "nan", "true", "60", "'1h'", "'infinite'", "'10.44.0.0/24'"),
        *("'10.44.0.7'", "1979-05-27", "-1", "9" * 5000),
    ]
)


@settings(max_examples=500)
@given(st.lists(WORDS, max_size=30))
def test_any_words_load_or_are_refused(words: list[str]) -> None:
    try_to_load("".join(words))


ADDRESSES = st.ip_addresses()
NUMBERS = st.integers(-(1 << 70), 1 << 70).map(str)
QUOTED = (
    ADDRESSES.map(str)
    | st.ip_addresses(network="10.44.0.0/24").map(str)
    | st.sampled_from(["10.44.0.0/24", "fd00:44::/64", "10.44.0.1-10.44.0.9", "1h", "7d", "x"])
    | st.sampled_from(["infinite", "corp.example", "0.0.0.0/0", "::/0", "fd00:20::/48"])
    | st.binary(min_size=32, max_size=32).map(format_key)
    | st.text("abc0123456789./:-= ", max_size=20)
).map(lambda text: f'"{text}"')
SIMPLE = NUMBERS | QUOTED | st.sampled_from(["true", "1.5", "inf", "nan", "07:32:00", "{ a = 1 }"])
SCALARS = SIMPLE | st.dictionaries(
    st.sampled_from(["network", "metric", "servers", "search", "x"]), SIMPLE, max_size=2
).map(lambda pairs: f"{{ {', '.join(f'{key} = {value}' for key, value in pairs.items())} }}")
VALUES = SCALARS | st.lists(SCALARS, max_size=4).map(lambda items: f"[{', '.join(items)}]")


def tables(*keys: str) -> st.SearchStrategy[str]:
    lines = st.dictionaries(st.sampled_from([*keys, "x"]), VALUES, max_size=len(keys))
    return lines.map(lambda pairs: "".join(f"{key} = {value}\n" for key, value in pairs.items()))


TOP = tables(
    *("lease_time", "min_lease_time", "max_lease_time", "addresses_per_peer", "max_new_addresses"),
    *("grace_time", "quarantine_time", "database", "user", "routes", "mtu", "dns"),
)
POOLS = tables("network", "lease_time", "network_length", "exclude", "routes", "mtu", "dns")
PEERS = tables("name", "public_key", "routes", "mtu", "dns")
RESERVATIONS = tables("name", "public_key", "addresses", "lease_time")


@settings(max_examples=500)
@given(
    TOP,
    st.lists(POOLS, max_size=3),
    st.lists(RESERVATIONS, max_size=3),
    st.lists(PEERS, max_size=3),
)
def test_any_toml_document_loads_or_is_refused(
    top: str, pools: list[str], reservations: list[str], peers: list[str]
) -> None:
    terms = try_to_load(
        top
        + "".join(f"[[peer]]\n{peer}" for peer in peers)
        + "".join(f"[[pool]]\n{pool}" for pool in pools)
        + "".join(f"[[reservation]]\n{one}" for one in reservations)
    )
    if terms is not None:
        check_that_it_travels(terms)


ROUTES = st.ip_addresses(v=4, network="10.64.0.0/10") | st.just("0.0.0.0/0")
SERVERS = st.ip_addresses(network="10.44.0.0/24") | st.ip_addresses(network="fd00:44::/64")


def quoted(value: object) -> str:
    return f'"{value}"'


def a_list(items: Iterable[object]) -> str:
    return f"[{', '.join(str(item) for item in items)}]"


@st.composite
def pushed(draw: st.DrawFn) -> list[str]:
    """Lines of one level that say what clients are told."""
    lines = [f"mtu = {draw(st.integers(1280, 65535))}"] if draw(st.booleans()) else []
    if draw(st.booleans()):
        routes = list(map(quoted, draw(st.lists(ROUTES, max_size=4, unique=True))))
        for number in range(draw(st.integers(0, len(routes)))):
            metric = draw(st.integers(0, (1 << 32) - 1))
            routes[number] = f"{{ network = {routes[number]}, metric = {metric} }}"
        lines.append(f"routes = {a_list(routes)}")
    if draw(st.booleans()):
        servers = draw(st.lists(SERVERS, max_size=8, unique=True))
        names = draw(st.lists(st.from_regex(r"[a-z0-9]{1,63}", fullmatch=True), unique=True))
        lines.append(f"dns.servers = {a_list(map(quoted, servers))}")
        lines.append(f"dns.search = {a_list(map(quoted, names[:16]))}")
    return lines


PUSHED = pushed()


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, int, int]:
    """A document that is right, with its numbers of exclusions and reservations."""
    pools = draw(st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True))
    low, middle, high = sorted(draw(st.tuples(*[st.integers(60, 31_536_000)] * 3)))
    lines = [f"lease_time = {middle}", f"min_lease_time = {low}", f"max_lease_time = '{high}s'"]
    excluded = 0
    lines += draw(PUSHED)
    for pool in pools:
        lines += ["[[pool]]", f'network = "10.{pool}.0.0/16"', *draw(PUSHED)]
        if draw(st.booleans()):
            lines.append(f"lease_time = {draw(st.integers(low, high))}")
        ranges = draw(st.lists(st.tuples(*[st.integers(0, 999)] * 2).map(sorted), max_size=5))
        excluded += len(ranges)
        texts = [
            f'"{ip_address(f"10.{pool}.0.0") + a}-{ip_address(f"10.{pool}.0.0") + b}"'
            for a, b in ranges
        ]
        lines.append(f"exclude = [{', '.join(texts)}]")
    hosts = draw(st.lists(st.integers(1, 65534), max_size=10, unique=True))
    for number, host in enumerate(hosts):
        address = ip_address(f"10.{pools[0]}.0.0") + host
        lines += ["[[reservation]]", f'addresses = ["{address}"]']
        lines.append(f'public_key = "{format_key(number.to_bytes(32))}"')
        if draw(st.booleans()):
            lines.append("lease_time = 'infinite'")
    for number in range(draw(st.integers(0, 3))):
        lines += ["[[peer]]", f'public_key = "{format_key(number.to_bytes(32))}"', *draw(PUSHED)]
    return "\n".join(lines), excluded, len(hosts)


@settings(max_examples=100)
@given(documents())
def test_a_document_that_is_right_loads_and_reaches_the_network_process(
    document: tuple[str, int, int],
) -> None:
    text, excluded, reserved = document
    terms = try_to_load(text)
    assert terms is not None
    assert sum(len(pool.excluded) for pool in terms.pools) == excluded
    assert len(terms.reservations) == reserved
    check_that_it_travels(terms)


@given(ADDRESSES, ADDRESSES)
def test_a_range_of_two_addresses_holds_what_lies_between(first: object, last: object) -> None:
    text = f"{first}-{last}"
    one, other = ip_address(str(first)), ip_address(str(last))
    if one.version != other.version or one.packed > other.packed:
        with pytest.raises(ValueError, match="lower one first"):
            parse_range(text)
        return
    found = parse_range(text)
    assert (found.first, found.last) == (one.packed, other.packed)
    assert parse_range(f"{format_address(found.first)} - {format_address(found.last)}") == found


@given(ADDRESSES, st.integers(0, 128))
def test_a_range_that_is_a_network_holds_all_of_it(address: object, length: int) -> None:
    one = ip_address(str(address))
    length = min(length, one.max_prefixlen)
    network = ip_network((one.packed, length), strict=False)
    found = parse_range(str(network))
    assert (found.first, found.last) == (network[0].packed, network[-1].packed)
    if network.network_address != one:
        with pytest.raises(ValueError, match="host bits are set"):
            parse_range(f"{one}/{length}")


@settings(max_examples=300)
@given(st.text("0123456789abcdef.:/- %", max_size=30) | st.text(max_size=30))
def test_any_text_is_a_range_or_refused(text: str) -> None:
    try:
        found = read_range(text)
    except ValueError:
        return
    assert found.first <= found.last
    assert len(found.first) == len(found.last) in (4, 16)


def test_the_error_is_one_that_every_caller_knows() -> None:
    assert issubclass(UsageError, ConfigError)
    assert try_to_load("x = 1") is None
    assert try_to_load("") == replace(ServerConfig().terms())


@settings(max_examples=300)
@given(st.text("abC019.-_ \u212a\u00e9", max_size=300) | st.text(max_size=30))
def test_a_domain_is_what_the_protocol_takes_for_one(text: str) -> None:
    try:
        expected = parse_domain(text, MAX_DOMAIN_LENGTH) if text.isascii() else None
    except ValueError:
        expected = None
    try:
        assert read_domain(text) == expected
    except ValueError:
        assert expected is None
