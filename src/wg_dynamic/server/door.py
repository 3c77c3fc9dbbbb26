"""The listening socket: who is not to be let in is turned away before he costs much.

A peer that opens connections as fast as it can would have all of our time; what is turned away here
costs a fraction of what a connection does, and leaves nothing behind: a reset, no FIN to wait for.

Connections are taken by accept4(2) itself: Python's `socket.accept` makes text of the address, and
asks the kernel for the name of its interface, which costs more than all the rest.
"""

import socket
import struct
import sys
from collections.abc import Callable
from typing import NamedTuple

from wg_dynamic.system.libc import Acceptor

TURNED_AWAY_AT_ONCE = 64
"""Connections that are turned away before the others have their turn."""
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close with a reset."""


class Arrival(NamedTuple):
    """A connection that came in, and the other end's address."""

    descriptor: int
    source: bytes
    """16 bytes."""
    port: int
    scope: int
    """Index of the interface, for a link-local source."""


class Door:
    """A listening socket whose `accept` gives only who may come in."""

    def __init__(self, listener: socket.socket, admits: Callable[[bytes, int], bool]) -> None:
        """`listener` is IPv6 and does not block. `admits` is asked with source and port of each."""
        self._listener = listener
        self._accept = Acceptor(listener.fileno()).accept
        self._admits = admits

    def fileno(self) -> int:
        """Readable when `accept` has something to do."""
        return self._listener.fileno()

    def accept(self) -> Arrival | None:
        """The next connection that may come in; None for now. Raises OSError."""
        for _ in range(TURNED_AWAY_AT_ONCE):
            accepted = self._accept()
            if accepted is None:
                return None
            descriptor, address = accepted  # struct sockaddr_in6
            source, port = address[8:24], address[2] << 8 | address[3]
            if self._admits(source, port):
                return Arrival(
                    descriptor, source, port, int.from_bytes(address[24:], sys.byteorder)
                )
            turn_away(descriptor)
        return None  # those that wait keep the socket readable

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()


def turn_away(descriptor: int) -> None:
    """Close a connection with a reset."""
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM, fileno=descriptor) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
