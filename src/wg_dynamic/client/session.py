"""One exchange with the server over one connection: request out, reply in. No waiting in here."""

import errno
import os
import socket

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


class Session:
    """Drive it with `on_ready` whenever the socket is ready for what `wants_write` says."""

    def __init__(self, connection: socket.socket, request: Request) -> None:
        """`connection` is non-blocking and may still be connecting."""
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

    def on_ready(self) -> Reply | None:
        """Go on; the reply when it is there.

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
                self._send()
                return None
            data = self._socket.recv(_READ_SIZE)
        except BlockingIOError:
            return None
        except OSError as error:
            raise SessionError(_explain(error)) from error
        if data:
            self._wire.receive_data(data)
        else:
            self._wire.receive_eof()
        return self._next()

    def _send(self) -> None:
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except (BrokenPipeError, ConnectionResetError):
            self._unsent = b""  # it closed at once: what it said before is still to be read

    def _next(self) -> Reply | None:
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
            if not isinstance(event, Update):
                return event
        return None

    def close(self) -> None:
        """Close the socket. Calling it twice is fine."""
        self._socket.close()


def _explain(error: OSError) -> str:
    if error.errno == errno.ECONNREFUSED:
        return "no wg-dynamic-server listens on the server peer"
    if error.errno in (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENOKEY):
        return f"the server peer cannot be reached: {error.strerror}"
    return f"connection to the server: {error.strerror}"
