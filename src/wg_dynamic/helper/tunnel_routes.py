"""Routes over the interface: to the server, to the networks of a lease, and those it pushed.

An IPv4 route has a leased address as its preferred source, so the kernel drops it with that; an
IPv6 route expires with the lease.
"""

from collections.abc import Iterator, Sequence

from wg_dynamic.address import Prefix
from wg_dynamic.helper.judgement import Taken
from wg_dynamic.helper.qualify import SERVER_PREFIX
from wg_dynamic.netlink.control import (
    FOREVER,
    ROUTE_PROTOCOL,
    RT_SCOPE_LINK,
    RT_TABLE_MAIN,
    RTN_UNICAST,
    InterfaceControl,
    Route,
)
from wg_dynamic.privsep.ledger import ROUTE, Entry, Ledger
from wg_dynamic.privsep.requests import AddressSetting

PUSHED_METRIC = 1024
"""Of a pushed route that names no metric. A network that the machine joins later has a lower one
(kernel 0 or 256, NetworkManager 100 to 600) and wins from the first moment."""
_IPV6_DEFAULT_METRIC = 1024
"""What the kernel makes of metric 0 (linux/ipv6_route.h, IP6_RT_PRIO_USER)."""


class TunnelRoutes:
    """Of one interface."""

    def __init__(self, ifindex: int, interfaces: InterfaceControl, ledger: Ledger) -> None:
        self._ifindex = ifindex
        self._interfaces = interfaces
        self._ledger = ledger

    def apply(self, taken: Taken) -> set[Entry]:
        """Set or refresh the routes of a lease whose addresses stand; return those that are ours.

        A route to the same network that somebody else has made over the interface is left, and
        serves. Raises NetlinkError, LedgerError.
        """
        there = self._in_main_table()
        kept = set()
        for route in routes_of(taken, self._ifindex):
            entry = Entry(ROUTE, route.prefix)
            same = [one for one in there if one.prefix == route.prefix]
            ours = [one for one in same if one.protocol == ROUTE_PROTOCOL]
            if same and not (ours and entry in self._ledger):
                self._ledger.remove(entry)
                continue
            self._ledger.add(entry)
            kept.add(entry)
            if ours:
                self._refresh(route, ours)
            else:
                self._interfaces.add_route(route)
        return kept

    def add_server_route(self) -> None:
        """Add the way to fe80:: where no route over the interface leads there. NetlinkError.

        Beside those that other interfaces have to the same prefix: the scope id picks the right
        one at each connection.
        """
        for route in self._in_main_table():
            if route.prefix.length > 0 and route.prefix.covers(SERVER_PREFIX):
                return
        self._ledger.add(Entry(ROUTE, SERVER_PREFIX))
        self._interfaces.add_route(Route(SERVER_PREFIX, self._ifindex), append=True)

    def undo(self, entry: Entry) -> None:
        """Take off all that are ours to this network: after a kill there may be two metrics."""
        while self._interfaces.remove_route(Route(entry.prefix, self._ifindex)):
            pass

    def _in_main_table(self) -> list[Route]:
        return [
            route
            for route in self._interfaces.routes(self._ifindex)
            if route.kind == RTN_UNICAST and route.table == RT_TABLE_MAIN
        ]

    def _refresh(self, route: Route, ours: Sequence[Route]) -> None:
        stale = [one for one in ours if one.metric != _metric(route)]
        if not any(_is_as_wanted(one, route) for one in ours):
            self._interfaces.replace_route(route)
        for one in stale:
            self._interfaces.remove_route(Route(one.prefix, self._ifindex, metric=one.metric))


def routes_of(taken: Taken, ifindex: int) -> Iterator[Route]:
    """The routes of a lease, each network once: that of an address before a pushed one."""
    done = set()
    for setting in taken.addresses:
        if not setting.network.is_host and setting.network not in done:
            done.add(setting.network)
            yield _route(setting.network, ifindex, setting)
    for pushed in taken.routes:
        family = [one for one in taken.addresses if one.address.is_ipv4 is pushed.network.is_ipv4]
        if family and pushed.network not in done:
            done.add(pushed.network)
            longest = max(family, key=lambda one: one.valid_time)
            metric = PUSHED_METRIC if pushed.metric is None else pushed.metric
            yield _route(pushed.network, ifindex, longest, metric)


def _route(network: Prefix, ifindex: int, hangs_on: AddressSetting, metric: int = 0) -> Route:
    if network.is_ipv4:
        return Route(
            network,
            ifindex,
            scope=RT_SCOPE_LINK,
            metric=metric,
            preferred_source=hangs_on.address.packed,
        )
    time = hangs_on.valid_time
    return Route(network, ifindex, metric=metric, expires_time=None if time == FOREVER else time)


def _metric(route: Route) -> int:
    return route.metric if route.prefix.is_ipv4 else route.metric or _IPV6_DEFAULT_METRIC


def _is_as_wanted(there: Route, wanted: Route) -> bool:
    return (
        there.metric == _metric(wanted)
        and there.preferred_source == wanted.preferred_source
        and there.expires_time is None
        and wanted.expires_time is None
    )
