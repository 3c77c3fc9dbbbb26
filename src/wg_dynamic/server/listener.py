"""The connections on port 970: bytes in and out, deadlines and limits; what is said is protocol/.

One request of a connection is worked on at a time, and nothing is read meanwhile: a peer that
sends without reading, or faster than it is served, fills its own socket and nothing else.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from math import ceil
from typing import Any

from wg_dynamic.address import format_address
from wg_dynamic.protocol import (
    ConnectionClosed,
    ConnectionFailed,
    ErrorCode,
    LocalProtocolError,
    Ping,
    Pong,
    RemoteProtocolError,
    RequestRefused,
    ServerConnection,
    ServerEvent,
    Subscribe,
    SubscribeReply,
    Update,
    encode_refusal,
)
from wg_dynamic.server.deadlines import Deadlines
from wg_dynamic.server.door import Arrival, Door
from wg_dynamic.server.engine import Engine, Job
from wg_dynamic.server.identity import PeerTable
from wg_dynamic.server.replies import Answer, LeaseRequest, bare_reply
from wg_dynamic.server.stream import Entrance, Stream
from wg_dynamic.server.subscribers import INTERVAL, RETRY_TIME, Subscribers
from wg_dynamic.system.clock import Clock
from wg_dynamic.system.log import RateLimit, logger, printable
from wg_dynamic.wireguard.key import peer_label

_LOG = logger(__name__)

MESSAGE_TIME = 10.0
"""Seconds from the first byte of a message (or the connection) to its last (protocol.md 2)."""
IDLE_TIME = 60.0
"""Seconds that a connection may stay without a message."""
MAX_CONNECTIONS = 8192
QUEUE = 65535
"""Connections that wait in the kernel until they are accepted: as many as net.core.somaxconn lets
there be, 4096 unless the administrator says otherwise (docs/operations.md)."""
ACCEPTED_AT_ONCE = 16
"""Connections that are accepted before those that are there have their turn."""
MAX_PER_PEER = 8
"""Connections at a time."""
MAX_UNKNOWN = 256
"""Connections at a time of all sources together that are no peer's: a peer with a wide allowed IP
has as many of these as it likes."""
MAX_REQUESTS = 120
REQUEST_SPAN = 60.0
"""That many requests in that many seconds for each peer: each one costs a write to the disk."""
MAX_MESSAGES = 1200
"""Messages of any kind of each peer in that time, refused ones and pings included, and a new
connection counts as one: then its connections are closed, and new ones turned away without a word,
until the time is over."""
MAX_ARRIVALS = 60
ARRIVAL_SPAN = 1.0
"""So many new connections of a peer in so many seconds are as bad as MAX_MESSAGES in a minute: what
stands in the kernel's queue before it is looked at is what everybody waits for."""
PORT_LIMIT = 1024
"""Source ports from here on need no root on the client machine: refused."""
MAX_UNSENT = 65536
"""Bytes of replies that a peer has not read before it is read from no more."""
UNKNOWN = b""
"""Stands for the public key of a source that is no peer's, where connections are counted."""
UNPRIVILEGED = b"unprivileged "
"""Before a public key where connections from PORT_LIMIT on are counted: any user of the peer's
machine can make them, and they are not held against the peer."""


