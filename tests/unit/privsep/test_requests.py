"""Which requests can be made at all, and that the largest of each fits into a message."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from math import nan

import pytest

from wg_dynamic.address import Prefix, host_prefix, parse_address, parse_prefix
from wg_dynamic.leases.pool import Pool, parse_pool
from wg_dynamic.leases.push import (
    MAX_DNS_SEARCH,
    MAX_DNS_SERVERS,
    MAX_DOMAIN_LENGTH,
    MAX_METRIC,
    MAX_MTU,
    MAX_ROUTES,
    MIN_MTU,
    Push,
    PushedRoute,
)
from wg_dynamic.leases.terms import (
    INFINITE,
    MAX_LEASE_TIME,
    AddressRange,
    LeaseTerms,
    PeerTerms,
    PoolTerms,
    Reservation,
)
from wg_dynamic.privsep.codec import MAX_MESSAGE_SIZE, MessageCodec
from wg_dynamic.privsep.requests import (
    CLIENT_REPLIES,
    CLIENT_REQUESTS,
    CONTROL_MESSAGES,
    MAX_ADDRESSES,
    MAX_ADDRESSES_PER_PEER,
    MAX_CHANGES,
    MAX_PART_EXCLUSIONS,
    MAX_PART_PUSHES,
    MAX_PART_RESERVATIONS,
    MAX_PEERS_PREFIXES,
    MAX_POOLS,
    MAX_REASON,
    MAX_STATE,
    MAX_STATUS,
    MAX_TEXT,
    PEER_COST,
    SERVER_REPLIES,
    SERVER_REQUESTS,
    AddressSetting,
    ApplyLease,
    Change,
    ChangeAllowedIPs,
    Changed,
    Exclusion,
    Fatal,
    LevelPush,
    NewTerms,
    PeerInfo,
    Peers,
    Progress,
    Refusal,
    Refused,
    Reloaded,
    Report,
    RouteSetting,
    ServerStart,
    Status,
    TermsPart,
    is_domain,
)
from wg_dynamic.wireguard.key import peer_label

ALL = (SERVER_REQUESTS, SERVER_REPLIES, CLIENT_REQUESTS, CLIENT_REPLIES, CONTROL_MESSAGES)
LONGEST = Prefix(b"\xff" * 16, 128)


def a_change(prefix: str = "10.0.0.1/32", key: bytes = b"k" * 32) -> Change:
    return Change(key, parse_prefix(prefix), add=True)


def a_setting(
    address: str = "10.0.0.7/32",
    network: str = "10.0.0.0/24",
    preferred_time: int = 60,
    valid_time: int = 60,
) -> AddressSetting:
    return AddressSetting(parse_prefix(address), parse_prefix(network), preferred_time, valid_time)


def size(messages: tuple[type, ...], message: object) -> int:
    return len(MessageCodec(messages).encode(message))


def test_a_change_is_of_one_address_of_one_peer() -> None:
    a_change("10.0.0.1/32")
    a_change("fd00::1/128")
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/31 is more than one address"):
        a_change("10.0.0.0/31")
    for length in (0, 31, 33):
        with pytest.raises(ValueError, match="not 32 bytes"):
            a_change(key=bytes(length))


def test_the_number_of_changes_is_bounded_and_fits() -> None:
    change = Change(b"k" * 32, LONGEST, add=True)
    most = ChangeAllowedIPs((change,) * MAX_CHANGES)
    assert size(SERVER_REQUESTS, most) <= MAX_MESSAGE_SIZE
    with pytest.raises(ValueError, match="more than 512 changes"):
        ChangeAllowedIPs((change,) * (MAX_CHANGES + 1))


def test_a_refusal_of_everything_fits() -> None:
    """Each for the longest reason that helper/allowed_ips.py gives."""
    reason = f"it is inside {LONGEST} of {peer_label(bytes(32))}"
    assert len(reason) <= MAX_REASON
    reason = "x" * MAX_REASON
    refusals = tuple(Refusal(index, reason) for index in range(MAX_CHANGES))
    assert size(SERVER_REPLIES, Changed(refusals)) <= MAX_MESSAGE_SIZE


@pytest.mark.parametrize("prefixes", [0, 1, MAX_PEERS_PREFIXES - PEER_COST])
def test_the_largest_part_of_a_dump_fits(prefixes: int) -> None:
    info = PeerInfo(b"k" * 32, (LONGEST,) * prefixes, ())
    count = MAX_PEERS_PREFIXES // (PEER_COST + prefixes)
    assert size(SERVER_REPLIES, Peers((info,) * count, last=False)) <= MAX_MESSAGE_SIZE


@pytest.mark.parametrize(
    "setting",
    [
        a_setting,
        lambda: a_setting(network="10.0.0.7/32"),
        lambda: a_setting("fd00::7/128", "fd00::/64"),
        lambda: a_setting(preferred_time=1, valid_time=1),
        lambda: a_setting(preferred_time=1, valid_time=(1 << 32) - 1),
    ],
)
def test_a_setting_may_be_what_a_server_leases(setting: Callable[[], AddressSetting]) -> None:
    setting()


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        (lambda: a_setting("10.0.0.0/24"), "more than one address"),
        (lambda: a_setting(network="10.0.0.1/24"), "has host bits set"),
        (lambda: a_setting("10.0.1.7/32"), "is outside"),
        (lambda: a_setting("fd00::7/128"), "is outside"),
        (lambda: a_setting(preferred_time=0), "lifetimes"),
        (lambda: a_setting(preferred_time=-1), "lifetimes"),
        (lambda: a_setting(preferred_time=61), "lifetimes"),
        (lambda: a_setting(valid_time=1 << 32), "lifetimes"),
    ],
)
def test_a_setting_that_does_not_hang_together_is_none(
    setting: Callable[[], AddressSetting], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        setting()


def test_the_number_of_addresses_is_bounded_and_fits() -> None:
    setting = AddressSetting(LONGEST, LONGEST, 1, 1)
    most = ApplyLease((setting,) * MAX_ADDRESSES)
    assert size(CLIENT_REQUESTS, most) <= MAX_MESSAGE_SIZE
    with pytest.raises(ValueError, match="more than 16 addresses"):
        ApplyLease((setting,) * (MAX_ADDRESSES + 1))


def test_all_that_a_server_may_push_fits() -> None:
    setting = AddressSetting(LONGEST, LONGEST, 1, 1)
    most = ApplyLease(
        (setting,) * MAX_ADDRESSES,
        (RouteSetting(LONGEST, MAX_METRIC),) * MAX_ROUTES,
        MAX_METRIC,
        (bytes(16),) * MAX_DNS_SERVERS,
        (LONG_NAME,) * MAX_DNS_SEARCH,
        MAX_MTU,
    )
    assert size(CLIENT_REQUESTS, most) <= MAX_MESSAGE_SIZE


LONG_NAME = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: ApplyLease((), (RouteSetting(LONGEST),) * 257), "more than 256 routes"),
        (lambda: ApplyLease((), more_routes=-1), "-1 more routes"),
        (lambda: ApplyLease((), name_servers=(bytes(4),) * 9), "more than 8 name servers"),
        (lambda: ApplyLease((), name_servers=(bytes(5),)), "address of 5 bytes"),
        (lambda: ApplyLease((), search=("a",) * 17), "more than 16 search domains"),
        (lambda: ApplyLease((), search=("-a",)), "is no domain name"),
        (lambda: ApplyLease((), mtu=-1), "MTU -1"),
        (lambda: ApplyLease((), mtu=65536), "MTU 65536"),
        (lambda: RouteSetting(parse_prefix("10.0.0.1/8")), "has host bits set"),
        (lambda: RouteSetting(LONGEST, -1), "metric -1"),
        (lambda: RouteSetting(LONGEST, 1 << 32), "metric 4294967296"),
        (lambda: Refused("MTU 1", "x" * 151), "more than 150 characters"),
    ],
)
def test_what_is_pushed_is_bounded(make: Callable[[], object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make()


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("example.org", True),
        ("a", True),
        ("x-1.example", True),
        (LONG_NAME, True),
        (LONG_NAME + "d", False),
        ("a" * 64, False),
        ("", False),
        ("a..b", False),
        ("example.org.", False),
        ("-x.example", False),
        ("x-.example", False),
        ("Example", False),
        ("a b", False),
        ("a\nnameserver 192.0.2.1", False),
        ("a\n", False),
        ("_tcp", False),
        ("caf\u00e9", False),
    ],
)
def test_a_domain_name_can_mean_nothing_else(name: str, *, good: bool) -> None:
    assert is_domain(name) is good


POOL = PoolTerms(parse_pool("10.44.0.0/24"))
TERMS = LeaseTerms((POOL,))


def start(terms: LeaseTerms = TERMS, own: tuple[bytes, ...] = ()) -> ServerStart:
    return ServerStart("wg0", 1, terms, own, "/x")


def test_terms_may_be_what_an_administrator_asks_for() -> None:
    start()
    start(LeaseTerms(()))
    start(LeaseTerms((POOL,) * MAX_POOLS), (bytes(4), bytes(16)))
    start(replace(TERMS, lease_time=60, min_lease_time=60, max_lease_time=60))
    start(replace(TERMS, addresses_per_peer=MAX_ADDRESSES_PER_PEER, grace_time=MAX_LEASE_TIME))
    start(LeaseTerms((replace(POOL, lease_time=60.0, network_length=32),)))


@pytest.mark.parametrize(
    ("terms", "complaint"),
    [
        (LeaseTerms((POOL,) * (MAX_POOLS + 1)), "257 pools"),
        (LeaseTerms((PoolTerms(Pool(parse_prefix("10.44.0.1/24"))),)), "has host bits set"),
        (LeaseTerms((replace(POOL, network_length=33),)), "network length 33"),
        (LeaseTerms((replace(POOL, network_length=0),)), "network length 0"),
        (LeaseTerms((replace(POOL, lease_time=-1.0),)), "-1.0 seconds"),
        (LeaseTerms((replace(POOL, lease_time=nan),)), "nan seconds"),
        (replace(TERMS, lease_time=INFINITE, max_lease_time=INFINITE), "inf seconds"),
        (replace(TERMS, max_lease_time=MAX_LEASE_TIME + 1), "31536001 seconds"),
        (replace(TERMS, grace_time=nan), "nan seconds"),
        (replace(TERMS, quarantine_time=-1), "-1 seconds"),
        (replace(TERMS, lease_time=59), "out of its own bounds"),
        (replace(TERMS, lease_time=nan), "out of its own bounds"),
        (replace(TERMS, min_lease_time=0), "out of its own bounds"),
        (replace(TERMS, addresses_per_peer=0), "0 addresses for each peer"),
        (replace(TERMS, addresses_per_peer=MAX_ADDRESSES_PER_PEER + 1), "9 addresses"),
        (replace(TERMS, max_new_addresses=0), "0 new addresses"),
        (replace(TERMS, push=Push(mtu=1279)), "MTU 1279"),
        (LeaseTerms((replace(POOL, push=Push(mtu=1279)),)), "MTU 1279"),
    ],
)
def test_terms_that_make_no_sense_are_none(terms: LeaseTerms, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        start(terms)


def test_the_hub_s_own_addresses_are_addresses() -> None:
    with pytest.raises(ValueError, match="address of 5 bytes"):
        start(own=(bytes(5),))


ADDRESS = parse_address("10.44.0.7")
RESERVATION = Reservation(b"k" * 32, (ADDRESS,))
EXCLUSION = Exclusion(0, AddressRange(ADDRESS, ADDRESS))


def test_a_part_of_the_terms_is_bounded() -> None:
    TermsPart((EXCLUSION,) * MAX_PART_EXCLUSIONS, (), last=False)
    TermsPart((), (RESERVATION,) * MAX_PART_RESERVATIONS, last=False)
    with pytest.raises(ValueError, match="1001 exclusions"):
        TermsPart((EXCLUSION,) * (MAX_PART_EXCLUSIONS + 1), (), last=False)
    with pytest.raises(ValueError, match="151 reservations"):
        TermsPart((), (RESERVATION,) * (MAX_PART_RESERVATIONS + 1), last=False)


@pytest.mark.parametrize("time", [None, 0.0, 60.0, INFINITE])
def test_a_reservation_may_be_without_end(time: float | None) -> None:
    TermsPart((), (replace(RESERVATION, lease_time=time),), last=True)


@pytest.mark.parametrize(
    ("part", "complaint"),
    [
        (lambda: replace(EXCLUSION, pool=-1), "pool number -1"),
        (lambda: replace(EXCLUSION, pool=MAX_POOLS), "pool number 256"),
        (lambda: replace(EXCLUSION, addresses=AddressRange(b"12345", b"12345")), "of 5 bytes"),
        (lambda: replace(RESERVATION, public_key=bytes(31)), "not 32 bytes"),
        (lambda: replace(RESERVATION, addresses=()), "number of reserved addresses"),
        (lambda: replace(RESERVATION, addresses=(ADDRESS,) * 17), "number of reserved"),
        (lambda: replace(RESERVATION, addresses=(bytes(5),)), "address of 5 bytes"),
        (lambda: replace(RESERVATION, lease_time=nan), "nan seconds"),
        (lambda: replace(RESERVATION, lease_time=-1.0), "-1.0 seconds"),
        (lambda: replace(RESERVATION, lease_time=-INFINITE), "-inf seconds"),
    ],
)
def test_a_part_that_makes_no_sense_is_none(
    part: Callable[[], Exclusion | Reservation], complaint: str
) -> None:
    made = part()
    exclusions = (made,) if isinstance(made, Exclusion) else ()
    reservations = (made,) if isinstance(made, Reservation) else ()
    with pytest.raises(ValueError, match=complaint):
        TermsPart(exclusions, reservations, last=True)


ROUTE = PushedRoute(parse_prefix("10.20.0.0/16"))
SEARCH = "x" * MAX_DOMAIN_LENGTH


@pytest.mark.parametrize(
    "push",
    [
        Push(),
        Push((), (), ()),
        Push((ROUTE,) * MAX_ROUTES, (ADDRESS,) * MAX_DNS_SERVERS, (SEARCH,) * MAX_DNS_SEARCH),
        Push((replace(ROUTE, metric=0), replace(ROUTE, metric=MAX_METRIC)), mtu=MIN_MTU),
        Push(mtu=MAX_MTU),
    ],
)
def test_what_clients_are_told_may_be_much(push: Push) -> None:
    TermsPart((), (), last=True, levels=(LevelPush(None, push), LevelPush(255, push)))
    TermsPart((), (), last=True, peers=(PeerTerms(b"k" * 32, push),))


@pytest.mark.parametrize(
    ("push", "complaint"),
    [
        (Push((ROUTE,) * (MAX_ROUTES + 1)), "257 routes"),
        (Push((PushedRoute(parse_prefix("10.20.0.1/16")),)), "10.20.0.1/16 has host bits set"),
        (Push((replace(ROUTE, metric=-1),)), "metric -1"),
        (Push((replace(ROUTE, metric=MAX_METRIC + 1),)), "metric 4294967296"),
        (Push(servers=(ADDRESS,) * (MAX_DNS_SERVERS + 1)), "9 name servers"),
        (Push(servers=(bytes(5),)), "address of 5 bytes"),
        (Push(search=("a",) * (MAX_DNS_SEARCH + 1)), "17 search domains"),
        (Push(search=("",)), "search domain's length"),
        (Push(search=(SEARCH + "x",)), "search domain's length"),
        (Push(mtu=MIN_MTU - 1), "MTU 1279"),
        (Push(mtu=MAX_MTU + 1), "MTU 65536"),
    ],
)
def test_what_clients_cannot_be_told_is_refused(push: Push, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        TermsPart((), (), last=True, levels=(LevelPush(None, push),))
    with pytest.raises(ValueError, match=complaint):
        TermsPart((), (), last=True, peers=(PeerTerms(b"k" * 32, push),))


def test_levels_are_of_pools_and_peers() -> None:
    for pool in (-1, MAX_POOLS):
        with pytest.raises(ValueError, match=f"pool number {pool}"):
            TermsPart((), (), last=True, levels=(LevelPush(pool, Push()),))
    with pytest.raises(ValueError, match="not 32 bytes"):
        TermsPart((), (), last=True, peers=(PeerTerms(b"k" * 31, Push()),))
    level, peer = LevelPush(0, Push()), PeerTerms(b"k" * 32, Push())
    TermsPart((), (), last=True, levels=(level,), peers=(peer,) * (MAX_PART_PUSHES - 1))
    with pytest.raises(ValueError, match=f"{MAX_PART_PUSHES + 1} levels"):
        TermsPart((), (), last=True, levels=(level,), peers=(peer,) * MAX_PART_PUSHES)


@pytest.mark.parametrize("kind", [Report, Fatal])
def test_a_text_is_bounded_and_fits(kind: type[Report] | type[Fatal]) -> None:
    assert size(CLIENT_REQUESTS, kind("\N{SNOWMAN}" * MAX_TEXT)) <= MAX_MESSAGE_SIZE
    with pytest.raises(ValueError, match="more than 1000 characters"):
        kind("x" * (MAX_TEXT + 1))


def test_no_message_has_room_for_a_secret() -> None:
    for messages in ALL:
        for message in messages:
            assert is_dataclass(message)
            for field in fields(message):
                assert "private" not in field.name
                assert "preshared" not in field.name


def test_the_set_is_closed_to_either_side() -> None:
    """Nothing that the helper says can be said back to it but what both may say."""
    assert not set(SERVER_REQUESTS) & set(SERVER_REPLIES)
    assert not set(CLIENT_REQUESTS) & set(CLIENT_REPLIES)
    assert host_prefix(parse_address("10.0.0.1")).is_host


@pytest.mark.parametrize("state", ["", "a" * (MAX_STATE + 1), "a b", "\n", "é", "\x1b[m"])
def test_a_state_is_a_short_word(state: str) -> None:
    Progress("a" * MAX_STATE, None, 2)
    with pytest.raises(ValueError, match="no name of a state"):
        Progress(state, None, 2)


@pytest.mark.parametrize("moment", [-1.0, nan, float("inf"), 1e300])
def test_the_next_moment_is_one_that_will_come(moment: float) -> None:
    Progress("bound", 0.0, 255)
    with pytest.raises(ValueError, match="no moment"):
        Progress("bound", moment, 2)


@pytest.mark.parametrize("version", [-1, 0, 256])
def test_a_version_is_one_of_a_protocol(version: int) -> None:
    with pytest.raises(ValueError, match=f"version {version}"):
        Progress("bound", None, version)


def test_the_longest_answer_to_a_reload_fits_into_a_message() -> None:
    assert size(CONTROL_MESSAGES, Reloaded(True, "a" * MAX_STATUS)) <= MAX_MESSAGE_SIZE
    with pytest.raises(ValueError, match=f"more than {MAX_STATUS} characters"):
        Reloaded(True, "a" * (MAX_STATUS + 1))


def test_new_terms_are_checked_as_those_of_a_start() -> None:
    terms = LeaseTerms((), lease_time=60)
    assert NewTerms(1, terms, (bytes(4),)).terms == terms
    with pytest.raises(ValueError, match="address of 5 bytes"):
        NewTerms(1, terms, (bytes(5),))
    with pytest.raises(ValueError, match="lease time out of its own bounds"):
        NewTerms(1, LeaseTerms((), lease_time=1), ())


def test_the_longest_status_fits_into_a_message() -> None:
    assert size(CONTROL_MESSAGES, Status("a" * MAX_STATUS)) <= MAX_MESSAGE_SIZE
    with pytest.raises(ValueError, match=f"more than {MAX_STATUS} characters"):
        Status("a" * (MAX_STATUS + 1))
