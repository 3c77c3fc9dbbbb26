"""Messages of the kernel's WireGuard (linux/wireguard.h): read a device, change allowed IPs.

A device with many peers comes in many messages, and a peer whose allowed IPs do not fit into one
comes again in the next with the rest of them: peers are merged by key. Private and preshared keys
are passed over unread. Parsing raises MalformedMessageError and nothing else.

Reading is written for speed (30,000 allowed IPs in tens of milliseconds): offsets into the
message instead of generators, and the one layout that the kernel produces is recognised by
comparing its constant bytes, with a full parser for any other.
"""

from collections.abc import Container, Iterable, Iterator
from struct import Struct
from sys import byteorder
from typing import Final

from wg_dynamic.address import IPV4_SIZE, Prefix
from wg_dynamic.netlink.errors import MalformedMessageError
from wg_dynamic.netlink.wire import (
    NLA_F_NESTED,
    NLA_TYPE_MASK,
    iter_attributes,
    pack_attribute,
    pack_nested,
    pack_u32,
    parse_attributes,
    parse_u16,
    parse_u32,
)
from wg_dynamic.record import replace
from wg_dynamic.wireguard.batch import Action, Step
from wg_dynamic.wireguard.device import Device, Endpoint, Peer
from wg_dynamic.wireguard.key import KEY_SIZE

FAMILY_NAME: Final = "wireguard"
"""Of the generic netlink family (WG_GENL_NAME)."""
GENL_ID_CTRL: Final = 16
"""Message type of generic netlink's own family, which tells the others'."""
MAX_BATCH: Final = 60_000
"""Bytes of peers in one message; an attribute's length has 16 bits."""

_CTRL_CMD_GETFAMILY: Final = 3
_CTRL_ATTR_FAMILY_ID: Final = 1
_CTRL_ATTR_FAMILY_NAME: Final = 2
_WG_CMD_GET_DEVICE: Final = 0
_WG_CMD_SET_DEVICE: Final = 1
_GENL: Final = Struct("=BBxx")
"""struct genlmsghdr: command, version."""
_GENL_VERSION: Final = 1

_WGDEVICE_A_IFINDEX: Final = 1
_WGDEVICE_A_PUBLIC_KEY: Final = 4
_WGDEVICE_A_LISTEN_PORT: Final = 6
_WGDEVICE_A_FWMARK: Final = 7
_WGDEVICE_A_PEERS: Final = 8

_WGPEER_A_PUBLIC_KEY: Final = 1
_WGPEER_A_PRESHARED_KEY: Final = 2
_WGPEER_A_FLAGS: Final = 3
_WGPEER_A_ENDPOINT: Final = 4
_WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL: Final = 5
_WGPEER_A_LAST_HANDSHAKE_TIME: Final = 6
_WGPEER_A_ALLOWEDIPS: Final = 9
_WGPEER_F_REMOVE_ME: Final = 1
_WGPEER_F_UPDATE_ONLY: Final = 4

_WGALLOWEDIP_A_FAMILY: Final = 1
_WGALLOWEDIP_A_IPADDR: Final = 2
_WGALLOWEDIP_A_CIDR_MASK: Final = 3
_WGALLOWEDIP_A_FLAGS: Final = 4
_WGALLOWEDIP_F_REMOVE_ME: Final = 1

_AF_INET: Final = 2
_AF_INET6: Final = 10
_ATTRIBUTE: Final = Struct("=HH")
_U16: Final = Struct("=H")
_TIMESPEC: Final = Struct("=qq")
"""struct __kernel_timespec: seconds, nanoseconds."""
_SOCKADDR_IN: Final = Struct("=HH4s8x")
_SOCKADDR_IN6: Final = Struct("=HHI16sI")

