"""Messages between helper and network process as bytes, driven by the dataclasses' own fields.

Fixed sizes, lengths before contents, nothing optional in the layout: what does not decode to
exactly one message of the closed set, to its last byte, is refused. Pure.
"""

import struct
import typing
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any

from wg_dynamic.address import Prefix
from wg_dynamic.errors import WgDynamicError
from wg_dynamic.record import fields, is_dataclass

MAX_MESSAGE_SIZE = 65536
"""Bytes in one message: well below a socket's default buffer (net.core.wmem_default)."""


class ChannelError(WgDynamicError):
    """The other process sent what is no message, or went away in the middle of one."""


class ChannelClosedError(ChannelError):
    """The other process has closed its end: what was said reaches nobody."""


class _Reader:
    """Takes values off the front of a message; never reads past its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        at = self._step(size)
        return self._data[at : at + size]

    def number(self, layout: struct.Struct) -> Any:
        return layout.unpack_from(self._data, self._step(layout.size))[0]

    def _step(self, size: int) -> int:
        """Where the next bytes stand. Raises ChannelError if there are not as many."""
        at = self._at
        self._at = at + size
        if self._at > len(self._data):
            msg = f"message of {len(self._data)} bytes ends early"
            raise ChannelError(msg)
        return at

    @property
    def left(self) -> int:
        return len(self._data) - self._at


_TAG = struct.Struct("!B")
_LENGTH = struct.Struct("!I")
_INT = struct.Struct("!q")
_FLOAT = struct.Struct("!d")

_Encode = Callable[[Any], bytes]
_Decode = Callable[[_Reader], Any]


def _encode_bytes(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value


def _decode_bytes(reader: _Reader) -> bytes:
    return reader.take(reader.number(_LENGTH))


def _decode_text(reader: _Reader) -> str:
    try:
        return _decode_bytes(reader).decode("utf-8")
    except UnicodeDecodeError as error:
        msg = f"text is not UTF-8: {error.reason}"
        raise ChannelError(msg) from error


def _decode_bool(reader: _Reader) -> bool:
    value = reader.number(_TAG)
    if value > 1:
        msg = f"truth value {value}, expected 0 or 1"
        raise ChannelError(msg)
    return bool(value)


def _encode_prefix(value: Prefix) -> bytes:
    return _TAG.pack(len(value.packed)) + value.packed + _TAG.pack(value.length)


def _decode_prefix(reader: _Reader) -> Prefix:
    size = reader.number(_TAG)
    if size not in (4, 16):
        msg = f"address of {size} bytes, expected 4 or 16"
        raise ChannelError(msg)
    prefix = Prefix(reader.take(size), reader.number(_TAG))
    if prefix.length > size * 8:
        msg = f"prefix length {prefix.length}, expected at most {size * 8}"
        raise ChannelError(msg)
    return prefix


_SCALARS: dict[Any, tuple[_Encode, _Decode]] = {
    int: (_INT.pack, lambda reader: reader.number(_INT)),
    float: (_FLOAT.pack, lambda reader: reader.number(_FLOAT)),
    bool: (lambda value: _TAG.pack(int(value)), _decode_bool),
    bytes: (_encode_bytes, _decode_bytes),
    str: (lambda value: _encode_bytes(value.encode("utf-8")), _decode_text),
    Prefix: (_encode_prefix, _decode_prefix),
}


def _tuple_of(encode: _Encode, decode: _Decode) -> tuple[_Encode, _Decode]:
    def encode_all(values: tuple[Any, ...]) -> bytes:
        return _LENGTH.pack(len(values)) + b"".join([encode(value) for value in values])

    def decode_all(reader: _Reader) -> tuple[Any, ...]:
        count = reader.number(_LENGTH)
        if count > reader.left:  # every item takes a byte at least
            msg = f"{count} items announced, {reader.left} bytes left"
            raise ChannelError(msg)
        return tuple(decode(reader) for _ in range(count))

    return encode_all, decode_all


def _optional(encode: _Encode, decode: _Decode) -> tuple[_Encode, _Decode]:
    def encode_it(value: Any) -> bytes:
        return b"\0" if value is None else b"\1" + encode(value)

    def decode_it(reader: _Reader) -> Any:
        return decode(reader) if _decode_bool(reader) else None

    return encode_it, decode_it


def _codec_of(kind: Any) -> tuple[_Encode, _Decode]:
    if kind in _SCALARS:
        return _SCALARS[kind]
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is tuple and arguments[1:] == (Ellipsis,):
        return _tuple_of(*_codec_of(arguments[0]))
    if isinstance(kind, UnionType) and NoneType in arguments:
        (inner,) = (one for one in arguments if one is not NoneType)
        return _optional(*_codec_of(inner))
    if is_dataclass(kind):
        return _dataclass_codec(kind)
    msg = f"no encoding for {kind!r}"
    raise TypeError(msg)


def _dataclass_codec(kind: Any) -> tuple[_Encode, _Decode]:
    hints = typing.get_type_hints(kind)
    codecs = [(field.name, *_codec_of(hints[field.name])) for field in fields(kind)]

    def encode(value: Any) -> bytes:
        return b"".join([one(getattr(value, name)) for name, one, _ in codecs])

    def decode(reader: _Reader) -> Any:
        try:
            return kind(*[one(reader) for _, _, one in codecs])
        except ValueError as error:  # a field's own check, in __post_init__
            msg = f"{kind.__name__}: {error}"
            raise ChannelError(msg) from error

    return encode, decode


class MessageCodec:
    """Encode and decode one closed set of messages, told apart by their place in it."""

    def __init__(self, messages: tuple[type, ...]) -> None:
        self._kinds = messages
        self._codecs = [_dataclass_codec(kind) for kind in messages]
        self._tags = {kind: tag for tag, kind in enumerate(messages)}

    def encode(self, message: object) -> bytes:
        """Bytes of one message.

        Raises:
            ChannelError: it is larger than MAX_MESSAGE_SIZE, or a value has no encoding: text that
                came in as bytes that are no UTF-8, say.
        """
        tag = self._tags[type(message)]
        try:
            data = _TAG.pack(tag) + self._codecs[tag][0](message)
        except (UnicodeEncodeError, struct.error) as error:
            msg = f"{type(message).__name__} cannot be sent: {error}"
            raise ChannelError(msg) from error
        if len(data) > MAX_MESSAGE_SIZE:
            msg = f"message of {len(data)} bytes, expected at most {MAX_MESSAGE_SIZE}"
            raise ChannelError(msg)
        return data

    def decode(self, data: bytes) -> object:
        """The message in `data`, all of it. Raises ChannelError."""
        reader = _Reader(data)
        tag = reader.number(_TAG)
        if tag >= len(self._codecs):
            msg = f"message kind {tag}, expected 0 to {len(self._codecs) - 1}"
            raise ChannelError(msg)
        message = self._codecs[tag][1](reader)
        if reader.left:
            msg = f"{reader.left} bytes after the end of {self._kinds[tag].__name__}"
            raise ChannelError(msg)
        return message
