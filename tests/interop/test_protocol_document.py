"""docs/protocol.md says what the code does: its examples, limits, errors and attributes."""

import re
from itertools import pairwise

import pytest

from tools import protocol_table
from wg_dynamic.protocol import schema
from wg_dynamic.protocol.codec import decode_reply, decode_request, encode_message
from wg_dynamic.protocol.connection import ConnectionFailed, RequestRefused, ServerConnection
from wg_dynamic.protocol.errors import ErrorCode
from wg_dynamic.protocol.messages import Request

DOCUMENT = protocol_table.DOCUMENT.read_text(encoding="utf-8")
WIRE = re.findall(r"^```wire ([a-z ]+)\n(.*?)^```$", DOCUMENT, re.M | re.S)
PLAIN = [(who, text.encode()) for who, text in WIRE if not who.endswith("refused")]
REFUSED = [
    (text.encode(), answer.encode())
    for (who, text), (_, answer) in pairwise(WIRE)
    if who == "client refused"
]
SECTIONS = re.findall(r"^(#+) (\d+(?:\.\d+)?)", DOCUMENT, re.M)


def test_there_are_examples() -> None:
    assert {who for who, _ in WIRE} == {"client", "server", "server early", "client refused"}
    assert DOCUMENT.count("```wire") == len(WIRE)


@pytest.mark.parametrize(("who", "data"), PLAIN)
def test_every_example_is_read_and_printed_byte_for_byte(who: str, data: bytes) -> None:
    if who == "client":
        assert encode_message(decode_request(data)) == data
        return
    if data.startswith(b"frobnicate"):  # a reply that only who sent such a request can read
        return
    assert encode_message(decode_reply(data), early_draft=who == "server early") == data


@pytest.mark.parametrize(("data", "answer"), REFUSED)
def test_every_refused_example_gets_the_answer_that_follows_it(data: bytes, answer: bytes) -> None:
    server = ServerConnection()
    server.receive_data(data)
    event = server.next_event()
    assert not isinstance(event, Request)
    assert isinstance(event, RequestRefused | ConnectionFailed)
    assert event.reply == answer


def test_the_table_of_limits_is_the_schemas() -> None:
    said = dict(re.findall(r"^\| `(MAX_\w+)` \| (\d+) \|", DOCUMENT, re.M))
    assert said == {
        name: str(value) for name, value in vars(schema).items() if name.startswith("MAX_")
    }


def test_the_table_of_errors_is_that_of_the_code() -> None:
    said = re.findall(r"^\| (\d+) \| `(\w+)` \| ([^|]+) \|.*\| (\d) \|$", DOCUMENT, re.M)
    assert said == [
        (str(int(code)), code.name, code.text, str(int(code.in_version_1))) for code in ErrorCode
    ]


def test_reserved_names_are_in_the_document() -> None:
    for name in (*schema.RESERVED_ATTRIBUTES, *schema.RESERVED_SECTIONS):
        assert f"`{name}`" in DOCUMENT


def test_the_table_of_attributes_is_fresh() -> None:
    assert protocol_table.refresh(DOCUMENT) == DOCUMENT


def test_the_sections_are_numbered_in_order() -> None:
    numbers = [tuple(int(part) for part in number.split(".")) for _, number in SECTIONS]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) == len(numbers)


def test_each_command_has_a_section() -> None:
    for spec in schema.SCHEMA:
        if spec.version == 2:
            assert len(re.findall(rf"^### 6\.\d+ .*\b{spec.command}\b.*$", DOCUMENT, re.M)) == 1