# An allowed IP as the kernel writes it (get_allowedips): a nest with CIDR_MASK, FAMILY, IPADDR.
# Its size and the constants around the two values, for IPv4 and IPv6.
_SIZE_4: Final = 28
_SIZE_6: Final = 40
_BITS_4: Final = 32
_BITS_6: Final = 128
_HEAD_4: Final = Struct("=HHHH").pack(_SIZE_4, NLA_F_NESTED, 5, _WGALLOWEDIP_A_CIDR_MASK)
_HEAD_6: Final = Struct("=HHHH").pack(_SIZE_6, NLA_F_NESTED, 5, _WGALLOWEDIP_A_CIDR_MASK)
_MIDDLE: Final = Struct("=HHHxxHH")
_MIDDLE_4: Final = _MIDDLE.pack(6, _WGALLOWEDIP_A_FAMILY, _AF_INET, 8, _WGALLOWEDIP_A_IPADDR)
_MIDDLE_6: Final = _MIDDLE.pack(6, _WGALLOWEDIP_A_FAMILY, _AF_INET6, 20, _WGALLOWEDIP_A_IPADDR)
_FIXED_4: Final = _HEAD_4 + _MIDDLE_4
_FIXED_6: Final = _HEAD_6 + _MIDDLE_6
# A peer as the kernel begins it (get_peer). Counters follow, on some machines with padding between
# them, then what the kernel leaves out when there is none: endpoint, allowed IPs.
_PREAMBLE: Final = Struct("=4s32s4s32x4sqq4sHxx")
_KEY_HEADER: Final = _ATTRIBUTE.pack(36, _WGPEER_A_PUBLIC_KEY)
_PREAMBLE_HEADERS: Final = (
    _KEY_HEADER,
    _ATTRIBUTE.pack(36, _WGPEER_A_PRESHARED_KEY),
    _ATTRIBUTE.pack(20, _WGPEER_A_LAST_HANDSHAKE_TIME),
    _ATTRIBUTE.pack(6, _WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL),
)
_PEER_ATTRIBUTES: Final = frozenset(
    {
        _WGPEER_A_PUBLIC_KEY,
        _WGPEER_A_ENDPOINT,
        _WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL,
        _WGPEER_A_LAST_HANDSHAKE_TIME,
    }
)
"""Kept when they come apart from the beginning; what is not named is never looked at."""
_REMOVE_ME: Final = pack_u32(_WGALLOWEDIP_A_FLAGS, _WGALLOWEDIP_F_REMOVE_ME)


def build_family_query() -> bytes:
    """CTRL_CMD_GETFAMILY: which message type has WireGuard?"""
    name = FAMILY_NAME.encode() + b"\0"
    return _GENL.pack(_CTRL_CMD_GETFAMILY, 1) + pack_attribute(_CTRL_ATTR_FAMILY_NAME, name)


def parse_family(payload: bytes) -> int:
    """The message type from the answer. Raises MalformedMessageError."""
    return parse_u16(parse_attributes(payload, _GENL.size).get(_CTRL_ATTR_FAMILY_ID, b""))


def build_device_query(ifindex: int) -> bytes:
    """WG_CMD_GET_DEVICE, for a dump."""
    return _GENL.pack(_WG_CMD_GET_DEVICE, _GENL_VERSION) + pack_u32(_WGDEVICE_A_IFINDEX, ifindex)


def build_steps(ifindex: int, steps: Iterable[Step]) -> Iterator[bytes]:
    """WG_CMD_SET_DEVICE messages that carry out the steps, in as few as MAX_BATCH allows.

    A step is never cut, so that a throwaway peer goes in the message in which it came.
    """
    head = _GENL.pack(_WG_CMD_SET_DEVICE, _GENL_VERSION) + pack_u32(_WGDEVICE_A_IFINDEX, ifindex)
    peers: list[bytes] = []
    size = 0
    for step in steps:
        encoded = _build_step(step)
        if peers and size + len(encoded) > MAX_BATCH:
            yield head + pack_nested(_WGDEVICE_A_PEERS, b"".join(peers))
            peers, size = [], 0
        peers.append(encoded)
        size += len(encoded)
    if peers:
        yield head + pack_nested(_WGDEVICE_A_PEERS, b"".join(peers))


def build_peer_removal(ifindex: int, public_key: bytes) -> bytes:
    """A WG_CMD_SET_DEVICE message that removes one peer, if it is there."""
    head = _GENL.pack(_WG_CMD_SET_DEVICE, _GENL_VERSION) + pack_u32(_WGDEVICE_A_IFINDEX, ifindex)
    return head + pack_nested(_WGDEVICE_A_PEERS, _pack_peer(public_key, _WGPEER_F_REMOVE_ME))


