"""Links, addresses and routes in memory, with the kernel's semantics as far as we use them.

tests/contract/interface_control.py keeps it honest. There is no clock: lifetimes and expiries stay
as they were set, and a test says when one is over (`expire_address`, `expire_route`).
"""

import errno
from collections.abc import Callable
from dataclasses import replace

from wg_dynamic.address import Prefix, host_prefix
from wg_dynamic.netlink.control import (
    RTN_LOCAL,
    RTN_UNICAST,
    RTPROT_KERNEL,
    Address,
    AddressEvent,
    Event,
    Link,
    LinkEvent,
    Overrun,
    Route,
    RouteEvent,
    Rule,
)
from wg_dynamic.netlink.errors import InterfaceNotFoundError, NetlinkError

TABLE_LOCAL = 255
SCOPE_LINK = 253
SCOPE_HOST = 254
IPV6_DEFAULT_METRIC = 1024
IPV6_PREFIX_METRIC = 256
IPV6_MINIMUM_MTU = 1280
RULES = ((0, 255), (32766, 254), (32767, 253))
"""Priority and table; IPv6 has not the last."""


class FakeEvents:
    """An EventSource; not for select: `fileno` is -1."""

    def __init__(self) -> None:
        self.waiting: list[Event] = []
        self.closed = False

    def fileno(self) -> int:
        return -1

    def read(self) -> list[Event]:
        events, self.waiting = self.waiting, []
        return events

    def close(self) -> None:
        self.closed = True


