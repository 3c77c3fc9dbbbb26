"""Terms in parts: all of them arrive, however many, and no message is too large."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from wg_dynamic.address import Prefix
from wg_dynamic.leases.pool import parse_pool
from wg_dynamic.leases.push import (
    MAX_DNS_SEARCH,
    MAX_DNS_SERVERS,
    MAX_DOMAIN_LENGTH,
    MAX_METRIC,
    MAX_MTU,
    MAX_ROUTES,
    Push,
    PushedRoute,
)
from wg_dynamic.leases.terms import (
    MAX_NAME,
    AddressRange,
    LeaseTerms,
    PeerName,
    PeerTerms,
    PoolTerms,
    Reservation,
)
from wg_dynamic.privsep import terms as module
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.codec import ChannelError, MessageCodec
from wg_dynamic.privsep.requests import (
    MAX_ADDRESSES_PER_PEER,
    MAX_NAMES,
    MAX_PART_EXCLUSIONS,
    MAX_PART_NAMES,
    MAX_PART_PUSHES,
    MAX_PART_RESERVATIONS,
    MAX_POOLS,
    SERVER_REPLIES,
    SERVER_REQUESTS,
    Changed,
    Exclusion,
    LevelPush,
    ReadTerms,
    ServerStart,
    Stop,
    TermsPart,
)
from wg_dynamic.privsep.terms import join_terms, read_terms, terms_parts, without_parts

LAST = TermsPart((), (), last=True)


def a_range(number: int) -> AddressRange:
    address = number.to_bytes(16)
    return AddressRange(address, address)


def a_reservation(number: int, addresses: int = 1) -> Reservation:
    found = tuple((number + n).to_bytes(16) for n in range(addresses))
    return Reservation(number.to_bytes(32), found, 3600.0)


def a_terms(exclusions: int, reservations: int) -> LeaseTerms:
    """Exclusions in each of two pools."""
    excluded = tuple(map(a_range, range(exclusions)))
    pools = tuple(
        PoolTerms(parse_pool(text), excluded=excluded) for text in ("fd00::/64", "fd01::/64")
    )
    return LeaseTerms(pools, tuple(map(a_reservation, range(reservations))))


@pytest.mark.parametrize(
    ("exclusions", "reservations", "parts"),
    [
        (0, 0, 1),
        (1, 1, 3),
        (MAX_PART_EXCLUSIONS // 2, MAX_PART_RESERVATIONS, 3),
        (MAX_PART_EXCLUSIONS // 2 + 1, MAX_PART_RESERVATIONS + 1, 5),
        (2000, 2000, 19),
    ],
)
def test_what_is_taken_apart_is_joined_again(
    exclusions: int, reservations: int, parts: int
) -> None:
    terms = a_terms(exclusions, reservations)
    bare, made = without_parts(terms), list(terms_parts(terms))
    assert bare == LeaseTerms(tuple(PoolTerms(pool.pool) for pool in terms.pools))
    assert len(made) == parts
    assert [part.last for part in made] == [False] * (parts - 1) + [True]
    assert join_terms(bare, made) == terms


def test_names_arrive_too_and_there_are_so_many() -> None:
    names = tuple(PeerName(n.to_bytes(32), f"laptop {n}") for n in range(2 * MAX_PART_NAMES + 1))
    terms = replace(a_terms(0, 0), names=names)
    bare, made = without_parts(terms), list(terms_parts(terms))
    assert (bare.names, len(made)) == ((), 4)
    assert join_terms(bare, made) == terms
    part = replace(LAST, names=names[:MAX_PART_NAMES])
    with pytest.raises(ChannelError, match=f"more than {MAX_NAMES} names"):
        join_terms(bare, [part] * (MAX_NAMES // MAX_PART_NAMES + 1))
    for wrong in (names[: MAX_PART_NAMES + 1], (PeerName(b"short", "x"),)):
        with pytest.raises(ValueError, match=r"names|32 bytes"):
            replace(LAST, names=wrong)
    with pytest.raises(ValueError, match="a name of 65 characters"):
        replace(LAST, names=(PeerName(bytes(32), "x" * 65),))


def test_the_largest_messages_fit() -> None:
    codec = MessageCodec(SERVER_REPLIES)
    named = PeerName(bytes(32), "\U0001f600" * MAX_NAME)
    codec.encode(replace(LAST, names=(named,) * MAX_PART_NAMES))
    largest = a_reservation(1, 2 * MAX_ADDRESSES_PER_PEER)
    codec.encode(TermsPart((), (largest,) * MAX_PART_RESERVATIONS, last=True))
    codec.encode(TermsPart((Exclusion(1, a_range(1)),) * MAX_PART_EXCLUSIONS, (), last=True))
    pool = PoolTerms(parse_pool("fd00::/64"), 3600.0, 64)
    codec.encode(ServerStart("wg0", 1, LeaseTerms((pool,) * MAX_POOLS), (), "/x" * 2000))


LARGEST = Push(
    (PushedRoute(Prefix(bytes(16), 0), MAX_METRIC),) * MAX_ROUTES,
    (bytes(16),) * MAX_DNS_SERVERS,
    ("x" * MAX_DOMAIN_LENGTH,) * MAX_DNS_SEARCH,
    MAX_MTU,
)


@pytest.mark.parametrize(
    ("push", "peers", "parts"),
    [
        (Push(), 0, 1),
        (Push(mtu=1420), 0, 2),
        (Push(()), MAX_PART_PUSHES - 3, 2),
        (Push(()), MAX_PART_PUSHES - 2, 3),
        (LARGEST, 1, 2),
        (LARGEST, 2, 2),
        (LARGEST, 100, 22),
    ],
)
def test_what_clients_are_told_is_taken_apart_too(push: Push, peers: int, parts: int) -> None:
    """Whatever its size, each message fits, and is not sent for a little only."""
    codec = MessageCodec(SERVER_REPLIES)
    terms = LeaseTerms(
        tuple(PoolTerms(parse_pool(text), push=push) for text in ("fd00::/64", "fd01::/64")),
        push=push,
        peers=tuple(PeerTerms(number.to_bytes(32), push) for number in range(peers)),
    )
    bare, made = without_parts(terms), list(terms_parts(terms))
    assert bare == LeaseTerms(tuple(PoolTerms(pool.pool) for pool in terms.pools))
    assert len(made) == parts
    received = [codec.decode(codec.encode(part)) for part in made]
    assert join_terms(bare, received) == terms  # type: ignore[arg-type]


def test_many_peers_that_are_told_little_come_in_few_parts() -> None:
    push = Push((PushedRoute(Prefix(bytes(4), 8)),))
    peers = tuple(PeerTerms(number.to_bytes(32), push) for number in range(1 + 2 * MAX_PART_PUSHES))
    made = list(terms_parts(LeaseTerms((), peers=peers)))
    assert len(made) < 6
    assert sum(len(part.peers) for part in made) == len(peers)


def test_a_level_in_no_pool_is_refused() -> None:
    part = TermsPart((), (), last=True, levels=(LevelPush(2, Push()),))
    with pytest.raises(ChannelError, match="a level in pool 2, expected one of 2"):
        join_terms(without_parts(a_terms(0, 0)), [part])


@pytest.mark.parametrize(("limit", "count"), [("MAX_PUSHED_PEERS", 3), ("MAX_PUSHED_ROUTES", 8)])
def test_what_clients_are_told_has_an_end(
    monkeypatch: pytest.MonkeyPatch, limit: str, count: int
) -> None:
    push = Push((PushedRoute(Prefix(bytes(4), 8)),) * 2)
    peers = tuple(PeerTerms(bytes([number]) * 32, push) for number in range(3))
    terms = LeaseTerms((), push=push, peers=peers)
    parts = [TermsPart((), (), last=False, peers=(peer,)) for peer in peers[1:]]
    parts += terms_parts(replace(terms, peers=peers[:1]))
    monkeypatch.setattr(module, limit, count)
    assert len(join_terms(without_parts(terms), parts).peers) == 3
    monkeypatch.setattr(module, limit, count - 1)
    with pytest.raises(ChannelError, match=r"more than .* routes or .* peers"):
        join_terms(without_parts(terms), parts)


def test_an_exclusion_in_no_pool_is_refused() -> None:
    bare = without_parts(a_terms(0, 0))
    part = TermsPart((Exclusion(2, a_range(1)),), (), last=True)
    with pytest.raises(ChannelError, match="an exclusion in pool 2, expected one of 2"):
        join_terms(bare, [part])


@pytest.mark.parametrize(("exclusions", "reservations"), [(2, 4), (4, 2)])
def test_there_is_an_end_to_it(
    monkeypatch: pytest.MonkeyPatch, exclusions: int, reservations: int
) -> None:
    terms = a_terms(exclusions, reservations)
    monkeypatch.setattr(module, "MAX_EXCLUSIONS", 8)
    monkeypatch.setattr(module, "MAX_RESERVATIONS", 4)
    assert join_terms(without_parts(terms), terms_parts(terms)) == terms
    monkeypatch.setattr(module, "MAX_EXCLUSIONS", 2 * exclusions - (exclusions == 4))
    monkeypatch.setattr(module, "MAX_RESERVATIONS", reservations - (reservations == 4))
    with pytest.raises(ChannelError, match="more than"):
        join_terms(without_parts(terms), terms_parts(terms))


class Ends:
    """Both ends of a channel."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.helper = Channel(ours, SERVER_REPLIES, SERVER_REQUESTS)
        self.network = Channel(theirs, SERVER_REQUESTS, SERVER_REPLIES)


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.helper.close()
    made.network.close()


def test_they_are_asked_for_and_read(ends: Ends) -> None:
    """Far more than the socket takes at once."""
    terms = a_terms(3000, 3000)

    def answer() -> None:
        ends.helper.wait_for(ReadTerms)
        for part in terms_parts(terms):
            ends.helper.send(part)

    thread = threading.Thread(target=answer)
    thread.start()
    assert read_terms(ends.network, without_parts(terms)) == terms
    thread.join()


def test_a_stop_meanwhile_is_the_end(ends: Ends) -> None:
    ends.helper.send(replace(LAST, last=False))
    ends.helper.send(Stop(release=False))
    with pytest.raises(EOFError):
        read_terms(ends.network, LeaseTerms(()))


def test_another_answer_is_none(ends: Ends) -> None:
    ends.helper.send(Changed(()))
    with pytest.raises(ChannelError, match="Changed instead of the terms"):
        read_terms(ends.network, LeaseTerms(()))