class Listener:
    """What all connections share."""

    def __init__(
        self,
        engine: Engine,
        peers: PeerTable,
        ifindex: int,
        clock: Clock,
        refresh: Callable[[], None],
        *,
        room: int = MAX_CONNECTIONS,
    ) -> None:
        """`refresh` asks for a new reading of the peers soon: somebody unknown came.

        `room`: connections that this process has descriptors for.
        """
        self.engine = engine
        self.peers = peers
        self.subscribers = Subscribers(engine, peers, clock, most=room // 2)
        self.ifindex = ifindex
        self.clock = clock
        self.refresh = refresh
        self.room = room
        self.connections: set[Connection] = set()
        self.deadlines = Deadlines()
        self.of_peer: Counter[bytes] = Counter()
        self._limits: dict[str, RateLimit] = {}
        self._requests: Counter[bytes] = Counter()
        self._messages: Counter[bytes] = Counter()
        self._requests_since = clock.now()
        self._arrivals: Counter[bytes] = Counter()
        self._arrivals_since = clock.now()

    def open(self, listener: socket.socket) -> Entrance:
        """Start to accept."""
        listener.setblocking(False)
        listener.listen(QUEUE)
        door = Door(listener, self.admits)
        return Entrance(
            door,
            lambda: Connection(self),
            at_once=ACCEPTED_AT_ONCE,
            is_busy=lambda: self.engine.is_busy,
        )

    def admits(self, source: bytes, port: int) -> bool:
        """Count a new connection; False when its peer is to have not even an answer."""
        key = self.peers.owner(source) or UNKNOWN
        if port >= PORT_LIMIT:
            key = UNPRIVILEGED + key
        self.count_message(key)
        self._count_arrival(key)
        if not self.is_flooding(key):
            return True
        host = format_address(source)
        self.warn("flood", "%s: too many messages, no new connections for now", host)
        return False

    def _count_arrival(self, key: bytes) -> None:
        now = self.clock.now()
        if now - self._arrivals_since >= ARRIVAL_SPAN:
            self._arrivals_since = now
            self._arrivals.clear()
        self._arrivals[key] += 1
        if self._arrivals[key] > MAX_ARRIVALS:
            self._messages[key] = max(self._messages[key], MAX_MESSAGES + 1)

    def count(self, key: bytes, change: int) -> None:
        """A connection of a peer, or of UNKNOWN, began (1) or ended (-1)."""
        self.of_peer[key] += change
        if not self.of_peer[key]:
            del self.of_peer[key]

    def count_message(self, key: bytes) -> None:
        """A message of a peer, or of UNKNOWN, came."""
        self._begin_span()
        self._messages[key] += 1

    def is_flooding(self, key: bytes) -> bool:
        """Whether more messages came from there than anybody needs to send."""
        return self._messages[key] > MAX_MESSAGES

    def _begin_span(self) -> None:
        now = self.clock.now()
        if now - self._requests_since >= REQUEST_SPAN:
            self._requests_since = now
            self._requests.clear()
            self._messages.clear()

    def wait_time(self, public_key: bytes) -> int:
        """Count a request; the seconds that its peer has to wait with it, 0 for none."""
        self._begin_span()
        now = self.clock.now()
        self._requests[public_key] += 1
        if self._requests[public_key] <= MAX_REQUESTS:
            return 0
        return max(1, ceil(self._requests_since + REQUEST_SPAN - now))

    def warn(self, kind: str, text: str, *arguments: object) -> None:
        """A log line that a stranger can cause: a few a minute of each kind."""
        limit = self._limits.setdefault(kind, RateLimit(self.clock.now))
        if limit.allow():
            _LOG.warning(text, *arguments)


class Connection(asyncio.Protocol):
    """One accepted connection."""

    def __init__(self, shared: Listener) -> None:
        self._shared = shared
        self._wire = ServerConnection()
        self._transport: Stream
        self._source = b""
        self._public_key: bytes | None = None
        self._busy = False
        self._full = False
        self._scheduled = False
        """A turn of ours is to come: nothing is read before it."""
        self._counted_as: bytes | None = None

    # --- asyncio's side -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, Stream)  # noqa: S101 - what our Entrance gives
        self._transport = transport
        transport.set_write_buffer_limits(high=MAX_UNSENT)
        self._shared.connections.add(self)
        refusal = self._refusal(transport.arrival)
        if refusal is not None:
            self._shared.warn("connection", "%s: %s", self._host(), refusal.text)
            self._fail(encode_refusal(refusal))
            return
        self._set_deadline(MESSAGE_TIME)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        waiting = self._wire.bytes_waiting if not self._busy else 1
        self._wire.receive_data(data)
        if not waiting:
            self._set_deadline(MESSAGE_TIME)
        self._work()

    def eof_received(self) -> bool:
        """See asyncio.Protocol: the client may still wait for its reply."""
        self._wire.receive_eof()
        self._work()
        return not self._transport.is_closing()

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._full = True

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._full = False
        if not (self._busy or self._transport.is_closing()):
            self._rest()
        self._shared.subscribers.again(self)
        self._work()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        del exc
        self._set_deadline(None)
        self._shared.connections.discard(self)
        self._shared.subscribers.remove(self)
        self._count_as(None)

    def end(self) -> None:
        """Close now: the server stops."""
        self._transport.abort()

    # --- a subscriber's -------------------------------------------------------------------------

    @property
    def owner(self) -> bytes:
        """See Subscriber."""
        return self._public_key or UNKNOWN

    @property
    def source(self) -> bytes:
        """See Subscriber."""
        return self._source

    @property
    def is_full(self) -> bool:
        """See Subscriber."""
        return self._full

    def push(self, update: Update) -> None:
        """See Subscriber."""
        if not self._transport.is_closing():
            self._send(update)

    # --- ours -----------------------------------------------------------------------------------

    def _host(self) -> str:
        return format_address(self._transport.arrival.source)

    def _refusal(self, arrival: Arrival) -> RemoteProtocolError | None:
        """Why this connection is not served; sets who it is from."""
        if len(self._shared.connections) > min(MAX_CONNECTIONS, self._shared.room):
            return RemoteProtocolError(ErrorCode.BUSY, "too many connections")
        if arrival.scope != self._shared.ifindex:
            return RemoteProtocolError(ErrorCode.NOT_PERMITTED, "another interface")
        if arrival.port >= PORT_LIMIT:
            text = f"source port {arrival.port}, expected one below {PORT_LIMIT}"
            return RemoteProtocolError(ErrorCode.NOT_PERMITTED, text)
        self._source = arrival.source
        self._public_key = self._shared.peers.owner(self._source)
        refusal = self._too_much()
        if refusal is None:
            self._count_as(self._public_key or UNKNOWN)
        return refusal

    def _too_much(self) -> RemoteProtocolError | None:
        """Why one more connection from there is not taken."""
        if self._public_key is None:
            # A peer that was added just now is known in a moment: it is looked up again with
            # its first request.
            self._shared.refresh()
            if self._shared.of_peer[UNKNOWN] >= MAX_UNKNOWN:
                return RemoteProtocolError(ErrorCode.BUSY, "too many connections of no peer")
        if self._public_key and self._shared.of_peer[self._public_key] >= MAX_PER_PEER:
            text = f"more than {MAX_PER_PEER} connections of one peer"
            return RemoteProtocolError(ErrorCode.RATE_LIMITED, text)
        return None

    def _count_as(self, key: bytes | None) -> None:
        if self._counted_as is not None:
            self._shared.count(self._counted_as, -1)
        if key is not None:
            self._shared.count(key, 1)
        self._counted_as = key

    def _work(self) -> None:
        """Take one message of what has been received; the next one after the others' turn."""
        if self._busy or self._full or self._scheduled or self._transport.is_closing():
            self._flow()
            return
        event = self._wire.next_event()
        if event is not None:
            self._take(event)
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._work_on)
        self._flow()

    def _work_on(self) -> None:
        self._scheduled = False
        self._work()

    def _take(self, event: ServerEvent) -> None:
        key = self._public_key or UNKNOWN
        self._shared.count_message(key)
        if isinstance(event, ConnectionClosed):
            self._transport.close()
        elif isinstance(event, ConnectionFailed):
            self._broken(event.error)
            self._fail(event.reply)
        elif self._shared.is_flooding(key):
            error = RemoteProtocolError(ErrorCode.RATE_LIMITED, "too many messages")
            self._broken(error)
            self._fail(encode_refusal(error))
        elif isinstance(event, RequestRefused):
            self._transport.write(event.reply)
            self._rest()
        else:
            self._serve(event)

    def _flow(self) -> None:
        if self._transport.is_closing():
            return
        if self._busy or self._full or self._scheduled:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _serve(self, request: Any) -> None:
        if isinstance(request, LeaseRequest | Subscribe):
            self._busy = True
            self._set_deadline(None)
            self._identify(request)
        elif isinstance(request, Ping):
            self._reply(Pong(id=request.id))
        else:  # an Ack: what is told is always the whole
            self._rest()

    def _identify(self, request: LeaseRequest | Subscribe) -> None:
        if self._public_key is None and self._shared.peers.owner(self._source) is None:
            self._shared.refresh()
            loop = asyncio.get_running_loop()
            loop.call_later(REFRESH_TIME, self._submit_and_go_on, request)
        else:
            self._submit(request)

    def _submit_and_go_on(self, request: LeaseRequest | Subscribe) -> None:
        self._submit(request)
        self._work()

    def _submit(self, request: LeaseRequest | Subscribe) -> None:
        key = self._public_key or self._shared.peers.owner(self._source)
        if self._transport.is_closing():
            return
        if key is None:
            text = "your address is no peer's allowed IP of length 128"
            self._shared.warn(
                "identity",
                "%s: no peer has this address as an allowed IP of length 128",
                self._host(),
            )
            self._busy = False
            self._shared.engine.events.count(request.command, ErrorCode.NOT_PERMITTED)
            command = None if request.version == 1 else request.command
            error = RemoteProtocolError(
                ErrorCode.NOT_PERMITTED, text, command=command, request_id=request.id
            )
            self._fail(encode_refusal(error))
            return
        if self._public_key is None:
            self._public_key = key
            self._count_as(key)
        wait = self._shared.wait_time(key)
        if wait:
            self._shared.warn("rate", "%s: too many requests", peer_label(key))
            self._busy = False
            self._refuse(request, ErrorCode.RATE_LIMITED, wait)
        elif isinstance(request, Subscribe):
            self._busy = False
            self._subscribe(request)
        else:
            self._shared.engine.submit(Job(key, self._source, request, self._answered))

    def _subscribe(self, request: Subscribe) -> None:
        subscribers = self._shared.subscribers
        if self._shared.peers.owner(self._source) != self._public_key:
            self._refuse(request, ErrorCode.NOT_PERMITTED)
        elif not subscribers.has_room(self):
            self._shared.warn("subscribers", "too many subscribers: one was turned away")
            self._refuse(request, ErrorCode.BUSY, RETRY_TIME)
        else:
            self._shared.engine.events.count(request.command, ErrorCode.SUCCESS)
            first = subscribers.add(self)
            self._reply(SubscribeReply(id=request.id, serial=first.serial, interval=INTERVAL))
            self.push(first)

    def _refuse(
        self, request: LeaseRequest | Subscribe, code: ErrorCode, wait: int | None = None
    ) -> None:
        self._shared.engine.events.count(request.command, code)
        self._reply(bare_reply(request, code, wait))

    def _answered(self, answer: Answer) -> None:
        self._busy = False
        if self._transport.is_closing():
            return
        self._reply(answer)
        self._work()

    def _reply(self, message: Any) -> None:
        self._send(message)
        if not self._transport.is_closing():
            self._rest()

    def _send(self, message: Any) -> None:
        try:
            data = self._wire.send(message)
        except LocalProtocolError:  # ours, and no reason to stop serving the others
            _LOG.exception("a reply that the protocol does not allow")
            self._transport.abort()
            return
        self._transport.write(data)

    def _rest(self) -> None:
        """The deadline of a connection on which nothing is worked on."""
        begun = self._full or self._wire.bytes_waiting
        idle = 2 * INTERVAL if self._wire.subscribed else IDLE_TIME
        self._set_deadline(MESSAGE_TIME if begun else idle)

    def _broken(self, error: RemoteProtocolError) -> None:
        who = peer_label(self._public_key) if self._public_key else "an unknown peer"
        self._shared.warn("protocol", "%s: %s", who, printable(error.text))

    def _fail(self, reply: bytes) -> None:
        """Say why, and close: at the latest when the deadline comes."""
        self._set_deadline(MESSAGE_TIME)
        self._transport.write(reply)
        self._transport.close()

    def _set_deadline(self, wait: float | None) -> None:
        if wait is None:
            self._shared.deadlines.clear(self)
        else:
            self._shared.deadlines.set(self, wait)

    def too_late(self) -> None:
        """Quietly, as an idle connection ends; with a line in the log, as a half message does."""
        if self._wire.bytes_waiting and not self._full:
            self._broken(
                RemoteProtocolError(
                    ErrorCode.INVALID_REQUEST, f"message not whole after {MESSAGE_TIME:g} s"
                )
            )
        self._transport.abort()


REFRESH_TIME = 1.5
"""Seconds that an unknown source waits for the new reading of the peers."""
