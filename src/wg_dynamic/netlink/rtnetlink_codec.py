"""Messages of rtnetlink for links, addresses and routes (linux/rtnetlink.h, if_link.h, if_addr.h).

Those for rules are in `rule_codec.py`.

`build_*` return the payload of a request, `parse_*` read the payload of a reply or an event.
Parsing raises MalformedMessageError and nothing else; attributes not used here are skipped.
"""

from struct import Struct
from typing import Final

from wg_dynamic.address import Prefix
from wg_dynamic.netlink.control import (
    FOREVER,
    Address,
    AddressEvent,
    Event,
    Link,
    LinkEvent,
    Route,
    RouteEvent,
)
from wg_dynamic.netlink.errors import MalformedMessageError
from wg_dynamic.netlink.wire import (
    Message,
    pack_attribute,
    pack_u32,
    parse_attributes,
    parse_text,
    parse_u32,
)

RTM_NEWLINK: Final = 16
RTM_DELLINK: Final = 17
RTM_GETLINK: Final = 18
RTM_NEWADDR: Final = 20
RTM_DELADDR: Final = 21
RTM_GETADDR: Final = 22
RTM_NEWROUTE: Final = 24
RTM_DELROUTE: Final = 25
RTM_GETROUTE: Final = 26

EVENT_GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE."""

MAX_INTERFACE_NAME: Final = 15
"""Bytes in an interface's name (linux/if.h, IFNAMSIZ without the NUL)."""

_AF_UNSPEC: Final = 0
_AF_INET: Final = 2
_AF_INET6: Final = 10
_SIZES: Final = {_AF_INET: 4, _AF_INET6: 16}
_FAMILIES: Final = {4: _AF_INET, 16: _AF_INET6}

_IFINFOMSG: Final = Struct("=BxHiII")
"""Family, hardware type, index, flags, mask of changed flags."""
_IFADDRMSG: Final = Struct("=BBBBI")
"""Family, prefix length, flags, scope, index."""
_RTMSG: Final = Struct("=BBBBBBBBI")
"""Family, destination and source lengths, tos, table, protocol, scope, type, flags."""
_RTNEXTHOP: Final = Struct("=HBBi")
"""Length, flags, hops, index."""
_IFA_CACHEINFO: Final = Struct("=IIII")
"""Preferred and valid time in seconds, times of making and of change."""
_RTA_CACHEINFO: Final = Struct("=IIiIIIII")
"""The third is the expiry in ticks."""

_IFF_UP: Final = 1
_IFLA_IFNAME: Final = 3
_IFLA_MTU: Final = 4
_IFLA_WIRELESS: Final = 11
_IFLA_LINKINFO: Final = 18
_IFLA_EXT_MASK: Final = 29
_IFLA_INFO_KIND: Final = 1
_RTEXT_FILTER_SKIP_STATS: Final = 8

_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2
_IFA_CACHEINFO_ATTRIBUTE: Final = 6
_IFA_FLAGS: Final = 8
_IFA_PROTO: Final = 11
_IFA_F_NODAD: Final = 0x02
_IFA_F_NOPREFIXROUTE: Final = 0x200

_RTA_DST: Final = 1
_RTA_OIF: Final = 4
_RTA_GATEWAY: Final = 5
_RTA_PRIORITY: Final = 6
_RTA_PREFSRC: Final = 7
_RTA_MULTIPATH: Final = 9
_RTA_CACHEINFO_ATTRIBUTE: Final = 12
_RTA_TABLE: Final = 15
_RTA_VIA: Final = 18
_RTA_EXPIRES: Final = 23
_RTM_F_CLONED: Final = 0x200
_RTN_UNICAST: Final = 1
_RT_SCOPE_LINK: Final = 253
_RT_SCOPE_NOWHERE: Final = 255
_RT_TABLE_UNSPEC: Final = 0
_USER_HZ: Final = 100
"""Ticks in a second of a route's expiry (asm-generic/param.h; the same on all but Alpha)."""


