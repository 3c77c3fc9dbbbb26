"""Leases as JSON and CSV, there and back."""

import json
from typing import Any

import pytest

from wg_dynamic.address import parse_address
from wg_dynamic.cli.command.transfer import Taken, from_text, to_csv
from wg_dynamic.errors import UsageError
from wg_dynamic.wireguard.key import format_key

ALICE, BOB = bytes([1]) * 32, bytes([2]) * 32
ROWS: list[dict[str, Any]] = [
    {"address": "10.44.0.7", "public_key": format_key(ALICE), "name": 'a "laptop", mine'},
    {"address": "fd00:44::7", "public_key": format_key(ALICE), "name": None, "more": 1},
    {"address": "10.44.0.8", "public_key": format_key(BOB), "name": None},
]
TAKEN = [
    Taken(ALICE, parse_address("10.44.0.7"), 'a "laptop", mine'),
    Taken(ALICE, parse_address("fd00:44::7"), ""),
    Taken(BOB, parse_address("10.44.0.8"), ""),
]


def test_what_is_exported_is_read_again() -> None:
    assert from_text(json.dumps(ROWS), "x") == TAKEN
    text = to_csv(ROWS)
    assert text.startswith("address,public_key,name,state,lease_time,ends_at,reserved\n")
    assert from_text(text, "x") == TAKEN


def test_the_order_of_columns_and_more_of_them_do_not_matter() -> None:
    text = f"note,public_key,address\r\nhers,{format_key(ALICE)},10.44.0.7\r\n"
    assert from_text(text, "x") == [Taken(ALICE, parse_address("10.44.0.7"), "")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "line 1 has the headings '', expected address and public_key"),
        ("a,b\n1,2\n", "line 1 has the headings 'a,b'"),
        ('address,public_key\n"10', "line 1: not understood as CSV"),
        ("[", "not understood as JSON"),
        ("[7]", "item 1: 7, expected an object"),
        ("[" * 100_000, "not understood as JSON"),
        (f"address,public_key\n10.44.0.7,{format_key(ALICE)}\n10.44.0.8\n", "line 3: public_key"),
        (f"address,public_key\n10.44.0.7/32,{format_key(ALICE)}\n", "line 2: address: '10.44.0.7/"),
        ('[{"address": "10.44.0.7", "public_key": "x"}]', "item 1: public_key: text of 1"),
        ('[{"address": 7, "public_key": 7}]', "item 1: public_key: 7, expected text"),
        (
            json.dumps([ROWS[0], {**ROWS[2], "address": "10.44.0.7"}]),
            "item 2: address: 10.44.0.7 is",
        ),
        (json.dumps([{**ROWS[0], "name": "a\nb"}]), "item 1: 'a"),
    ],
)
def test_what_is_no_export_is_told_by_its_line(text: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        from_text(text, "file")
    assert str(caught.value).startswith(f"file: {expected}"), caught.value


def test_all_faults_are_told_but_not_more_than_can_be_read() -> None:
    with pytest.raises(UsageError) as caught:
        from_text(json.dumps([{}] * 100), "file")
    lines = str(caught.value).split("\n")
    assert len(lines) == 31
    assert lines[-1] == "file: 70 more of the kind"
