"""The listening socket: who is not to be let in is turned away before he costs much.

asyncio makes a task, a transport and a protocol of each connection that `accept` gives it. A peer
that opens connections as fast as it can would have all of our time; what is turned away here costs
a fraction of that, and leaves nothing behind: a reset, no FIN to wait for.
"""

import socket
import struct
from collections.abc import Callable
from typing import Any

TURNED_AWAY_AT_ONCE = 64
"""Connections that are turned away before the others have their turn."""
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close with a reset."""


class Door(socket.socket):
    """A listening socket whose `accept` gives only who may come in."""

    def __init__(self, listener: socket.socket, admits: Callable[[str, int], bool]) -> None:
        """Take over `listener`, which is IPv6. `admits` is asked with host and port of each."""
        super().__init__(fileno=listener.detach())
        self._admits = admits

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection that may come in. Raises BlockingIOError: none for now."""
        for _ in range(TURNED_AWAY_AT_ONCE):
            connection, address = super().accept()
            if self._admits(*address[:2]):
                return connection, address
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            connection.close()
        raise BlockingIOError  # asyncio comes back: those that wait keep the socket readable