def build_peer(ifindex: int, peer: Peer, preshared_key: bytes | None) -> bytes:
    """A WG_CMD_SET_DEVICE message that makes a peer; one that is there gets these things besides.

    control.MAX_PEER_PREFIXES allowed IPs fit into it.
    """
    more = b""
    if preshared_key is not None:
        more += pack_attribute(_WGPEER_A_PRESHARED_KEY, preshared_key)
    if peer.endpoint is not None:
        more += pack_attribute(_WGPEER_A_ENDPOINT, _pack_endpoint(peer.endpoint))
    if peer.persistent_keepalive:
        interval = _U16.pack(peer.persistent_keepalive)
        more += pack_attribute(_WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, interval)
    prefixes = b"".join(_pack_allowed_ip(prefix.network(), b"") for prefix in peer.allowed_ips)
    more += pack_nested(_WGPEER_A_ALLOWEDIPS, prefixes)
    head = _GENL.pack(_WG_CMD_SET_DEVICE, _GENL_VERSION) + pack_u32(_WGDEVICE_A_IFINDEX, ifindex)
    return head + pack_nested(_WGDEVICE_A_PEERS, _pack_peer(peer.public_key, 0, more))


def build_fwmark(ifindex: int, fwmark: int) -> bytes:
    """A WG_CMD_SET_DEVICE message that sets the mark and nothing else; 0 is none."""
    head = _GENL.pack(_WG_CMD_SET_DEVICE, _GENL_VERSION) + pack_u32(_WGDEVICE_A_IFINDEX, ifindex)
    return head + pack_u32(_WGDEVICE_A_FWMARK, fwmark)


def parse_device(payloads: Iterable[bytes]) -> Device:
    """The device from all parts of a dump. Raises MalformedMessageError."""
    public_key: bytes | None = None
    listen_port = fwmark = 0
    peers: dict[bytes, Peer] = {}
    for payload in payloads:
        for kind, value in iter_attributes(payload, _GENL.size):
            if kind == _WGDEVICE_A_PEERS:
                _add_peers(peers, value)
            elif kind == _WGDEVICE_A_PUBLIC_KEY:
                public_key = _parse_key(value)
            elif kind == _WGDEVICE_A_LISTEN_PORT:
                listen_port = parse_u16(value)
            elif kind == _WGDEVICE_A_FWMARK:
                fwmark = parse_u32(value)
    return Device(public_key, listen_port, fwmark, tuple(peers.values()))


def parse_allowed_ips(
    payloads: Iterable[bytes], public_keys: Container[bytes]
) -> dict[bytes, set[Prefix]]:
    """The allowed IPs of those of the peers that exist, from all parts of a dump.

    For the few peers of a change this takes a fraction of what `parse_device` takes for all.
    Raises MalformedMessageError.
    """
    held: dict[bytes, set[Prefix]] = {}
    for payload in payloads:
        for kind, value in iter_attributes(payload, _GENL.size):
            if kind != _WGDEVICE_A_PEERS:
                continue
            for _kind, peer in iter_attributes(value):
                if peer.startswith(_KEY_HEADER) and peer[4:36] not in public_keys:
                    continue  # nearly all of them end here
                attributes = parse_attributes(peer)
                public_key = _key_of(peer, attributes)
                if public_key in public_keys:
                    allowed_ips = attributes.get(_WGPEER_A_ALLOWEDIPS, b"")
                    prefixes = _parse_prefixes(allowed_ips, 0, len(allowed_ips))
                    held.setdefault(public_key, set()).update(prefixes)
    return held


def _build_step(step: Step) -> bytes:
    flags = _REMOVE_ME if step.action is Action.REMOVE else b""
    allowed_ips = b"".join(_pack_allowed_ip(prefix, flags) for prefix in step.prefixes)
    nest = pack_nested(_WGPEER_A_ALLOWEDIPS, allowed_ips)
    if step.action is not Action.TAKE_OVER:
        return _pack_peer(step.public_key, _WGPEER_F_UPDATE_ONLY, nest)
    taken = _pack_peer(step.public_key, 0, nest)
    return taken + _pack_peer(step.public_key, _WGPEER_F_REMOVE_ME)


