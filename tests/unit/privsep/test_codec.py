"""Bytes of a message: what they are, and what is refused."""

import struct

import pytest

from wg_dynamic.address import Prefix, parse_prefix
from wg_dynamic.privsep.codec import MAX_MESSAGE_SIZE, ChannelError, MessageCodec
from wg_dynamic.record import dataclass


@dataclass(frozen=True)
class Empty:
    """Nothing in it."""


@dataclass(frozen=True)
class Item:
    number: int
    name: str


@dataclass(frozen=True)
class Everything:
    number: int
    real: float
    truth: bool
    data: bytes
    text: str
    prefix: Prefix
    items: tuple[Item, ...]
    maybe: int | None


@dataclass(frozen=True)
class Choosy:
    number: int

    def __post_init__(self) -> None:
        if self.number != 7:
            msg = f"{self.number}, expected 7"
            raise ValueError(msg)


CODEC = MessageCodec((Empty, Everything, Choosy))


def a_message(
    *,
    number: int = 1,
    real: float = 0.5,
    data: bytes = b"d",
    text: str = "t",
    prefix: str = "10.0.0.1/32",
    items: tuple[Item, ...] = (Item(1, "one"), Item(2, "two")),
    maybe: int | None = None,
) -> Everything:
    return Everything(number, real, True, data, text, parse_prefix(prefix), items, maybe)


@pytest.mark.parametrize(
    "message",
    [
        Empty(),
        Choosy(7),
        a_message(),
        a_message(number=-(1 << 63), real=float("inf"), data=b"", text="", items=()),
        a_message(number=(1 << 63) - 1, prefix="::/0", maybe=9),
        a_message(text="\N{SNOWMAN}\n\0", prefix="fe80::1/128"),
        a_message(prefix="0.0.0.0/0"),
    ],
)
def test_a_message_comes_out_as_it_went_in(message: object) -> None:
    assert CODEC.decode(CODEC.encode(message)) == message


def test_the_layout_is_the_same_for_both_processes() -> None:
    assert CODEC.encode(Empty()) == b"\0"
    assert CODEC.encode(Choosy(7)) == b"\x02" + struct.pack("!q", 7)


def test_a_message_of_the_largest_size_goes_and_one_more_byte_does_not() -> None:
    rest = len(CODEC.encode(a_message(data=b"")))
    message = a_message(data=bytes(MAX_MESSAGE_SIZE - rest))
    assert len(CODEC.encode(message)) == MAX_MESSAGE_SIZE
    assert CODEC.decode(CODEC.encode(message)) == message
    with pytest.raises(ChannelError, match="65537 bytes, expected at most 65536"):
        CODEC.encode(a_message(data=bytes(MAX_MESSAGE_SIZE - rest + 1)))


@pytest.mark.parametrize("message", [a_message(text="\udcff"), a_message(number=1 << 63)])
def test_what_has_no_encoding_is_refused_before_it_is_sent(message: object) -> None:
    with pytest.raises(ChannelError, match="Everything cannot be sent"):
        CODEC.encode(message)


def test_a_message_of_another_set_is_our_own_mistake() -> None:
    with pytest.raises(KeyError):
        CODEC.encode(Item(1, "one"))


@pytest.mark.parametrize("tag", [3, 4, 255])
def test_an_unknown_kind_is_refused(tag: int) -> None:
    with pytest.raises(ChannelError, match=f"message kind {tag}, expected 0 to 2"):
        CODEC.decode(bytes([tag]))


def test_nothing_at_all_is_no_message() -> None:
    with pytest.raises(ChannelError, match="message of 0 bytes ends early"):
        CODEC.decode(b"")


def test_what_follows_the_end_is_refused() -> None:
    with pytest.raises(ChannelError, match="1 bytes after the end of Everything"):
        CODEC.decode(CODEC.encode(a_message()) + b"\0")


def test_a_field_that_refuses_its_value_refuses_the_message() -> None:
    with pytest.raises(ChannelError, match="Choosy: 8, expected 7"):
        CODEC.decode(b"\x02" + struct.pack("!q", 8))


FIXED = b"\x01" + struct.pack("!qd", 1, 0.5)
NO_TEXT = b"\x01" + struct.pack("!II", 0, 0)
HOST = b"\x04\x0a\0\0\x01\x20"


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (FIXED + b"\x02", "truth value 2, expected 0 or 1"),
        (FIXED + b"\x01" + struct.pack("!I", 1 << 31), "ends early"),
        (FIXED + b"\x01" + struct.pack("!II", 0, 1) + b"\xff", "not UTF-8"),
        (FIXED + NO_TEXT + b"\x05", "address of 5 bytes, expected 4 or 16"),
        (FIXED + NO_TEXT + b"\x04\x0a\0\0\x01\x21", "prefix length 33, expected at most 32"),
        (FIXED + NO_TEXT + b"\x10" + bytes(16) + b"\x81", "prefix length 129"),
        (FIXED + NO_TEXT + HOST + struct.pack("!I", 99), "99 items announced, 0 bytes left"),
        (FIXED + NO_TEXT + HOST + struct.pack("!IB", 0, 7), "truth value 7"),
    ],
)
def test_a_damaged_field_is_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(ChannelError, match=complaint):
        CODEC.decode(data)


@dataclass(frozen=True)
class Unencodable:
    value: dict[str, int]


def test_a_field_without_an_encoding_is_found_at_the_start() -> None:
    with pytest.raises(TypeError, match="no encoding for dict"):
        MessageCodec((Unencodable,))