def build_link_query(*, name: str = "", ifindex: int = 0) -> bytes:
    """RTM_GETLINK for one interface by name or index."""
    payload = _IFINFOMSG.pack(_AF_UNSPEC, 0, ifindex, 0, 0)
    payload += pack_u32(_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS)
    if name:
        payload += pack_attribute(_IFLA_IFNAME, name.encode() + b"\0")
    return payload


def build_link_mtu(ifindex: int, mtu: int) -> bytes:
    """RTM_NEWLINK that sets the MTU (bytes) of a link that is there."""
    return _IFINFOMSG.pack(_AF_UNSPEC, 0, ifindex, 0, 0) + pack_u32(_IFLA_MTU, mtu)


def build_address_query(ifindex: int = 0) -> bytes:
    """RTM_GETADDR dump of both families, of one interface when the kernel checks strictly."""
    return _IFADDRMSG.pack(_AF_UNSPEC, 0, 0, 0, ifindex)


def build_address(address: Address, *, prefix_route: bool = False) -> bytes:
    """RTM_NEWADDR; the kernel makes the prefix's route only when asked to.

    Raises ValueError for an address of another length than 4 or 16 bytes.
    """
    packed, length = address.prefix
    family = _family_of(packed)
    flags = _IFA_F_NODAD if family == _AF_INET6 else 0
    if not prefix_route:
        flags |= _IFA_F_NOPREFIXROUTE
    payload = _IFADDRMSG.pack(family, length, 0, 0, address.ifindex)
    payload += pack_attribute(_IFA_LOCAL, packed) + pack_attribute(_IFA_ADDRESS, packed)
    payload += pack_u32(_IFA_FLAGS, flags)
    lifetimes = _IFA_CACHEINFO.pack(address.preferred_time, address.valid_time, 0, 0)
    payload += pack_attribute(_IFA_CACHEINFO_ATTRIBUTE, lifetimes)
    if address.protocol:
        payload += pack_attribute(_IFA_PROTO, bytes([address.protocol]))
    return payload


def build_address_removal(ifindex: int, prefix: Prefix) -> bytes:
    """RTM_DELADDR. Raises ValueError as `build_address`.

    Both attributes, for with IFA_LOCAL alone the kernel removes an IPv4 address of any prefix
    length, and one with a peer's address too (net/ipv4/devinet.c, inet_rtm_deladdr).
    """
    packed, length = prefix
    payload = _IFADDRMSG.pack(_family_of(packed), length, 0, 0, ifindex)
    return payload + pack_attribute(_IFA_LOCAL, packed) + pack_attribute(_IFA_ADDRESS, packed)


def build_route_query(*, ipv4: bool, ifindex: int = 0, table: int = 0) -> bytes:
    """RTM_GETROUTE dump of one family, filtered when the kernel checks strictly; 0 filters not."""
    family = _AF_INET if ipv4 else _AF_INET6
    payload = _RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
    if ifindex:
        payload += pack_u32(_RTA_OIF, ifindex)
    if table:
        payload += pack_u32(_RTA_TABLE, table)
    return payload


def build_route(route: Route) -> bytes:
    """RTM_NEWROUTE. Raises ValueError as `build_address`.

    An IPv4 route without a gateway gets scope link, as `ip route` gives it. An expiry is IPv6's;
    the kernel refuses it for IPv4.
    """
    scope = route.scope
    if route.prefix.is_ipv4 and route.gateway is None and route.kind == _RTN_UNICAST:
        scope = scope or _RT_SCOPE_LINK
    payload = _pack_route(route, scope)
    if route.preferred_source is not None:
        payload += pack_attribute(_RTA_PREFSRC, route.preferred_source)
    if route.expires_time is not None:
        payload += pack_u32(_RTA_EXPIRES, route.expires_time)
    return payload


