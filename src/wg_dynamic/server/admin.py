"""The administration socket, as the network process serves it beside the grants.

Theory of operation. A connection has one request worked on at a time, in slices; between the slices
of all connections there are pauses (admin_pace), so that grants have three quarters of the time
whatever is asked here. Nothing is read from a connection while it is worked on, nothing more is
made for one that does not read, and there are so many connections: who floods waits for itself.

The socket lets in root and one group (helper/admin_socket.py). Both may read, and end leases;
members of the group so many a minute. The kernel says who it is (SO_PEERCRED, unix(7)).
"""

import asyncio
import json
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from wg_dynamic.address import format_address
from wg_dynamic.admin.protocol import (
    BUSY,
    EVENTS,
    LEASES,
    MAX_REQUEST,
    STATUS,
    STORE_DOWN,
    TOO_MANY,
    AdminError,
    Request,
    decode_request,
)
from wg_dynamic.leases.event import quote
from wg_dynamic.server import orders
from wg_dynamic.server.admin_answers import Answers
from wg_dynamic.server.admin_history import History, Troubles
from wg_dynamic.server.admin_pace import Pace
from wg_dynamic.server.engine import Engine
from wg_dynamic.system.clock import Clock
from wg_dynamic.system.log import RateLimit, logger
from wg_dynamic.wireguard.key import parse_key

_LOG = logger(__name__)

MAX_CONNECTIONS: Final = 24
"""In all, those of root not counted."""
MAX_OF_USER: Final = 8
"""Of one user."""
MAX_OF_ROOT: Final = 8
MAX_ORDERS: Final = 120
"""Leases that a user, root not counted, may end in ORDER_SPAN."""
ORDER_SPAN: Final = 60.0
"""Seconds."""
ACCEPT_PAUSE: Final = 0.01
"""Seconds between two connections."""
ACCEPT_RETRY: Final = 1.0
"""Seconds after a connection that could not be accepted."""
SLICE: Final = 100
"""Leases that are looked at in one turn: about a millisecond."""
LINE_TIME: Final = 10.0
"""Seconds from the first byte of a request to its last."""
IDLE_TIME: Final = 60.0
"""Seconds that a connection may ask nothing."""
READ_TIME: Final = 10.0
"""Seconds that who asked may leave an answer unread."""
MAX_UNSENT: Final = 1 << 17
"""Bytes that are waiting to be read before no more is made."""
_ROOT: Final = 0
_CREDENTIALS: Final = struct.Struct("iII")
"""struct ucred: PID, user, group."""


class AdminServer:
    """What all connections share."""

    def __init__(
        self, engine: Engine, answers: Answers, clock: Clock, interface: str, troubles: Troubles
    ) -> None:
        self.engine = engine
        self.answers = answers
        self.clock = clock
        self.pace = Pace()
        self.history = History(engine, interface)
        self.troubles = troubles
        self.connections: set[Connection] = set()
        self.of_user: Counter[int] = Counter()
        self.served: Callable[[], int] = lambda: 0
        """How many connections of clients there are."""
        self.told: Callable[[], int] = lambda: 0
        """How many of them are told of changes."""
        self._orders: Counter[int] = Counter()
        self._orders_since = clock.now()
        self._warnings = RateLimit(clock.now)

    async def run(self, listener: socket.socket | None) -> None:
        """Accept connections until cancelled, so many in a second, and end them all then.

        Without a listener there is nothing to do.
        """
        if listener is None:
            return
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        try:
            while True:
                pause = ACCEPT_PAUSE
                try:
                    accepted, _ = await loop.sock_accept(listener)
                    await loop.connect_accepted_socket(lambda: Connection(self), accepted)
                except OSError as error:  # no descriptors left, say
                    self.warn("administration: cannot accept: %s", error.strerror)
                    pause = ACCEPT_RETRY
                await asyncio.sleep(pause)
        finally:
            self.pace.close()
            for connection in list(self.connections):
                connection.end()

    def admits(self, user: int) -> bool:
        """Whether one more connection of a user is taken. Root's are counted by themselves."""
        if user == _ROOT:
            return self.of_user[_ROOT] < MAX_OF_ROOT
        others = len(self.connections) - self.of_user[_ROOT]
        return self.of_user[user] < MAX_OF_USER and others < MAX_CONNECTIONS

    def may_order(self, user: int) -> bool:
        """Count an order; False when the user has given too many."""
        now = self.clock.now()
        if now - self._orders_since >= ORDER_SPAN:
            self._orders_since = now
            self._orders.clear()
        self._orders[user] += 1
        return user == _ROOT or self._orders[user] <= MAX_ORDERS

    def warn(self, text: str, *arguments: object) -> None:
        """A line in the log that a member of the group can cause: a few a minute."""
        if self._warnings.allow():
            _LOG.warning(text, *arguments)


