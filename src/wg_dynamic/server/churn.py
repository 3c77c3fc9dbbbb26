"""How many new addresses each peer has got of late. Pure."""

from collections import Counter

from wg_dynamic.leases.terms import CHURN_PERIOD


class Churn:
    """Counts in whole periods: what was counted before the present one began is forgotten.

    So a peer gets twice the limit in a moment at the most, and what is kept is bounded by the
    peers that were busy in one period.
    """

    def __init__(self, limit: int) -> None:
        """`limit` new addresses for each peer in CHURN_PERIOD."""
        self.limit = limit
        self._since = float("-inf")
        self._count: Counter[int] = Counter()
        """Hash of a public key -> new addresses: a million busy peers cost 70 MB."""

    def left(self, public_key: bytes, now: float) -> int:
        """How many new addresses the peer may still get; `now` in seconds of any steady clock."""
        if now - self._since >= CHURN_PERIOD:
            self._since = now
            self._count.clear()
        return max(0, self.limit - self._count[hash(public_key)])

    def add(self, public_key: bytes, count: int) -> None:
        """The peer has got that many."""
        if count:
            self._count[hash(public_key)] += count

    @property
    def ends_at(self) -> float:
        """When the present period is over."""
        return self._since + CHURN_PERIOD
