"""Which message may come when: the server's and the client's side of one connection.

Theory of operation. A connection object stands between a socket and a daemon and touches
neither: bytes go into `receive_data`, events come out of `next_event`, and `send` turns a message
into the bytes to write. After each `receive_data` or `receive_eof`, call `next_event` until it
returns None.

The server's side never raises for what a client does. A fault becomes RequestRefused (write
`reply`, go on) or ConnectionFailed (answer what is still unanswered, write `reply`, close). The
client's side reports faults of the server the same way, with nothing to write. LocalProtocolError
is for our own mistakes: a reply to what nobody asked, a request in another version.

A connection speaks one version, that of its first message (docs/protocol.md 2.2). In version 1
replies belong to requests by their order, in version 2 by command and `id=`. A client that is
refused with errno=2 gets VersionRefused and starts again with version 1 on a new connection
(section 8).
"""

from collections.abc import Iterator
from typing import Final

from wg_dynamic.protocol.buffer import MessageBuffer
from wg_dynamic.protocol.codec import (
    decode_reply,
    decode_request,
    decode_version1_reply,
    encode_message,
    encode_refusal,
    reply_version,
)
from wg_dynamic.protocol.errors import (
    ErrorCode,
    LocalProtocolError,
    RemoteProtocolError,
    error_text,
)
from wg_dynamic.protocol.messages import (
    Ack,
    ErrorReply,
    Ping,
    Pong,
    Reply,
    Request,
    RequestIP,
    RequestIPReply,
    SubscribeReply,
    Update,
)
from wg_dynamic.protocol.schema import (
    COMMANDS,
    MAX_PENDING_REQUESTS,
    MAX_REPLY_PARTS,
    VERSION_1,
    VERSION_2,
)
from wg_dynamic.record import dataclass, replace


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """The other side has sent its last whole message. Replies may still be written."""


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """A request that cannot be served was refused; the connection goes on."""

    error: RemoteProtocolError
    reply: bytes
    """Write this."""


@dataclass(frozen=True, slots=True)
class ConnectionFailed:
    """The other side broke a rule, or (client) cannot be understood. The last event."""

    error: RemoteProtocolError
    reply: bytes = b""
    """Write this, if there is something, then close."""


@dataclass(frozen=True, slots=True)
class VersionRefused:
    """The server does not speak our version (docs/protocol.md section 8). The last event."""

    version: int
    """The version that was refused: with 2, try 1 on a new connection; with 1, give up."""
    errmsg: str = ""


ServerEvent = Request | RequestRefused | ConnectionFailed | ConnectionClosed
ClientEvent = Reply | Update | VersionRefused | ConnectionFailed | ConnectionClosed


@dataclass(frozen=True, slots=True)
class _Pending:
    """A request without its reply."""

    command: str
    id: int | None
    early_draft: bool = False


