"""The listening socket: who is not to be let in is turned away before he costs anything.

asyncio makes a task, a transport and a protocol of each connection that `accept` gives it. A peer
that opens connections as fast as it can would have all of our time; what is turned away here costs
a fraction of that, and leaves nothing behind: a reset, no FIN to wait for. Whoever is shut out
costs nothing at all: the kernel drops his SYNs, by a filter on the socket. Connections that are
there stay as they are.
"""

import ctypes
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from wg_dynamic.record import dataclass

TURNED_AWAY_AT_ONCE = 64
"""Connections that are turned away before the others have their turn."""
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close with a reset."""
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27  # asm-generic/socket.h
_NET_OFFSET = 0xFFF00000  # linux/filter.h, SKF_NET_OFF: from here on, the IPv6 header
_SOURCE = 8
"""Offset of the source address in it."""
_LOAD, _LOAD_HALF, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x28, 0x15, 0x35, 0x06
_WHOLE = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Source:
    """Where connections come from: an address, and which half of its ports."""

    address: bytes
    unprivileged: bool


def filter_program(sources: Iterable[Source], port_limit: int) -> bytes:
    """What drops each packet of these sources and takes all others (struct sock_filter, packed).

    Ports are unprivileged from `port_limit` on. Of a TCP socket, offset 0 is the source port.
    """
    steps = [step for source in sources for step in _drop(source, port_limit)]
    return b"".join(struct.pack("=HBBI", *step) for step in [*steps, (_RETURN, 0, 0, _WHOLE)])


def _drop(source: Source, port_limit: int) -> Iterator[tuple[int, int, int, int]]:
    """Eleven steps: code, how many to skip if so, and if not, operand."""
    for index, word in enumerate(struct.unpack("!4I", source.address)):
        yield (_LOAD, 0, 0, _NET_OFFSET + _SOURCE + 4 * index)
        yield (_IF_EQUAL, 0, 9 - 2 * index, word)
    yield (_LOAD_HALF, 0, 0, 0)
    yield (_IF_AT_LEAST, *((0, 1) if source.unprivileged else (1, 0)), port_limit)
    yield (_RETURN, 0, 0, 0)


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

    def shut_out(self, sources: Iterable[Source], port_limit: int) -> None:
        """Let the kernel drop what comes from these sources, instead of those named before.

        Raises OSError: the kernel has no memory for it. Then those named before are.
        """
        program = filter_program(sources, port_limit)
        length = len(program) // 8
        if length == 1:
            self.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
            return
        buffer = ctypes.create_string_buffer(program)
        pointed = struct.pack("@HP", length, ctypes.addressof(buffer))  # struct sock_fprog
        self.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pointed)