class FakeInterfaces:
    """Implements InterfaceControl; tests play the kernel and others with the other methods."""

    def __init__(self) -> None:
        self.links: dict[int, Link] = {}
        self.all_addresses: list[Address] = []
        self.all_routes: list[Route] = []
        self.all_rules: list[Rule] = [*rules_of_the_kernel()]
        self.sources: list[FakeEvents] = []
        self.error: Exception | None = None
        """Raised by every call of the interface until it is None again."""
        self.closed = False
        self._last_index = 1

    # InterfaceControl

    def link(self, name: str) -> Link:
        self._check()
        for link in self.links.values():
            if link.name == name:
                return link
        raise InterfaceNotFoundError(errno.ENODEV, f"look up interface {name!r}")

    def link_by_index(self, ifindex: int) -> Link:
        self._check()
        return self._link(ifindex)

    def addresses(self, ifindex: int | None = None) -> list[Address]:
        self._check()
        if ifindex is not None:
            self._link(ifindex)
        return [a for a in self.all_addresses if ifindex in (None, a.ifindex)]

    def routes(self, ifindex: int | None = None) -> list[Route]:
        self._check()
        if ifindex is not None:
            self._link(ifindex)
        return [r for r in self.all_routes if ifindex in (None, r.ifindex)]

    def set_address(self, address: Address, *, prefix_route: bool = False) -> None:
        self._check()
        self._link(address.ifindex)
        if address.valid_time <= 0 or address.preferred_time > address.valid_time:
            raise NetlinkError(errno.EINVAL, f"set address {address.prefix}")
        for index, old in enumerate(self.all_addresses):
            if old.ifindex == address.ifindex and _same_address(old.prefix, address.prefix):
                # For IPv6 the address alone counts; the length stays as it was.
                self.all_addresses[index] = replace(address, prefix=old.prefix)
                self._tell(AddressEvent(self.all_addresses[index], gone=False))
                return
        self.all_addresses.append(address)
        self._tell(AddressEvent(address, gone=False))
        self._put_route(_local_route(address))
        if prefix_route and not address.prefix.is_host and self.links[address.ifindex].up:
            self._put_route(_prefix_route(address))

    def remove_address(self, ifindex: int, prefix: Prefix) -> bool:
        self._check()
        self._link(ifindex)
        for address in self.all_addresses:
            if address.ifindex == ifindex and address.prefix == prefix:
                self._drop_address(address)
                return True
        return False

    def add_route(self, route: Route, *, append: bool = False) -> bool:
        self._check()
        route = self._complete(route)
        for other in self.all_routes:
            if _key(other) == _key(route) and (not append or other.ifindex == route.ifindex):
                return False
        self._put_route(route)
        return True

    def replace_route(self, route: Route) -> None:
        self._check()
        route = self._complete(route)
        for index, other in enumerate(self.all_routes):
            if (_key(other), other.ifindex, other.protocol) == (
                _key(route),
                route.ifindex,
                route.protocol,
            ):
                self.all_routes[index] = route
                self._tell(RouteEvent(route, gone=False))
                return
        self._put_route(route)

    def remove_route(self, route: Route) -> bool:
        self._check()
        if not route.protocol or not route.ifindex:
            msg = f"route {route.prefix} without protocol or interface, expected both"
            raise ValueError(msg)
        for other in self.all_routes:
            if (
                (other.prefix, other.ifindex, other.table, other.protocol)
                == (route.prefix.network(), route.ifindex, route.table, route.protocol)
                and route.metric in (0, other.metric)
                and route.gateway in (None, other.gateway)
            ):
                self._drop_route(other)
                return True
        return False

    def rules(self) -> list[Rule]:
        self._check()
        return sorted(self.all_rules, key=lambda rule: (not rule.ipv4, rule.priority))

    def add_rule(self, rule: Rule) -> bool:
        self._check()
        _check_rule(rule)
        if rule in self.all_rules:
            return False
        self.all_rules.append(rule)
        return True

    def remove_rule(self, rule: Rule) -> bool:
        self._check()
        _check_rule(rule)
        alike = [
            other
            for other in self.all_rules
            if (other.ipv4, other.priority, other.table) == (rule.ipv4, rule.priority, rule.table)
        ]
        if alike != [rule]:
            return False
        self.all_rules.remove(rule)
        return True

    def set_link_mtu(self, ifindex: int, mtu: int) -> None:
        self._check()
        self._change_link(ifindex, mtu=mtu)
        if mtu < IPV6_MINIMUM_MTU:
            self._drop_ipv6(ifindex)

    def events(self) -> FakeEvents:
        self._check()
        self.sources.append(FakeEvents())
        return self.sources[-1]

    def close(self) -> None:
        self.closed = True

    # The kernel and the administrator

    def add_link(
        self, name: str, *, kind: str = "wireguard", up: bool = True, mtu: int = 1420
    ) -> Link:
        """Make an interface. An index is never used twice."""
        self._last_index += 1
        link = Link(self._last_index, name, kind, up, mtu)
        self.links[link.ifindex] = link
        self._tell(LinkEvent(link, gone=False))
        return link

    def remove_link(self, ifindex: int) -> None:
        """Delete an interface with all that is on it."""
        link = self._link(ifindex)
        for address in self.addresses(ifindex):
            self._drop_address(address)
        self._drop_routes(lambda route: route.ifindex == ifindex)
        del self.links[ifindex]
        self._tell(LinkEvent(link, gone=True))

    def set_up(self, ifindex: int, *, up: bool) -> None:
        """Going down takes every IPv6 address and every route along; going up brings none back."""
        self._change_link(ifindex, up=up)
        if not up:
            self._drop_ipv6(ifindex)
            self._drop_routes(lambda r: r.ifindex == ifindex and r.kind != RTN_LOCAL)

    def rename(self, ifindex: int, name: str) -> None:
        self._change_link(ifindex, name=name)

    def expire_address(self, ifindex: int, prefix: Prefix) -> None:
        """The valid time of an address is over."""
        assert self.remove_address(ifindex, prefix)

    def expire_route(self, route: Route) -> None:
        """The expiry of an IPv6 route is over."""
        assert self.remove_route(route)

    def overrun(self) -> None:
        """Events are lost, all that wait among them."""
        for source in self.sources:
            source.waiting = [Overrun()]

    def _check(self) -> None:
        assert not self.closed, "call of a closed control"
        if self.error is not None:
            raise self.error

    def _link(self, ifindex: int) -> Link:
        if ifindex not in self.links:
            raise InterfaceNotFoundError(errno.ENODEV, f"look up interface {ifindex}")
        return self.links[ifindex]

    def _change_link(
        self,
        ifindex: int,
        *,
        name: str | None = None,
        up: bool | None = None,
        mtu: int | None = None,
    ) -> None:
        old = self._link(ifindex)
        link = Link(
            ifindex,
            old.name if name is None else name,
            old.kind,
            old.up if up is None else up,
            old.mtu if mtu is None else mtu,
        )
        self.links[ifindex] = link
        self._tell(LinkEvent(link, gone=False))

    def _complete(self, route: Route) -> Route:
        """What the kernel makes of a route, or why it refuses it."""
        what = f"add route {route.prefix}"
        if not self._link(route.ifindex).up:
            raise NetlinkError(errno.ENETDOWN, what, "Device for nexthop is not up")
        if route.prefix != route.prefix.network():
            raise NetlinkError(errno.EINVAL, what, "Invalid prefix for given prefix length")
        source = route.preferred_source
        if source is not None and all(a.prefix.packed != source for a in self.all_addresses):
            raise NetlinkError(errno.EINVAL, what, "Invalid prefsrc address")
        if not route.prefix.is_ipv4:
            return replace(route, metric=route.metric or IPV6_DEFAULT_METRIC)
        if route.expires_time is not None:
            raise NetlinkError(errno.EINVAL, what)
        if route.kind == RTN_UNICAST and route.gateway is None:
            return replace(route, scope=route.scope or SCOPE_LINK)
        return route

    def _put_route(self, route: Route) -> None:
        self.all_routes.append(route)
        self._tell(RouteEvent(route, gone=False))

    def _drop_route(self, route: Route) -> None:
        self.all_routes.remove(route)
        self._tell(RouteEvent(route, gone=True))

    def _drop_routes(self, dropped: Callable[[Route], bool]) -> None:
        for route in [route for route in self.all_routes if dropped(route)]:
            self._drop_route(route)

    def _drop_address(self, address: Address) -> None:
        """With it go its local route and, for IPv4, routes that have it as preferred source.

        With the last IPv4 address go all IPv4 routes over the interface.
        """
        self.all_addresses.remove(address)
        self._tell(AddressEvent(address, gone=True))
        packed = address.prefix.packed
        self._drop_routes(
            lambda r: (
                (
                    r.kind == RTN_LOCAL
                    and r.ifindex == address.ifindex
                    and r.prefix == host_prefix(packed)
                )
                or (r.protocol == RTPROT_KERNEL and r.preferred_source == packed)
                or (address.prefix.is_ipv4 and r.preferred_source == packed)
            )
        )
        left = [a for a in self.all_addresses if a.ifindex == address.ifindex]
        if address.prefix.is_ipv4 and not any(a.prefix.is_ipv4 for a in left):
            self.all_routes = [  # and nobody is told
                r
                for r in self.all_routes
                if r.ifindex != address.ifindex or not r.prefix.is_ipv4 or r.kind == RTN_LOCAL
            ]

    def _drop_ipv6(self, ifindex: int) -> None:
        for address in self.addresses(ifindex):
            if not address.prefix.is_ipv4:
                self._drop_address(address)
        self._drop_routes(lambda r: r.ifindex == ifindex and not r.prefix.is_ipv4)

    def _tell(self, event: Event) -> None:
        for source in self.sources:
            if not source.closed:
                source.waiting.append(event)


