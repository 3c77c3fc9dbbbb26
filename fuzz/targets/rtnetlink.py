"""What the kernel's rtnetlink answers and tells: dumps, events, refusals with an extended ack.

- Each function parses, or raises MalformedMessageError.
- An address or a route that was read is written and read back the same, where it can be written.
"""

import inspect
from collections.abc import Iterator
from contextlib import suppress

from tests.data.netlink import captured
from wg_dynamic.netlink import rtnetlink_codec
from wg_dynamic.netlink.errors import MalformedMessageError
from wg_dynamic.netlink.rtnetlink_codec import (
    build_address,
    build_route,
    parse_address,
    parse_event,
    parse_route,
)
from wg_dynamic.netlink.wire import NLMSG_DONE, NLMSG_ERROR, Message, parse_status, split_messages
from wg_dynamic.record import replace

MAX_SIZE = 4096
PARSERS = ("netlink.wire", "netlink.rtnetlink_codec")

_OF_PAYLOADS = [
    function
    for name, function in vars(rtnetlink_codec).items()
    if name.startswith("parse_") and "payload" in inspect.signature(function).parameters
]


def seeds() -> Iterator[bytes]:
    """As Linux sent them."""
    for name, value in vars(captured).items():
        if isinstance(value, bytes) and not name.startswith(("WIREGUARD", "PRIVATE", "PRESHARED")):
            yield value


def words() -> Iterator[bytes]:
    """Headers of attributes: length and type."""
    for length in (4, 8, 12, 20, 24, 36):
        for kind in (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 15, 18):
            yield length.to_bytes(2, "little") + kind.to_bytes(2, "little")


def check(data: bytes) -> None:
    """A datagram, and the same bytes as a payload of each kind."""
    for flags in (0x200, 0x300):
        for kind in (NLMSG_ERROR, NLMSG_DONE):
            _check_status(Message(kind, flags, 1, data))
    _check_payload(data)
    with suppress(MalformedMessageError):
        for message in split_messages(data):
            _check_status(message)
            _check_payload(message.payload)
            with suppress(MalformedMessageError):
                parse_event(message)


def _check_status(message: Message) -> None:
    with suppress(MalformedMessageError):
        code, _text = parse_status(message)
        assert code >= 0


def _check_payload(payload: bytes) -> None:
    for parse in _OF_PAYLOADS:
        with suppress(MalformedMessageError):
            parse(payload)
    with suppress(MalformedMessageError):
        address = parse_address(payload)
        if address is not None:
            assert parse_address(build_address(address)) == address
    with suppress(MalformedMessageError):
        route = parse_route(payload)
        if route is not None:
            # The kernel tells the expiry in another attribute than the one that sets it, and
            # gives a scope to IPv4 routes without a gateway.
            read = parse_route(build_route(route))
            assert read is not None
            assert replace(read, scope=0) == replace(route, expires_time=None, scope=0)
