"""Events of leases in their JSON form, docs/events.md."""

import json
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.leases.event import (
    BEGINNINGS,
    ENDINGS,
    GRANTED,
    KINDS,
    REFUSED,
    LeaseEvent,
    event_line,
    quote,
)

KEY = bytes(range(32))
GRANT = LeaseEvent(
    GRANTED,
    1764139200.5,
    KEY,
    parse_address("192.0.2.7"),
    parse_prefix("192.0.2.0/24"),
    3600.0,
    "laptop",
)


def test_a_grant_has_all_of_it_on_one_line() -> None:
    line = event_line(GRANT, "wg0")
    assert line == (
        '{"event":"granted","time":1764139200.500,"interface":"wg0",'
        '"public_key":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","name":"laptop",'
        '"address":"192.0.2.7","network":"192.0.2.0/24","lease_time":3600}'
    )
    assert json.loads(line)["lease_time"] == 3600


def test_what_is_not_known_is_left_out() -> None:
    refusal = LeaseEvent(REFUSED, 1.0, KEY, reason="exhausted")
    assert json.loads(event_line(refusal, "wg0")) == {
        "event": "refused",
        "time": 1.0,
        "interface": "wg0",
        "public_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "reason": "exhausted",
    }


def test_a_lease_without_end_says_so_as_the_configuration_does() -> None:
    forever = LeaseEvent(GRANTED, 1.0, KEY, parse_address("2001:db8::7"), None, inf)
    assert json.loads(event_line(forever, "wg0"))["lease_time"] == "infinite"


def test_each_kind_begins_or_ends_a_lease_or_is_a_refusal() -> None:
    assert {*BEGINNINGS, *ENDINGS, REFUSED} == set(KINDS)
    assert not BEGINNINGS & ENDINGS


@given(st.text())
def test_any_text_is_quoted_as_json_would_in_one_line_of_ascii(text: str) -> None:
    quoted = quote(text)
    assert json.loads(quoted) == text
    assert quoted.isascii()
    assert quoted.isprintable()
