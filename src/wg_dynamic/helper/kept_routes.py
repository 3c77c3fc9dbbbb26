"""IPv4 routes of others over the interface: put back when the kernel drops them with our address.

When the last IPv4 address of an interface goes, the kernel drops every IPv4 route over it, whoever
made it and in whatever table, and tells nobody (net/ipv4/fib_frontend.c, fib_disable_ip). A leased
address often is the last one: wg-quick makes routes for AllowedIPs, a default route among them,
over an interface that has no IPv4 address of its own. Without this the end of a lease would take
them along, and the next lease would not bring them back: the traffic would go elsewhere.

What has to be put back is known only as long as it is there, so it is looked at with each change.
"""

from wg_dynamic.errors import WgDynamicError
from wg_dynamic.netlink.control import (
    ROUTE_PROTOCOL,
    RT_TABLE_LOCAL,
    RTPROT_KERNEL,
    InterfaceControl,
    Route,
)
from wg_dynamic.netlink.errors import InterfaceNotFoundError
from wg_dynamic.system.log import logger

_LOG = logger(__name__)


class KeptRoutes:
    """Of one interface."""

    def __init__(self, ifindex: int, interfaces: InterfaceControl) -> None:
        self._ifindex = ifindex
        self._interfaces = interfaces
        self._routes: tuple[Route, ...] = ()

    def look(self) -> None:
        """See what is there, unless it may just have been dropped. Raises NetlinkError."""
        routes = self._others()
        if self._has_address():  # read last: so they were not dropped when we read them
            self._routes = routes

    def put_back(self) -> None:
        """Add what the kernel has dropped, if it has. Raises InterfaceNotFoundError."""
        if not self._routes or self._has_address():
            return
        there = self._others()
        missing = [route for route in self._routes if route not in there]
        self._routes = ()  # until there is an address again, others may take them off for good
        # Those with a gateway need the way to it first.
        for route in sorted(missing, key=lambda one: one.gateway is not None):
            try:
                self._interfaces.add_route(route, append=True)
            except InterfaceNotFoundError:
                raise
            except WgDynamicError as error:
                _LOG.warning("the kernel dropped a route with the leased address: %s", error)

    def _has_address(self) -> bool:
        addresses = self._interfaces.addresses(self._ifindex)
        return any(address.prefix.is_ipv4 for address in addresses)

    def _others(self) -> tuple[Route, ...]:
        return tuple(
            route
            for route in self._interfaces.routes(self._ifindex)
            if route.prefix.is_ipv4
            and route.ifindex == self._ifindex
            and route.table != RT_TABLE_LOCAL
            and route.protocol not in (ROUTE_PROTOCOL, RTPROT_KERNEL)
        )
