"""Netlink's framing: messages, attributes, padding (linux/netlink.h).

A message is a 16-byte header and a payload; most payloads are a fixed struct followed by
attributes, each a 4-byte header (length, type) and a value. Both are padded to 4 bytes, the
padding not counted in an attribute's length. Numbers are in host byte order unless an attribute
says otherwise. What is parsed comes from the kernel, yet nothing here reads past the end: whatever
does not fit raises MalformedMessageError.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from wg_dynamic.netlink.errors import MalformedMessageError

NLMSG_NOOP: Final = 1
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
NLMSG_OVERRUN: Final = 4

NLM_F_REQUEST: Final = 0x1
NLM_F_MULTI: Final = 0x2
NLM_F_ACK: Final = 0x4
NLM_F_DUMP_INTR: Final = 0x10
NLM_F_DUMP: Final = 0x300
NLM_F_REPLACE: Final = 0x100
NLM_F_EXCL: Final = 0x200
NLM_F_CREATE: Final = 0x400
NLM_F_APPEND: Final = 0x800
NLM_F_CAPPED: Final = 0x100
NLM_F_ACK_TLVS: Final = 0x200

NLA_F_NESTED: Final = 0x8000
NLA_TYPE_MASK: Final = 0x3FFF
MAX_ATTRIBUTE_PAYLOAD: Final = 0xFFFF - 4
"""Bytes; an attribute's length, header included, is a 16-bit number."""

_NLMSGERR_ATTR_MSG: Final = 1

_HEADER: Final = Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence, port."""
_ATTRIBUTE: Final = Struct("=HH")
"""struct nlattr: length, type."""
_I32: Final = Struct("=i")
_U32: Final = Struct("=I")
_U16: Final = Struct("=H")


class Message(NamedTuple):
    """One netlink message without its length."""

    kind: int
    """nlmsg_type."""
    flags: int
    sequence: int
    payload: bytes


def pack_message(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    """One message for the kernel; the port is left 0, the kernel knows the sender."""
    return _HEADER.pack(_HEADER.size + len(payload), kind, flags, sequence, 0) + payload


def pack_attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded. Raises ValueError when the value is too long for one."""
    if len(value) > MAX_ATTRIBUTE_PAYLOAD:
        msg = f"attribute value of {len(value)} bytes, expected at most {MAX_ATTRIBUTE_PAYLOAD}"
        raise ValueError(msg)
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def pack_nested(kind: int, attributes: bytes) -> bytes:
    """An attribute that holds attributes. Raises ValueError when they are too long for one.

    Carries NLA_F_NESTED, without which a kernel that validates strictly answers EINVAL.
    """
    return pack_attribute(kind | NLA_F_NESTED, attributes)


def pack_u32(kind: int, value: int) -> bytes:
    """An attribute with a 32-bit number in host byte order."""
    return pack_attribute(kind, _U32.pack(value))


def split_messages(data: bytes) -> list[Message]:
    """The messages of one datagram. Raises MalformedMessageError."""
    messages = []
    offset, end = 0, len(data)
    while offset < end:
        if end - offset < _HEADER.size:
            msg = f"{end - offset} bytes after the last message, expected {_HEADER.size} or more"
            raise MalformedMessageError(msg)
        length, kind, flags, sequence, _port = _HEADER.unpack_from(data, offset)
        if not _HEADER.size <= length <= end - offset:
            msg = f"message length {length}, expected {_HEADER.size} to {end - offset}"
            raise MalformedMessageError(msg)
        messages.append(
            Message(kind, flags, sequence, data[offset + _HEADER.size : offset + length])
        )
        offset += (length + 3) & ~3
    return messages


def iter_attributes(data: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Type (flag bits cleared) and value of each attribute from `start` to the end.

    Raises MalformedMessageError.
    """
    offset, end = start, len(data)
    if offset > end:
        msg = f"{end} bytes, expected a struct of at least {start}"
        raise MalformedMessageError(msg)
    while offset < end:
        if end - offset < _ATTRIBUTE.size:
            msg = f"{end - offset} bytes after the last attribute, expected 4 or more"
            raise MalformedMessageError(msg)
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if not _ATTRIBUTE.size <= length <= end - offset:
            msg = f"attribute length {length}, expected 4 to {end - offset}"
            raise MalformedMessageError(msg)
        yield kind & NLA_TYPE_MASK, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def parse_attributes(data: bytes, start: int = 0) -> dict[int, bytes]:
    """The attributes by type; of several with one type the last, as the kernel's own parser.

    Raises MalformedMessageError.
    """
    return dict(iter_attributes(data, start))


def parse_u16(value: bytes) -> int:
    """A 16-bit number in host byte order. Raises MalformedMessageError."""
    if len(value) != _U16.size:
        msg = f"number of {len(value)} bytes, expected 2"
        raise MalformedMessageError(msg)
    number: int = _U16.unpack(value)[0]
    return number


def parse_u32(value: bytes) -> int:
    """A 32-bit number in host byte order. Raises MalformedMessageError."""
    if len(value) != _U32.size:
        msg = f"number of {len(value)} bytes, expected 4"
        raise MalformedMessageError(msg)
    number: int = _U32.unpack(value)[0]
    return number


def parse_text(value: bytes) -> str:
    """Text up to its NUL; bytes that are no UTF-8 are escaped, for names may hold any byte."""
    return value.partition(b"\0")[0].decode("utf-8", "backslashreplace")


def parse_status(message: Message) -> tuple[int, str]:
    """Errno (positive, 0 for success) and extended ack text of an NLMSG_ERROR or NLMSG_DONE.

    Raises MalformedMessageError.
    """
    payload = message.payload
    if message.kind == NLMSG_DONE and not payload:
        return 0, ""  # old kernels end some dumps without a status
    if len(payload) < _I32.size:
        msg = f"status of {len(payload)} bytes, expected 4 or more"
        raise MalformedMessageError(msg)
    code = -_I32.unpack_from(payload)[0]
    if code < 0:
        msg = f"status {-code}, expected 0 or a negative errno"
        raise MalformedMessageError(msg)
    if not message.flags & NLM_F_ACK_TLVS:
        return code, ""
    start = _I32.size
    if message.kind == NLMSG_ERROR:
        # The refused request follows the status, whole or (NLM_F_CAPPED) its header alone.
        if len(payload) < start + _HEADER.size:
            msg = f"error of {len(payload)} bytes, expected {start + _HEADER.size} or more"
            raise MalformedMessageError(msg)
        (length,) = _U32.unpack_from(payload, start)
        start += _HEADER.size if message.flags & NLM_F_CAPPED else (length + 3) & ~3
    attributes = parse_attributes(payload, start)
    return code, parse_text(attributes.get(_NLMSGERR_ATTR_MSG, b""))
