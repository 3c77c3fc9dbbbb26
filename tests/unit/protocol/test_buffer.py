"""MessageBuffer: docs/protocol.md 3.1 to 3.3."""

import pytest

from wg_dynamic.protocol.buffer import MessageBuffer
from wg_dynamic.protocol.errors import ErrorCode, RemoteProtocolError
from wg_dynamic.protocol.schema import MAX_LINE_SIZE, MAX_MESSAGE_SIZE


def a_buffer(data: bytes) -> MessageBuffer:
    buffer = MessageBuffer()
    buffer.receive_data(data)
    return buffer


def lines_of(size: int) -> bytes:
    """`size` bytes of lines, none longer than 64 bytes."""
    whole, rest = divmod(size, 64)
    last = b"" if not rest else b"y" * (rest - 1) + b"\n"
    return (b"x" * 63 + b"\n") * whole + last


def test_a_message_is_returned_with_its_blank_line() -> None:
    assert a_buffer(b"a=1\nb=2\n\n").next_message() == b"a=1\nb=2\n\n"


def test_half_a_message_waits_for_its_rest() -> None:
    buffer = a_buffer(b"a=1\nb")
    assert buffer.next_message() is None
    assert buffer.pending == 5
    buffer.receive_data(b"=2\n\n")
    assert buffer.next_message() == b"a=1\nb=2\n\n"
    assert buffer.pending == 0


def test_messages_that_came_together_are_returned_one_by_one() -> None:
    buffer = a_buffer(b"a=1\n\nb=2\n\nc")
    assert [buffer.next_message() for _ in range(3)] == [b"a=1\n\n", b"b=2\n\n", None]
    buffer.receive_data(b"=3\n\n")
    assert buffer.next_message() == b"c=3\n\n"


def test_an_empty_line_alone_is_an_empty_message() -> None:
    assert a_buffer(b"\na=1\n\n").next_message() == b"\n"


def test_a_line_of_the_maximal_size_passes() -> None:
    message = b"x" * (MAX_LINE_SIZE - 1) + b"\n\n"
    assert a_buffer(message).next_message() == message


@pytest.mark.parametrize("tail", [b"", b"\n\n"])
def test_a_line_one_byte_too_long_fails_as_soon_as_it_is_seen(tail: bytes) -> None:
    buffer = a_buffer(b"x" * (MAX_LINE_SIZE - 1))
    assert buffer.next_message() is None
    buffer.receive_data(b"x" + tail)
    with pytest.raises(RemoteProtocolError, match="line longer than 4096 bytes"):
        buffer.next_message()


def test_a_message_of_the_maximal_size_passes() -> None:
    message = lines_of(MAX_MESSAGE_SIZE - 1) + b"\n"
    assert len(message) == MAX_MESSAGE_SIZE
    assert a_buffer(message).next_message() == message


@pytest.mark.parametrize("tail", [b"", b"\n"])
def test_a_message_one_byte_too_long_fails_as_soon_as_it_is_seen(tail: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="message longer than 65536 bytes"):
        a_buffer(lines_of(MAX_MESSAGE_SIZE) + tail).next_message()


def test_the_limits_count_from_the_start_of_each_message() -> None:
    message = lines_of(MAX_MESSAGE_SIZE - 1) + b"\n"
    buffer = a_buffer(message + message)
    assert [buffer.next_message(), buffer.next_message()] == [message, message]


def test_a_nul_byte_fails_before_its_line_is_whole() -> None:
    buffer = a_buffer(b"a=1\n\nb=\0")
    assert buffer.next_message() == b"a=1\n\n"
    with pytest.raises(RemoteProtocolError, match="NUL") as caught:
        buffer.next_message()
    assert caught.value.code is ErrorCode.INVALID_REQUEST
    assert caught.value.command is None


def test_a_nul_byte_in_the_next_message_does_not_harm_this_one() -> None:
    assert a_buffer(b"a=1\n\n\0").next_message() == b"a=1\n\n"


def test_a_failed_buffer_stays_failed_and_keeps_nothing() -> None:
    buffer = a_buffer(b"\0")
    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match="NUL"):
            buffer.next_message()
        buffer.receive_data(b"a=1\n\n")
    assert buffer.pending == 0
