"""The InterfaceControl interface: links, addresses, routes and their events."""

from typing import Final, Protocol

from wg_dynamic.address import Prefix
from wg_dynamic.record import dataclass

FOREVER: Final = 0xFFFFFFFF
"""Lifetime in seconds that never ends (linux/if_addr.h, INFINITY_LIFE_TIME)."""

RTN_UNICAST: Final = 1
RTN_LOCAL: Final = 2
RTN_ANYCAST: Final = 4
RTN_BLACKHOLE: Final = 6
RTN_UNREACHABLE: Final = 7
RTN_PROHIBIT: Final = 8
RTPROT_KERNEL: Final = 2
RT_SCOPE_LINK: Final = 253
RT_TABLE_MAIN: Final = 254
RT_TABLE_LOCAL: Final = 255
"""linux/rtnetlink.h"""

ROUTE_PROTOCOL: Final = 97
"""rtm_protocol of every route that this package adds: how we know our own (docs/operations.md)."""


@dataclass(frozen=True, slots=True)
class Link:
    """One interface (struct ifinfomsg)."""

    ifindex: int
    name: str
    kind: str
    """IFLA_INFO_KIND: 'wireguard', 'tun', …; '' when the kernel names none."""
    up: bool
    """IFF_UP is set."""
    mtu: int


@dataclass(frozen=True, slots=True)
class Address:
    """One address of an interface (struct ifaddrmsg)."""

    ifindex: int
    prefix: Prefix
    """Host bits kept: 10.0.0.7/24."""
    valid_time: int = FOREVER
    """Seconds left, FOREVER for none."""
    preferred_time: int = FOREVER
    protocol: int = 0
    """IFA_PROTO where the kernel has it, else 0."""


@dataclass(frozen=True, slots=True)
class Route:
    """One route (struct rtmsg)."""

    prefix: Prefix
    ifindex: int
    """Output interface; 0 when the route has none or several."""
    kind: int = RTN_UNICAST
    """rtm_type"""
    table: int = RT_TABLE_MAIN
    protocol: int = ROUTE_PROTOCOL
    scope: int = 0
    """rtm_scope: 0 global, 253 link, 254 host."""
    metric: int = 0
    """RTA_PRIORITY; 0 lets the kernel choose (IPv6: 1024)."""
    preferred_source: bytes | None = None
    gateway: bytes | None = None
    expires_time: int | None = None
    """IPv6 only: seconds until the kernel drops the route by itself (RTA_EXPIRES)."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of policy routing that leads to a table (struct fib_rule_hdr, ip-rule(8))."""

    ipv4: bool
    """Else IPv6; the two have rules of their own."""
    priority: int
    """The lowest is asked first."""
    table: int
    fwmark: int = 0
    """Only packets with this mark; 0 is any."""
    inverted: bool = False
    """The rule is for what does *not* match."""
    suppress_prefix_length: int | None = None
    """Routes of this prefix length or a shorter one do not count."""
    protocol: int = ROUTE_PROTOCOL
    other: bool = False
    """It selects or does something else besides; only rules that were read have it."""


@dataclass(frozen=True, slots=True)
class LinkEvent:
    """A link appeared or changed, or (`gone`) left this namespace."""

    link: Link
    gone: bool


@dataclass(frozen=True, slots=True)
class AddressEvent:
    """An address was set or (`gone`) removed, by whomever."""

    address: Address
    gone: bool


@dataclass(frozen=True, slots=True)
class RouteEvent:
    """A route was added or (`gone`) removed, by whomever."""

    route: Route
    gone: bool


@dataclass(frozen=True, slots=True)
class Overrun:
    """Events were lost (ENOBUFS): read everything anew."""


Event = LinkEvent | AddressEvent | RouteEvent | Overrun


class EventSource(Protocol):
    """Changes as the kernel tells them, in order."""

    def fileno(self) -> int:
        """For select; readable when `read` has something."""

    def read(self) -> list[Event]:
        """The events that wait, without blocking; [] when there are none."""

    def close(self) -> None:
        """Stop listening."""


class InterfaceControl(Protocol):
    """Links, addresses and routes of this network namespace. Blocking.

    Every method may raise NetlinkError; one that names an interface raises
    InterfaceNotFoundError (ENODEV) when it is gone; EPERM becomes PrivilegeError.
    """

    def link(self, name: str) -> Link:
        """The interface of that name."""

    def link_by_index(self, ifindex: int) -> Link:
        """The interface of that index."""

    def addresses(self, ifindex: int | None = None) -> list[Address]:
        """All addresses, or those of one interface, both families."""

    def routes(self, ifindex: int | None = None) -> list[Route]:
        """All routes of all tables (local ones too), or those out of one interface; no clones."""

    def set_address(self, address: Address, *, prefix_route: bool = False) -> None:
        """Add the address, or change the lifetimes of the one that is there (NLM_F_REPLACE).

        Set without a kernel-made prefix route (IFA_F_NOPREFIXROUTE) unless `prefix_route`, and,
        for IPv6, without duplicate address detection (IFA_F_NODAD).
        """

    def remove_address(self, ifindex: int, prefix: Prefix) -> bool:
        """Remove it; False when it was not there."""

    def add_route(self, route: Route, *, append: bool = False) -> bool:
        """Add the route; never replaces one. False when an equal one (EEXIST) was there.

        `append` puts it beside routes to the same prefix (NLM_F_APPEND; docs/operations.md:
        fe80::/128 over several interfaces).
        """

    def replace_route(self, route: Route) -> None:
        """Refresh a route of our own (expiry, preferred source): only for what we set."""

    def remove_route(self, route: Route) -> bool:
        """Remove exactly this route (prefix, interface, table, protocol); False when absent."""

    def rules(self) -> list[Rule]:
        """All rules of both families, in the order in which they are asked."""

    def add_rule(self, rule: Rule) -> bool:
        """Add the rule at its priority. False when an equal one was there."""

    def remove_rule(self, rule: Rule) -> bool:
        """Remove exactly this rule, protocol included; False when it is not there."""

    def set_link_mtu(self, ifindex: int, mtu: int) -> None:
        """Set the interface's MTU in bytes."""

    def events(self) -> EventSource:
        """Subscribe to link, address and route changes of this namespace."""

    def close(self) -> None:
        """Release sockets. Calling it twice is fine."""
