"""Blocking netlink sockets: one for requests and dumps, one that listens to events."""

import errno
import itertools
import socket
import struct
from typing import Final, Self

from wg_dynamic.netlink.errors import MalformedMessageError, NetlinkError, error_from_errno
from wg_dynamic.netlink.wire import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSG_NOOP,
    NLMSG_OVERRUN,
    Message,
    pack_message,
    parse_status,
    split_messages,
)

NETLINK_ROUTE: Final = 0
NETLINK_GENERIC: Final = 16

DUMP_TRIES: Final = 8
"""A dump that the kernel calls inconsistent is made anew, at most this often in all."""
REPLY_TIMEOUT: Final = 10
"""Seconds to wait for the kernel, which answers at once unless another holds its lock."""
RECEIVE_SIZE: Final = 0x10000
"""Bytes for one datagram; the kernel fills at most 32 KiB of a dump (af_netlink.c)."""
EVENT_BUFFER: Final = 1 << 20
"""Bytes of events that may wait unread before the kernel drops more."""
READ_LIMIT: Final = 256
"""Datagrams taken by one `receive` of an event socket, lest a flood never let it return."""
DRAIN_LIMIT: Final = 1 << 16
"""The same after a loss, when the queue has to be emptied."""

_SOL_NETLINK: Final = 270
_NETLINK_CAP_ACK: Final = 10
_NETLINK_EXT_ACK: Final = 11
_NETLINK_GET_STRICT_CHK: Final = 12
_SO_RCVBUFFORCE: Final = 33
_TIMEVAL: Final = struct.Struct("@ll")


def _open(protocol: int) -> socket.socket:
    try:
        return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    except OSError as error:
        raise error_from_errno(error.errno or errno.EIO, "open a netlink socket") from error


def _receive(sock: socket.socket, flags: int = 0) -> list[Message]:
    """The messages of the next datagram from the kernel. Raises OSError, MalformedMessageError."""
    data, _control, result, sender = sock.recvmsg(RECEIVE_SIZE, 0, flags)
    if result & socket.MSG_TRUNC:
        msg = f"datagram of more than {RECEIVE_SIZE} bytes, expected at most that"
        raise MalformedMessageError(msg)
    if sender[0] != 0:
        return []  # another process wrote to our port; only port 0 is the kernel
    return split_messages(data)


