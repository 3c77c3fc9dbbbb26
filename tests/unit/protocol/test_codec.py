"""Which version a message is in, and whose fault a fault is: docs/protocol.md 3.4, 5.4, 6, 8."""

from ipaddress import IPv4Address, IPv4Network

import pytest

from wg_dynamic.protocol.codec import (
    decode_reply,
    decode_request,
    decode_version1_reply,
    encode_message,
    encode_refusal,
    reply_version,
)
from wg_dynamic.protocol.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from wg_dynamic.protocol.messages import (
    Ack,
    ErrorReply,
    LeasedAddress,
    Message,
    Ping,
    Pong,
    RequestIP,
    RequestIPReply,
    Update,
)
from wg_dynamic.protocol.schema import MAX_WISHES

INVALID, UNSUPPORTED = ErrorCode.INVALID_REQUEST, ErrorCode.UNSUPPORTED_PROTOCOL
LEASED = LeasedAddress(IPv4Address("192.0.2.7"), IPv4Network("192.0.2.7/32"), 60, 60)


def fault(message: bytes) -> RemoteProtocolError:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_request(message)
    return caught.value


def test_the_first_line_says_the_version() -> None:
    assert decode_request(b"request_ip=1\nip=::\n\n").version == 1
    assert decode_request(b"request_ip= 1\nip=::\n\n").version == 1
    assert decode_request(b"request_ip=2\n\n") == RequestIP()
    assert decode_request(b"ack=2\nserial=3\n\n") == Ack(3)


@pytest.mark.parametrize(
    "message",
    [
        b"\n",
        b"request_ip=0\n\n",
        b"request_ip=3\n\n",
        b"request_ip=4294967295\nwhatever\n\n",
        b"release_ip=1\n\n",
        b"frobnicate=1\n\n",
        b"frobnicate=x\n\n",
        b"GET /?a=b HTTP/1.1\r\n\n",
    ],
)
def test_a_version_or_command_that_is_not_spoken_is_unsupported(message: bytes) -> None:
    error = fault(message)
    assert (error.code, error.command) == (UNSUPPORTED, None)


@pytest.mark.parametrize(
    "message",
    [
        b"request_ip\n\n",
        b"request_ip=\n\n",
        b"request_ip=x\n\n",
        b"request_ip=1\r\n\n",
        b"request_ip=4294967296\n\n",
        b"request_ip= 2\n\n",
        b"request_ip=02\n\n",
        b"request_ip=1\nip=x\n\n",
        b"Frobnicate=2\n\n",
        b"GET / HTTP/1.1\n\n",
    ],
)
def test_a_first_line_that_is_none_is_invalid_in_version_1s_form(message: bytes) -> None:
    error = fault(message)
    assert (error.code, error.command) == (INVALID, None)
    assert encode_refusal(error) == b"errno=1\nerrmsg=Invalid request\n\n"


@pytest.mark.parametrize(
    ("rest", "request_id"),
    [
        (b"id=7\nid=7\n", 7),
        (b"x\nid=7\n", 7),
        (b"id=x\n", None),
        (b"x\n", None),
        (b"x\nsection=peer\nid=7\n", None),
        (b"id=7\nfoo=\xc3\xa9\n", 7),
        (b"id=7\nfoo=a\tb\n", 7),
        (b"id=7\r\n", None),
    ],
)
def test_a_fault_in_version_2_knows_its_command_and_id(rest: bytes, request_id: int | None) -> None:
    error = fault(b"request_ip=2\n" + rest + b"\n")
    assert (error.code, error.command, error.request_id) == (INVALID, "request_ip", request_id)


def test_an_unknown_command_of_version_2_is_named() -> None:
    error = fault(b"frobnicate=2\nid=3\nsection=x\ny=1\n\n")
    assert error.code is ErrorCode.UNKNOWN_COMMAND
    assert encode_refusal(error) == b"frobnicate=2\nid=3\nerrno=8\nerrmsg=Unknown command\n\n"
    assert fault(b"update=2\nserial=1\n\n").code is ErrorCode.UNKNOWN_COMMAND
    assert fault(b"frobnicate=2\nx\n\n").code is INVALID


