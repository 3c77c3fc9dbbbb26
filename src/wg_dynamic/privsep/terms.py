"""How a server's terms reach its network process: what is always small at once, the rest in parts.

A message is bounded, the exclusions and reservations of an administrator need not be few. So
ServerStart has none of them, and the network process asks for them: nothing is sent before there is
somebody who reads.
"""

from collections.abc import Iterable, Iterator

from wg_dynamic.leases.terms import AddressRange, LeaseTerms, Reservation
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.codec import ChannelError
from wg_dynamic.privsep.requests import (
    MAX_EXCLUSIONS,
    MAX_PART_EXCLUSIONS,
    MAX_PART_RESERVATIONS,
    MAX_RESERVATIONS,
    Exclusion,
    ReadTerms,
    Stop,
    TermsPart,
)
from wg_dynamic.record import replace


def without_parts(terms: LeaseTerms) -> LeaseTerms:
    """What ServerStart carries."""
    pools = tuple(replace(pool, excluded=()) for pool in terms.pools)
    return replace(terms, pools=pools, reservations=())


def terms_parts(terms: LeaseTerms) -> Iterator[TermsPart]:
    """The rest, in messages that each fit."""
    exclusions = [
        Exclusion(number, one) for number, pool in enumerate(terms.pools) for one in pool.excluded
    ]
    for at in range(0, len(exclusions), MAX_PART_EXCLUSIONS):
        yield TermsPart(tuple(exclusions[at : at + MAX_PART_EXCLUSIONS]), (), last=False)
    for at in range(0, len(terms.reservations), MAX_PART_RESERVATIONS):
        yield TermsPart((), terms.reservations[at : at + MAX_PART_RESERVATIONS], last=False)
    yield TermsPart((), (), last=True)


def join_terms(terms: LeaseTerms, parts: Iterable[TermsPart]) -> LeaseTerms:
    """What `without_parts` and `terms_parts` were made of; as lazy as `parts`.

    Raises:
        ChannelError: the parts do not go with the terms, or are too many.
    """
    excluded: list[list[AddressRange]] = [[] for _ in terms.pools]
    reservations: list[Reservation] = []
    count = 0
    for part in parts:
        reservations += part.reservations
        count += len(part.exclusions)
        if count > MAX_EXCLUSIONS or len(reservations) > MAX_RESERVATIONS:
            msg = f"more than {MAX_EXCLUSIONS} exclusions or {MAX_RESERVATIONS} reservations"
            raise ChannelError(msg)
        for one in part.exclusions:
            if one.pool >= len(excluded):
                msg = f"an exclusion in pool {one.pool}, expected one of {len(excluded)}"
                raise ChannelError(msg)
            excluded[one.pool].append(one.addresses)
    pools = tuple(
        replace(pool, excluded=tuple(ranges))
        for pool, ranges in zip(terms.pools, excluded, strict=True)
    )
    return replace(terms, pools=pools, reservations=tuple(reservations))


def read_terms(channel: Channel, terms: LeaseTerms) -> LeaseTerms:
    """Ask the helper for the rest of what ServerStart carried. Blocks.

    Raises:
        EOFError: the helper is gone, or says Stop instead.
        ChannelError: what came is no answer.
    """
    channel.send(ReadTerms())
    return join_terms(terms, _receive(channel))


def _receive(channel: Channel) -> Iterator[TermsPart]:
    last = False
    while not last:
        message, _ = channel.wait_for(object)
        if isinstance(message, Stop):
            raise EOFError
        if not isinstance(message, TermsPart):
            msg = f"{type(message).__name__} instead of the terms"
            raise ChannelError(msg)
        last = message.last
        yield message
