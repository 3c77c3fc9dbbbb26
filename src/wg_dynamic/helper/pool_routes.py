"""The hub's routes to its pools over the interface: added where missing, taken back at the end.

A pool that a new configuration no longer has keeps its route as long as something of it is leased.
"""

import logging
from collections.abc import Iterable, Sequence

from wg_dynamic.errors import WgDynamicError
from wg_dynamic.helper.pools import missing_routes
from wg_dynamic.leases.pool import Pool
from wg_dynamic.netlink.control import ROUTE_PROTOCOL, InterfaceControl, Link, Route
from wg_dynamic.privsep.ledger import ALLOWED_IP, ROUTE, Entry, Ledger

_LOG = logging.getLogger(__name__)


class PoolRoutes:
    """Those of one interface; only what the ledger names is ever removed."""

    def __init__(
        self, link: Link, interfaces: InterfaceControl, ledger: Ledger, pools: Sequence[Pool]
    ) -> None:
        self._link = link
        self._interfaces = interfaces
        self._ledger = ledger
        self._pools = pools

    def begin(self) -> None:
        """Remove what a killed server with other pools has left, and add what is missing.

        Raises NetlinkError, LedgerError.
        """
        self._remove(self._former())
        self.add()

    def add(self) -> None:
        """Add what is missing. Raises NetlinkError, LedgerError."""
        self._add(self._pools)

    def change(self, pools: Sequence[Pool]) -> None:
        """Let these be the pools. Raises NetlinkError, LedgerError: nothing was changed."""
        before = set(self._ledger.entries(ROUTE))
        try:
            self._add(pools)
        except WgDynamicError:
            self._remove(one for one in self._ledger.entries(ROUTE) if one not in before)
            raise
        self._pools = pools
        self.remove_former()

    def remove_former(self) -> None:
        """Remove the routes to what is a pool no more, when nothing of it is leased either."""
        former = self._former()
        if former:
            leased = [entry.prefix for entry in self._ledger.entries(ALLOWED_IP)]
            self._remove(
                one for one in former if not any(one.prefix.covers(each) for each in leased)
            )

    def remove_all(self) -> None:
        """Take all of ours back."""
        self._remove(self._ledger.entries(ROUTE))

    def _former(self) -> list[Entry]:
        wanted = {pool.network for pool in self._pools}
        return [entry for entry in self._ledger.entries(ROUTE) if entry.prefix not in wanted]

    def _add(self, pools: Sequence[Pool]) -> None:
        wanted = {pool.network for pool in pools}
        # A route of ours that will go is not one to rely on.
        going = {e.prefix for e in self._ledger.entries(ROUTE) if e.prefix not in wanted}
        routes = self._interfaces.routes(self._link.ifindex)
        lasting = [
            one for one in routes if one.prefix not in going or one.protocol != ROUTE_PROTOCOL
        ]
        for route in missing_routes(pools, self._link, lasting):
            self._ledger.add(Entry(ROUTE, route.prefix))
            self._interfaces.add_route(route)

    def _remove(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            try:
                self._interfaces.remove_route(Route(entry.prefix, self._link.ifindex))
                self._ledger.remove(entry)
            except WgDynamicError as error:
                _LOG.error("cannot remove the route to %s: %s", entry.prefix, error)
