"""Which WireGuard is behind an interface: the kernel's, or a process with a UAPI socket."""

import os
from typing import Final

from wg_dynamic.netlink.control import Link
from wg_dynamic.wireguard.control import NotWireGuardError, WireGuardControl, WireGuardError
from wg_dynamic.wireguard.genetlink import GenetlinkControl
from wg_dynamic.wireguard.uapi import SOCKET_DIRECTORY, UapiControl

KERNEL_KIND: Final = "wireguard"
USER_SPACE_KINDS: Final = ("tun", "")
"""What a process can be behind; '' is a kernel that names no kind for TUN interfaces."""


def open_control(
    link: Link, directory: str | os.PathLike[str] = SOCKET_DIRECTORY
) -> WireGuardControl:
    """The control of the WireGuard interface `link`.

    The kernel's word on the kind comes first: a socket that a process left behind under the name
    of a kernel interface is never used.

    Raises:
        NotWireGuardError: neither the kernel nor a process makes WireGuard of it.
        PrivilegeError: CAP_NET_ADMIN (or access to the UAPI socket) is missing.
        WireGuardError: the kernel's WireGuard cannot be reached.
    """
    if link.kind == KERNEL_KIND:
        return GenetlinkControl(link.ifindex)
    if link.kind not in USER_SPACE_KINDS:
        msg = f"interface {link.name} is of kind {link.kind!r}, expected a WireGuard interface"
        raise NotWireGuardError(msg)
    try:
        return UapiControl(link.name, directory)
    except WireGuardError as error:
        msg = f"interface {link.name} is not a WireGuard one: {error}"
        raise NotWireGuardError(msg) from error