def rules_of_the_kernel() -> list[Rule]:
    """Those of a network namespace that nobody has touched."""
    ipv4 = [Rule(True, priority, table, protocol=RTPROT_KERNEL) for priority, table in RULES]
    return ipv4 + [
        Rule(False, priority, table, protocol=RTPROT_KERNEL) for priority, table in RULES[:2]
    ]


def _check_rule(rule: Rule) -> None:
    if rule.other or not rule.protocol or not rule.table:
        msg = f"rule {rule}, expected it wholly told"
        raise ValueError(msg)


def _same_address(old: Prefix, new: Prefix) -> bool:
    return old == new or (old.packed == new.packed and not old.is_ipv4)


def _key(route: Route) -> tuple[Prefix, int, int]:
    return route.prefix, route.table, route.metric


def _local_route(address: Address) -> Route:
    ipv4 = address.prefix.is_ipv4
    return Route(
        host_prefix(address.prefix.packed),
        address.ifindex,
        kind=RTN_LOCAL,
        table=TABLE_LOCAL,
        protocol=RTPROT_KERNEL,
        scope=SCOPE_HOST if ipv4 else 0,
        preferred_source=address.prefix.packed if ipv4 else None,
    )


def _prefix_route(address: Address) -> Route:
    ipv4 = address.prefix.is_ipv4
    return Route(
        address.prefix.network(),
        address.ifindex,
        protocol=RTPROT_KERNEL,
        scope=SCOPE_LINK if ipv4 else 0,
        metric=0 if ipv4 else IPV6_PREFIX_METRIC,
        preferred_source=address.prefix.packed if ipv4 else None,
    )
