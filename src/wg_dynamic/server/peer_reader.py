"""Reads WireGuard's peers again and again: WireGuard tells nobody when they change."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from wg_dynamic.privsep.requests import PeerInfo
from wg_dynamic.server.identity import PeerTable
from wg_dynamic.server.proxy import HelperProxy, NotReadError
from wg_dynamic.system.clock import Clock
from wg_dynamic.system.log import logger

_LOG = logger(__name__)

REFRESH_TIME = 5.0
"""Seconds between two readings of the peers, at least."""
REFRESH_COST = 100.0
"""A reading that took t seconds is not repeated for this many times t."""
REFRESH_SOON = 1.0
"""Seconds between two readings that unknown sources cause, at least."""
MOST_RESTRAINT = 10.0
"""Such a reading that took t seconds is not repeated for t, and for up to this many times t while
unknown sources stay unknown."""


class Pace:
    """When to read next. Times are in seconds, from the end of the last reading."""

    def __init__(self) -> None:
        self.cost = 0.0
        """What the last reading took."""
        self._restraint = 1.0

    def soonest(self) -> float:
        """When somebody wants it."""
        return max(REFRESH_SOON, self._restraint * self.cost)

    def latest(self) -> float:
        """When nobody does."""
        return max(REFRESH_TIME, REFRESH_COST * self.cost)

    def asked(self, *, found: bool) -> None:
        """A reading that a stranger caused has found somebody new, or not."""
        self._restraint = 1.0 if found else min(2 * self._restraint, MOST_RESTRAINT)


class PeerReader:
    """Reads the peers now and then, sooner when a stranger comes: WireGuard tells nobody."""

    def __init__(
        self,
        helper: HelperProxy,
        peers: PeerTable,
        tell: Callable[[list[PeerInfo]], None],
        clock: Clock,
    ) -> None:
        self._helper = helper
        self._peers = peers
        self._tell = tell
        self._clock = clock
        self._wanted = asyncio.Event()
        self._pace = Pace()
        self._reading = asyncio.Lock()
        """The helper gives the parts of one reading at a time."""
        self._failed = False
        """The last reading did, and the log knows."""

    def soon(self) -> None:
        """A stranger came: read at the next time that the rate limit allows."""
        self._wanted.set()

    async def run(self) -> None:
        """Read until cancelled. Raises HelperGoneError."""
        while True:
            pause = self._pace.soonest()
            await asyncio.sleep(pause)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pace.latest() - pause):
                    await self._wanted.wait()
            asked, known = self._wanted.is_set(), self._peers.sources()
            await self.read()
            if asked:
                self._pace.asked(found=not self._peers.sources() <= known)

    async def read_first(self) -> list[PeerInfo]:
        """Read until that was done. Raises HelperGoneError."""
        while True:
            infos = await self.read()
            if infos is not None:
                return infos
            await asyncio.sleep(REFRESH_SOON)

    async def read(self) -> list[PeerInfo] | None:
        """Read once; None, and everything as before, when that cannot be done now."""
        async with self._reading:
            infos = await self._read()
            if infos is not None:
                self._peers.update(infos)
                self._tell(infos)
        return infos

    async def read_for(self, use: Callable[[list[PeerInfo]], Awaitable[None]]) -> None:
        """Read until that was done, for somebody who is done before the next reading begins."""
        while True:
            async with self._reading:
                infos = await self._read()
                if infos is not None:
                    await use(infos)
                    return
            await asyncio.sleep(REFRESH_SOON)

    async def _read(self) -> list[PeerInfo] | None:
        self._wanted.clear()
        begin = self._clock.now()
        try:
            infos = await self._helper.read_peers()
        except NotReadError as error:
            if not self._failed:
                _LOG.warning("the peers cannot be read now: %s; trying again", error)
            self._failed = True
            return None
        self._failed = False
        self._pace.cost = self._clock.now() - begin
        return infos
