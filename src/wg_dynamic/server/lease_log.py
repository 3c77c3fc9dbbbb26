"""One log line for each change of a lease, and not as many as a peer likes to cause."""

import logging
from collections import Counter

from wg_dynamic.address import format_address
from wg_dynamic.leases.lease import Lease
from wg_dynamic.wireguard.key import peer_label

_LOG = logging.getLogger(__name__)

MAX_LINES = 20
"""Lines about one peer in LINES_SPAN."""
LINES_SPAN = 60.0
"""Seconds."""


class LeaseLog:
    """Where changes are told."""

    def __init__(self) -> None:
        self._since = float("-inf")
        self._lines: Counter[bytes] = Counter()

    def tell(self, lease: Lease, now: float, *, fresh: bool) -> None:
        """Say what became of a lease; `fresh`: it is in the allowed IPs only now."""
        if not _LOG.isEnabledFor(logging.INFO) or not self._may(lease.public_key, now):
            return
        address, peer = format_address(lease.address), peer_label(lease.public_key)
        if lease.is_over(now):
            what = "declined" if lease.declined else "ended" if lease.ended else "given up"
            _LOG.info("%s %s %s", what, address, peer)
        else:
            what = "granted" if fresh else "renewed"
            _LOG.info("%s %s %s for %.0f s", what, address, peer, lease.lease_time)

    def _may(self, public_key: bytes, now: float) -> bool:
        if now - self._since >= LINES_SPAN:
            self._since = now
            self._lines.clear()
        self._lines[public_key] += 1
        if self._lines[public_key] == MAX_LINES + 1:
            _LOG.info("%s: more changes in this minute, not logged", peer_label(public_key))
        return self._lines[public_key] <= MAX_LINES
