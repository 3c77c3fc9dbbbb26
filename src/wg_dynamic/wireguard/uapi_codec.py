"""The text protocol of WireGuard in user space (wireguard.com/xplatform).

Lines `key=value`, a blank line ends a request and a reply; keys are hexadecimal. A reply ends with
`errno=N` and the blank line. Lines with private and preshared keys are passed over unread, so the
interface's own public key is not known here: the protocol tells the private one only.
Parsing raises MalformedReplyError and nothing else.
"""

from collections.abc import Container, Iterable
from typing import Final

from wg_dynamic.address import IPV6_SIZE, Prefix, format_address, parse_address
from wg_dynamic.wireguard.batch import Action, Step
from wg_dynamic.wireguard.control import WireGuardError
from wg_dynamic.wireguard.device import Device, Endpoint, Peer
from wg_dynamic.wireguard.key import KEY_SIZE

GET: Final = b"get=1\n\n"
SET_NOTHING: Final = b"set=1\n\n"
"""Changes nothing; that it is answered shows that there is a WireGuard."""
END: Final = b"\n\n"

_MAX_U16: Final = 0xFFFF
_MAX_U32: Final = 0xFFFFFFFF
_MAX_I64: Final = 0x7FFFFFFFFFFFFFFF
_MAX_DIGITS: Final = 20
"""int() of a longer text could take long."""
_PEER_ATTRIBUTES: Final = frozenset(
    {
        "endpoint",
        "last_handshake_time_nsec",
        "last_handshake_time_sec",
        "persistent_keepalive_interval",
    }
)
"""Kept beside allowed IPs; what is not named is never looked at."""


class MalformedReplyError(WireGuardError):
    """A reply that is not of this protocol."""


def build_steps(steps: Iterable[Step]) -> bytes:
    """One set operation that carries out all steps."""
    return b"set=1\n" + b"".join(_build_step(step) for step in steps) + b"\n"


def build_peer_removal(public_key: bytes) -> bytes:
    """A set operation that removes one peer, if it is there."""
    return b"set=1\npublic_key=%b\nremove=true\n\n" % public_key.hex().encode()


def build_peer(peer: Peer, preshared_key: bytes | None) -> bytes:
    """A set operation that makes a peer; one that is there gets what is said besides."""
    lines = [f"public_key={peer.public_key.hex()}"]
    if preshared_key is not None:
        lines.append(f"preshared_key={preshared_key.hex()}")
    if peer.endpoint is not None:
        host = format_address(peer.endpoint.packed)
        host = f"[{host}]" if len(peer.endpoint.packed) == IPV6_SIZE else host
        lines.append(f"endpoint={host}:{peer.endpoint.port}")
    if peer.persistent_keepalive:
        lines.append(f"persistent_keepalive_interval={peer.persistent_keepalive}")
    lines += [f"allowed_ip={prefix.network()}" for prefix in peer.allowed_ips]
    return "\n".join(["set=1", *lines, "", ""]).encode("ascii")


def build_fwmark(fwmark: int) -> bytes:
    """A set operation that sets the mark and nothing else; 0 is none."""
    return b"set=1\nfwmark=%d\n\n" % fwmark


def parse_status(reply: bytes) -> int:
    """The reply's errno, positive, 0 for success. Raises MalformedReplyError."""
    line = reply.removesuffix(END).rpartition(b"\n")[2].decode("ascii", "replace")
    key, _, value = line.partition("=")
    if key != "errno" or not reply.endswith(END):
        msg = f"reply ends with {line[:80]!r}, expected errno= and a blank line"
        raise MalformedReplyError(msg)
    return _number(value.removeprefix("-"), _MAX_U16)


def parse_device(reply: bytes) -> Device:
    """The device from the reply to GET. Raises MalformedReplyError."""
    interface, *blocks = _blocks(reply)
    listen_port = fwmark = 0
    for line in interface.split("\n"):
        key, _, value = line.partition("=")
        if key == "listen_port":
            listen_port = _number(value, _MAX_U16)
        elif key == "fwmark":
            fwmark = _number(value, _MAX_U32)
    return Device(None, listen_port, fwmark, tuple(map(_parse_peer, blocks)))


