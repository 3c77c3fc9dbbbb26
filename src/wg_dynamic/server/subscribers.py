"""Clients that are told of changes on connections that stay (docs/protocol.md 6.9).

Theory of operation. Of each subscriber is kept what it was told last, times left aside. When the
engine says that something is otherwise, for some peers or for all, their subscribers are put into
a queue; one task works on it, a few at a time, so that a reload on a hub of many thousands takes
no time from grants. What a subscriber is told is always the whole of what holds for it, so nothing
has to be kept for one that is slow: it is looked at again when it reads.
"""

import asyncio
from collections.abc import Iterable
from itertools import islice
from typing import Final, Protocol

from wg_dynamic.protocol import Address, Dns, Network, Route, Update
from wg_dynamic.record import dataclass
from wg_dynamic.server.engine import Engine
from wg_dynamic.server.identity import PeerTable
from wg_dynamic.system.clock import Clock

INTERVAL: Final = 120
"""Seconds between two pings of a subscriber; one that is silent for twice as long is closed."""
MAX_SUBSCRIBERS: Final = 4096
"""In all; the other half of the connections is for those who ask."""
MAX_OF_PEER: Final = 2
"""Of one peer: one more, and its oldest has to go. A client that lost its connection comes back
before we know that it did."""
RETRY_TIME: Final = 900
"""Seconds after which one who was turned away may ask again."""
AT_ONCE: Final = 20
"""Subscribers that are looked at before others have their turn: about a millisecond."""


class Subscriber(Protocol):
    """A connection, as seen from here."""

    @property
    def owner(self) -> bytes:
        """The public key of its peer."""

    @property
    def source(self) -> bytes:
        """The link-local address it comes from."""

    @property
    def is_full(self) -> bool:
        """Whether it has not read what it was sent; calls `Subscribers.again` when it has."""

    def push(self, update: Update) -> None:
        """Tell it."""

    def end(self) -> None:
        """Close it."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What a client was told, without times and serial: when it differs, there is news."""

    addresses: frozenset[tuple[Address, Network]]
    routes: tuple[Route, ...]
    dns: tuple[Dns, ...]
    mtu: int | None


class Subscribers:
    """All of one server."""

    def __init__(
        self, engine: Engine, peers: PeerTable, clock: Clock, *, most: int = MAX_SUBSCRIBERS
    ) -> None:
        """`most`: in all."""
        self._engine = engine
        self._peers = peers
        self._most = most
        self.serial = int(clock.wall())
        """Of the last push to anybody. It begins higher than an earlier server's ended."""
        self._told: dict[Subscriber, _Told] = {}
        self._of_peer: dict[bytes, list[Subscriber]] = {}
        self._due: dict[Subscriber, None] = {}
        self._came = asyncio.Event()
        engine.noticed = self.notice

    def __len__(self) -> int:
        """How many there are."""
        return len(self._told)

    def has_room(self, one: Subscriber) -> bool:
        """Whether it may become one, or is one."""
        return one in self._told or len(self._told) < min(self._most, MAX_SUBSCRIBERS)

    def add(self, one: Subscriber) -> Update:
        """Tell it of changes from now on; returns what it is to be told first.

        The oldest of a peer that has too many is closed.
        """
        self.remove(one)
        mine = self._of_peer.setdefault(one.owner, [])
        mine.append(one)
        update = self._engine.standing(one.owner, self.serial)
        self._told[one] = _essence(update)
        if len(mine) > MAX_OF_PEER:
            mine[0].end()
        return update

    def remove(self, one: Subscriber) -> None:
        """It has ended. Doing it twice is fine."""
        if self._told.pop(one, None) is None:
            return
        self._due.pop(one, None)
        mine = self._of_peer[one.owner]
        mine.remove(one)
        if not mine:
            del self._of_peer[one.owner]

    def notice(self, public_keys: Iterable[bytes] | None) -> None:
        """Something may be otherwise for these peers, or, with None, for all."""
        if not self._told:
            return
        if public_keys is None:
            self._due = dict.fromkeys(self._told)
        else:
            for key in self._of_peer.keys() & public_keys:
                self._due.update(dict.fromkeys(self._of_peer[key]))
        if self._due:
            self._came.set()

    def again(self, one: Subscriber) -> None:
        """It has read what it was sent: there may be news since."""
        if one in self._told:
            self._due[one] = None
            self._came.set()

    async def run(self) -> None:
        """Tell of changes until cancelled."""
        while True:
            await self._came.wait()
            self._came.clear()
            while self._due:
                for one in list(islice(self._due, AT_ONCE)):
                    self._due.pop(one, None)  # telling one may have ended another
                    self._look(one)
                await asyncio.sleep(0)

    def _look(self, one: Subscriber) -> None:
        told = self._told.get(one)
        if told is None or one.is_full:
            return
        if self._peers.owner(one.source) != one.owner:
            one.end()  # the address is another peer's now
            return
        update = self._engine.standing(one.owner, self.serial + 1)
        essence = _essence(update)
        if essence != told:
            self.serial += 1
            self._told[one] = essence
            one.push(update)


def _essence(update: Update) -> _Told:
    addresses = frozenset((one.ip, one.network) for one in update.addresses)
    return _Told(addresses, update.routes, update.dns, update.mtu)
