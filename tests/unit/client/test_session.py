"""One exchange, as the socket goes: docs/protocol.md 2.2 and 8."""

import errno
import select
import socket
import struct
from collections.abc import Iterator

import pytest

from wg_dynamic.client.session import Session, SessionError, VersionRefusedError
from wg_dynamic.protocol import (
    MAX_LINE_SIZE,
    ErrorCode,
    ReleaseIP,
    ReleaseIPReply,
    Reply,
    RequestIP,
    RequestIPReply,
)

REPLY = (
    b"request_ip=2\nerrno=0\nsection=address\nip=192.0.2.7\nnetwork=192.0.2.0/24\n"
    b"preferred_time=3600\nvalid_time=3600\n\n"
)
REPLY_1 = b"ip=192.0.2.7/32\nleasestart=1795367839\nleasetime=3600\nerrno=0\n\n"


class Wire:
    """A session and the server's end of its connection, over TCP."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.client = socket.create_connection(listener.getsockname())
            self.server, _ = listener.accept()
        self.client.setblocking(False)
        self.server.settimeout(5.0)
        self.session: Session | None = None

    def begin(self, request: RequestIP | ReleaseIP | None = None) -> Session:
        self.session = Session(self.client, request or RequestIP())
        return self.session

    def exchange(self, request: RequestIP | None = None) -> Reply:
        """Go on until there is a reply, or the session raises."""
        session = self.session or self.begin(request)
        for _ in range(10_000):
            waits = ([], [session]) if session.wants_write else ([session], [])
            assert any(select.select(*waits, [], 5.0)), "the session waits for ever"
            reply = session.on_ready()
            if reply is not None:
                return reply
        raise AssertionError

    def reset(self) -> None:
        self.server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.server.close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    one = Wire()
    yield one
    one.client.close()
    one.server.close()


def test_the_request_goes_out_and_the_reply_comes_in(wire: Wire) -> None:
    session = wire.begin()
    waits_to_write = [session.wants_write]
    assert session.on_ready() is None
    assert wire.server.recv(1000) == b"request_ip=2\n\n"
    waits_to_write.append(session.wants_write)
    assert waits_to_write == [True, False]
    wire.server.sendall(REPLY)
    reply = wire.exchange()
    assert isinstance(reply, RequestIPReply)
    assert [str(one.ip) for one in reply.addresses] == ["192.0.2.7"]


def test_a_reply_may_come_byte_by_byte(wire: Wire) -> None:
    session = wire.begin()
    session.on_ready()
    for byte in REPLY[:-1]:
        wire.server.sendall(bytes([byte]))
        select.select([session], [], [], 5.0)
        assert session.on_ready() is None
    wire.server.sendall(REPLY[-1:])
    assert isinstance(wire.exchange(), RequestIPReply)


def test_a_readiness_that_was_none_is_waited_out(wire: Wire) -> None:
    session = wire.begin()
    session.on_ready()
    assert session.on_ready() is None  # nothing to read


def test_a_release_is_an_exchange_too(wire: Wire) -> None:
    wire.begin(ReleaseIP())
    wire.server.sendall(b"release_ip=2\nerrno=0\n\n")
    assert isinstance(wire.exchange(), ReleaseIPReply)


def test_version_1_is_read_without_a_command_line(wire: Wire) -> None:
    wire.server.sendall(REPLY_1)
    reply = wire.exchange(RequestIP(version=1))
    assert isinstance(reply, RequestIPReply)
    assert reply.version == 1


def test_a_server_that_does_not_speak_our_version_says_so(wire: Wire) -> None:
    wire.server.sendall(b"errno=2\nerrmsg=Unsupported protocol\n\n")
    with pytest.raises(VersionRefusedError, match="does not speak version 2"):
        wire.exchange()


def test_a_refusal_is_a_reply(wire: Wire) -> None:
    wire.server.sendall(b"request_ip=2\nerrno=5\nretry_after=30\n\n")
    reply = wire.exchange()
    assert isinstance(reply, RequestIPReply)
    assert (reply.errno, reply.retry_after) == (ErrorCode.RATE_LIMITED, 30)


def test_half_a_reply_is_none(wire: Wire) -> None:
    wire.server.sendall(REPLY[:-1])
    wire.server.shutdown(socket.SHUT_WR)
    with pytest.raises(SessionError, match="ended after"):
        wire.exchange()


def test_a_server_that_closes_without_a_word_gave_no_answer(wire: Wire) -> None:
    wire.server.shutdown(socket.SHUT_WR)
    with pytest.raises(SessionError, match="without an answer"):
        wire.exchange()


def test_a_reset_is_a_failure_that_says_so(wire: Wire) -> None:
    session = wire.begin()
    session.on_ready()
    wire.reset()
    with pytest.raises(SessionError, match="reset by peer"):
        wire.exchange()


def test_a_reset_before_anything_was_sent_is_one_too(wire: Wire) -> None:
    wire.reset()
    with pytest.raises(SessionError, match="reset by peer"):
        wire.exchange()


def test_what_the_server_said_before_it_hung_up_is_read_though_nothing_could_be_sent() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.sendall(b"errno=3\nerrmsg=Chosen IP(s) unavailable\n\n")
    theirs.close()
    session = Session(ours, RequestIP(version=1))
    assert session.on_ready() is None  # EPIPE
    reply = session.on_ready()
    assert isinstance(reply, RequestIPReply)
    assert reply.errno == ErrorCode.UNAVAILABLE
    session.close()


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n\n\n",
        b"\x00\x01\x02",
        b"x" * MAX_LINE_SIZE,
        b"a=1\n" * 20_000,
        b"request_ip=2\nerrno=99999999999\n\n",
        b"release_ip=2\nerrno=0\n\n",
        b"request_ip=2\nid=5\nerrno=0\n\n",
        b"update=2\nserial=1\n\n",
        b"request_ip=2\nerrno=0\nmore=1\n\n" * 17,
        b"errno=3\nerrmsg=no\n\n",
    ],
)
def test_what_is_no_answer_to_our_request_is_not_understood(wire: Wire, data: bytes) -> None:
    wire.server.sendall(data)
    with pytest.raises(SessionError, match="not understood"):
        wire.exchange()


def test_a_reply_in_parts_is_one_reply(wire: Wire) -> None:
    wire.server.sendall(b"request_ip=2\nerrno=0\nmore=1\n\n" + REPLY)
    reply = wire.exchange()
    assert isinstance(reply, RequestIPReply)
    assert len(reply.addresses) == 1


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ECONNREFUSED, "no wg-dynamic-server listens"),
        (errno.EHOSTUNREACH, "cannot be reached: No route to host"),
        (errno.ENETUNREACH, "cannot be reached"),
        (errno.ETIMEDOUT, "cannot be reached"),
        (errno.ENOKEY, "cannot be reached"),
        (errno.EPERM, "connection to the server: Operation not permitted"),
    ],
)
def test_what_a_connection_failed_of_is_said_for_people(number: int, text: str) -> None:
    class FailedSocket(socket.socket):
        def getsockopt(self, *_: object) -> int:  # type: ignore[override] # one form of three
            return number

    with FailedSocket() as failed:
        session = Session(failed, RequestIP())
        with pytest.raises(SessionError, match=text):
            session.on_ready()


def test_a_refused_connection_is_seen_on_the_real_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    refused = socket.socket()
    refused.setblocking(False)
    refused.connect_ex(address)
    session = Session(refused, RequestIP())
    select.select([], [session], [], 5.0)
    with pytest.raises(SessionError, match="no wg-dynamic-server listens"):
        session.on_ready()
    session.close()
    session.close()


def test_a_long_request_is_sent_in_pieces(wire: Wire) -> None:
    class NarrowSocket(socket.socket):
        def send(self, data: object, *_: int) -> int:
            assert isinstance(data, bytes)
            return super().send(data[:5])

    narrow = NarrowSocket(fileno=wire.client.detach())
    session = Session(narrow, RequestIP())
    for _ in range(3):
        session.on_ready()
    assert not session.wants_write
    assert wire.server.recv(1000) == b"request_ip=2\n\n"
    session.close()
