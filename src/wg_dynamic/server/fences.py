"""Says which leases an administrator's static allowed IPs are in the way of, once each."""

from collections.abc import Iterable

from wg_dynamic.address import Prefix, format_address, host_prefix
from wg_dynamic.leases.lease import Lease
from wg_dynamic.leases.table import LeaseTable
from wg_dynamic.system.log import logger
from wg_dynamic.wireguard.key import peer_label

_LOG = logger(__name__)


class FenceWatch:
    """Compares each reading of the peers with the one before: only new fences cost anything."""

    def __init__(self) -> None:
        self._known: frozenset[tuple[Prefix, bytes]] = frozenset()

    def look(self, fences: Iterable[tuple[Prefix, bytes]], table: LeaseTable, now: float) -> None:
        """Report the leases inside fences that were not there at the last look.

        The lease goes on until its end, and is not renewed (server/policy.py).
        """
        present = frozenset(fences)
        for prefix, owner in sorted(present - self._known):
            for lease in self._inside(prefix, table):
                if lease.public_key != owner and not lease.is_over(now):
                    _LOG.warning(
                        "%s is leased to %s, and inside static allowed IP %s of %s: "
                        "the lease is not renewed",
                        format_address(lease.address),
                        peer_label(lease.public_key),
                        prefix,
                        peer_label(owner),
                    )
        self._known = present

    @staticmethod
    def _inside(prefix: Prefix, table: LeaseTable) -> Iterable[Lease]:
        if prefix.is_host:
            lease = table.get(prefix.packed)
            return () if lease is None else (lease,)
        return (lease for lease in table.held() if prefix.covers(host_prefix(lease.address)))
