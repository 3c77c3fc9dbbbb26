"""Who works beside the grants gets its turns here, and never more of the time than its share."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

SHARE: Final = 4
"""After a turn, nobody here has one for three times as long as it took: a quarter of the time."""
MIN_PAUSE: Final = 0.001
"""Seconds."""
MAX_PAUSE: Final = 0.25
"""Seconds: the clock may have been stopped in the middle of a turn."""

Turn = Callable[[], bool]
"""Does a little, and says whether there is more to do."""


class Pace:
    """A queue of those who want a turn. For the event loop's thread."""

    def __init__(self) -> None:
        self._queue: deque[Turn] = deque()
        self._handle: asyncio.TimerHandle | None = None
        self._free_at = 0.0
        """When the next turn may be, in the loop's time."""

    def want(self, turn: Turn) -> None:
        """Call it when it is its turn, once, and again for as long as it returns True."""
        self._queue.append(turn)
        self._arm()

    def close(self) -> None:
        """Give nobody a turn any more."""
        self._queue.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self) -> None:
        if self._queue and self._handle is None:
            self._handle = asyncio.get_running_loop().call_at(self._free_at, self._next)

    def _next(self) -> None:
        self._handle = None
        loop = asyncio.get_running_loop()
        turn = self._queue.popleft()
        begin = loop.time()
        if turn():
            self._queue.append(turn)
        end = loop.time()
        self._free_at = end + min(MAX_PAUSE, max(MIN_PAUSE, (SHARE - 1) * (end - begin)))
        self._arm()
