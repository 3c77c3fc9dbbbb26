"""Which message may come when: docs/protocol.md 2.2, 6.2, 6.5, 6.9, 6.11, 8."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from wg_dynamic.protocol.connection import (
    ClientConnection,
    ClientEvent,
    ConnectionClosed,
    ConnectionFailed,
    RequestRefused,
    ServerConnection,
    ServerEvent,
    VersionRefused,
)
from wg_dynamic.protocol.errors import ErrorCode, LocalProtocolError
from wg_dynamic.protocol.messages import (
    ANY_IPV4,
    Ack,
    DeclineIP,
    DeclineIPReply,
    Dns,
    ErrorReply,
    LeasedAddress,
    Ping,
    Pong,
    ReleaseIP,
    ReleaseIPReply,
    Reply,
    Request,
    RequestIP,
    RequestIPReply,
    Route,
    Subscribe,
    SubscribeReply,
    Update,
)
from wg_dynamic.protocol.schema import MAX_PENDING_REQUESTS, MAX_REPLY_PARTS, MAX_ROUTES

V4 = LeasedAddress(IPv4Address("192.0.2.7"), IPv4Network("192.0.2.0/24"), 30, 60)
V6 = LeasedAddress(IPv6Address("2001:db8::7"), IPv6Network("2001:db8::/64"), 30, 60)
ROUTE = Route(IPv4Network("10.0.0.0/8"))
V1_REQUEST = b"request_ip=1\nip=0.0.0.0/32\nip=::/128\nleasestart=0\nleasetime=0\n\n"


class Pair:
    """A client and a server back to back."""

    def __init__(self, version: int = 2) -> None:
        self.client = ClientConnection(version)
        self.server = ServerConnection()

    def ask(self, request: Request) -> ServerEvent | None:
        self.server.receive_data(self.client.send(request))
        return self.server.next_event()

    def answer(self, message: Reply | Update) -> ClientEvent | None:
        self.client.receive_data(self.server.send(message))
        return self.client.next_event()


def a_subscribed_pair() -> Pair:
    pair = Pair()
    pair.ask(Subscribe(1))
    pair.answer(SubscribeReply(1, serial=0))
    return pair


def server_fed(data: bytes) -> ServerConnection:
    server = ServerConnection()
    server.receive_data(data)
    return server


def client_fed(data: bytes, *, version: int = 2, request: Request | None = None) -> ClientEvent:
    client = ClientConnection(version)
    client.send(request or RequestIP(version=version))
    client.receive_data(data)
    event = client.next_event()
    assert event is not None
    return event


def failure(event: object) -> ConnectionFailed:
    assert isinstance(event, ConnectionFailed)
    return event


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        (RequestIP(id=1, wishes=(ANY_IPV4,)), RequestIPReply(id=1, addresses=(V4, V6))),
        (RequestIP(), RequestIPReply(errno=ErrorCode.EXHAUSTED, retry_after=30)),
        (ReleaseIP(2, (V4.ip,)), ReleaseIPReply(2)),
        (DeclineIP(3, (V4.ip,)), DeclineIPReply(3, ErrorCode.NOT_PERMITTED, "not yours")),
        (Subscribe(4, since=3, interval=60), SubscribeReply(4, serial=3, interval=90)),
        (Ping(5), Pong(5)),
        (Ping(6), ErrorReply("ping", 6)),
    ],
)
def test_a_request_and_its_reply_arrive_as_they_were_sent(request_: Request, reply: Reply) -> None:
    pair = Pair()
    assert pair.ask(request_) == request_
    assert (pair.client.pending, pair.server.pending) == (1, 1)
    assert pair.server.version == 2
    assert pair.answer(reply) == reply
    assert (pair.client.pending, pair.server.pending) == (0, 0)
    assert pair.client.next_event() is None
    assert pair.server.next_event() is None


def test_version_1_works_end_to_end() -> None:
    pair = Pair(version=1)
    request = pair.ask(RequestIP(version=1))
    assert isinstance(request, RequestIP)
    assert pair.server.version == 1
    assert not request.early_draft
    reply = pair.answer(RequestIPReply(version=1, addresses=(V4, V6), lease_start=9))
    assert isinstance(reply, RequestIPReply)
    assert [leased.ip for leased in reply.addresses] == [V4.ip, V6.ip]
    assert {leased.network.prefixlen for leased in reply.addresses} == {32, 128}


def test_the_early_draft_is_answered_in_its_own_form() -> None:
    server = server_fed(b"request_ip=1\n\n")
    request = server.next_event()
    assert request == RequestIP(version=1, early_draft=True)
    assert server.send(RequestIPReply(version=1, addresses=(V4,), lease_start=9)) == (
        b"request_ip=1\nipv4=192.0.2.7/32\nleasestart=9\nleasetime=60\nerrno=0\n\n"
    )


def test_replies_of_version_1_belong_to_the_oldest_request() -> None:
    server = server_fed(b"request_ip=1\n\n" + V1_REQUEST)
    assert server.next_event()
    assert server.next_event()
    assert server.send(RequestIPReply(version=1)) == b"request_ip=1\nerrno=0\n\n"
    assert server.send(RequestIPReply(version=1)) == b"errno=0\n\n"


def test_an_error_reply_is_sent_in_the_version_of_its_request() -> None:
    server = server_fed(V1_REQUEST)
    server.next_event()
    assert server.send(ErrorReply("request_ip", errno=ErrorCode.BUSY)) == (
        b"errno=3\nerrmsg=Chosen IP(s) unavailable\n\n"
    )


def test_replies_find_their_requests_by_command_and_id() -> None:
    pair = Pair()
    pair.ask(RequestIP(id=1))
    pair.ask(ReleaseIP(id=2))
    pair.ask(RequestIP())
    assert pair.answer(RequestIPReply()) == RequestIPReply()
    assert pair.answer(ReleaseIPReply(2)) == ReleaseIPReply(2)
    assert pair.answer(RequestIPReply(id=1)) == RequestIPReply(id=1)


@pytest.mark.parametrize(
    "reply",
    [
        RequestIPReply(id=2),
        RequestIPReply(),
        ReleaseIPReply(1),
        RequestIPReply(version=1),
        Pong(1),
        ErrorReply("release_ip", 1),
        Update(1),
    ],
)
def test_a_reply_to_no_request_is_our_own_fault(reply: Reply | Update) -> None:
    pair = Pair()
    pair.ask(RequestIP(id=1))
    with pytest.raises(LocalProtocolError):
        pair.server.send(reply)
    assert pair.server.pending == 1


def test_a_reply_that_cannot_be_printed_leaves_its_request_waiting() -> None:
    pair = Pair()
    pair.ask(RequestIP(id=1))
    with pytest.raises(LocalProtocolError):
        pair.server.send(RequestIPReply(id=1, retry_after=-1))
    assert pair.answer(RequestIPReply(id=1)) == RequestIPReply(id=1)


def test_a_long_reply_is_cut_and_joined_unseen() -> None:
    pair = Pair()
    pair.ask(RequestIP(id=1))
    reply = RequestIPReply(
        id=1, addresses=(V4, V6), routes=(ROUTE,) * (2 * MAX_ROUTES + 1), dns=(Dns((V4.ip,)),)
    )
    assert pair.answer(reply) == reply
    assert (pair.client.pending, pair.server.pending) == (0, 0)


def test_a_server_may_cut_a_reply_itself() -> None:
    pair = Pair()
    pair.ask(RequestIP(id=1))
    assert pair.answer(RequestIPReply(id=1, addresses=(V4,), more=True)) is None
    assert pair.server.pending == 1
    assert pair.answer(RequestIPReply(id=1, addresses=(V6,))) == RequestIPReply(
        id=1, addresses=(V4, V6)
    )


def test_the_parts_of_a_reply_are_bounded() -> None:
    part = b"request_ip=2\nerrno=0\nmore=1\n\n"
    last = b"request_ip=2\nerrno=0\n\n"
    assert client_fed(part * (MAX_REPLY_PARTS - 1) + last) == RequestIPReply()
    event = failure(client_fed(part * MAX_REPLY_PARTS + last))
    assert "more than 16 parts" in event.error.text


def test_parts_of_two_replies_must_not_be_mixed() -> None:
    pair = Pair()
    pair.ask(RequestIP(id=1))
    pair.ask(RequestIP(id=2))
    assert pair.answer(RequestIPReply(id=1, more=True)) is None
    assert "mixed" in failure(pair.answer(RequestIPReply(id=2))).error.text


def test_parts_have_one_dns_section_between_them() -> None:
    part = b"request_ip=2\nerrno=0\n%bsection=dns\n\n"
    assert "section=dns" in failure(client_fed(part % b"more=1\n" + part % b"")).error.text


def test_a_push_may_come_between_the_parts_of_a_reply() -> None:
    pair = a_subscribed_pair()
    pair.ask(RequestIP(id=2))
    assert pair.answer(RequestIPReply(id=2, more=True)) is None
    push = Update(1, routes=(ROUTE,) * (MAX_ROUTES + 1))
    assert pair.answer(push) == push
    assert pair.answer(RequestIPReply(id=2)) == RequestIPReply(id=2)


def test_pushes_and_acks_need_a_subscription() -> None:
    pair = a_subscribed_pair()
    assert pair.server.subscribed
    assert pair.answer(Update(1, addresses=(LeasedAddress.removed(V4.ip),))) is not None
    assert pair.ask(Ack(1)) == Ack(1)
    assert pair.server.pending == 0


def test_a_refused_subscription_is_none() -> None:
    pair = Pair()
    pair.ask(Subscribe(1))
    refusal = SubscribeReply(1, ErrorCode.UNKNOWN_COMMAND)
    assert pair.answer(ErrorReply("subscribe", 1)) == refusal
    assert not pair.server.subscribed
    with pytest.raises(LocalProtocolError, match="without a subscription"):
        pair.client.send(Ack(1))
    with pytest.raises(LocalProtocolError, match="without a subscription"):
        pair.server.send(Update(1))
    assert "without subscription" in failure(client_fed(b"update=2\nserial=1\n\n")).error.text


def test_an_ack_without_a_subscription_ends_the_connection() -> None:
    event = failure(server_fed(b"ack=2\nserial=1\n\n").next_event())
    assert event.reply == b"ack=2\nerrno=1\nerrmsg=ack without a subscription\n\n"


def test_an_unknown_command_is_refused_and_the_connection_goes_on() -> None:
    server = server_fed(b"frobnicate=2\nid=1\n\nrequest_ip=2\nid=2\n\n")
    event = server.next_event()
    assert isinstance(event, RequestRefused)
    assert event.reply == b"frobnicate=2\nid=1\nerrno=8\nerrmsg=Unknown command\n\n"
    assert server.version == 2
    assert server.next_event() == RequestIP(id=2)


def test_an_unknown_command_of_version_2_ends_a_connection_of_version_1() -> None:
    server = server_fed(V1_REQUEST + b"frobnicate=2\n\n")
    server.next_event()
    assert failure(server.next_event()).error.code is ErrorCode.UNKNOWN_COMMAND


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (b"request_ip=3\n\n", b"errno=2\nerrmsg=Unsupported protocol\n\n"),
        (b"\n", b"errno=2\nerrmsg=Unsupported protocol\n\n"),
        (b"x\n\n", b"errno=1\nerrmsg=Invalid request\n\n"),
        (b"\0", b"errno=1\nerrmsg=Invalid request\n\n"),
        (b"request_ip=1\nip=x\n\n", b"errno=1\nerrmsg=Invalid request\n\n"),
        (
            b"request_ip=2\nid=5\nid=5\n\n",
            b"request_ip=2\nid=5\nerrno=1\nerrmsg=id occurs twice, expected once\n\n",
        ),
    ],
)
def test_a_fault_carries_its_answer_and_is_the_last_event(data: bytes, reply: bytes) -> None:
    server = server_fed(data)
    event = server.next_event()
    assert failure(event).reply == reply
    server.receive_data(V1_REQUEST)
    server.receive_eof()
    assert server.next_event() is None


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (V1_REQUEST + b"request_ip=2\nid=1\n\n", b"request_ip=2\nid=1\nerrno=1\n"),
        (b"request_ip=2\n\n" + V1_REQUEST, b"errno=1\nerrmsg=Invalid request\n"),
    ],
)
def test_a_connection_speaks_one_version(data: bytes, form: bytes) -> None:
    server = server_fed(data)
    assert isinstance(server.next_event(), RequestIP)
    event = failure(server.next_event())
    assert "two versions" in event.error.text
    assert event.reply.startswith(form)


def test_an_id_must_not_be_used_again_before_its_reply() -> None:
    server = server_fed(b"request_ip=2\nid=1\n\nrelease_ip=2\nid=1\n\n")
    server.next_event()
    assert "id 1 waits" in failure(server.next_event()).error.text
    client = ClientConnection()
    client.send(RequestIP(id=1))
    with pytest.raises(LocalProtocolError, match="id 1 waits"):
        client.send(ReleaseIP(1))


def test_requests_without_a_reply_are_bounded_on_both_sides() -> None:
    client, server = ClientConnection(), ServerConnection()
    for _ in range(MAX_PENDING_REQUESTS):
        server.receive_data(client.send(Ping()))
        assert server.next_event() == Ping()
    with pytest.raises(LocalProtocolError, match="more than 64"):
        client.send(Ping())
    server.receive_data(b"ping=2\n\n")
    assert failure(server.next_event()).error.code is ErrorCode.RATE_LIMITED


def test_a_server_sees_the_end_of_the_stream_after_the_last_request() -> None:
    server = server_fed(V1_REQUEST)
    server.receive_eof()
    assert isinstance(server.next_event(), RequestIP)
    assert server.next_event() == ConnectionClosed()
    assert server.next_event() is None
    assert server.send(RequestIPReply(version=1)) == b"errno=0\n\n"


def test_half_a_request_at_the_end_gets_no_answer() -> None:
    server = server_fed(V1_REQUEST[:20])
    assert server.next_event() is None
    assert server.bytes_waiting == 20
    server.receive_eof()
    event = failure(server.next_event())
    assert event.reply == b""
    assert "ended after 20 bytes" in event.error.text


@pytest.mark.parametrize(
    "data",
    [
        b"errno=2\nerrmsg=Unsupported protocol\n\n",
        b"ip=192.0.2.7/32\nleasestart=1\nleasetime=60\nerrno=0\n\n",
        b"request_ip=1\nipv4=192.0.2.7/32\nleasetime=60\n\n",
        b"request_ip=1\nerrno=1\nerrmsg=Internal server error\n\n",
    ],
)
def test_a_server_of_version_1_is_told_by_its_answer(data: bytes) -> None:
    event = client_fed(data)
    assert isinstance(event, VersionRefused)
    assert event.version == 2


def test_after_a_refused_version_the_connection_is_of_no_more_use() -> None:
    client = ClientConnection()
    client.receive_data(b"errno=2\n\n")
    assert client.next_event() == VersionRefused(2)
    assert client.next_event() is None
    with pytest.raises(LocalProtocolError, match="ended"):
        client.send(RequestIP())


def test_any_other_error_in_version_1s_form_is_a_failure() -> None:
    event = failure(client_fed(b"errno=1\nerrmsg=Invalid request\n\n"))
    assert (event.error.code, event.error.text) == (ErrorCode.INVALID_REQUEST, "Invalid request")
    assert failure(client_fed(b"errno=77\n\n")).error.text == "Error 77"


def test_a_client_of_version_1_can_be_refused_as_well() -> None:
    assert client_fed(b"errno=2\nerrmsg=no\n\n", version=1) == VersionRefused(1, "no")


def test_a_client_of_version_1_takes_an_address_that_comes_with_an_error() -> None:
    event = client_fed(b"ip=192.0.2.7/32\nleasetime=60\nerrno=3\n\n", version=1)
    assert isinstance(event, RequestIPReply)
    assert event.errno is ErrorCode.UNAVAILABLE
    assert [leased.ip for leased in event.addresses] == [V4.ip]


@pytest.mark.parametrize(
    ("data", "version", "text"),
    [
        (b"request_ip=2\nerrno=0\n\n", 1, "version 2, expected 1"),
        (b"errno=0\n\nerrno=0\n\n", 1, "to no request"),
        (b"release_ip=2\nerrno=0\n\n", 2, "to no request"),
        (b"request_ip=2\nid=1\nerrno=0\n\n", 2, "to no request"),
        (b"request_ip=2\n\n", 2, "errno is missing"),
        (b"\n", 2, "empty message"),
        (b"\0", 2, "NUL"),
        (b"x\n\n", 1, "expected command=version"),
    ],
)
def test_a_server_that_breaks_a_rule_ends_the_connection(
    data: bytes, version: int, text: str
) -> None:
    client = ClientConnection(version)
    client.send(RequestIP(version=version))
    client.receive_data(data)
    events = [client.next_event(), client.next_event()]
    event = failure(next(each for each in events if isinstance(each, ConnectionFailed)))
    assert text in event.error.text
    assert event.reply == b""
    assert client.next_event() is None


def test_a_client_sees_the_end_of_the_stream() -> None:
    client = ClientConnection()
    assert client.next_event() is None
    client.receive_eof()
    assert client.next_event() == ConnectionClosed()
    client = ClientConnection()
    client.receive_data(b"req")
    client.receive_eof()
    assert "ended after 3 bytes" in failure(client.next_event()).error.text


def test_a_client_sends_its_own_version_only() -> None:
    with pytest.raises(LocalProtocolError, match="connection has version 1"):
        ClientConnection(1).send(ReleaseIP())
    with pytest.raises(LocalProtocolError, match="connection has version 2"):
        ClientConnection().send(RequestIP(version=1))
    with pytest.raises(LocalProtocolError, match="expected 1 or 2"):
        ClientConnection(3)


def test_a_request_that_cannot_be_printed_does_not_wait_for_a_reply() -> None:
    client = ClientConnection()
    with pytest.raises(LocalProtocolError):
        client.send(DeclineIP(1))
    assert client.pending == 0