def _pack_peer(public_key: bytes, flags: int, more: bytes = b"") -> bytes:
    key = pack_attribute(_WGPEER_A_PUBLIC_KEY, public_key)
    return pack_nested(0, key + pack_u32(_WGPEER_A_FLAGS, flags) + more)


def _pack_endpoint(endpoint: Endpoint) -> bytes:
    """A struct sockaddr_in or sockaddr_in6; the port is in network order."""
    port = int.from_bytes(endpoint.port.to_bytes(2, "big"), byteorder)
    if len(endpoint.packed) == IPV4_SIZE:
        return _SOCKADDR_IN.pack(_AF_INET, port, endpoint.packed)
    return _SOCKADDR_IN6.pack(_AF_INET6, port, 0, endpoint.packed, 0)


def _pack_allowed_ip(prefix: Prefix, flags: bytes) -> bytes:
    packed, length = prefix
    head, middle = (_HEAD_4, _MIDDLE_4) if prefix.is_ipv4 else (_HEAD_6, _MIDDLE_6)
    if flags:
        size = (_SIZE_4 if prefix.is_ipv4 else _SIZE_6) + len(flags)
        head = _ATTRIBUTE.pack(size, NLA_F_NESTED) + head[_ATTRIBUTE.size :]
    return b"%b%c\0\0\0%b%b%b" % (head, length, middle, packed, flags)


def _parse_key(value: bytes) -> bytes:
    if len(value) != KEY_SIZE:
        msg = f"public key of {len(value)} bytes, expected {KEY_SIZE}"
        raise MalformedMessageError(msg)
    return value


def _add_peers(peers: dict[bytes, Peer], data: bytes) -> None:
    """Parse the peers of one message; those begun in an earlier one get the rest of their IPs."""
    for _kind, value in iter_attributes(data):
        peer = _parse_peer(value)
        public_key = peer.public_key
        if public_key in peers:
            allowed_ips = peers[public_key].allowed_ips + peer.allowed_ips
            peer = replace(peers[public_key], allowed_ips=allowed_ips)
        peers[public_key] = peer


def _parse_peer(data: bytes) -> Peer:
    """One peer: its usual beginning at one stroke, the rest attribute by attribute."""
    attributes: dict[int, bytes] = {}
    allowed_ips: tuple[Prefix, ...] = ()
    public_key, latest_handshake, persistent_keepalive = b"", 0.0, 0
    offset, end = 0, len(data)
    if end >= _PREAMBLE.size:
        head1, key, head2, head3, seconds, nanoseconds, head4, number = _PREAMBLE.unpack_from(data)
        if (head1, head2, head3, head4) == _PREAMBLE_HEADERS:
            public_key, persistent_keepalive = key, number
            latest_handshake = seconds + nanoseconds / 1e9
            offset = _PREAMBLE.size
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        stop = offset + length
        if length < _ATTRIBUTE.size or stop > end:
            break
        kind &= NLA_TYPE_MASK
        if kind == _WGPEER_A_ALLOWEDIPS:
            allowed_ips = tuple(_parse_prefixes(data, offset + 4, stop))
        elif kind in _PEER_ATTRIBUTES:
            attributes[kind] = data[offset + 4 : stop]
        offset = (stop + 3) & ~3
    if offset < end:
        _attribute_at(data, offset, end)  # raises
    peer = Peer(public_key, allowed_ips, None, latest_handshake, persistent_keepalive)
    if not attributes and public_key:
        return peer
    return _complete(peer, _key_of(data, attributes), attributes)


def _key_of(data: bytes, attributes: dict[int, bytes]) -> bytes:
    """The public key of a peer: what it begins with, as a rule."""
    if data.startswith(_KEY_HEADER):
        return _parse_key(data[4:36])
    return _parse_key(attributes.get(_WGPEER_A_PUBLIC_KEY, b""))