def build_route_removal(route: Route) -> bytes:
    """RTM_DELROUTE. Raises ValueError as `build_address`, and for a route too vague.

    For the kernel a protocol or interface of 0 means any, and would take another's route.
    """
    if not route.protocol or not route.ifindex:
        msg = f"route {route.prefix} of protocol {route.protocol}, interface {route.ifindex}; "
        msg += "expected both to be named"
        raise ValueError(msg)
    # Scope and source are left out of the comparison: prefix, table, interface, protocol name it.
    return _pack_route(route, _RT_SCOPE_NOWHERE)


def parse_link(payload: bytes) -> Link | None:
    """A link from RTM_NEWLINK or RTM_DELLINK; None for what only looks like one.

    Bridges send both with a family of their own for a port that joins or leaves, and the wireless
    core sends RTM_NEWLINK without most attributes; neither says anything about the link.
    """
    attributes = parse_attributes(payload, _IFINFOMSG.size)
    family, _type, ifindex, flags, _change = _IFINFOMSG.unpack_from(payload)
    if family != _AF_UNSPEC or _IFLA_WIRELESS in attributes:
        return None
    information = parse_attributes(attributes.get(_IFLA_LINKINFO, b""))
    return Link(
        ifindex=ifindex,
        name=parse_text(attributes.get(_IFLA_IFNAME, b"")),
        kind=parse_text(information.get(_IFLA_INFO_KIND, b"")),
        up=bool(flags & _IFF_UP),
        mtu=_number(attributes, _IFLA_MTU),
    )


def parse_address(payload: bytes) -> Address | None:
    """An address from RTM_NEWADDR or RTM_DELADDR; None when it is neither IPv4 nor IPv6.

    IFA_LOCAL is our address and IFA_ADDRESS the other end's where the two differ; an ordinary
    IPv6 address comes in IFA_ADDRESS alone.
    """
    attributes = parse_attributes(payload, _IFADDRMSG.size)
    family, length, _flags, _scope, ifindex = _IFADDRMSG.unpack_from(payload)
    if family not in _SIZES:
        return None
    packed = attributes.get(_IFA_LOCAL, attributes.get(_IFA_ADDRESS, b""))
    preferred_time = valid_time = FOREVER
    lifetimes = attributes.get(_IFA_CACHEINFO_ATTRIBUTE)
    if lifetimes is not None:
        _check_size("lifetimes", lifetimes, _IFA_CACHEINFO.size)
        preferred_time, valid_time, _made, _changed = _IFA_CACHEINFO.unpack_from(lifetimes)
    return Address(
        ifindex=ifindex,
        prefix=_prefix(family, packed, length),
        valid_time=valid_time,
        preferred_time=preferred_time,
        protocol=int.from_bytes(attributes.get(_IFA_PROTO, b"")[:1]),
    )


def parse_route(payload: bytes) -> Route | None:
    """A route from RTM_NEWROUTE or RTM_DELROUTE; None for a clone or another family than IP."""
    attributes = parse_attributes(payload, _RTMSG.size)
    fields = _RTMSG.unpack_from(payload)
    family, length, _source, _tos, table, protocol, scope, kind, flags = fields
    if family not in _SIZES or flags & _RTM_F_CLONED:
        return None
    size = _SIZES[family]
    prefix = _prefix(family, attributes.get(_RTA_DST, bytes(size)), length)
    source = attributes.get(_RTA_PREFSRC)
    if source is not None:
        _check_size("preferred source", source, size)
    return Route(
        prefix=prefix,
        ifindex=_output_interface(attributes),
        kind=kind,
        table=_number(attributes, _RTA_TABLE, table),
        protocol=protocol,
        scope=scope,
        metric=_number(attributes, _RTA_PRIORITY),
        preferred_source=source,
        gateway=_gateway(attributes, size),
        expires_time=_expires_time(attributes),
    )