def test_a_critical_name_that_is_not_understood_is_named() -> None:
    assert decode_request(b"request_ip=2\ncritical=address,id\n\n").version == 2
    error = fault(b"request_ip=2\ncritical=id,prefix\nid=4\n\n")
    assert encode_refusal(error) == (
        b"request_ip=2\nid=4\nerrno=9\nerrmsg=prefix is not understood\n\n"
    )
    with pytest.raises(RemoteProtocolError, match="metric is not understood"):
        decode_reply(b"release_ip=2\nerrno=0\ncritical=metric\n\n")
    with pytest.raises(RemoteProtocolError, match="peer is not understood") as caught:
        decode_reply(b"update=2\nserial=0\ncritical=peer\n\n")
    assert caught.value.request_id is None


def test_a_refusal_in_version_1s_form_has_a_number_of_version_1() -> None:
    assert encode_refusal(RemoteProtocolError(5, "x")) == (
        b"errno=3\nerrmsg=Chosen IP(s) unavailable\n\n"
    )
    assert encode_refusal(RemoteProtocolError(99, "x")) == b"errno=99\nerrmsg=Error 99\n\n"


def test_a_reply_says_its_version_by_its_command_line() -> None:
    assert reply_version(b"request_ip=2\nerrno=0\n\n") == 2
    assert reply_version(b"errno=0\n\n") == 1
    assert reply_version(b"request_ip=1\nerrno=0\n\n") == 1
    assert reply_version(b"frobnicate=2\n\n") == 1
    assert reply_version(b"\n") == 1


def test_replies_of_both_versions_are_read() -> None:
    assert decode_reply(b"pong=2\nid=1\n\n") == Pong(1)
    assert decode_reply(b"update=2\nserial=1\n\n") == Update(1)
    reply = decode_reply(b"request_ip=2\nerrno=3\n\n")
    assert isinstance(reply, RequestIPReply)
    assert reply.errno is ErrorCode.UNAVAILABLE
    for message in (b"errno=3\n\n", b"request_ip=1\nerrno=3\n\n"):
        assert decode_reply(message) == RequestIPReply(version=1, errno=3)
    assert decode_version1_reply(b"release_ip=1\nerrno=1\n\n").errno is INVALID


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\n", UNSUPPORTED),
        (b"x\n\n", INVALID),
        (b"ip=x\n\n", INVALID),
        (b"request_ip=3\n\n", UNSUPPORTED),
        (b"request_ip=x\n\n", INVALID),
        (b"request_ip=2\n\n", INVALID),
        (b"request_ip=1\nx\n\n", INVALID),
    ],
)
def test_a_reply_that_is_none_is_refused(message: bytes, code: ErrorCode) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_reply(message)
    assert caught.value.code is code


def test_a_message_is_printed_in_the_version_it_names() -> None:
    assert encode_message(RequestIP(version=1, early_draft=True)) == b"request_ip=1\n\n"
    assert encode_message(RequestIP()) == b"request_ip=2\n\n"
    reply = RequestIPReply(version=1, addresses=(LEASED,), lease_start=1)
    assert encode_message(reply).startswith(b"ip=192.0.2.7/32\n")
    assert encode_message(reply, early_draft=True).startswith(b"request_ip=1\nipv4=192.0.2.7/32\n")


def test_an_error_reply_is_printed_in_the_version_it_answers() -> None:
    reply = ErrorReply("request_ip", errno=ErrorCode.BUSY, errmsg="soon", retry_after=3)
    assert encode_message(reply) == b"request_ip=2\nerrno=12\nerrmsg=soon\nretry_after=3\n\n"
    assert encode_message(reply, version=1) == b"errno=3\nerrmsg=soon\n\n"


@pytest.mark.parametrize(
    "message",
    [
        RequestIP(version=3),
        RequestIPReply(version=0),
        RequestIP(early_draft=True),
        RequestIPReply(lease_start=1),
        RequestIP(version=1, id=1),
        Ping(id=-1),
    ],
)
def test_a_message_that_breaks_a_rule_is_our_own_fault(message: Message) -> None:
    with pytest.raises(LocalProtocolError, match=type(message).__name__):
        encode_message(message)


@pytest.mark.parametrize("count", [MAX_WISHES, MAX_WISHES + 1])
def test_a_request_for_many_addresses_is_read_to_the_last_that_is_allowed(count: int) -> None:
    wishes = b"".join(b"section=address\nip=192.0.2.%d\n" % number for number in range(count))
    message = b"request_ip=2\n" + wishes + b"\n"
    if count <= MAX_WISHES:
        request = decode_request(message)
        assert isinstance(request, RequestIP)
        assert len(request.wishes) == count
    else:
        assert fault(message).code is INVALID
