"""Terms in parts: all of them arrive, however many, and no message is too large."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from wg_dynamic.leases.pool import parse_pool
from wg_dynamic.leases.terms import AddressRange, LeaseTerms, PoolTerms, Reservation
from wg_dynamic.privsep import terms as module
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.codec import ChannelError, MessageCodec
from wg_dynamic.privsep.requests import (
    MAX_ADDRESSES_PER_PEER,
    MAX_PART_EXCLUSIONS,
    MAX_PART_RESERVATIONS,
    MAX_POOLS,
    SERVER_REPLIES,
    SERVER_REQUESTS,
    Changed,
    Exclusion,
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


def test_the_largest_messages_fit() -> None:
    codec = MessageCodec(SERVER_REPLIES)
    largest = a_reservation(1, 2 * MAX_ADDRESSES_PER_PEER)
    codec.encode(TermsPart((), (largest,) * MAX_PART_RESERVATIONS, last=True))
    codec.encode(TermsPart((Exclusion(1, a_range(1)),) * MAX_PART_EXCLUSIONS, (), last=True))
    pool = PoolTerms(parse_pool("fd00::/64"), 3600.0, 64)
    codec.encode(ServerStart("wg0", 1, LeaseTerms((pool,) * MAX_POOLS), (), "/x" * 2000))


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
