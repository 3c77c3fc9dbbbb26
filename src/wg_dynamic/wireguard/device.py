"""What is read from a WireGuard interface. Private and preshared keys are never part of it."""

from wg_dynamic.address import Prefix
from wg_dynamic.record import dataclass


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a peer's packets come from or go to."""

    packed: bytes
    """Outer address, 4 or 16 bytes."""
    port: int
    """UDP port."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer as WireGuard holds it now."""

    public_key: bytes
    """32 bytes."""
    allowed_ips: tuple[Prefix, ...] = ()
    """In the order that WireGuard returned them; host bits are clear."""
    endpoint: Endpoint | None = None
    """None until known."""
    latest_handshake: float = 0.0
    """Unix time in seconds; 0.0 when there was none."""
    persistent_keepalive: int = 0
    """Seconds; 0 is off."""


@dataclass(frozen=True, slots=True)
class Device:
    """One interface and its peers."""

    public_key: bytes | None
    """None when no private key is set, and always by UAPI, which tells the private key alone."""
    listen_port: int
    fwmark: int
    peers: tuple[Peer, ...]


@dataclass(frozen=True, slots=True)
class AllowedIPChange:
    """Add one allowed IP to a peer, or take one off."""

    public_key: bytes
    prefix: Prefix
    add: bool
