"""The lines of the administration socket: what is taken, what is refused."""

import json

import pytest

from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.admin.protocol import (
    EVENTS,
    LEASES,
    MAX_LAST,
    MAX_PEER,
    RELEASE,
    REVOKE,
    STATUS,
    AdminError,
    Request,
    decode_object,
    decode_request,
    encode_request,
)

REQUESTS = [
    Request(STATUS),
    Request(LEASES),
    Request(LEASES, "laptop", parse_address("fd00::7"), parse_prefix("fd00::/64"), "quarantined"),
    Request(EVENTS, last=MAX_LAST, follow=True),
    Request(REVOKE, address=parse_address("10.44.0.7")),
    Request(RELEASE, "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="),
]


@pytest.mark.parametrize("request_", REQUESTS)
def test_what_is_asked_arrives(request_: Request) -> None:
    line = encode_request(request_)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_request(line[:-1]) == request_


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "expected a request out of status, leases"),
        ({"request": "erase"}, "expected a request out of"),
        ({"request": ["status"]}, "expected a request out of"),
        ({"request": STATUS, "peer": "x"}, "status does not take"),
        ({"request": LEASES, "\x1b[2J": 1}, "does not take, expected any of peer, address"),
        ({"request": LEASES, "peer": 7}, "peer: expected text"),
        ({"request": LEASES, "peer": ""}, "peer: expected text"),
        ({"request": LEASES, "peer": "x" * (MAX_PEER + 1)}, "peer: expected text"),
        ({"request": LEASES, "address": "10.44.0.0/24"}, "address: expected one"),
        ({"request": LEASES, "address": 5}, "address: expected one"),
        ({"request": LEASES, "pool": "10.44.0.0/99"}, "pool: expected a network"),
        ({"request": LEASES, "pool": None}, "pool: expected a network"),
        ({"request": LEASES, "state": "gone"}, "state: expected any of held"),
        ({"request": LEASES, "state": {}}, "state: expected any of held"),
        ({"request": EVENTS, "last": MAX_LAST + 1}, f"last: expected 0 to {MAX_LAST}"),
        ({"request": EVENTS, "last": -1}, "last: expected"),
        ({"request": EVENTS, "last": True}, "last: expected"),
        ({"request": EVENTS, "follow": 1}, "follow: expected true or false"),
        ({"request": REVOKE}, "revoke of nothing"),
        ({"request": RELEASE, "state": "held"}, "release does not take"),
    ],
)
def test_what_is_no_request_is_refused(fields: object, expected: str) -> None:
    with pytest.raises(AdminError, match=expected) as caught:
        decode_request(json.dumps(fields).encode())
    assert str(caught.value).isprintable()
    assert caught.value.code == "invalid"


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 4000, b'{"request": "status"} x', b"1e999"]
)
def test_what_is_no_object_is_refused(line: bytes) -> None:
    with pytest.raises(AdminError, match="expected"):
        decode_object(line)


def test_no_encoding_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codecs are imported when they are first used, from where a server has no way to."""
    monkeypatch.setattr(json, "detect_encoding", lambda _: pytest.fail("it was guessed"))
    for line in (b"\0{\0}", b"{\0}\0", b"\xff\xfe{\0", b"\xef\xbb\xbf{}", b"\x80"):
        with pytest.raises(AdminError, match="no JSON"):
            decode_object(line)
