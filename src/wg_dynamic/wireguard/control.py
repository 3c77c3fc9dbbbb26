"""The WireGuardControl interface, its errors, and the choice of a backend."""

from collections.abc import Sequence
from typing import Final, Protocol

from wg_dynamic.errors import WgDynamicError
from wg_dynamic.wireguard.device import AllowedIPChange, Device


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

    def set_fwmark(self, fwmark: int) -> None:
        """Set the mark that the tunnel's own outer packets carry; 0 is none.

        Raises as `device`; ValueError for a mark of more than 32 bits.
        """

    def close(self) -> None:
        """Release sockets. Calling it twice is fine."""
