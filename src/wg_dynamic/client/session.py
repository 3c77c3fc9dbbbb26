"""One connection to the server: requests out, replies and pushes in. No waiting in here."""

import errno
import os
import socket
from collections.abc import Iterator

from wg_dynamic.errors import WgDynamicError
from wg_dynamic.protocol import (
    ClientConnection,
    ConnectionClosed,
    ConnectionFailed,
    Reply,
    Request,
    Update,
    VersionRefused,
)

_READ_SIZE = 65536


class SessionError(WgDynamicError):
    """The exchange failed; the text says at which step, for people."""


class VersionRefusedError(SessionError):
    """The server does not speak the version that was used."""


class Conversation:
    """Drive it with `events` whenever the socket is ready for what `wants_write` says."""

    def __init__(self, connection: socket.socket, request: Request) -> None:
        """`connection` is non-blocking and may still be connecting; `request` is the first."""
        self._socket = connection
        self._wire = ClientConnection(request.version)
        self._unsent = self._wire.send(request)
        self._connected = False

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    @property
    def wants_write(self) -> bool:
        """Whether to wait for the socket to take bytes, instead of to give some."""
        return not self._connected or bool(self._unsent)

    def send(self, request: Request) -> None:
        """Send another request when the socket takes it."""
        self._unsent += self._wire.send(request)

    def events(self) -> Iterator[Reply | Update]:
        """Go on; what has come.

        Raises:
            VersionRefusedError: try version 1 on a new connection.
            SessionError: it failed otherwise.
        """
        try:
            if not self._connected:
                code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, os.strerror(code))
                self._connected = True
            if self._unsent:
                self._flush()
                return
            data = self._socket.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            raise SessionError(_explain(error)) from error
        if data:
            self._wire.receive_data(data)
        else:
            self._wire.receive_eof()
        yield from self._received()

    def _flush(self) -> None:
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except (BrokenPipeError, ConnectionResetError):
            self._unsent = b""  # it closed at once: what it said before is still to be read

    def _received(self) -> Iterator[Reply | Update]:
        while (event := self._wire.next_event()) is not None:
            if isinstance(event, VersionRefused):
                msg = f"the server does not speak version {event.version}"
                raise VersionRefusedError(msg)
            if isinstance(event, ConnectionFailed):
                msg = f"the server's answer is not understood: {event.error.text}"
                raise SessionError(msg)
            if isinstance(event, ConnectionClosed):
                msg = "the server closed the connection without an answer"
                raise SessionError(msg)
            yield event

    def close(self) -> None:
        """Close the socket. Calling it twice is fine."""
        self._socket.close()


class Session(Conversation):
    """One exchange."""

    def on_ready(self) -> Reply | None:
        """Go on; the reply when it is there. Raises as `events`."""
        for event in self.events():
            if not isinstance(event, Update):
                return event
        return None


def _explain(error: OSError) -> str:
    if error.errno == errno.ECONNREFUSED:
        return "no wg-dynamic-server listens on the server peer"
    if error.errno in (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENOKEY):
        return f"the server peer cannot be reached: {error.strerror}"
    return f"connection to the server: {error.strerror}"
