"""Prefixes against the standard library's ipaddress."""

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from wg_dynamic.address import (
    Prefix,
    format_address,
    from_ip,
    host_prefix,
    parse_address,
    parse_prefix,
    to_interface,
    to_network,
)

SIZES = st.sampled_from([4, 16])


@st.composite
def prefixes(draw: st.DrawFn, size: int | None = None) -> Prefix:
    size = draw(SIZES) if size is None else size
    packed = draw(st.binary(min_size=size, max_size=size))
    return Prefix(packed, draw(st.integers(0, size * 8)))


@st.composite
def neighbours(draw: st.DrawFn) -> tuple[Prefix, Prefix]:
    """Two of one family that differ in one bit: where a comparison goes wrong."""
    one = draw(prefixes())
    bits = len(one.packed) * 8
    flipped = int.from_bytes(one.packed, "big") ^ (1 << draw(st.integers(0, bits - 1)))
    return one, Prefix(flipped.to_bytes(len(one.packed), "big"), draw(st.integers(0, bits)))


PAIRS = st.tuples(prefixes(), prefixes()) | neighbours()


@given(prefixes())
def test_the_network_is_that_of_ipaddress(prefix: Prefix) -> None:
    network = ip_network((prefix.packed, prefix.length), strict=False)
    assert prefix.network() == from_ip(network)
    assert to_network(prefix.network()) == network
    assert to_interface(prefix).network == network


@given(PAIRS)
def test_covers_and_overlaps_are_those_of_ipaddress(pair: tuple[Prefix, Prefix]) -> None:
    one, other = pair
    first, second = to_network(one.network()), to_network(other.network())
    same_family = first.version == second.version
    covers = same_family and second.subnet_of(first)  # type: ignore[arg-type]
    assert one.covers(other) is covers
    assert one.overlaps(other) is (same_family and first.overlaps(second))
    assert one.overlaps(other) is other.overlaps(one)


@given(prefixes())
def test_a_prefix_is_printed_and_read_the_same(prefix: Prefix) -> None:
    assert parse_prefix(str(prefix)) == prefix
    assert from_ip(to_interface(prefix)) == prefix
    assert str(prefix) == str(to_interface(prefix))


@given(SIZES.flatmap(lambda size: st.binary(min_size=size, max_size=size)))
def test_an_address_is_printed_and_read_the_same(packed: bytes) -> None:
    assert parse_address(format_address(packed)) == packed
    assert from_ip(ip_address(packed)) == host_prefix(packed)


@given(st.text(max_size=50) | st.from_regex(r"[0-9a-f:.%]{1,45}(/[0-9]{0,4})?", fullmatch=True))
def test_any_text_is_a_prefix_or_a_value_error(text: str) -> None:
    try:
        prefix = parse_prefix(text)
    except ValueError:
        return
    assert parse_prefix(str(prefix)) == prefix
    assert 0 <= prefix.length <= len(prefix.packed) * 8


OCTETS = st.sampled_from([0, 0, 0, 1, 255]) | st.integers(0, 255)


@given(SIZES.flatmap(lambda size: st.lists(OCTETS, min_size=size, max_size=size)).map(bytes))
def test_text_is_as_ipaddress_prints_and_reads_it(packed: bytes) -> None:
    text = format_address(packed)
    assert text == str(ip_address(packed))
    assert parse_address(text) == packed


@given(st.text(alphabet="0123af:.%/ +x", max_size=20))
def test_a_text_is_an_address_where_ipaddress_says_so(text: str) -> None:
    try:
        expected = ip_address(text).packed if "%" not in text else None
    except ValueError:
        expected = None
    try:
        found = parse_address(text)
    except ValueError:
        found = None
    assert found == expected
