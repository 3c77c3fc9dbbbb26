"""How a server's terms reach its network process: what is always small at once, the rest in parts.

A message is bounded; the exclusions, the reservations and what clients are told need not be few. So
ServerStart has none of them, and the network process asks for them: nothing is sent before there is
somebody who reads.
"""

from collections.abc import Iterable, Iterator

from wg_dynamic.leases.push import SILENT, Push
from wg_dynamic.leases.terms import AddressRange, LeaseTerms, PeerName, PeerTerms, Reservation
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.codec import MAX_MESSAGE_SIZE, ChannelError
from wg_dynamic.privsep.requests import (
    MAX_EXCLUSIONS,
    MAX_NAMES,
    MAX_PART_EXCLUSIONS,
    MAX_PART_NAMES,
    MAX_PART_PUSHES,
    MAX_PART_RESERVATIONS,
    MAX_PUSHED_PEERS,
    MAX_PUSHED_ROUTES,
    MAX_RESERVATIONS,
    Exclusion,
    LevelPush,
    ReadTerms,
    Stop,
    TermsPart,
)
from wg_dynamic.record import replace

_HEAD_SIZE = 70
"""Bytes of a TermsPart, or of a level in it, without what its lists hold, at the most."""
_ROUTE_SIZE = 27
_SERVER_SIZE = 20
_LENGTH_SIZE = 4


def without_parts(terms: LeaseTerms) -> LeaseTerms:
    """What ServerStart carries."""
    pools = tuple(replace(pool, excluded=(), push=SILENT) for pool in terms.pools)
    return replace(terms, pools=pools, reservations=(), push=SILENT, peers=(), names=())


def terms_parts(terms: LeaseTerms) -> Iterator[TermsPart]:
    """The rest, in messages that each fit."""
    exclusions = [
        Exclusion(number, one) for number, pool in enumerate(terms.pools) for one in pool.excluded
    ]
    for at in range(0, len(exclusions), MAX_PART_EXCLUSIONS):
        yield TermsPart(tuple(exclusions[at : at + MAX_PART_EXCLUSIONS]), (), last=False)
    for at in range(0, len(terms.reservations), MAX_PART_RESERVATIONS):
        yield TermsPart((), terms.reservations[at : at + MAX_PART_RESERVATIONS], last=False)
    for at in range(0, len(terms.names), MAX_PART_NAMES):
        names = terms.names[at : at + MAX_PART_NAMES]
        yield TermsPart((), (), last=False, names=names)
    for group in _groups(_pushes(terms)):
        levels = tuple(one for one in group if isinstance(one, LevelPush))
        peers = tuple(one for one in group if isinstance(one, PeerTerms))
        yield TermsPart((), (), last=False, levels=levels, peers=peers)
    yield TermsPart((), (), last=True)


def _pushes(terms: LeaseTerms) -> Iterator[LevelPush | PeerTerms]:
    yield from (
        LevelPush(number, push)
        for number, push in [(None, terms.push), *enumerate(pool.push for pool in terms.pools)]
        if push != SILENT
    )
    yield from terms.peers


def _groups(
    items: Iterable[LevelPush | PeerTerms],
) -> Iterator[list[LevelPush | PeerTerms]]:
    """Each as many as fit into a message."""
    group: list[LevelPush | PeerTerms] = []
    room = MAX_MESSAGE_SIZE - _HEAD_SIZE
    for item in items:
        size = _HEAD_SIZE + _size(item.push)
        if group and (size > room or len(group) == MAX_PART_PUSHES):
            yield group
            group, room = [], MAX_MESSAGE_SIZE - _HEAD_SIZE
        group.append(item)
        room -= size
    if group:
        yield group


def _size(push: Push) -> int:
    """Bytes that the lists of a level take, at the most; its domains are ASCII."""
    lists = _ROUTE_SIZE * len(push.routes or ()) + _SERVER_SIZE * len(push.servers or ())
    return lists + sum(_LENGTH_SIZE + len(domain) for domain in push.search or ())


def join_terms(terms: LeaseTerms, parts: Iterable[TermsPart]) -> LeaseTerms:
    """What `without_parts` and `terms_parts` were made of; as lazy as `parts`.

    Raises:
        ChannelError: the parts do not go with the terms, or are too many.
    """
    joined = _Joined(terms)
    for part in parts:
        joined.add(part)
    return joined.terms()


class _Joined:
    """The terms as far as their parts have come."""

    def __init__(self, terms: LeaseTerms) -> None:
        self._bare = terms
        self._excluded: list[list[AddressRange]] = [[] for _ in terms.pools]
        self._reservations: list[Reservation] = []
        self._names: list[PeerName] = []
        self._push = terms.push
        self._pushes = [pool.push for pool in terms.pools]
        self._peers: list[PeerTerms] = []
        self._exclusions = 0
        self._routes = 0

    def add(self, part: TermsPart) -> None:
        """One more part. Raises ChannelError."""
        self._count(part)
        self._reservations += part.reservations
        self._peers += part.peers
        self._names += part.names
        for one in part.exclusions:
            self._find("an exclusion", one.pool)
            self._excluded[one.pool].append(one.addresses)
        for level in part.levels:
            if level.pool is None:
                self._push = level.push
            else:
                self._find("a level", level.pool)
                self._pushes[level.pool] = level.push

    def _count(self, part: TermsPart) -> None:
        self._exclusions += len(part.exclusions)
        reservations = len(self._reservations) + len(part.reservations)
        if self._exclusions > MAX_EXCLUSIONS or reservations > MAX_RESERVATIONS:
            msg = f"more than {MAX_EXCLUSIONS} exclusions or {MAX_RESERVATIONS} reservations"
            raise ChannelError(msg)
        if len(self._names) + len(part.names) > MAX_NAMES:
            msg = f"more than {MAX_NAMES} names"
            raise ChannelError(msg)
        pushes = [*[one.push for one in part.levels], *[one.push for one in part.peers]]
        self._routes += sum(len(push.routes or ()) for push in pushes)
        peers = len(self._peers) + len(part.peers)
        if self._routes > MAX_PUSHED_ROUTES or peers > MAX_PUSHED_PEERS:
            msg = f"more than {MAX_PUSHED_ROUTES} routes or {MAX_PUSHED_PEERS} peers"
            raise ChannelError(msg)

    def _find(self, what: str, pool: int) -> None:
        if pool >= len(self._excluded):
            msg = f"{what} in pool {pool}, expected one of {len(self._excluded)}"
            raise ChannelError(msg)

    def terms(self) -> LeaseTerms:
        """All of it."""
        pools = tuple(
            replace(pool, excluded=tuple(ranges), push=push)
            for pool, ranges, push in zip(
                self._bare.pools, self._excluded, self._pushes, strict=True
            )
        )
        return replace(
            self._bare,
            pools=pools,
            reservations=tuple(self._reservations),
            push=self._push,
            peers=tuple(self._peers),
            names=tuple(self._names),
        )


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
