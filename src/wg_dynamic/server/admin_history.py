"""What has happened, for administrators who ask later: the last events, the last warnings.

And what happens, for those who follow: gathered for a moment, so that a thousand renewals in a
second cost a few writes. Nobody is waited for; who does not keep up is told how many it missed.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from wg_dynamic.admin.protocol import MAX_LAST
from wg_dynamic.leases.event import RENEWED, LeaseEvent, event_line
from wg_dynamic.server.engine import Engine
from wg_dynamic.system.clock import Clock
from wg_dynamic.system.log import printable

TICK: Final = 0.1
"""Seconds for which events are gathered before they are sent to those who follow."""
MAX_TICK: Final = 500
"""Events that are sent at once; of more in one tick, how many are lost is told."""
MAX_TROUBLES: Final = 20


class Follower(Protocol):
    """One who follows."""

    def tell(self, rows: list[bytes], lost: int) -> None:
        """Send these events; `lost` others were too many."""


class Troubles:
    """The last warnings and errors of this process, for the status."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.last: deque[tuple[float, str]] = deque(maxlen=MAX_TROUBLES)
        """(Unix time, text), the newest last."""

    def add(self, text: str) -> None:
        """One more; for system.log.watch."""
        self.last.append((self._clock.wall(), printable(text.partition("\n")[0])))


class History:
    """Events: the last ones, and each new one to those who follow, gathered for a moment."""

    def __init__(self, engine: Engine, interface: str) -> None:
        self._interface = interface
        self._engine = engine
        self.last: deque[bytes] = deque(maxlen=MAX_LAST)
        """Rows; of renewals there are too many to remember them."""
        self._followers: set[Follower] = set()
        self._gathered: list[bytes] = []
        self._lost = 0
        self._stop_renewals: Callable[[], None] = lambda: None
        kinds = set(engine.events.counts) - {RENEWED}
        engine.events.listen(self._tell, kinds)

    def follow(self, connection: Follower) -> None:
        """Send it what comes from now on."""
        if not self._followers:
            self._stop_renewals = self._engine.events.listen(self._tell_renewal, [RENEWED])
        self._followers.add(connection)

    def leave(self, connection: Follower) -> None:
        """Send it nothing any more; nothing happens when it does not follow."""
        if connection in self._followers:
            self._followers.discard(connection)
            if not self._followers:
                self._stop_renewals()

    def _tell(self, event: LeaseEvent) -> None:
        row = event_line(event, self._interface).encode("ascii")
        self.last.append(row)
        self._gather(row)

    def _tell_renewal(self, event: LeaseEvent) -> None:
        if len(self._gathered) < MAX_TICK:
            self._gather(event_line(event, self._interface).encode("ascii"))
        else:
            self._lost += 1

    def _gather(self, row: bytes) -> None:
        if not self._followers:
            return
        if not self._gathered:
            asyncio.get_running_loop().call_later(TICK, self._send)
        if len(self._gathered) < MAX_TICK:
            self._gathered.append(row)
        else:
            self._lost += 1

    def _send(self) -> None:
        rows, lost = self._gathered, self._lost
        self._gathered, self._lost = [], 0
        for connection in list(self._followers):
            connection.tell(rows, lost)
