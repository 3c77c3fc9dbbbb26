"""What servers send: both versions, as a stream, into a client's connection.

- A connection never raises; each event is one that docs/protocol.md names, and the last one an end.
- How the network cuts the stream changes nothing.
- A reply or push that was taken is printed and read back the same.
"""

from collections.abc import Iterator

from fuzz import wire
from wg_dynamic.protocol import (
    ClientConnection,
    ConnectionClosed,
    ConnectionFailed,
    DeclineIP,
    ErrorReply,
    Ping,
    Pong,
    ReleaseIP,
    Reply,
    Request,
    RequestIP,
    RequestIPReply,
    Subscribe,
    Update,
    VersionRefused,
    decode_reply,
    encode_message,
)

MAX_SIZE = wire.MAX_SIZE
PARSERS = wire.PARSERS
words = wire.words

_KINDS = {each.command: each for each in (RequestIP, ReleaseIP, DeclineIP, Subscribe, Ping)}


def seeds() -> Iterator[bytes]:
    """One stream each."""
    yield from wire.streams("server")
    yield b"request_ip=2\nid=1\nerrno=0\nmore=1\n\nrequest_ip=2\nid=1\nerrno=0\n\npong=2\nid=4\n\n"
    yield b"update=2\nserial=3\nmore=1\n\nupdate=2\nserial=3\nsection=dns\nremove=true\n\n"


def check(data: bytes) -> None:
    """Read the stream whole and in pieces, in both versions."""
    for version in (1, 2):
        events = _heard(_client(version), [data])
        if len(data) % 2 + 1 == version:  # both would take twice the time
            size = len(data) % 7 + 2
            pieces = [data[at : at + size] for at in range(0, len(data), size)]
            again = _heard(_client(version), pieces)
            assert [str(each) for each in again] == [str(each) for each in events]
        assert isinstance(events[-1], ConnectionFailed | ConnectionClosed | VersionRefused)
        for event in events[:-1]:
            assert isinstance(event, Reply | Update)
            _check_that_it_reads_back(event)


def _client(version: int) -> ClientConnection:
    """A client that waits for an answer to all that there is."""
    client = ClientConnection(version)
    if version == 1:
        client.send(RequestIP(version=1))
        return client
    client.send(Subscribe())
    client.receive_data(b"subscribe=2\nerrno=0\n\n")
    client.next_event()
    for request in (RequestIP(id=1), RequestIP(), ReleaseIP(2), Subscribe(3), Ping(4)):
        client.send(request)
    return client


def _heard(client: ClientConnection, pieces: list[bytes]) -> list[object]:
    events: list[object] = []
    for piece in pieces:
        client.receive_data(piece)
        events += iter(client.next_event, None)
    client.receive_eof()
    return [*events, *iter(client.next_event, None)]


def _check_that_it_reads_back(event: Reply | Update) -> None:
    if isinstance(event, RequestIPReply) and event.version == 1:
        _check_version_1(event)
        return
    data = encode_message(event)
    client = ClientConnection()
    if isinstance(event, Update):
        client.send(Subscribe())
        client.receive_data(b"subscribe=2\nerrno=0\n\n")
        client.next_event()
    else:
        client.send(_request_for(event))
    client.receive_data(data)
    assert client.next_event() == event
    assert client.next_event() is None


def _request_for(reply: Reply) -> Request:
    command = "ping" if isinstance(reply, Pong) else reply.command
    assert isinstance(reply, ErrorReply | Pong) or command != "ping"
    return _KINDS[command](id=reply.id)


def _check_version_1(reply: RequestIPReply) -> None:
    """What version 1 has no words for is left out; what it has stays (docs/protocol.md 5.2)."""
    if reply.addresses and reply.lease_start is None:
        return  # taken from others, never written
    data = encode_message(reply)
    read = decode_reply(data)
    assert isinstance(read, RequestIPReply)
    assert encode_message(read) == data
    assert read.addresses == reply.addresses
    assert bool(read.errno) == bool(reply.errno)
