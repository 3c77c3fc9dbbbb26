"""What a client takes from a server: the administrator's side of the bargain. Pure.

A hub may be hostile, or simply number its network as the LAN here is numbered. The helper asks
this module before it sets anything; what the network process says has no weight here.
"""

from collections.abc import Iterable

from wg_dynamic.address import Prefix, format_address, host_prefix, parse_prefix
from wg_dynamic.leases.pool import is_leasable
from wg_dynamic.netlink.control import (
    RT_TABLE_LOCAL,
    RTN_UNICAST,
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
    accepted: tuple[Prefix, ...]
    """--accept-routes"""


def refusal(address: Prefix, network: Prefix, around: Surroundings) -> str:
    """Why this lease is not taken, '' if it is. `network` equals `address` when none came."""
    if not is_leasable(address.packed):
        return f"{format_address(address.packed)} is no address that a peer may have"
    reason = _not_trusted(network, around) or _of_this_machine(address, around)
    if not reason and not network.is_host:
        reason = _takes_from_others(network, around)
    return reason


def _not_trusted(network: Prefix, around: Surroundings) -> str:
    if network.length == 0 or not is_leasable(network.packed):
        return f"{network} is no network that a peer may hand out"
    given = (
        prefix
        for peer in around.device.peers
        if peer.public_key == around.server_key
        for prefix in peer.allowed_ips
        if prefix.length > 0 and prefix not in around.ours
    )
    if _any_covers((*PRIVATE, *around.accepted, *given), network):
        return ""
    return (
        f"{network} is neither private nor in the server peer's allowed IPs"
        f" (--accept-routes {network} takes it)"
    )


def _of_this_machine(address: Prefix, around: Surroundings) -> str:
    packed = address.packed
    for other in around.addresses:
        if other.ifindex != around.ifindex and other.prefix.packed == packed:
            return f"{format_address(packed)} is an address of another interface here"
    if any(route.gateway == packed for route in around.routes):
        return f"{format_address(packed)} is a gateway of this machine"
    if packed in around.name_servers:
        return f"{format_address(packed)} is a name server of this machine"
    for peer in around.device.peers:
        if peer.endpoint is not None and peer.endpoint.packed == packed:
            return f"{format_address(packed)} is the endpoint of a peer"
        if peer.public_key != around.server_key and _any_covers(
            (prefix for prefix in peer.allowed_ips if prefix.length > 0), address
        ):
            return f"{format_address(packed)} is in the allowed IPs of another peer"
    return _in_others_route(address, around)


def _in_others_route(address: Prefix, around: Surroundings) -> str:
    for route in _foreign_routes(around):
        if route.gateway is None and route.prefix.covers(address):
            return f"{address} is inside {route.prefix}, which another interface has on its link"
    return ""


def _takes_from_others(network: Prefix, around: Surroundings) -> str:
    for peer in around.device.peers:
        if peer.endpoint is not None and network.covers(host_prefix(peer.endpoint.packed)):
            return f"{network} has the endpoint of a peer inside"
        if peer.public_key == around.server_key:
            continue
        for prefix in peer.allowed_ips:
            if prefix.length > 0 and prefix.overlaps(network):
                return f"{network} overlaps {prefix} of another peer"
    if any(network.covers(host_prefix(packed)) for packed in around.name_servers):
        return f"{network} has a name server of this machine inside"
    return _stands_over_routes(network, around)


def _stands_over_routes(network: Prefix, around: Surroundings) -> str:
    for route in _foreign_routes(around):
        if network.covers(route.prefix):
            return f"{network} would stand over the route to {route.prefix}"
    return ""


def _foreign_routes(around: Surroundings) -> Iterable[Route]:
    return (
        route
        for route in around.routes
        if route.ifindex != around.ifindex
        and route.kind == RTN_UNICAST
        and route.table != RT_TABLE_LOCAL
        and route.prefix.length > 0
    )


def _any_covers(prefixes: Iterable[Prefix], inner: Prefix) -> bool:
    return any(prefix.covers(inner) for prefix in prefixes)
