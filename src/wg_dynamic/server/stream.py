"""Accepted connections, on an epoll of their own inside asyncio's.

asyncio makes of each connection a socket, a transport, a context, an entry of its selector and a
handle for every event: 60 microseconds a connection, which is as much as all of its request is to
cost (docs/performance.md). Here the descriptors of all connections are in one epoll, which is
itself one descriptor for asyncio's; what is ready is served in one call.

A Stream is to its protocol what an asyncio transport is, with one difference: `connection_lost`
is called from within `close` and `abort`.
"""

import asyncio
import errno
import logging
import os
import select
from collections.abc import Callable
from typing import TypeVar

from wg_dynamic.server.door import Arrival, Door

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")

READ_SIZE = 65536
"""Bytes that are read of a connection before others have their turn."""
EVENTS_AT_ONCE = 256
"""Connections that are served before what else the event loop has to do."""
HIGH = 65536
"""Bytes not sent yet from which on a protocol is told to pause, unless it says otherwise."""
PAUSE = 1.0
"""Seconds until it is tried again to accept when the process has no room."""
BUSY_PAUSE = 0.01
"""Seconds until it is tried again when there is more to do than is done at once."""
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Stream(asyncio.Transport):
    """One connection."""

    __slots__ = (
        "_closing",
        "_descriptor",
        "_ended",
        "_full",
        "_high",
        "_mask",
        "_paused",
        "_poll",
        "_protocol",
        "_streams",
        "_unsent",
        "arrival",
    )

    def __init__(self, arrival: Arrival, poll: select.epoll, streams: "dict[int, Stream]") -> None:
        """`streams`: all that are open, by descriptor."""
        self.arrival = arrival
        self._streams = streams
        self._descriptor = arrival.descriptor
        self._poll = poll
        self._high = HIGH
        self._protocol: asyncio.Protocol
        self._unsent: bytearray | None = None
        self._mask = 0
        """What is asked for in the epoll; 0: it is not in it."""
        self._paused = False
        self._ended = False
        """The other end will send nothing more."""
        self._full = False
        self._closing = False

    def begin(self, protocol: asyncio.Protocol) -> None:
        """Serve it from now on."""
        self._protocol = protocol
        self._streams[self._descriptor] = self
        self._want()
        protocol.connection_made(self)

    # --- what a protocol may do -----------------------------------------------------------------

    def is_closing(self) -> bool:
        """See asyncio.Transport."""
        return self._closing

    def pause_reading(self) -> None:
        """See asyncio.Transport; the epoll is told when something comes."""
        self._paused = True

    def resume_reading(self) -> None:
        """See asyncio.Transport."""
        if self._paused:
            self._paused = False
            self._want()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See asyncio.Transport; `low` is always a quarter of `high`."""
        del low
        self._high = HIGH if high is None else high

    def get_write_buffer_size(self) -> int:
        """See asyncio.Transport."""
        return len(self._unsent) if self._unsent else 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See asyncio.Transport."""
        if self._descriptor < 0:
            return
        if self._unsent is None:
            try:
                sent = os.write(self._descriptor, data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.abort()
                return
            if sent == len(data):
                return
            self._unsent = bytearray(data[sent:])
            self._want()
        else:
            self._unsent += data
        if len(self._unsent) > self._high and not self._full:
            self._full = True
            self._protocol.pause_writing()

    def close(self) -> None:
        """See asyncio.Transport: what is unsent is sent first."""
        self._closing = True
        if self._unsent is None:
            self.abort()

    def abort(self) -> None:
        """See asyncio.Transport."""
        self._closing = True
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            self._unsent = None
            del self._streams[descriptor]
            os.close(descriptor)  # also takes it out of the epoll
            self._protocol.connection_lost(None)

    # --- what the epoll says --------------------------------------------------------------------

    def ready(self, events: int) -> None:
        """Something has come, or can be sent."""
        if events & select.EPOLLOUT and self._unsent is not None:
            self._send()
        if self._descriptor < 0 or not events & ~select.EPOLLOUT:
            return
        if self._paused or self._ended or self._closing:
            if events & (select.EPOLLERR | select.EPOLLHUP):  # reported whatever is asked for
                self._leave()
            else:
                self._want()
            return
        self._read()

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            self.abort()
            return
        if data:
            self._protocol.data_received(data)
        else:
            self._ended = True
            if not self._protocol.eof_received():
                self.close()
            elif self._descriptor >= 0:
                self._want()

    def _send(self) -> None:
        assert self._unsent is not None  # noqa: S101 - who calls has looked
        try:
            sent = os.write(self._descriptor, self._unsent)
        except BlockingIOError:
            return
        except OSError:
            self.abort()
            return
        del self._unsent[:sent]
        if not self._unsent:
            self._unsent = None
            if self._closing:
                self.abort()
                return
            self._want()
        if self._full and self.get_write_buffer_size() <= self._high // 4:
            self._full = False
            self._protocol.resume_writing()

    def _want(self) -> None:
        """Ask the epoll for what is of use now."""
        if self._descriptor < 0:
            return
        reads = not (self._paused or self._ended or self._closing)
        mask = (select.EPOLLIN if reads else 0) | (select.EPOLLOUT if self._unsent else 0)
        if mask == self._mask:
            return
        if not mask:
            self._leave()
        elif self._mask:
            self._poll.modify(self._descriptor, mask)
        else:
            self._poll.register(self._descriptor, mask)
        self._mask = mask

    def _leave(self) -> None:
        if self._mask:
            self._poll.unregister(self._descriptor)
            self._mask = 0


class Entrance:
    """A door, and the connections that came through it."""

    def __init__(
        self,
        door: Door,
        protocol: Callable[[], asyncio.Protocol],
        *,
        at_once: int,
        is_busy: Callable[[], bool] = lambda: False,
    ) -> None:
        """Begin to accept.

        Args:
            door: where they come from.
            protocol: makes the protocol of each.
            at_once: connections that are accepted before those that are there have their turn.
            is_busy: whether who waits had better wait in the kernel, where it costs us nothing.
        """
        self._door = door
        self._protocol = protocol
        self._at_once = at_once
        self._is_busy = is_busy
        self._streams: dict[int, Stream] = {}
        """By descriptor."""
        self._poll = select.epoll()
        self._poll.register(door.fileno(), select.EPOLLIN)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._poll.fileno(), self._ready)

    def close(self) -> None:
        """Accept no more; the connections that are there are the caller's to end."""
        if not self._poll.closed:
            self._loop.remove_reader(self._poll.fileno())
            self._poll.close()
            self._door.close()

    def _ready(self) -> None:
        door = self._door.fileno()
        for descriptor, events in self._poll.poll(0, EVENTS_AT_ONCE):
            if descriptor == door:
                self._accept()
                continue
            stream = self._streams.get(descriptor)
            if stream is not None:  # else it was closed since the epoll was asked
                self._step(stream, stream.ready, events)

    def _accept(self) -> None:
        if self._is_busy():
            self._pause(BUSY_PAUSE)
            return
        for _ in range(self._at_once):
            try:
                arrival = self._door.accept()
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                _LOG.error("cannot accept connections: %s", error.strerror)
                self._pause(PAUSE)
                return
            if arrival is None:
                return
            stream = Stream(arrival, self._poll, self._streams)
            self._step(stream, stream.begin, self._protocol())

    def _step(self, stream: Stream, step: Callable[[_T], None], argument: _T) -> None:
        try:
            step(argument)
        except Exception:  # noqa: BLE001 - one peer must not stop the server
            _LOG.exception("a connection failed")
            stream.abort()

    def _pause(self, seconds: float) -> None:
        """Accept nobody for so long: the epoll would call us all the time."""
        self._poll.unregister(self._door.fileno())
        self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        if not self._poll.closed:
            self._poll.register(self._door.fileno(), select.EPOLLIN)
