"""What a client takes from a server: the administrator's side of the bargain. Pure.

A hub may be hostile, or simply number its network as the LAN here is numbered. The helper asks
this module before it sets anything; what the network process says has no weight here. Whole leases
are judged in helper/judgement.py.

Two questions are asked of each network. Is it one that this hub may hand out: private, or named by
the administrator? And would it move traffic that goes elsewhere now? The second one is asked
whatever was named.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from wg_dynamic.address import Prefix, format_address, host_prefix, parse_prefix
from wg_dynamic.leases.pool import is_leasable, is_unicast
from wg_dynamic.netlink.control import (
    ROUTE_PROTOCOL,
    RT_TABLE_LOCAL,
    RTN_BLACKHOLE,
    RTN_PROHIBIT,
    RTN_UNICAST,
    RTN_UNREACHABLE,
    Address,
    Route,
)
from wg_dynamic.record import dataclass
from wg_dynamic.wireguard.device import Device

PRIVATE = tuple(
    parse_prefix(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
"""RFC 1918, RFC 6598, RFC 4193: taken without asking."""
WIDE_IPV4 = 8
WIDE_IPV6 = 16
"""A shorter prefix names no network but a good part of the Internet: two /1, or four /2, make a
default route. It counts where --accept-routes says so in as many words, not where it stands in
allowed IPs, which say `everything` in that way too."""


_OWN = "an address of another interface here"


@dataclass(frozen=True)
class Acceptance:
    """What the administrator wants to have taken beyond the default."""

    routes: tuple[Prefix, ...] = ()
    """--accept-routes: networks whose parts a server may lease from and push routes to."""
    dns: tuple[Prefix, ...] = ()
    """--accept-dns: networks whose addresses a server may name as name servers."""
    default_route: bool = False
    """--accept-default-route"""


DEFAULT_ACCEPTANCE: Final = Acceptance()


@dataclass(frozen=True)
class Surroundings:
    """What the machine looks like when a lease arrives."""

    ifindex: int
    """The WireGuard interface."""
    addresses: tuple[Address, ...]
    """Of all interfaces."""
    routes: tuple[Route, ...]
    """Of all tables."""
    device: Device
    server_key: bytes
    ours: frozenset[Prefix]
    """Allowed IPs of the server peer that we added ourselves."""
    name_servers: tuple[bytes, ...]
    """Those that we did not set."""
    accepts: Acceptance = DEFAULT_ACCEPTANCE


class Policy:
    """The answers for one look at the surroundings: each why not, or ''."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._given = tuple(
            prefix
            for peer in around.device.peers
            if peer.public_key == around.server_key
            for prefix in peer.allowed_ips
            if prefix not in around.ours
        )
        named = (prefix for prefix in self._given if prefix.length > 0 and not is_wide(prefix))
        self._named = (*around.accepts.routes, *named)
        """What the administrator has named for this server, one way or the other."""
        self._routes = tuple(filter(self._is_foreign, around.routes))
        self._claims = tuple(self._find_claims())

    def refuse_address(self, address: Prefix, network: Prefix) -> str:
        """Why this lease is not taken. `network` equals `address` when none came."""
        if not is_leasable(address.packed):
            return f"{format_address(address.packed)} is no address that a peer may have"
        if network.length == 0:
            return f"{network} is no network that a peer may hand out"
        reason = self._not_trusted(network) or self._gateway_here(address) or self._takes(address)
        if not reason and not network.is_host:
            # An address of ours inside it stays (table local comes first): only the lease of that
            # very address cannot be had, and the server has others (helper/in_use.py).
            reason = self._takes(network, but=_OWN)
        return reason

    def refuse_route(self, network: Prefix) -> str:
        """Why this route is not taken."""
        if network.length > 0:
            return self._not_trusted(network) or self._takes(network)
        if not self._around.accepts.default_route:
            return "a default route is taken with --accept-default-route only"
        # Allowed IPs are one peer's: WireGuard would take it from an exit node without a word.
        others = (p for p in self._around.device.peers if p.public_key != self._around.server_key)
        if any(network in peer.allowed_ips for peer in others):
            return f"{network} is in the allowed IPs of another peer"
        return ""

    def refuse_name_server(self, address: bytes) -> str:
        """Why this name server is not taken."""
        text = format_address(address)
        if not is_leasable(address):
            return f"{text} is no address that a name server may have"
        if _any_covers(self._around.accepts.dns, host_prefix(address)):
            return ""
        return f"{text} is in no network that --accept-dns names"

    def _not_trusted(self, network: Prefix) -> str:
        if not is_unicast(network):
            return f"{network} is no network that a peer may hand out"
        if _any_covers((*PRIVATE, *self._named), network):
            return ""
        if is_wide(network):
            return (
                f"{network} is a part of a default route, not a network: a server pushes that whole"
            )
        return (
            f"{network} is neither private nor in the server peer's allowed IPs"
            f" (--accept-routes {network} takes it)"
        )

    def _gateway_here(self, address: Prefix) -> str:
        """A network may hold a gateway behind our own interface; the address cannot be one."""
        if any(route.gateway == address.packed for route in self._around.routes):
            return f"{format_address(address.packed)} is a gateway of this machine"
        return ""

    def _takes(self, network: Prefix, but: str = "") -> str:
        """What traffic would be moved by it."""
        for packed, what in self._claims:
            host = host_prefix(packed)
            if what == but:
                continue
            if network == host:
                return f"{format_address(packed)} is {what}"
            if network.covers(host):
                return f"{network} has {what} inside, {format_address(packed)}"
        for peer in self._around.device.peers:
            if peer.public_key == self._around.server_key:
                continue
            for prefix in peer.allowed_ips:
                if prefix.length > 0 and prefix.overlaps(network):
                    return f"{network} overlaps {prefix} in the allowed IPs of another peer"
        return self._stands_over_routes(network)

    def _stands_over_routes(self, network: Prefix) -> str:
        for route in self._routes:
            if network.covers(route.prefix):
                return f"{network} would stand over the route to {route.prefix}"
            if route.prefix.covers(network):
                on_link = route.kind == RTN_UNICAST and route.gateway is None
                if on_link or not self._is_carved_out(network, route.prefix):
                    return f"{network} is inside {route.prefix}, {_whose(route)}"
        return ""

    def _is_carved_out(self, network: Prefix, wide: Prefix) -> bool:
        """Whether the administrator has named, for this server, a part of that wider route."""
        return any(
            named.covers(network) and wide.covers(named) and named != wide for named in self._named
        )

    def _is_foreign(self, route: Route) -> bool:
        return (
            route.ifindex != self._around.ifindex
            and route.kind in (RTN_UNICAST, RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT)
            and route.table != RT_TABLE_LOCAL
            and route.prefix.length > 0
        )

    def _find_claims(self) -> Iterator[tuple[bytes, str]]:
        """Single addresses that this machine uses or needs."""
        around = self._around
        for address in around.addresses:
            if address.ifindex != around.ifindex:
                yield address.prefix.packed, _OWN
        for route in around.routes:
            if route.gateway is not None and route.ifindex != around.ifindex:
                yield route.gateway, "a gateway of this machine"
        for packed in around.name_servers:
            if not self._is_behind_us(packed):
                yield packed, "a name server of this machine"
        for peer in around.device.peers:
            if peer.endpoint is not None:
                yield peer.endpoint.packed, "the endpoint of a peer"

    def _is_behind_us(self, packed: bytes) -> bool:
        """Whether the administrator's own set-up sends what is for there into this tunnel.

        wg-quick's `DNS =` is often the hub: that is no reason to refuse the hub's own network.
        """
        host = host_prefix(packed)
        if not _any_covers(self._given, host):
            return False
        routes = [
            route
            for route in self._around.routes
            if route.kind == RTN_UNICAST
            and route.table != RT_TABLE_LOCAL
            and route.protocol != ROUTE_PROTOCOL
            and route.prefix.covers(host)
        ]
        longest = max((route.prefix.length for route in routes), default=0)
        return any(
            route.ifindex == self._around.ifindex
            for route in routes
            if route.prefix.length == longest
        )


def is_wide(network: Prefix) -> bool:
    """Whether it is too much of the Internet to be somebody's network."""
    wide = network.length < (WIDE_IPV4 if network.is_ipv4 else WIDE_IPV6)
    return wide and not _any_covers(PRIVATE, network)


def _whose(route: Route) -> str:
    if route.kind != RTN_UNICAST:
        return "which this machine keeps from being reached"
    if route.gateway is not None:
        return "to which another gateway leads"
    return "which another interface has on its link"


def _any_covers(prefixes: Iterable[Prefix], inner: Prefix) -> bool:
    return any(prefix.covers(inner) for prefix in prefixes)
