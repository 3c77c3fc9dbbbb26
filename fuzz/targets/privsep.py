"""What helper, network process and the check of a database send each other.

- Bytes are one message of the closed set, or ChannelError.
- There is one way to write a message: what was read is written as the same bytes.
"""

from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from types import NoneType
from typing import Any, get_args, get_type_hints

from wg_dynamic.address import Prefix, parse_prefix
from wg_dynamic.privsep import requests
from wg_dynamic.privsep.codec import ChannelError, MessageCodec
from wg_dynamic.record import fields, is_dataclass

MAX_SIZE = 2048
PARSERS = ("privsep.codec", "privsep.requests")

_SETS: list[tuple[type, ...]] = [
    value
    for name, value in vars(requests).items()
    if name.endswith(("_REQUESTS", "_REPLIES")) and isinstance(value, tuple)
]
_CODECS = [MessageCodec(each) for each in _SETS]


def seeds() -> Iterator[bytes]:
    """One of each message, without and with what may be absent, if its own checks let it be."""
    for messages, codec in zip(_SETS, _CODECS, strict=True):
        for kind, full in product(messages, (False, True)):
            with suppress(ValueError, ChannelError):
                yield codec.encode(_sample(kind, kind.__name__, full=full))


def words() -> Iterator[bytes]:
    """Lengths, addresses, a key, times."""
    yield from (bytes([0, 0, 0, length]) for length in (0, 1, 2, 4, 16, 32))
    yield from (b"\x04\x0a\0\0\1\x20", b"\x10\xfd" + bytes(14) + b"\1\x80", b"\x0b" * 32)
    yield from (b"\x7f\xf0" + bytes(6), b"\x7f\xf8" + bytes(6), b"\x40\xac\x20" + bytes(5))


def check(data: bytes) -> None:
    """One message, in each set."""
    for codec in _CODECS:
        with suppress(ChannelError):
            message = codec.decode(data)
            assert codec.encode(message) == data


def _sample(kind: Any, name: str, *, full: bool) -> Any:
    """A value of this type that fits a field of this name."""
    arguments = get_args(kind)
    if NoneType in arguments:
        return _sample(arguments[0], name, full=full) if full else None
    if arguments:
        return (_sample(arguments[0], name, full=full),) * (1 + full)
    if kind is Prefix:
        return parse_prefix("10.0.0.0/24" if name == "network" else "10.0.0.1/32")
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        make: Any = kind
        return make(*[_sample(hints[one.name], one.name, full=full) for one in fields(kind)])
    if kind is bytes:
        return b"\x0b" * (32 if "key" in name else 4)
    return {int: 24 if "length" in name else 1, float: 60.0, bool: True, str: "x"}[kind]
