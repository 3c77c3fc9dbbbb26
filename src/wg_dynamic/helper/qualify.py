"""Does the interface qualify? idea.md's two conditions for a client, and the server's own.

Every refusal is one ConfigError that says what was found, what is expected and what to do.
"""

from collections.abc import Iterable

from wg_dynamic.address import SERVER_ADDRESS, Prefix, is_link_local
from wg_dynamic.errors import ConfigError
from wg_dynamic.netlink.control import (
    RTN_ANYCAST,
    Address,
    InterfaceControl,
    Link,
    Route,
)
from wg_dynamic.netlink.errors import InterfaceNotFoundError
from wg_dynamic.wireguard.backend import open_control
from wg_dynamic.wireguard.control import NotWireGuardError, WireGuardControl
from wg_dynamic.wireguard.device import Device, Peer

SERVER_PREFIX = Prefix(SERVER_ADDRESS, 128)
SERVER_NETWORK = Prefix(SERVER_ADDRESS, 64)


def find_interface(interfaces: InterfaceControl, name: str) -> Link:
    """The interface of that name. Raises ConfigError."""
    try:
        return interfaces.link(name)
    except InterfaceNotFoundError:
        msg = f"no interface {name!r} in this network namespace: make it first (wg-quick up {name})"
        raise ConfigError(msg) from None


def find_wireguard(interfaces: InterfaceControl, name: str) -> tuple[Link, WireGuardControl]:
    """The interface and its WireGuard control. Raises ConfigError."""
    link = find_interface(interfaces, name)
    try:
        return link, open_control(link)
    except NotWireGuardError as error:
        msg = f"{name} is not a WireGuard interface: {error}"
        raise ConfigError(msg) from error


def client_link_local(link: Link, addresses: Iterable[Address]) -> Prefix:
    """The one link-local /128 that is this client's name. Raises ConfigError."""
    found = [a.prefix for a in addresses if is_link_local(a.prefix.packed)]
    hosts = [prefix for prefix in found if prefix.is_host]
    if len(hosts) == 1 and hosts[0].packed != SERVER_ADDRESS:
        return hosts[0]
    listed = ", ".join(str(prefix) for prefix in found)
    if len(hosts) > 1:
        msg = f"{link.name} has {len(hosts)} link-local addresses of length 128 ({listed})"
        msg += ", expected one: remove those that the hub does not have in this peer's allowed IPs"
    elif hosts:
        msg = f"{link.name} has fe80::/128, which is the server's address"
        msg += ", expected another fe80::…/128"
    elif not link.up:
        msg = f"{link.name} is down, expected it up with a link-local address of length 128"
        msg += f": ip link set {link.name} up, then add the address"
    elif found:
        msg = f"{link.name} has only {listed}, expected a link-local address of length 128"
        msg += " (Address = fe80::…/128)"
    else:
        msg = f"{link.name} has no link-local address, expected one of length 128"
        msg += " (Address = fe80::…/128)"
    raise ConfigError(msg)


def server_peer(link: Link, device: Device) -> Peer:
    """The peer that fe80:: belongs to, by longest prefix. Raises ConfigError."""
    best: tuple[int, Peer] | None = None
    for peer in device.peers:
        for prefix in peer.allowed_ips:
            if prefix.covers(SERVER_PREFIX) and (best is None or prefix.length > best[0]):
                best = (prefix.length, peer)
    if best is None:
        msg = f"none of the {len(device.peers)} peers of {link.name} has fe80::/128 in its"
        msg += " allowed IPs, expected the server peer to have it (AllowedIPs = fe80::/128)"
        raise ConfigError(msg)
    return best[1]


def check_server_address(link: Link, addresses: Iterable[Address], routes: Iterable[Route]) -> None:
    """Raise ConfigError unless fe80::/64 stands on the interface as an address of its own."""
    if not link.up:
        msg = f"{link.name} is down, expected it up: ip link set {link.name} up"
        raise ConfigError(msg)
    fix = f"ip address add fe80::/64 dev {link.name}"
    found = [a.prefix for a in addresses if is_link_local(a.prefix.packed)]
    if SERVER_NETWORK not in found:
        listed = ", ".join(str(prefix) for prefix in found) or "no link-local address"
        msg = f"{link.name} has {listed}, expected fe80::/64, where the server listens: {fix}"
        raise ConfigError(msg)
    if is_anycast(link, routes):
        msg = f"the kernel holds fe80:: on {link.name} as its own anycast address, since another"
        msg += " fe80::…/64 was there first; connections would be dropped: ip address delete"
        msg += f" fe80::/64 dev {link.name}, remove the other address, then {fix}"
        raise ConfigError(msg)


def is_anycast(link: Link, routes: Iterable[Route]) -> bool:
    """Whether the kernel has made fe80:: its subnet-router anycast address on this interface."""
    return any(
        route.kind == RTN_ANYCAST
        and route.prefix == SERVER_PREFIX
        and route.ifindex == link.ifindex
        for route in routes
    )
