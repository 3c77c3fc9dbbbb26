"""Who is behind a source address, and what fences an address: docs/protocol.md 2.4."""

from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.leases.pool import Pool
from wg_dynamic.privsep.requests import PeerInfo
from wg_dynamic.server.identity import PeerTable

ALICE, BOB = bytes([1]) * 32, bytes([2]) * 32


def a_peer(public_key: bytes, *fixed: str, leased: tuple[str, ...] = ()) -> PeerInfo:
    return PeerInfo(
        public_key,
        tuple(parse_prefix(prefix) for prefix in fixed),
        tuple(parse_prefix(prefix) for prefix in leased),
    )


def a_peer_table(*infos: PeerInfo) -> PeerTable:
    pools = [Pool(parse_prefix(text)) for text in ("192.0.2.0/24", "2001:db8::/64")]
    table = PeerTable(pools)
    table.update(infos)
    return table


def owner(table: PeerTable, source: str) -> bytes | None:
    return table.owner(parse_address(source))


def is_open(table: PeerTable, address: str, public_key: bytes) -> bool:
    return table.is_open(parse_address(address), public_key)


def test_the_owner_is_the_peer_with_the_exact_link_local() -> None:
    table = a_peer_table(a_peer(ALICE, "fe80::a/128"), a_peer(BOB, "fe80::b/128"))
    assert owner(table, "fe80::a") == ALICE
    assert owner(table, "fe80::b") == BOB


def test_a_source_that_is_in_no_allowed_ip_is_nobody() -> None:
    assert owner(a_peer_table(a_peer(ALICE, "fe80::a/128")), "fe80::c") is None


def test_a_source_inside_a_wider_allowed_ip_is_nobody() -> None:
    table = a_peer_table(a_peer(ALICE, "fe80::/64", "::/0", "fe80::a/127"))
    assert owner(table, "fe80::a") is None


def test_all_128_bits_count() -> None:
    """Upstream compared the low 64 bits: whoever leased <pool>::<low half> spoke as the victim."""
    table = a_peer_table(a_peer(ALICE, "fe80::1:2:3:4/128"), a_peer(BOB, "fe80::b/128"))
    for source in ("2001:db8::1:2:3:4", "fe80:0:0:1:1:2:3:4", "fe81::1:2:3:4", "febf::1:2:3:4"):
        assert owner(table, source) is None
    assert owner(table, "fe80::1:2:3:4") == ALICE


def test_an_address_outside_fe80_is_nobody_even_as_an_exact_allowed_ip() -> None:
    table = a_peer_table(a_peer(ALICE, "2001:db8::a/128", "fec0::a/128", "192.0.2.9/32"))
    for source in ("2001:db8::a", "fec0::a", "192.0.2.9"):
        assert owner(table, source) is None


def test_all_of_fe80_10_is_link_local() -> None:
    table = a_peer_table(a_peer(ALICE, "febf:ffff::a/128"))
    assert owner(table, "febf:ffff::a") == ALICE


def test_a_leased_address_identifies_nobody() -> None:
    table = a_peer_table(a_peer(ALICE, leased=("fe80::a/128",)))
    assert owner(table, "fe80::a") is None


def test_a_new_reading_replaces_the_old_one_as_a_whole() -> None:
    table = a_peer_table(a_peer(ALICE, "fe80::a/128", "192.0.2.7/32", "192.0.2.64/28"))
    table.update([a_peer(BOB, "fe80::a/128")])
    assert owner(table, "fe80::a") == BOB
    assert not table.is_present(ALICE)
    assert table.is_present(BOB)
    assert is_open(table, "192.0.2.7", BOB)
    assert is_open(table, "192.0.2.65", BOB)


def test_a_peer_that_comes_in_pieces_is_one_peer() -> None:
    table = a_peer_table(a_peer(ALICE, "fe80::a/128"), a_peer(ALICE, "192.0.2.7/32"))
    assert owner(table, "fe80::a") == ALICE
    assert not is_open(table, "192.0.2.7", BOB)


def test_a_static_address_is_fenced_for_all_other_peers() -> None:
    table = a_peer_table(a_peer(ALICE, "192.0.2.7/32", "2001:db8::7/128"), a_peer(BOB))
    for address in ("192.0.2.7", "2001:db8::7"):
        assert not is_open(table, address, BOB)
        assert is_open(table, address, ALICE)


def test_a_static_network_inside_a_pool_is_fenced_to_its_borders() -> None:
    table = a_peer_table(a_peer(ALICE, "192.0.2.64/28"), a_peer(BOB))
    assert is_open(table, "192.0.2.63", BOB)
    assert not is_open(table, "192.0.2.64", BOB)
    assert not is_open(table, "192.0.2.79", BOB)
    assert is_open(table, "192.0.2.80", BOB)
    assert is_open(table, "192.0.2.64", ALICE)


def test_a_static_network_that_is_the_whole_pool_fences_all_of_it() -> None:
    table = a_peer_table(a_peer(ALICE, "192.0.2.0/24"), a_peer(BOB))
    assert not is_open(table, "192.0.2.9", BOB)
    assert is_open(table, "192.0.2.9", ALICE)
    assert is_open(table, "2001:db8::9", BOB)


def test_fences_of_several_lengths_all_count() -> None:
    table = a_peer_table(a_peer(ALICE, "192.0.2.64/28"), a_peer(BOB, "192.0.2.128/25"))
    assert not is_open(table, "192.0.2.65", BOB)
    assert not is_open(table, "192.0.2.129", ALICE)
    assert is_open(table, "192.0.2.129", BOB)


def test_a_shorter_prefix_that_covers_the_pool_fences_nothing() -> None:
    """An exit node has 0.0.0.0/0 and ::/0."""
    table = a_peer_table(a_peer(ALICE, "0.0.0.0/0", "::/0", "192.0.2.0/23"), a_peer(BOB))
    assert is_open(table, "192.0.2.9", BOB)
    assert is_open(table, "2001:db8::9", BOB)


def test_what_is_leased_is_no_fence() -> None:
    table = a_peer_table(a_peer(ALICE, leased=("192.0.2.7/32",)), a_peer(BOB))
    assert is_open(table, "192.0.2.7", BOB)


def test_other_pools_have_other_fences() -> None:
    table = PeerTable([Pool(parse_prefix("192.0.2.0/24"))])
    infos = [a_peer(ALICE, "10.9.0.7/32", "192.0.2.7/32")]
    table.update(infos)
    table.change_pools([Pool(parse_prefix("10.9.0.0/24"))])
    table.update(infos)
    assert [str(prefix) for prefix, _ in table.fences()] == ["10.9.0.7/32"]
    assert not table.is_open(parse_address("10.9.0.7"), BOB)
