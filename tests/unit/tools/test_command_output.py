"""What docs/command.md shows; with real commands: tests/netns/test_command_output.py."""

import re

import pytest

from tests.integration.test_man_pages import leaves
from tools.command_output import PAGE, commands, differences, rewritten, shape
from wg_dynamic.cli.command.main import make_parser

SHOWN = "words\n```console\nhub# one\nout 1\nlaptop# two\n```\nmore\n"


def test_a_block_is_commands_with_what_they_printed() -> None:
    block = "hub# one\na\nb\nlaptop# two\n"
    assert commands(block) == [("hub", "one", "a\nb\n"), ("laptop", "two", "")]
    with pytest.raises(ValueError, match="expected a command first"):
        commands("out\n")


def test_the_page_is_written_anew_around_its_words() -> None:
    again = rewritten(SHOWN, lambda host, command: f"{host} ran {command}\n")
    expected = "hub# one\nhub ran one\nlaptop# two\nlaptop ran two\n"
    assert again == f"words\n```console\n{expected}```\nmore\n"


def test_another_number_is_no_difference_and_another_word_is_one() -> None:
    printed = {"one": "out 25\n", "two": ""}
    assert differences(SHOWN, lambda _, command: printed[command]) == []
    printed["one"] = "put 25\n"
    (found,) = differences(SHOWN, lambda _, command: printed[command])
    assert "out 1" in found
    assert "put 25" in found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("10.44.0.7   x", "10.44.0.123 x"),
        ("fe80::1/128", "fe80::a9b5:fd60:e902:8e6d/128"),
        ("59min 59s", "1h"),
        ("now", "3 seconds ago"),
        ("now        10.99.0.2:1", "1 s ago    10.99.0.3:2"),
        ("up_for 2.1", "up_for 12"),
        (f"key {'A' * 43}=", f"key {'b+/' * 14}b="),
    ],
)
def test_what_differs_from_run_to_run_has_one_shape(one: str, other: str) -> None:
    assert shape(one) == shape(other)


def test_every_command_is_shown() -> None:
    shown = "".join(re.findall(r"^(?:hub|laptop)# (.*\n)", PAGE.read_text("utf-8"), re.M))
    for words in leaves(make_parser()):
        pictured = words == "top"  # on a terminal: tools/top_picture.py
        assert pictured or f"wg-dynamic {words}" in shown, words
    assert "](top.svg)" in PAGE.read_text("utf-8")
