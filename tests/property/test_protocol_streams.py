"""Whatever the bytes, and however they are cut: only outcomes that docs/protocol.md names."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from wg_dynamic.protocol.codec import decode_reply
from wg_dynamic.protocol.connection import (
    ClientConnection,
    ConnectionClosed,
    ConnectionFailed,
    RequestRefused,
    ServerConnection,
    VersionRefused,
)
from wg_dynamic.protocol.errors import ErrorCode, LocalProtocolError
from wg_dynamic.protocol.messages import (
    Ack,
    Ping,
    ReleaseIP,
    Reply,
    Request,
    RequestIP,
    RequestIPReply,
    Subscribe,
    SubscribeReply,
    Update,
)
from wg_dynamic.protocol.schema import FROM_CLIENT, MAX_LINE_SIZE, MAX_MESSAGE_SIZE, SCHEMA

NAMES = sorted(
    {
        name
        for spec in SCHEMA
        for name in (spec.command, *spec.by_name, *spec.by_section, *spec.understood)
    }
)
TOKENS = st.sampled_from(
    [
        b"\n",
        b"\n\n",
        b"=",
        b"\0",
        b"\r\n",
        b"x",
        b"x" * (MAX_LINE_SIZE - 2),
        b"a=1\n" * (MAX_MESSAGE_SIZE // 4 - 1),
        b"request_ip=1\n",
        b"request_ip=1\n\n",
        b"request_ip=2\n\n",
        b"request_ip=3\n\n",
        b"request_ip=1\nip=0.0.0.0/32\nip=::/128\nleasestart=0\nleasetime=0\n\n",
        b"request_ip=2\nid=1\nsection=address\nip=::\n\n",
        b"release_ip=2\nid=2\n\n",
        b"frobnicate=2\n\n",
        b"errno=0\n",
        b"errno=2\nerrmsg=Unsupported protocol\n\n",
        b"request_ip=2\nid=1\nerrno=0\nmore=1\n\n",
        b"request_ip=2\nid=1\nerrno=0\n\n",
        b"update=2\nserial=3\nsection=dns\nremove=true\n\n",
        b"pong=2\nid=4\n\n",
    ]
)
LINES = st.builds(
    lambda name, value: f"{name}={value}\n".encode(),
    st.sampled_from(NAMES),
    st.sampled_from(["1", "2", "0", "true", "192.0.2.1", "::", "10.0.0.0/8", "address", "dns"])
    | st.text(max_size=5),
)
PIECES = st.lists(TOKENS | LINES | st.binary(max_size=20), max_size=12)

Connection = ServerConnection | ClientConnection


def a_client(version: int) -> ClientConnection:
    """A client that has asked for all there is, and is subscribed in version 2."""
    client = ClientConnection(version)
    if version == 1:
        client.send(RequestIP(version=1))
        return client
    client.send(Subscribe())
    client.receive_data(b"subscribe=2\nerrno=0\n\n")
    assert client.next_event() == SubscribeReply()
    for request in (RequestIP(id=1), ReleaseIP(2), RequestIP(), Ping(4)):
        client.send(request)
    return client


def outcome(connection: Connection, pieces: list[bytes]) -> list[object]:
    """All events, faults by their text."""
    events: list[object] = []
    for piece in pieces:
        connection.receive_data(piece)
        while (event := connection.next_event()) is not None:
            events.append(event)
    connection.receive_eof()
    while (event := connection.next_event()) is not None:
        events.append(event)
    return [str(event) for event in events]


@example([b"x" * MAX_LINE_SIZE, b"\n\n"])
@example([b"x" * (MAX_LINE_SIZE - 1), b"\n\n"])
@example([b"a=1\n" * (MAX_MESSAGE_SIZE // 4 - 1), b"b=1", b"\n"])
@example([b"a=1\n" * (MAX_MESSAGE_SIZE // 4 - 1), b"b=12"])
@example([b"a=1\n" * (MAX_MESSAGE_SIZE // 4 - 1), b"x" * MAX_LINE_SIZE])
@example([b"a=1\n" * (MAX_MESSAGE_SIZE // 4 - 1), b"b=1", b"\n\0"])
@settings(max_examples=60)
@given(PIECES)
def test_how_the_network_cuts_the_stream_changes_nothing(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    single = [data[at : at + 1] for at in range(len(data))]
    for make in (ServerConnection, lambda: a_client(1), lambda: a_client(2)):
        whole = outcome(make(), [data])
        assert outcome(make(), pieces) == whole
        assert outcome(make(), single) == whole


@settings(max_examples=200)
@given(PIECES)
def test_a_server_knows_no_outcome_but_those_documented(pieces: list[bytes]) -> None:
    server = ServerConnection()
    server.receive_data(b"".join(pieces))
    server.receive_eof()
    events = list(iter(server.next_event, None))
    assert all(isinstance(e, Request | RequestRefused) for e in events[:-1])
    assert isinstance(events[-1], ConnectionFailed | ConnectionClosed)
    for event in events:
        if isinstance(event, RequestRefused | ConnectionFailed):
            check_refusal(event)


def check_refusal(event: RequestRefused | ConnectionFailed) -> None:
    """A refusal is one message in the form of section 6.11 or 5.3; after half a message, none."""
    error, reply = event.error, event.reply
    if not reply:
        assert isinstance(event, ConnectionFailed)
        return
    assert reply.endswith(b"\n\n")
    assert reply.count(b"\n\n") == 1
    if error.command is not None:
        assert reply.startswith(f"{error.command}=2\n".encode())
        assert f"\nerrno={error.code:d}\n".encode() in reply
    if error.command in FROM_CLIENT:
        assert not isinstance(decode_reply(reply), Update)
    if error.command is None:
        read = decode_reply(reply)
        assert isinstance(read, RequestIPReply)
        assert read.errno == ErrorCode(error.code).in_version_1


@settings(max_examples=200)
@given(PIECES, st.sampled_from([1, 2]))
def test_a_client_knows_no_outcome_but_those_documented(pieces: list[bytes], version: int) -> None:
    client = a_client(version)
    client.receive_data(b"".join(pieces))
    client.receive_eof()
    events = list(iter(client.next_event, None))
    assert all(isinstance(e, Reply | Update) for e in events[:-1])
    assert isinstance(events[-1], ConnectionFailed | ConnectionClosed | VersionRefused)


REQUESTS = [RequestIP(id=1), RequestIP(), ReleaseIP(2), Subscribe(3), Ping(4), Ping(), Ack(5)]


@given(st.permutations(REQUESTS))
def test_what_a_client_may_send_a_server_takes(requests: list[Request]) -> None:
    client, server = a_client(2), ServerConnection()
    server.receive_data(b"subscribe=2\n\n")
    server.next_event()
    server.send(SubscribeReply())
    for request in requests:
        try:
            data = client.send(request)
        except LocalProtocolError:
            assert request in (RequestIP(id=1), ReleaseIP(2), Ping(4))  # a_client sent it before
            continue
        server.receive_data(data)
        assert server.next_event() == request
