"""The end of the administration socket that asks: blocking, with a deadline for each answer.

Who answers has no privileges, and may have been taken over: what it says is bounded here, and made
harmless where it is shown (cli/command/output.py).
"""

import errno
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from wg_dynamic.admin.protocol import (
    MAX_ANSWER,
    AdminError,
    Request,
    decode_object,
    encode_request,
)
from wg_dynamic.errors import ConfigError, PrivilegeError, WgDynamicError

TIMEOUT: Final = 15.0
"""Seconds that an answer may keep us waiting, for its next part."""
_CHUNK: Final = 1 << 16


class NotRunningError(ConfigError):
    """No server listens there."""


def connect(path: Path) -> socket.socket:
    """A connection to a server. Raises NotRunningError, PrivilegeError, AdminError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # One that cannot be accepted yet waits its turn, which it does not with a timeout of Python's
    # own: what a member of the group has begun must not turn root away.
    wait = struct.pack("ll", int(TIMEOUT), 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, wait)
    try:
        connection.connect(str(path))
    except OSError as error:
        connection.close()
        raise _not_connected(path, error) from error
    return connection


class AdminClient:
    """One connection."""

    def __init__(self, there: Path | socket.socket) -> None:
        """Connect, or take over a connection. Raises as `connect`."""
        self._socket = connect(there) if isinstance(there, Path) else there
        self._socket.settimeout(TIMEOUT)
        self._buffer = bytearray()

    def __enter__(self) -> Self:
        """Nothing is left to do."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self._socket.close()

    def ask(self, request: Request) -> Iterator[dict[str, Any]]:
        """The rows of the answer, one after the other; the next request comes after the last one.

        Of events that are followed there is no last one, and `{"lost": N}` among them.

        Raises AdminError when the answer is no, or none.
        """
        self.send(request)
        yield from self.rows()

    def send(self, request: Request) -> None:
        """The first half of `ask`."""
        if request.follow:
            self._socket.settimeout(None)
        try:
            self._socket.sendall(encode_request(request))
        except BrokenPipeError:
            pass  # it has said why
        except OSError as error:
            raise _lost(error) from error

    def rows(self) -> Iterator[dict[str, Any]]:
        """The other half of `ask`."""
        while True:
            answer = self._next()
            row = answer.get("row")
            if isinstance(row, dict):
                yield row
            elif "lost" in answer:
                yield {"lost": answer["lost"]}
            elif "done" in answer:
                return
            else:
                text = answer.get("text")
                msg = f"the server says: {text}" if isinstance(text, str) else "no answer"
                raise AdminError(msg, str(answer.get("error")))

    def _next(self) -> dict[str, Any]:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > MAX_ANSWER:
                msg = f"a line of more than {MAX_ANSWER} bytes from the server"
                raise AdminError(msg)
            try:
                data = self._socket.recv(_CHUNK)
            except OSError as error:
                raise _lost(error) from error
            if not data:
                msg = "the server has closed the connection: see its log"
                raise AdminError(msg)
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return decode_object(line)


def _not_connected(path: Path, error: OSError) -> WgDynamicError:
    if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
        return NotRunningError("no wg-dynamic-server runs here")
    if error.errno == errno.EACCES:
        return PrivilegeError(
            "only root and the group for administration (wg-dynamic-admin, unless admin_group in"
            " the server's configuration says another) may ask the server"
        )
    if error.errno == errno.EAGAIN:
        return AdminError(f"the server took no connection within {TIMEOUT:g} s: see its log")
    return AdminError(f"cannot connect to {path}: {error.strerror or error}")


def _lost(error: OSError) -> AdminError:
    if isinstance(error, TimeoutError):
        return AdminError(f"the server did not answer within {TIMEOUT:g} s: see its log")
    return AdminError(f"the connection to the server is lost: {error.strerror}")