class ServerConnection:
    """The server's side of one connection (docs/protocol.md 2.2)."""

    __slots__ = ("_buffer", "_done", "_eof", "_pending", "_subscribed", "_version")

    def __init__(self) -> None:
        self._buffer = MessageBuffer()
        self._pending: list[_Pending] = []
        self._version: int | None = None
        self._subscribed = False
        self._eof = False
        self._done = False

    @property
    def version(self) -> int | None:
        """Version the client speaks, None before its first request."""
        return self._version

    @property
    def pending(self) -> int:
        """Requests that wait for a reply."""
        return len(self._pending)

    @property
    def bytes_waiting(self) -> int:
        """Bytes received and not yet returned as part of a message."""
        return self._buffer.pending

    @property
    def subscribed(self) -> bool:
        """Whether `send` takes an Update."""
        return self._subscribed

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the socket. Call `next_event` until None before the next read."""
        self._buffer.receive_data(data)

    def receive_eof(self) -> None:
        """The client will send nothing more."""
        self._eof = True

    def next_event(self) -> ServerEvent | None:
        """The next request or fault, None until more bytes arrive. Never raises."""
        if self._done:
            return None
        try:
            message = self._buffer.next_message()
            if message is None:
                return self._at_end()
            request = decode_request(message)
            self._admit(request)
        except RemoteProtocolError as error:
            return self._refuse(error)
        return request

    def send(self, message: Reply | Update) -> bytes:
        """The bytes of a reply, in the version and form of the request it answers, or of a push.

        Raises:
            LocalProtocolError: no such request waits, nobody subscribed, or the message breaks a
                rule of docs/protocol.md. The request then still waits.
        """
        if isinstance(message, Update):
            if not self._subscribed:
                msg = "Update without a subscription"
                raise LocalProtocolError(msg)
            return encode_message(message)
        pending = self._find(message)
        version = self._version or VERSION_1
        data = encode_message(message, version=version, early_draft=pending.early_draft)
        if not (isinstance(message, RequestIPReply) and message.more):
            self._pending.remove(pending)
        if isinstance(message, SubscribeReply):
            self._subscribed = message.errno == ErrorCode.SUCCESS
        return data

    def _find(self, reply: Reply) -> _Pending:
        command = Ping.command if isinstance(reply, Pong) else reply.command
        version = self._version if isinstance(reply, ErrorReply) else reply.version
        if version == self._version:
            for pending in self._pending:
                if (pending.command, pending.id) == (command, reply.id):
                    return pending
        msg = f"{command} reply, version {version}, id {reply.id}: no such request waits"
        raise LocalProtocolError(msg)

    def _admit(self, request: Request) -> None:
        """Whether this request may come now. Raises RemoteProtocolError."""
        if self._version not in (None, request.version):
            raise _broken(request, "two versions on one connection")
        self._version = request.version
        if isinstance(request, Ack):
            if not self._subscribed:
                raise _broken(request, "ack without a subscription")
            return
        if len(self._pending) >= MAX_PENDING_REQUESTS:
            text = f"more than {MAX_PENDING_REQUESTS} requests without a reply"
            raise _broken(request, text, ErrorCode.RATE_LIMITED)
        if request.id is not None and any(request.id == each.id for each in self._pending):
            raise _broken(request, f"id {request.id} waits for its reply already")
        early_draft = isinstance(request, RequestIP) and request.early_draft
        self._pending.append(_Pending(request.command, request.id, early_draft))

    def _refuse(self, error: RemoteProtocolError) -> RequestRefused | ConnectionFailed:
        reply = encode_refusal(error)
        harmless = isinstance(error.code, ErrorCode) and not error.code.ends_connection
        if harmless and self._version != VERSION_1:
            self._version = VERSION_2
            return RequestRefused(error, reply)
        self._done = True
        return ConnectionFailed(error, reply)

    def _at_end(self) -> ServerEvent | None:
        if not self._eof:
            return None
        self._done = True
        return _end(self._buffer)


def _broken(
    request: Request, text: str, code: ErrorCode = ErrorCode.INVALID_REQUEST
) -> RemoteProtocolError:
    if request.version == VERSION_1:
        return RemoteProtocolError(code, text)
    request_id = None if isinstance(request, Ack) else request.id
    return RemoteProtocolError(code, text, command=request.command, request_id=request_id)


def _end(buffer: MessageBuffer) -> ConnectionClosed | ConnectionFailed:
    if not buffer.pending:
        return ConnectionClosed()
    text = f"connection ended after {buffer.pending} bytes of a message"
    return ConnectionFailed(RemoteProtocolError(ErrorCode.INVALID_REQUEST, text))


class ClientConnection:
    """The client's side of one connection (docs/protocol.md 2.2)."""

    def __init__(self, version: int = VERSION_2) -> None:
        """`version` is 1 or 2, for the whole connection."""
        if version not in (VERSION_1, VERSION_2):
            msg = f"version {version}, expected 1 or 2"
            raise LocalProtocolError(msg)
        self.version: Final = version
        self._buffer = MessageBuffer()
        self._pending: list[_Pending] = []
        self._parts: dict[tuple[str, int | None], list[RequestIPReply | Update]] = {}
        self._subscribed = False
        self._eof = False
        self._done = False

    @property
    def pending(self) -> int:
        """Requests that wait for a reply."""
        return len(self._pending)

    def send(self, message: Request) -> bytes:
        """The bytes of a request.

        Raises:
            LocalProtocolError: another version than the connection's, an id that waits already,
                too many requests without a reply, or a rule of docs/protocol.md broken.
        """
        if message.version != self.version or self._done:
            msg = f"version {message.version}, the connection has version {self.version} or ended"
            raise LocalProtocolError(msg)
        if isinstance(message, Ack):
            if not self._subscribed:
                msg = "ack without a subscription"
                raise LocalProtocolError(msg)
            return encode_message(message)
        if len(self._pending) >= MAX_PENDING_REQUESTS:
            msg = f"more than {MAX_PENDING_REQUESTS} requests without a reply"
            raise LocalProtocolError(msg)
        if message.id is not None and any(message.id == each.id for each in self._pending):
            msg = f"id {message.id} waits for its reply already"
            raise LocalProtocolError(msg)
        data = encode_message(message)
        self._pending.append(_Pending(message.command, message.id))
        return data

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the socket. Call `next_event` until None before the next read."""
        self._buffer.receive_data(data)

    def receive_eof(self) -> None:
        """The server will send nothing more."""
        self._eof = True

    def next_event(self) -> ClientEvent | None:
        """The next reply, push or fault, None until more bytes arrive. Never raises.

        Replies and pushes that came in parts (`more=1`) are returned whole.
        """
        if self._done:
            return None
        try:
            event = self._next()
        except RemoteProtocolError as error:
            event = ConnectionFailed(error)
        self._done = isinstance(event, VersionRefused | ConnectionFailed | ConnectionClosed)
        return event

    def _next(self) -> ClientEvent | None:
        for message in self._messages():
            event = self._read(message)
            if not isinstance(event, RequestIPReply | Update):
                return event
            whole = self._join(event)
            if whole is not None:
                return whole
        return _end(self._buffer) if self._eof else None

    def _messages(self) -> Iterator[bytes]:
        while (message := self._buffer.next_message()) is not None:
            yield message

    def _read(self, message: bytes) -> Reply | Update | VersionRefused:
        """One message of the server, in its right place."""
        if self.version == VERSION_2 and reply_version(message) == VERSION_1:
            return _read_old_form(message)
        event = decode_reply(message)
        if isinstance(event, Update):
            if not self._subscribed:
                raise RemoteProtocolError(ErrorCode.INVALID_REQUEST, "push without subscription")
            return event
        if event.version != self.version:
            raise RemoteProtocolError(ErrorCode.INVALID_REQUEST, "version 2, expected 1")
        self._settle(event)
        if isinstance(event, SubscribeReply):
            self._subscribed = event.errno == ErrorCode.SUCCESS
        if (
            isinstance(event, RequestIPReply)
            and event.version == VERSION_1
            and event.errno == ErrorCode.UNSUPPORTED_PROTOCOL
        ):
            return VersionRefused(VERSION_1, event.errmsg)
        return event

    def _settle(self, reply: Reply) -> None:
        """Find the request that this answers. Raises RemoteProtocolError."""
        command = Ping.command if isinstance(reply, Pong) else reply.command
        for pending in self._pending:
            if (pending.command, pending.id) == (command, reply.id):
                if not (isinstance(reply, RequestIPReply) and reply.more):
                    self._pending.remove(pending)
                return
        text = f"{command} reply with id {reply.id} to no request"
        raise RemoteProtocolError(ErrorCode.INVALID_REQUEST, text)

    def _join(self, part: RequestIPReply | Update) -> RequestIPReply | Update | None:
        """Collect parts; the whole when the last one is there (docs/protocol.md 6.5)."""
        key = (part.command, part.id if isinstance(part, RequestIPReply) else None)
        if any(part.command == command for command, _ in self._parts.keys() - {key}):
            raise RemoteProtocolError(ErrorCode.INVALID_REQUEST, "parts of two replies mixed")
        parts = self._parts.setdefault(key, [])
        parts.append(part)
        if len(parts) > MAX_REPLY_PARTS:
            text = f"more than {MAX_REPLY_PARTS} parts"
            raise RemoteProtocolError(ErrorCode.INVALID_REQUEST, text)
        if part.more:
            return None
        del self._parts[key]
        dns = tuple(item for each in parts for item in each.dns)
        if len(dns) > 1:
            raise RemoteProtocolError(ErrorCode.INVALID_REQUEST, "more than 1 of section=dns")
        return replace(
            parts[0],
            more=False,
            addresses=tuple(item for each in parts for item in each.addresses),
            routes=tuple(item for each in parts for item in each.routes),
            dns=dns,
        )


def _read_old_form(message: bytes) -> VersionRefused:
    """What a server of version 1 answers to a message of version 2 (section 8).

    One of the early draft does not look at the version and answers with `=1` (5.6). Raises
    RemoteProtocolError with the server's own errno when it complains of something else.
    """
    reply = decode_version1_reply(message)
    early_draft = message.split(b"=", 1)[0].decode("latin-1") in COMMANDS
    if early_draft or reply.errno in (ErrorCode.SUCCESS, ErrorCode.UNSUPPORTED_PROTOCOL):
        return VersionRefused(VERSION_2, reply.errmsg)
    raise RemoteProtocolError(reply.errno, reply.errmsg or error_text(reply.errno))
