"""Leases against allowed IPs: after each reading of the peers, what stands is made what is leased.

WireGuard tells nobody when an administrator changes peers (`wg syncconf`, `wg-quick down` and up),
so the peers are read now and then, and compared here. The leases say what is to be added; only
what the helper's ledger names is ever taken off.
"""

from wg_dynamic.address import host_prefix
from wg_dynamic.leases.table import LeaseTable
from wg_dynamic.privsep.requests import Change, PeerInfo
from wg_dynamic.server.identity import PeerTable
from wg_dynamic.server.proxy import HelperProxy
from wg_dynamic.system.clock import Clock
from wg_dynamic.system.log import logger
from wg_dynamic.wireguard.key import peer_label

_LOG = logger(__name__)


class Reconciler:
    """Compares one server's leases with readings of its interface. For the engine's task alone."""

    def __init__(
        self, table: LeaseTable, helper: HelperProxy, peers: PeerTable, clock: Clock
    ) -> None:
        self._table = table
        self._helper = helper
        self._peers = peers
        self._clock = clock
        self._not_in_force: set[Change] = set()
        """Leases that could not be put into the allowed IPs, and of which the log knows."""

    async def compare(self, infos: list[PeerInfo]) -> None:
        """Make the allowed IPs what the leases say. Raises HelperGoneError."""
        there = {
            (prefix, info.public_key)
            for info in infos
            for prefix in (*info.fixed, *info.leased)
            if prefix.is_host
        }
        now = self._clock.now()
        wanted = {  # of the peers that are there: there may be a million leases of others
            (host_prefix(lease.address), lease.public_key)
            for public_key in {info.public_key for info in infos}
            if self._peers.is_present(public_key)
            for lease in self._table.of_peer(public_key)
            if not lease.is_over(now)
        }
        surplus = [
            Change(info.public_key, prefix, add=False)
            for info in infos
            for prefix in info.leased
            if (prefix, info.public_key) not in wanted
        ]
        missing = [Change(key, prefix, add=True) for prefix, key in wanted - there]
        changes = surplus + missing
        refusals = {changes[one.index]: one.reason for one in await self._helper.change(changes)}
        for change, reason in refusals.items():
            if change not in self._not_in_force:
                _LOG.warning(
                    "lease %s of %s is not in force: %s",
                    change.prefix,
                    peer_label(change.public_key),
                    reason,
                )
        self._not_in_force = set(refusals)
        if len(changes) > len(refusals):
            _LOG.info(
                "allowed IPs brought in line with the leases: %d added, %d taken off",
                len(missing) - len(refusals),
                len(surplus),
            )
