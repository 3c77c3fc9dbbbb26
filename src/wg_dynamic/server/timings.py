"""How long things took, counted in buckets. Pure."""

from bisect import bisect_left
from typing import Final

BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds: upper bounds, as in Prometheus's clients."""


class Histogram:
    """Counts of durations below each bound."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self._sum = 0.0

    def add(self, seconds: float, count: int = 1) -> None:
        """`count` things took so long each."""
        self._counts[bisect_left(BOUNDS, seconds)] += count
        self._sum += seconds * count

    def told(self) -> dict[str, object]:
        """`buckets`: (bound, how many took that long or less, and longer than the bound before)."""
        return {
            "buckets": [list(pair) for pair in zip(BOUNDS, self._counts, strict=False)],
            "count": sum(self._counts),
            "sum": round(self._sum, 6),
        }


class Timings:
    """Of one server."""

    def __init__(self) -> None:
        self.request = Histogram()
        """A request's batch, from its beginning to the replies."""
        self.store = Histogram()
        """A commit."""
        self.wireguard = Histogram()
        """A change of allowed IPs, of all leases of a batch."""

    def told(self) -> dict[str, object]:
        """For the status."""
        return {
            "request": self.request.told(),
            "store": self.store.told(),
            "wireguard": self.wireguard.told(),
        }