class Connection(asyncio.Protocol):
    """One administrator."""

    def __init__(self, shared: AdminServer) -> None:
        self._shared = shared
        self._transport: asyncio.Transport
        self._user: int | None = None
        self._buffer = bytearray()
        self._rows: Iterator[bytes | None] | None = None
        """What is left of the answer."""
        self._count = 0
        self._busy = False
        """A request is being worked on."""
        self._full = False
        """What was answered is not read."""
        self._queued = False
        """A turn of ours is to come."""
        self._ended = False
        """Nothing more will be asked."""
        self._follows = False
        self._lost = 0
        self._deadline: asyncio.TimerHandle | None = None

    # --- asyncio's side -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a socket gives
        self._transport = transport
        transport.set_write_buffer_limits(high=MAX_UNSENT)
        peer = transport.get_extra_info("socket")
        data = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        user = _CREDENTIALS.unpack(data)[1]
        if not self._shared.admits(user):
            self._fail(AdminError("too many connections", BUSY))
            return
        self._user = user
        self._shared.connections.add(self)
        self._shared.of_user[user] += 1
        self._set_deadline(IDLE_TIME)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._follows:
            self._fail(AdminError("a request while events are followed, expected none"))
            return
        if not self._buffer and not self._busy:
            self._set_deadline(LINE_TIME)
        self._buffer += data
        self._work()

    def eof_received(self) -> bool:
        """See asyncio.Protocol: who asked may still wait for the answer, unless it follows."""
        self._ended = True
        return (self._busy or b"\n" in self._buffer) and not self._follows

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._full = True
        if not self._follows:
            self._set_deadline(READ_TIME)

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._full = False
        if not self._follows:
            self._set_deadline(None if self._busy else IDLE_TIME)
        if self._rows is not None:
            self._want_turn()
        self._work()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        del exc
        self._set_deadline(None)
        self._shared.history.leave(self)
        if self._user is not None:
            self._shared.connections.discard(self)
            self._shared.of_user[self._user] -= 1

    def end(self) -> None:
        """Close now: the server stops, or the deadline has come."""
        self._transport.abort()

    # --- ours -----------------------------------------------------------------------------------

    def _work(self) -> None:
        """Take the next request, if there is one and nothing is worked on."""
        if self._transport.is_closing():
            return
        if self._busy or self._full:
            self._transport.pause_reading()
            return
        line, end, rest = bytes(self._buffer[: MAX_REQUEST + 1]).partition(b"\n")
        if not end:
            if len(line) > MAX_REQUEST:
                self._fail(AdminError(f"a request of more than {MAX_REQUEST} bytes"))
            else:
                self._transport.resume_reading()
            return
        del rest, self._buffer[: len(line) + 1]
        self._busy = True
        self._set_deadline(None)
        self._transport.pause_reading()
        self._shared.pace.want(lambda: self._begin(line))

    def _begin(self, line: bytes) -> bool:
        """The first turn of a request."""
        if not self._transport.is_closing():
            try:
                self._answer(decode_request(line))
            except AdminError as error:
                self._shared.warn("administration: user %s: %s", self._user, error)
                self._fail(error)
            except Exception:  # noqa: BLE001 - ours, and no reason to keep its place
                self._broken()
        return False

    def _broken(self) -> None:
        _LOG.exception("administration: an answer ended by a bug")
        self._transport.abort()

    def _answer(self, request: Request) -> None:
        if request.verb == STATUS:
            status = self._shared.answers.status(
                connections=self._shared.served(),
                subscribers=self._shared.told(),
                troubles=self._shared.troubles.last,
            )
            self._write(b'{"row": ' + status + b"}\n")
            self._done({})
        elif request.verb == LEASES:
            self._send_rows(self._shared.answers.leases(request))
        elif request.verb == EVENTS:
            self._events(request)
        else:
            self._order(request)

    def _send_rows(self, rows: Iterator[bytes | None]) -> None:
        self._rows, self._count = rows, 0
        self._want_turn()

    def _want_turn(self) -> None:
        if not self._queued:
            self._queued = True
            self._shared.pace.want(self._turn)

    def _turn(self) -> bool:
        """One slice of an answer; whether there is another, and it can be sent."""
        self._queued = False
        if self._rows is None or self._full or self._transport.is_closing():
            return False
        try:
            whole = self._send_slice(self._rows)
        except Exception:  # noqa: BLE001 - as in _begin
            self._broken()
            return False
        if whole:
            self._done({"count": self._count})
            return False
        self._queued = not self._full
        return self._queued

    def _send_slice(self, rows: Iterator[bytes | None]) -> bool:
        """Send what so many steps give; whether it was all."""
        lines = []
        whole = False
        for _ in range(SLICE):
            try:
                row = next(rows)
            except StopIteration:
                whole = True
                break
            if row is not None:
                lines.append(b'{"row": ' + row + b"}\n")
        self._count += len(lines)
        self._write(b"".join(lines))
        return whole

    def _events(self, request: Request) -> None:
        history = list(self._shared.history.last)[-request.last :] if request.last else []
        if not request.follow:
            self._send_rows(iter(history))
            return
        self._write(b"".join([b'{"row": ' + row + b"}\n" for row in history]))
        self._follows = True
        self._set_deadline(None)
        self._transport.resume_reading()  # to see it end; what it says is no more than that
        self._shared.history.follow(self)

    def tell(self, rows: list[bytes], lost: int) -> None:
        """Events to one who follows; those that it has no room for are counted."""
        if self._full:
            self._lost += len(rows) + lost
            return
        lost += self._lost
        self._lost = 0
        lines = [b'{"row": ' + row + b"}\n" for row in rows]
        if lost:
            lines.append(b'{"lost": %d}\n' % lost)
        self._write(b"".join(lines))

    def _order(self, request: Request) -> None:
        assert self._user is not None  # noqa: S101 - else nothing is read
        if not self._shared.may_order(self._user):
            text = f"more than {MAX_ORDERS} leases ended in a minute, try again in one"
            self._refuse(AdminError(text, TOO_MANY))
            return
        key = None
        if request.peer is not None:
            try:
                key = parse_key(request.peer)
            except ValueError as error:
                msg = "peer: expected a public key: a name may be several peers'"
                raise AdminError(msg) from error
        _LOG.info("administration: user %d: %s", self._user, _described(request))
        self._shared.engine.order(orders.Order(request.verb, self._ordered, request.address, key))

    def _ordered(self, outcome: orders.Outcome) -> None:
        if self._transport.is_closing():
            return
        if not outcome.stored:
            text = "the lease database takes no commit now, nothing has changed"
            self._refuse(AdminError(text, STORE_DOWN))
            return
        now, wall = self._shared.clock.now(), self._shared.clock.wall()
        answers = self._shared.answers
        self._send_rows(iter([answers.row(lease, now, wall) for lease in outcome.leases]))

    def _done(self, result: dict[str, Any]) -> None:
        self._write(b'{"done": ' + json.dumps(result).encode("ascii") + b"}\n")
        self._next()

    def _refuse(self, error: AdminError) -> None:
        """Say no, and go on."""
        self._write(_error_line(error))
        self._next()

    def _next(self) -> None:
        self._busy, self._rows = False, None
        if not self._full:
            self._set_deadline(LINE_TIME if self._buffer else IDLE_TIME)
        self._work()
        if self._ended and not self._busy:
            self._transport.close()

    def _fail(self, error: AdminError) -> None:
        """Say why, and close."""
        self._transport.write(_error_line(error))
        self._transport.close()
        self._set_deadline(READ_TIME)

    def _write(self, data: bytes) -> None:
        if data:
            self._transport.write(data)

    def _set_deadline(self, wait: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None
        if wait is not None:
            self._deadline = asyncio.get_running_loop().call_later(wait, self.end)


def _error_line(error: AdminError) -> bytes:
    return f'{{"error": {quote(error.code)}, "text": {quote(str(error))}}}\n'.encode("ascii")


def _described(request: Request) -> str:
    where = "" if request.address is None else f" {format_address(request.address)}"
    return f"{request.verb}{where}{'' if request.peer is None else f' of {request.peer}'}"