class NetlinkSocket:
    """Requests to the kernel, one at a time. Blocking; not safe for use by two threads at once."""

    def __init__(self, protocol: int) -> None:
        """Open a socket of that protocol (NETLINK_ROUTE, NETLINK_GENERIC).

        Raises NetlinkError when the system has no netlink to offer.
        """
        self._socket = _open(protocol)
        self._sequence = itertools.count(1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        # A timeout in the kernel: Python's own would cost a poll() for each call.
        timeout = _TIMEVAL.pack(REPLY_TIMEOUT, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(self, *_details: object) -> None:
        """Close."""
        self.close()

    def check_strictly(self) -> None:
        """Let the kernel check dump requests and honour their filters (Linux 5.0).

        Raises NetlinkError where the kernel cannot: its dumps would come unfiltered.
        """
        try:
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
        except OSError as error:
            request = "have netlink requests checked strictly"
            raise error_from_errno(error.errno or errno.EIO, request) from error

    def request(self, kind: int, payload: bytes, flags: int, what: str) -> list[Message]:
        """Send one request, wait for its acknowledgement, return what came before that.

        Args:
            kind: nlmsg_type.
            payload: all that follows the header.
            flags: beside NLM_F_REQUEST and NLM_F_ACK.
            what: the request in words, for errors.

        Raises:
            NetlinkError: the kernel refused, or did not answer within REPLY_TIMEOUT.
            InterfaceNotFoundError: ENODEV.
            PrivilegeError: EPERM.
        """
        sequence = self._send(kind, NLM_F_ACK | flags, payload, what)
        replies: list[Message] = []
        while True:
            for message in self._replies(sequence, what):
                if message.kind == NLMSG_ERROR:
                    _check(message, what)
                    return replies
                replies.append(message)

    def dump(self, kind: int, payload: bytes, what: str) -> list[Message]:
        """Send a dump request and return all its parts, a consistent reading.

        Arguments and errors as for `request`; besides NetlinkError EINTR when what is dumped
        changed during each of DUMP_TRIES tries: parts may be missing then, so none is returned.
        """
        for _try in range(DUMP_TRIES):
            parts, consistent = self._dump_once(kind, payload, what)
            if consistent:
                return parts
        raise NetlinkError(errno.EINTR, what, f"changed during each of {DUMP_TRIES} dumps")

    def close(self) -> None:
        """Close the socket. Calling it twice is fine."""
        self._socket.close()

    def _dump_once(self, kind: int, payload: bytes, what: str) -> tuple[list[Message], bool]:
        sequence = self._send(kind, NLM_F_DUMP, payload, what)
        parts: list[Message] = []
        consistent = True
        while True:
            for message in self._replies(sequence, what):
                if message.flags & NLM_F_DUMP_INTR:
                    consistent = False
                if message.kind in (NLMSG_DONE, NLMSG_ERROR):
                    _check(message, what)
                    return parts, consistent
                parts.append(message)

    def _send(self, kind: int, flags: int, payload: bytes, what: str) -> int:
        sequence = next(self._sequence) & 0xFFFFFFFF
        try:
            self._socket.send(pack_message(kind, NLM_F_REQUEST | flags, sequence, payload))
        except OSError as error:
            raise error_from_errno(error.errno or errno.EIO, what) from error
        return sequence

    def _replies(self, sequence: int, what: str) -> list[Message]:
        """Those messages of the next datagram that answer the request `sequence`.

        Others are what is left of a request that timed out.
        """
        try:
            messages = _receive(self._socket)
        except BlockingIOError:
            raise NetlinkError(errno.ETIMEDOUT, what) from None
        except OSError as error:
            raise error_from_errno(error.errno or errno.EIO, what) from error
        if any(message.kind == NLMSG_OVERRUN for message in messages):
            raise NetlinkError(errno.ENOBUFS, what)
        return [m for m in messages if m.sequence == sequence and m.kind != NLMSG_NOOP]


class EventSocket:
    """Listens to multicast groups; never blocks."""

    def __init__(self, protocol: int, groups: int) -> None:
        """Join `groups`, a mask of the RTMGRP_* kind. Raises NetlinkError, PrivilegeError."""
        self._socket = _open(protocol)
        try:
            self._enlarge_buffer()
            self._socket.bind((0, groups))
        except OSError as error:
            self._socket.close()
            raise error_from_errno(error.errno or errno.EIO, "listen to netlink events") from error

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    def receive(self) -> tuple[list[Message], bool]:
        """What waits, up to READ_LIMIT datagrams, and whether the kernel dropped some (ENOBUFS).

        After a loss the kernel drops more, silently, until the queue has been emptied; so then
        the whole queue is taken, and what is read anew after this call is complete.
        Raises NetlinkError, MalformedMessageError.
        """
        messages: list[Message] = []
        lost = False
        count = 0
        while count < (DRAIN_LIMIT if lost else READ_LIMIT):
            count += 1
            try:
                received = _receive(self._socket, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise error_from_errno(error.errno or errno.EIO, "read events") from error
                lost = True
            else:
                if not lost:
                    messages += received
        return messages, lost

    def close(self) -> None:
        """Close the socket. Calling it twice is fine."""
        self._socket.close()

    def _enlarge_buffer(self) -> None:
        try:  # beyond net.core.rmem_max, with CAP_NET_ADMIN
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, EVENT_BUFFER)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, EVENT_BUFFER)


def _check(message: Message, what: str) -> None:
    code, ack = parse_status(message)
    if code:
        raise error_from_errno(code, what, ack)