def _complete(peer: Peer, public_key: bytes, attributes: dict[int, bytes]) -> Peer:
    """The peer with what came apart from the usual beginning."""
    endpoint = attributes.get(_WGPEER_A_ENDPOINT)
    handshake = attributes.get(_WGPEER_A_LAST_HANDSHAKE_TIME)
    keepalive = attributes.get(_WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL)
    return Peer(
        public_key,
        peer.allowed_ips,
        None if endpoint is None else _parse_endpoint(endpoint),
        peer.latest_handshake if handshake is None else _parse_time(handshake),
        peer.persistent_keepalive if keepalive is None else parse_u16(keepalive),
    )


def _attribute_at(data: bytes, offset: int, end: int) -> tuple[int, int]:
    """Length and type (with flag bits) of the attribute at `offset`, which ends by `end`."""
    room = end - offset
    if room >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if _ATTRIBUTE.size <= length <= room:
            return length, kind
    header = data[offset : offset + min(room, _ATTRIBUTE.size)].hex()
    msg = f"attribute header {header}, expected a length of {_ATTRIBUTE.size} to {room}"
    raise MalformedMessageError(msg)


def _parse_prefixes(data: bytes, offset: int, end: int) -> list[Prefix]:
    prefixes: list[Prefix] = []
    append, new = prefixes.append, tuple.__new__  # Prefix() would be half of the time spent here
    while offset < end:
        fixed = data[offset : offset + 8] + data[offset + 12 : offset + 24]
        room = end - offset
        if fixed == _FIXED_6 and room >= _SIZE_6 and data[offset + 8] <= _BITS_6:
            append(new(Prefix, (data[offset + 24 : offset + _SIZE_6], data[offset + 8])))
            offset += _SIZE_6
        elif fixed == _FIXED_4 and room >= _SIZE_4 and data[offset + 8] <= _BITS_4:
            append(new(Prefix, (data[offset + 24 : offset + _SIZE_4], data[offset + 8])))
            offset += _SIZE_4
        else:
            length, _kind = _attribute_at(data, offset, end)
            append(_parse_prefix(data[offset + 4 : offset + length]))
            offset += (length + 3) & ~3
    return prefixes


def _parse_prefix(data: bytes) -> Prefix:
    """An allowed IP in any layout."""
    attributes = parse_attributes(data)
    packed = attributes.get(_WGALLOWEDIP_A_IPADDR, b"")
    length = int.from_bytes(attributes.get(_WGALLOWEDIP_A_CIDR_MASK, b"\xff"), "big")
    family = parse_u16(attributes.get(_WGALLOWEDIP_A_FAMILY, b""))
    if (family, len(packed)) not in ((_AF_INET, 4), (_AF_INET6, 16)) or length > len(packed) * 8:
        msg = f"allowed IP of family {family}, {len(packed)} bytes, prefix length {length}; "
        msg += "expected IPv4 or IPv6"
        raise MalformedMessageError(msg)
    return Prefix(packed, length)


def _parse_time(value: bytes) -> float:
    if len(value) != _TIMESPEC.size:
        msg = f"time of {len(value)} bytes, expected {_TIMESPEC.size}"
        raise MalformedMessageError(msg)
    seconds, nanoseconds = _TIMESPEC.unpack(value)
    return float(seconds + nanoseconds / 1e9)


def _parse_endpoint(value: bytes) -> Endpoint:
    """A struct sockaddr_in or sockaddr_in6; port and address in network order."""
    if len(value) == _SOCKADDR_IN.size:
        family, _port, packed = _SOCKADDR_IN.unpack(value)
        expected = _AF_INET
    elif len(value) == _SOCKADDR_IN6.size:
        family, _port, _flow, packed, _scope = _SOCKADDR_IN6.unpack(value)
        expected = _AF_INET6
    else:
        sizes = f"{_SOCKADDR_IN.size} or {_SOCKADDR_IN6.size}"
        msg = f"endpoint of {len(value)} bytes, expected {sizes}"
        raise MalformedMessageError(msg)
    if family != expected:
        msg = f"endpoint of family {family}, expected {expected} for {len(value)} bytes"
        raise MalformedMessageError(msg)
    return Endpoint(packed, int.from_bytes(value[2:4], "big"))
