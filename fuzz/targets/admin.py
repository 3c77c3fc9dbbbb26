"""What administrators ask on their socket.

- A line is a request, or AdminError, whose text can be shown on a terminal.
- What was read is written as a line that means the same.
"""

from collections.abc import Iterator

from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.admin.protocol import (
    EVENTS,
    LEASES,
    MAX_REQUEST,
    RELEASE,
    REVOKE,
    STATUS,
    AdminError,
    Request,
    decode_request,
    encode_request,
)

MAX_SIZE = MAX_REQUEST
PARSERS = ("admin.protocol",)


def seeds() -> Iterator[bytes]:
    """One of each request."""
    seven = parse_address("10.44.0.7")
    for request in (
        Request(STATUS),
        Request(LEASES, "laptop", seven, parse_prefix("fd00:44::/64"), "held"),
        Request(EVENTS, last=10, follow=True),
        Request(REVOKE, address=seven),
        Request(RELEASE, "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="),
    ):
        yield encode_request(request)[:-1]
    yield b'{"request": "leases", "state": null, "x": [{}, 1e9, "\\u001b"]}'


def words() -> Iterator[bytes]:
    """Names of requests and fields."""
    for word in ("request", "status", "leases", "events", "revoke", "release", "peer", "address"):
        yield f'"{word}"'.encode()
    for word in ("pool", "state", "last", "follow", "held", "remembered", "quarantined"):
        yield f'"{word}"'.encode()
    yield from (b"true", b"null", b"[[[[[[[[", b"\\ud800", b"10.44.0.0/24", b"fd00::7")


def check(data: bytes) -> None:
    """One line."""
    request, refusal = None, ""
    try:
        request = decode_request(data)
    except AdminError as error:
        refusal = str(error)
    assert refusal.isprintable()
    assert request is None or decode_request(encode_request(request)[:-1]) == request
