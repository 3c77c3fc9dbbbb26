"""Links, addresses and routes of this network namespace, by the kernel's rtnetlink."""

import errno

from wg_dynamic.address import Prefix
from wg_dynamic.netlink.control import Address, Event, Link, Overrun, Route, Rule
from wg_dynamic.netlink.errors import (
    InterfaceNotFoundError,
    MalformedMessageError,
    NetlinkError,
)
from wg_dynamic.netlink.rtnetlink_codec import (
    EVENT_GROUPS,
    MAX_INTERFACE_NAME,
    RTM_DELADDR,
    RTM_DELROUTE,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    build_address,
    build_address_query,
    build_address_removal,
    build_link_mtu,
    build_link_query,
    build_route,
    build_route_query,
    build_route_removal,
    parse_address,
    parse_event,
    parse_link,
    parse_route,
)
from wg_dynamic.netlink.rule_codec import (
    RTM_DELRULE,
    RTM_GETRULE,
    RTM_NEWRULE,
    build_rule,
    build_rule_query,
    parse_rule,
)
from wg_dynamic.netlink.socket import NETLINK_ROUTE, EventSocket, NetlinkSocket
from wg_dynamic.netlink.wire import (
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Message,
)

_IPV6_DEFAULT_METRIC = 1024
"""What the kernel makes of metric 0 (linux/ipv6_route.h, IP6_RT_PRIO_USER)."""


