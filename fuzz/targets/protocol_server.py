"""What clients send: both versions, as a stream, into a server's connection.

- A connection never raises; each event is one that docs/protocol.md names, and the last one an end.
- How the network cuts the stream changes nothing.
- A request that was taken is printed and read back the same; a refusal is one message.
"""

from collections.abc import Iterator

from fuzz import wire
from wg_dynamic.protocol import (
    Ack,
    ConnectionClosed,
    ConnectionFailed,
    ErrorReply,
    Request,
    RequestRefused,
    ServerConnection,
    Subscribe,
    SubscribeReply,
    Update,
    decode_request,
    encode_message,
)

MAX_SIZE = wire.MAX_SIZE
PARSERS = wire.PARSERS
words = wire.words


def seeds() -> Iterator[bytes]:
    """One stream each."""
    yield from wire.streams("client")
    yield b"subscribe=2\nid=1\n\nack=2\nserial=1\n\nping=2\nid=2\n\nrelease_ip=2\n\n"


def check(data: bytes) -> None:
    """Read the stream whole and in pieces."""
    events = _conversation([data])
    size = len(data) % 7 + 1
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert [str(each) for each in _conversation(pieces)] == [str(each) for each in events]
    assert isinstance(events[-1], ConnectionFailed | ConnectionClosed)
    for event in events:
        if isinstance(event, Request):
            assert decode_request(encode_message(event)) == event
        elif isinstance(event, RequestRefused | ConnectionFailed) and event.reply:
            assert event.reply.endswith(b"\n\n")
            assert event.reply.count(b"\n\n") == 1


def _conversation(pieces: list[bytes]) -> list[object]:
    server = ServerConnection()
    events: list[object] = []
    for piece in [*pieces, None]:
        if piece is None:
            server.receive_eof()
        else:
            server.receive_data(piece)
        while (event := server.next_event()) is not None:
            assert not isinstance(events[-1] if events else None, ConnectionFailed)
            events.append(event)
            if isinstance(event, Request):
                _answer(server, event)
    return events


def _answer(server: ServerConnection, request: Request) -> None:
    """Subscriptions are granted, some requests are answered, the others wait."""
    if isinstance(request, Subscribe):
        server.send(SubscribeReply(request.id))
        server.send(Update(serial=1))
    elif not isinstance(request, Ack) and request.id is not None and request.id % 2:
        server.send(ErrorReply(request.command, request.id))
