"""The WireGuardControl interface, its errors, and the choice of a backend."""

from collections.abc import Sequence
from typing import Final, Protocol

from wg_dynamic.errors import WgDynamicError
from wg_dynamic.wireguard.device import AllowedIPChange, Device, Peer
from wg_dynamic.wireguard.key import KEY_SIZE


class WireGuardError(WgDynamicError):
    """WireGuard did not do what was asked."""


class NotWireGuardError(WireGuardError):
    """The interface exists and is not a WireGuard one."""


class WireGuardGoneError(WireGuardError):
    """The interface, or the process behind its socket, is there no longer."""


MAX_FWMARK: Final = 0xFFFFFFFF


def check_fwmark(fwmark: int) -> None:
    """Raise ValueError unless it is one, or 0 for none."""
    if not 0 <= fwmark <= MAX_FWMARK:
        msg = f"fwmark {fwmark}, expected 0 to {MAX_FWMARK}"
        raise ValueError(msg)


MAX_KEEPALIVE: Final = 0xFFFF


def check_peer(peer: Peer, preshared_key: bytes | None) -> None:
    """Raise ValueError unless every backend can add the peer."""
    if len(peer.public_key) != KEY_SIZE:
        msg = f"public key of {len(peer.public_key)} bytes, expected {KEY_SIZE}"
        raise ValueError(msg)
    if preshared_key is not None and len(preshared_key) != KEY_SIZE:
        msg = f"preshared key of {len(preshared_key)} bytes, expected {KEY_SIZE}"
        raise ValueError(msg)
    if not 0 <= peer.persistent_keepalive <= MAX_KEEPALIVE:
        msg = f"keepalive of {peer.persistent_keepalive} s, expected 0 to {MAX_KEEPALIVE}"
        raise ValueError(msg)
    if len(peer.allowed_ips) > MAX_PEER_PREFIXES:
        msg = f"{len(peer.allowed_ips)} allowed IPs, expected at most {MAX_PEER_PREFIXES}"
        raise ValueError(msg)


MAX_PEER_PREFIXES: Final = 1000
"""Allowed IPs that a peer may come with: they go in one message (see batch.MAX_STEP_PREFIXES)."""


class WireGuardControl(Protocol):
    """One WireGuard interface. Blocking; not safe for use by two threads at once."""

    def device(self) -> Device:
        """Dump the interface: one consistent-as-possible reading, each peer once.

        Raises:
            WireGuardGoneError: the interface is gone.
            PrivilegeError: CAP_NET_ADMIN (or access to the UAPI socket) is missing.
        """

    def change_allowed_ips(self, changes: Sequence[AllowedIPChange]) -> None:
        """Carry out the changes in their order, in as few messages as possible.

        Other allowed IPs of the same peer are never replaced, not even for a moment. A peer that
        does not exist is never created: a change for it is skipped without an error (WireGuard
        itself says nothing), so dump where it matters. Adding what the peer already has and taking
        off what it has not are no errors. Adding an allowed IP that another peer has moves it:
        check first. Taking one off never touches the same prefix of another peer, within the
        bound that the backend's docstring states.

        Raises as `device`; WireGuardError when WireGuard refuses a change; earlier ones stay done.
        """

    def add_peer(self, peer: Peer, preshared_key: bytes | None = None) -> None:
        """Make a peer, with its allowed IPs, endpoint and keepalive, in one message.

        WireGuard cannot be asked to make one only where there is none: a peer of this key that is
        there keeps its allowed IPs and gets these besides, and keeps what `peer` does not say (no
        endpoint, keepalive 0, no preshared key). An allowed IP that another peer has moves: check
        both first.

        Raises as `device`; ValueError for what is no peer.
        """

    def remove_peer(self, public_key: bytes) -> None:
        """Remove a peer with all that it has; one that is not there is no error.

        Raises as `device`; ValueError for what is no key.
        """

    def set_fwmark(self, fwmark: int) -> None:
        """Set the mark that the tunnel's own outer packets carry; 0 is none.

        Raises as `device`; ValueError for a mark of more than 32 bits.
        """

    def close(self) -> None:
        """Release sockets. Calling it twice is fine."""
