"""Errors of the netlink layer."""

import errno
import os

from wg_dynamic.errors import PrivilegeError, WgDynamicError


class NetlinkError(WgDynamicError):
    """The kernel refused a request; `errno` is positive, `ack` its extended ack text or ''."""

    def __init__(self, errno: int, request: str, ack: str = "") -> None:
        """`request` says what was asked, in words a person can read."""
        super().__init__(errno, request, ack)
        self.errno = errno
        self.request = request
        self.ack = ack

    def __str__(self) -> str:
        """`REQUEST: STRERROR (EXTENDED ACK)`."""
        text = f"{self.request}: {os.strerror(self.errno)}"
        return f"{text} ({self.ack})" if self.ack else text


class InterfaceNotFoundError(NetlinkError):
    """No interface of that name or index in this network namespace."""


class MalformedMessageError(NetlinkError):
    """Bytes that are no netlink message, or not the one expected; `errno` is EBADMSG.

    The one error that the codecs of this package raise for what they parse.
    """

    def __init__(self, detail: str) -> None:
        """`detail` says what came and what was expected."""
        super().__init__(errno.EBADMSG, "parse a netlink message", detail)


def error_from_errno(code: int, request: str, ack: str = "") -> WgDynamicError:
    """The exception for a positive errno of the kernel.

    EPERM becomes PrivilegeError and ENODEV InterfaceNotFoundError. EACCES stays a NetlinkError:
    the kernel says it for IPv6 addresses on an interface with IPv6 switched off.
    """
    if code == errno.EPERM:
        return PrivilegeError(f"{request}: {os.strerror(code)}, expected CAP_NET_ADMIN")
    kind = InterfaceNotFoundError if code == errno.ENODEV else NetlinkError
    return kind(code, request, ack)
