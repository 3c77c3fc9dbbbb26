"""One end of the socket pair between helper and network process: whole messages, with sockets."""

import array
import os
import select
import socket
from typing import Final, TypeVar

from wg_dynamic.privsep.codec import (
    MAX_MESSAGE_SIZE,
    ChannelClosedError,
    ChannelError,
    MessageCodec,
)

_Message = TypeVar("_Message")

_DESCRIPTORS: Final = 1
"""File descriptors that may come with a message."""
_SEND_TIMEOUT: Final = 5.0
"""Seconds that the other process may leave its buffer full before it is given up."""


class Channel:
    """Blocking sends with a deadline; `receive` never blocks."""

    def __init__(
        self, end: socket.socket, sends: tuple[type, ...], receives: tuple[type, ...]
    ) -> None:
        end.setblocking(False)
        self._socket = end
        self._sends = MessageCodec(sends)
        self._receives = MessageCodec(receives)

    def fileno(self) -> int:
        """For select; readable when `receive` has something."""
        return self._socket.fileno()

    def send(self, message: object, attached: socket.socket | None = None) -> None:
        """Send one message, with a socket if given (it stays open here).

        Raises:
            ChannelClosedError: the other end is gone.
            ChannelError: it has not read for five seconds.
        """
        data = self._sends.encode(message)
        descriptors = [] if attached is None else [attached.fileno()]
        try:
            try:
                socket.send_fds(self._socket, [data], descriptors)
            except BlockingIOError:
                self._wait(select.POLLOUT, _SEND_TIMEOUT)
                socket.send_fds(self._socket, [data], descriptors)
        except (BrokenPipeError, ConnectionResetError) as error:
            msg = f"the other process is gone: {error.strerror}"
            raise ChannelClosedError(msg) from error
        except OSError as error:
            msg = f"the other process does not listen: {error.strerror}"
            raise ChannelError(msg) from error

    def receive(self) -> tuple[object, socket.socket | None] | None:
        """The next message and the socket that came with it; None when nothing waits.

        Raises:
            EOFError: the other end was closed.
            ChannelError: what came is no message of the closed set.
        """
        try:
            data, ancillary, flags = self._read()
        except BlockingIOError:
            return None
        descriptors = array.array("i")
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                whole = len(content) - len(content) % descriptors.itemsize
                descriptors.frombytes(content[:whole])
        attached = self._adopt(list(descriptors), flags)
        try:
            if not data:
                raise EOFError
            return self._receives.decode(data), attached
        except (ChannelError, EOFError):
            if attached is not None:
                attached.close()
            raise

    def _read(self) -> tuple[bytes, list[tuple[int, int, bytes]], int]:
        try:
            data, ancillary, flags, _ = self._socket.recvmsg(
                MAX_MESSAGE_SIZE + 1,
                socket.CMSG_SPACE(_DESCRIPTORS * array.array("i").itemsize),
                socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC,
            )
        except ConnectionResetError:
            return self._read()  # it went with messages unread; after that, said once, its own
        return data, ancillary, flags

    def wait_for(self, kind: type[_Message]) -> tuple[_Message, socket.socket | None]:
        """The first message, which has to be of this kind. Raises as `receive`."""
        self._wait(select.POLLIN, None)
        message, attached = self.receive() or (None, None)
        if not isinstance(message, kind):
            if attached is not None:
                attached.close()
            msg = f"{type(message).__name__} as the first message, expected {kind.__name__}"
            raise ChannelError(msg)
        return message, attached

    def _wait(self, what: int, seconds: float | None) -> None:
        """Not by select, which knows no descriptor from 1024 on."""
        poll = select.poll()
        poll.register(self._socket, what)
        poll.poll(None if seconds is None else seconds * 1000)

    @staticmethod
    def _adopt(descriptors: list[int], flags: int) -> socket.socket | None:
        msg = "message larger than allowed, or with more than one descriptor"
        if not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) and len(descriptors) <= _DESCRIPTORS:
            try:
                return socket.socket(fileno=descriptors[0]) if descriptors else None
            except OSError as error:
                msg = f"the descriptor with the message is no socket: {error.strerror}"
        for descriptor in descriptors:
            os.close(descriptor)
        raise ChannelError(msg)

    def close(self) -> None:
        """Close this end. Calling it twice is fine."""
        self._socket.close()