def parse_event(message: Message) -> Event | None:
    """What a message of EVENT_GROUPS tells; None when it is of no interest."""
    kind, payload = message.kind, message.payload
    if kind in (RTM_NEWLINK, RTM_DELLINK):
        link = parse_link(payload)
        return None if link is None else LinkEvent(link, kind == RTM_DELLINK)
    if kind in (RTM_NEWADDR, RTM_DELADDR):
        address = parse_address(payload)
        return None if address is None else AddressEvent(address, kind == RTM_DELADDR)
    if kind in (RTM_NEWROUTE, RTM_DELROUTE):
        route = parse_route(payload)
        return None if route is None else RouteEvent(route, kind == RTM_DELROUTE)
    return None


def _pack_route(route: Route, scope: int) -> bytes:
    packed, length = route.prefix
    family = _family_of(packed)
    payload = _RTMSG.pack(
        family, length, 0, 0, _RT_TABLE_UNSPEC, route.protocol, scope, route.kind, 0
    )
    payload += pack_attribute(_RTA_DST, packed) + pack_u32(_RTA_TABLE, route.table)
    if route.ifindex:
        payload += pack_u32(_RTA_OIF, route.ifindex)
    if route.metric:
        payload += pack_u32(_RTA_PRIORITY, route.metric)
    if route.gateway is not None:
        payload += pack_attribute(_RTA_GATEWAY, route.gateway)
    return payload


def _family_of(packed: bytes) -> int:
    family = _FAMILIES.get(len(packed))
    if family is None:
        msg = f"address of {len(packed)} bytes, expected 4 or 16"
        raise ValueError(msg)
    return family


def _prefix(family: int, packed: bytes, length: int) -> Prefix:
    size = _SIZES[family]
    _check_size("address", packed, size)
    if length > size * 8:
        msg = f"prefix length {length}, expected at most {size * 8}"
        raise MalformedMessageError(msg)
    return Prefix(packed, length)


def _check_size(what: str, value: bytes, size: int) -> None:
    if len(value) != size:
        msg = f"{what} of {len(value)} bytes, expected {size}"
        raise MalformedMessageError(msg)


def _number(attributes: dict[int, bytes], kind: int, default: int = 0) -> int:
    value = attributes.get(kind)
    return default if value is None else parse_u32(value)


def _output_interface(attributes: dict[int, bytes]) -> int:
    """The one interface of all next hops, 0 when there is none or several."""
    hops = attributes.get(_RTA_MULTIPATH)
    if hops is None:
        return _number(attributes, _RTA_OIF)
    interfaces = set()
    while hops:
        if len(hops) < _RTNEXTHOP.size:
            msg = f"next hop of {len(hops)} bytes, expected {_RTNEXTHOP.size} or more"
            raise MalformedMessageError(msg)
        length, _flags, _hops, ifindex = _RTNEXTHOP.unpack_from(hops)
        if not _RTNEXTHOP.size <= length <= len(hops):
            msg = f"next hop length {length}, expected {_RTNEXTHOP.size} to {len(hops)}"
            raise MalformedMessageError(msg)
        if ifindex < 0:
            msg = f"next hop of interface {ifindex}, expected 0 or more"
            raise MalformedMessageError(msg)
        interfaces.add(ifindex)
        hops = hops[(length + 3) & ~3 :]
    return interfaces.pop() if len(interfaces) == 1 else 0


def _gateway(attributes: dict[int, bytes], size: int) -> bytes | None:
    """The next hop's address, of the other family when it comes as RTA_VIA (struct rtvia)."""
    gateway = attributes.get(_RTA_GATEWAY)
    if gateway is not None:
        _check_size("gateway", gateway, size)
        return gateway
    via = attributes.get(_RTA_VIA)
    return None if via is None else via[2:]


def _expires_time(attributes: dict[int, bytes]) -> int | None:
    value = attributes.get(_RTA_CACHEINFO_ATTRIBUTE)
    if value is None:
        return None
    _check_size("cache information", value, _RTA_CACHEINFO.size)
    ticks: int = _RTA_CACHEINFO.unpack_from(value)[2]
    return max(0, ticks) // _USER_HZ if ticks else None