class RtnetlinkControl:
    """The kernel's implementation of InterfaceControl (Linux 5.0 or later).

    IPv6 knows an address of an interface by its 128 bits alone: setting 2001:db8::1/128 where
    2001:db8::1/64 is there changes the lifetimes of that one and leaves its length as it is.
    """

    def __init__(self) -> None:
        """Open the socket. Raises NetlinkError."""
        self._socket = NetlinkSocket(NETLINK_ROUTE)
        try:
            self._socket.check_strictly()
        except NetlinkError:
            self._socket.close()
            raise

    def link(self, name: str) -> Link:
        """The interface of that name. Raises InterfaceNotFoundError."""
        what = f"look up interface {name!r}"
        if not 0 < len(name.encode()) <= MAX_INTERFACE_NAME:
            raise InterfaceNotFoundError(errno.ENODEV, what)
        return self._link(build_link_query(name=name), what)

    def link_by_index(self, ifindex: int) -> Link:
        """The interface of that index. Raises InterfaceNotFoundError."""
        what = f"look up interface {ifindex}"
        if ifindex <= 0:
            raise InterfaceNotFoundError(errno.ENODEV, what)
        return self._link(build_link_query(ifindex=ifindex), what)

    def addresses(self, ifindex: int | None = None) -> list[Address]:
        """All addresses, or those of one interface, both families."""
        payload = build_address_query(ifindex or 0)
        found = []
        for message in self._socket.dump(RTM_GETADDR, payload, "list addresses"):
            address = parse_address(message.payload) if message.kind == RTM_NEWADDR else None
            if address is not None:
                found.append(address)
        return found

    def routes(self, ifindex: int | None = None) -> list[Route]:
        """All routes of all tables (local ones too), or those out of one interface; no clones.

        A route of several next hops counts for each of their interfaces.
        """
        return self._routes(ipv4=True, ifindex=ifindex) + self._routes(ipv4=False, ifindex=ifindex)

    def set_address(self, address: Address, *, prefix_route: bool = False) -> None:
        """Add the address, or change the lifetimes of the one that is there."""
        what = f"set address {address.prefix} on interface {address.ifindex}"
        flags = NLM_F_CREATE | NLM_F_REPLACE
        payload = build_address(address, prefix_route=prefix_route)
        self._socket.request(RTM_NEWADDR, payload, flags, what)

    def remove_address(self, ifindex: int, prefix: Prefix) -> bool:
        """Remove it; False when it was not there."""
        what = f"remove address {prefix} from interface {ifindex}"
        payload = build_address_removal(ifindex, prefix)
        return self._unless(errno.EADDRNOTAVAIL, RTM_DELADDR, payload, 0, what)

    def add_route(self, route: Route, *, append: bool = False) -> bool:
        """Add the route; never replaces one. False when an equal one (EEXIST) was there."""
        flags = NLM_F_CREATE | (NLM_F_APPEND if append else NLM_F_EXCL)
        what = f"add route {route.prefix} over interface {route.ifindex}"
        return self._unless(errno.EEXIST, RTM_NEWROUTE, build_route(route), flags, what)

    def replace_route(self, route: Route) -> None:
        """Refresh a route of our own (expiry, preferred source): only for what we set.

        NLM_F_REPLACE overwrites the first route of this prefix, table and metric, whoever's it is
        and over whatever interface. So where another's is there as well, ours is removed and
        appended anew, and is missing for that moment. Another's that is made between looking and
        replacing could still be overwritten.
        """
        what = f"replace route {route.prefix} over interface {route.ifindex}"
        flags = NLM_F_CREATE | NLM_F_REPLACE
        if self._is_shared(route):
            self.remove_route(route)
            flags = NLM_F_CREATE | NLM_F_APPEND
        self._socket.request(RTM_NEWROUTE, build_route(route), flags, what)

    def remove_route(self, route: Route) -> bool:
        """Remove exactly this route (prefix, interface, table, protocol); False when absent.

        Raises ValueError for a protocol or interface of 0, which the kernel takes for any.
        """
        what = f"remove route {route.prefix} over interface {route.ifindex}"
        payload = build_route_removal(route)
        return self._unless(errno.ESRCH, RTM_DELROUTE, payload, 0, what)

    def rules(self) -> list[Rule]:
        """All rules of both families, in the order in which they are asked."""
        return self._rules(ipv4=True) + self._rules(ipv4=False)

    def add_rule(self, rule: Rule) -> bool:
        """Add the rule at its priority. False when an equal one was there.

        Raises ValueError for a rule that is not wholly told.
        """
        what = f"add rule {rule.priority} to table {rule.table}"
        flags = NLM_F_CREATE | NLM_F_EXCL
        return self._unless(errno.EEXIST, RTM_NEWRULE, build_rule(rule), flags, what)

    def remove_rule(self, rule: Rule) -> bool:
        """Remove exactly this rule, protocol included; False when it is not there.

        The kernel takes the first that has what the request names, and asks neither for the
        inversion nor for what the request leaves out (net/core/fib_rules.c, rule_find). So we look
        first, and leave ours alone when one of another's at the same priority could be taken for
        it: False too. One that comes between looking and removing could still be.
        """
        payload = build_rule(rule)
        same_priority = [
            other for other in self._rules(ipv4=rule.ipv4) if other.priority == rule.priority
        ]
        if rule not in same_priority or any(
            other != rule and other.table == rule.table for other in same_priority
        ):
            return False
        what = f"remove rule {rule.priority} to table {rule.table}"
        return self._unless(errno.ENOENT, RTM_DELRULE, payload, 0, what)

    def set_link_mtu(self, ifindex: int, mtu: int) -> None:
        """Set the interface's MTU in bytes."""
        what = f"set the MTU of interface {ifindex} to {mtu}"
        self._socket.request(RTM_NEWLINK, build_link_mtu(ifindex, mtu), 0, what)

    def events(self) -> "RtnetlinkEvents":
        """Subscribe to link, address and route changes of this namespace."""
        return RtnetlinkEvents()

    def close(self) -> None:
        """Release the socket. Calling it twice is fine."""
        self._socket.close()

    def _link(self, payload: bytes, what: str) -> Link:
        for message in self._socket.request(RTM_GETLINK, payload, 0, what):
            link = parse_link(message.payload) if message.kind == RTM_NEWLINK else None
            if link is not None:
                return link
        msg = f"{what}: an acknowledgement alone, expected a link"
        raise MalformedMessageError(msg)

    def _routes(self, *, ipv4: bool, ifindex: int | None = None, table: int = 0) -> list[Route]:
        payload = build_route_query(ipv4=ipv4, ifindex=ifindex or 0, table=table)
        found = []
        for message in self._dump_routes(payload):
            route = parse_route(message.payload) if message.kind == RTM_NEWROUTE else None
            if route is not None:
                found.append(route)
        return found

    def _rules(self, *, ipv4: bool) -> list[Rule]:
        query = build_rule_query(ipv4=ipv4)
        found = []
        for message in self._socket.dump(RTM_GETRULE, query, "list rules"):
            rule = parse_rule(message.payload) if message.kind == RTM_NEWRULE else None
            if rule is not None:
                found.append(rule)
        return found

    def _dump_routes(self, payload: bytes) -> list[Message]:
        """The dump, which is empty and no error when the filter names a table nobody has made."""
        try:
            return self._socket.dump(RTM_GETROUTE, payload, "list routes")
        except NetlinkError as error:
            if error.errno == errno.ENOENT:
                return []
            raise

    def _unless(self, absent: int, kind: int, payload: bytes, flags: int, what: str) -> bool:
        """Send a request; False instead of an error for the one errno `absent`."""
        try:
            self._socket.request(kind, payload, flags, what)
        except NetlinkError as error:
            if error.errno == absent:
                return False
            raise
        return True

    def _is_shared(self, route: Route) -> bool:
        """Whether another's route has the same prefix, table and metric."""
        default = 0 if route.prefix.is_ipv4 else _IPV6_DEFAULT_METRIC
        return any(
            other.prefix == route.prefix
            and other.metric == (route.metric or default)
            and (other.ifindex, other.protocol) != (route.ifindex, route.protocol)
            for other in self._routes(ipv4=route.prefix.is_ipv4, table=route.table)
        )


class RtnetlinkEvents:
    """Link, address and route changes as the kernel tells them."""

    def __init__(self) -> None:
        """Subscribe. Raises NetlinkError."""
        self._socket = EventSocket(NETLINK_ROUTE, EVENT_GROUPS)

    def fileno(self) -> int:
        """For select; readable when `read` has something."""
        return self._socket.fileno()

    def read(self) -> list[Event]:
        """The events that wait, without blocking; [] when there are none.

        Events that came before a loss precede the Overrun. Raises NetlinkError.
        """
        messages, lost = self._socket.receive()
        events: list[Event] = []
        for message in messages:
            event = parse_event(message)
            if event is not None:
                events.append(event)
        if lost:
            events.append(Overrun())
        return events

    def close(self) -> None:
        """Stop listening. Calling it twice is fine."""
        self._socket.close()
