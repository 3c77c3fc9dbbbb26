"""When connections have to be done: one timer for all, at the cost of a dictionary entry each.

A connection gets a new deadline with each message; a timer of the event loop for each of them would
cost a tenth of a request. There are a few spans of time only, and the deadlines of one span
come in the order in which they were set.
"""

import asyncio
from typing import Protocol


class Waiting(Protocol):
    """What has a deadline."""

    def too_late(self) -> None:
        """It has come; it has none any more."""


class Deadlines:
    """One deadline for each that waits, in the event loop's time."""

    def __init__(self) -> None:
        self._spans: dict[float, dict[Waiting, float]] = {}
        """Seconds -> who has that long, and until when, the earliest first."""
        self._span_of: dict[Waiting, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many wait."""
        return len(self._span_of)

    def set(self, one: Waiting, span: float) -> None:
        """Let `one.too_late()` be called in so many seconds, in place of any earlier deadline."""
        loop = asyncio.get_running_loop()
        self.clear(one)
        until = loop.time() + span
        self._span_of[one] = span
        self._spans.setdefault(span, {})[one] = until
        if self._timer is None or until < self._timer.when():
            self._arm(loop, until)

    def clear(self, one: Waiting) -> None:
        """It has no deadline any more."""
        span = self._span_of.pop(one, None)
        if span is not None:
            del self._spans[span][one]

    def _arm(self, loop: asyncio.AbstractEventLoop, until: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(until, self._on_time)

    def _on_time(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        now = loop.time()
        late = [one for waiting in self._spans.values() for one in _until(waiting, now)]
        for one in late:
            self.clear(one)
        self._spans = {span: waiting for span, waiting in self._spans.items() if waiting}
        firsts = [next(iter(waiting.values())) for waiting in self._spans.values()]
        if firsts:
            self._arm(loop, min(firsts))
        for one in late:
            one.too_late()


def _until(waiting: dict[Waiting, float], now: float) -> list[Waiting]:
    late = []
    for one, until in waiting.items():
        if until > now:
            break
        late.append(one)
    return late