def parse_allowed_ips(reply: bytes, public_keys: Container[bytes]) -> dict[bytes, set[Prefix]]:
    """The allowed IPs of those of the peers that exist, from the reply to GET.

    Raises MalformedReplyError.
    """
    held = {}
    for block in _blocks(reply)[1:]:
        public_key = _key(block.partition("\n")[0])
        if public_key in public_keys:
            held[public_key] = set(_parse_peer(block).allowed_ips)
    return held


def _build_step(step: Step) -> bytes:
    lines = [f"public_key={step.public_key.hex()}\n"]
    if step.action is not Action.TAKE_OVER:
        lines.append("update_only=true\n")
    sign = "-" if step.action is Action.REMOVE else ""
    lines += [f"allowed_ip={sign}{prefix}\n" for prefix in step.prefixes]
    if step.action is Action.TAKE_OVER:
        lines.append(f"public_key={step.public_key.hex()}\nremove=true\n")
    return "".join(lines).encode("ascii")


def _blocks(reply: bytes) -> list[str]:
    """What is said of the interface, then of each peer, beginning with the peer's key."""
    try:
        text = reply.removesuffix(END).decode("ascii")
    except UnicodeDecodeError as error:
        msg = f"byte {reply[error.start]:#x} in the reply, expected ASCII"
        raise MalformedReplyError(msg) from None
    return f"\n{text}".split("\npublic_key=")


def _parse_peer(block: str) -> Peer:
    allowed_ips = []
    attributes: dict[str, str] = {}
    public_key, *lines = block.split("\n")
    for line in lines:
        if line.startswith("allowed_ip="):
            allowed_ips.append(_prefix(line[11:]))
        elif not line.endswith("=0"):  # as most lines do, and 0 is what a missing one means
            key, _, value = line.partition("=")
            if key in _PEER_ATTRIBUTES:
                attributes[key] = value
    endpoint = attributes.get("endpoint")
    handshake = 0.0
    if "last_handshake_time_sec" in attributes:
        nanoseconds = _number(attributes.get("last_handshake_time_nsec", "0"), _MAX_I64)
        handshake = _number(attributes["last_handshake_time_sec"], _MAX_I64) + nanoseconds / 1e9
    keepalive = attributes.get("persistent_keepalive_interval")
    return Peer(
        _key(public_key),
        tuple(allowed_ips),
        None if endpoint is None else _endpoint(endpoint),
        handshake,
        0 if keepalive is None else _number(keepalive, _MAX_U16),
    )


def _number(text: str, highest: int) -> int:
    if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS and int(text) <= highest:
        return int(text)
    msg = f"number {text[:80]!r}, expected 0 to {highest}"
    raise MalformedReplyError(msg)


def _key(text: str) -> bytes:
    try:
        public_key = bytes.fromhex(text)
    except ValueError:
        public_key = b""
    if len(public_key) != KEY_SIZE or len(text) != KEY_SIZE * 2:  # fromhex passes over spaces
        msg = f"public key {text[:80]!r}, expected {KEY_SIZE * 2} hexadecimal digits"
        raise MalformedReplyError(msg)
    return public_key


def _prefix(text: str) -> Prefix:
    address, _, length = text.partition("/")
    packed = _address(address)
    return Prefix(packed, _number(length, len(packed) * 8))


def _address(text: str) -> bytes:
    try:
        return parse_address(text)
    except ValueError:
        msg = f"address {text[:80]!r}, expected IPv4 or IPv6"
        raise MalformedReplyError(msg) from None


def _endpoint(text: str) -> Endpoint:
    """`192.0.2.1:51820`, `[2001:db8::1]:51820`, `[fe80::1%eth0]:51820`; the scope is dropped."""
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1].partition("%")[0]
    return Endpoint(_address(host), _number(port, _MAX_U16))
