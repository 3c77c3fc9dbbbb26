import tomllib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wg_dynamic.errors import UsageError
from wg_dynamic.helper.config import entries
from wg_dynamic.helper.config.entries import (
    Entry,
    Value,
    read_entries,
    with_entry,
    with_note,
    without_entries,
)

TEXT = """\
# Mine, do not touch.

[[peer]] # being added
name = "laptop"  # the blue one
public_key = "A"

# of the printer
[[reservation]]
name = "printer"
addresses = [
    "10.0.0.7",
]
[[ peer ]]
name = "phone"
[peer.dns]
servers = ["10.0.0.1"]

# the end
"""
SOURCE = "wg0.peers.toml"


def remove(text: str, *names: str) -> str:
    return without_entries(text, SOURCE, lambda entry: entry.values.get("name") in names)


def test_each_table_is_an_entry_with_its_lines() -> None:
    lines = TEXT.split("\n")
    found = read_entries(TEXT, SOURCE)
    assert [(one.kind, one.values["name"], one.note) for one in found] == [
        ("peer", "laptop", "being added"),
        ("reservation", "printer", ""),
        ("peer", "phone", ""),
    ]
    assert [(lines[one.start], lines[one.end - 1]) for one in found] == [
        ("[[peer]] # being added", 'public_key = "A"'),
        ("[[reservation]]", "]"),
        ("[[ peer ]]", 'servers = ["10.0.0.1"]'),
    ]


def test_nothing_has_no_entries() -> None:
    assert read_entries("", SOURCE) == []
    assert read_entries("# a comment alone\n", SOURCE) == []


def test_an_entry_is_added_at_the_end_and_the_rest_stays() -> None:
    values: dict[str, Value] = {
        "name": 'a "b" \\c é',
        "number": 7,
        "addresses": ["10.0.0.1", "fd00::1"],
    }
    changed = with_entry(TEXT, SOURCE, "reservation", values, "a note")
    assert changed.startswith(TEXT)
    assert changed[len(TEXT) :] == (
        '\n[[reservation]] # a note\nname = "a \\"b\\" \\\\c é"\nnumber = 7\n'
        'addresses = ["10.0.0.1", "fd00::1"]\n'
    )
    assert tomllib.loads(changed)["reservation"][-1] == values


@pytest.mark.parametrize("text", ["", "# one line", "# one line\n"])
def test_the_first_entry_begins_a_line(text: str) -> None:
    changed = with_entry(text, SOURCE, "peer", {"name": "a"}, "")
    assert read_entries(changed, SOURCE)[0].values == {"name": "a"}
    assert changed.endswith('[[peer]]\nname = "a"\n')


def test_text_that_cannot_be_printed_is_not_written() -> None:
    with pytest.raises(ValueError, match="expected one line"):
        with_entry("", SOURCE, "peer", {"name": "a\nb"}, "")


def test_what_would_come_to_mean_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "_written", lambda _: "7")
    with pytest.raises(UsageError, match="edit it by hand"):
        with_entry(TEXT, SOURCE, "peer", {"name": "new"}, "")


def test_what_was_added_is_removed_without_a_trace() -> None:
    for before in ("# top\n", TEXT):
        one = with_entry(before, SOURCE, "peer", {"name": "new"}, "")
        two = with_entry(one, SOURCE, "peer", {"name": "newer"}, "")
        assert remove(two, "newer") == one
        assert remove(remove(two, "new"), "newer") == before
        assert remove(two, "new", "newer") == before


def test_removing_leaves_the_comments_of_others() -> None:
    changed = remove(TEXT, "laptop")
    assert changed.startswith("# Mine, do not touch.\n\n# of the printer\n[[reservation]]\n")
    assert changed.endswith(TEXT[TEXT.index('name = "printer"') :])
    assert "servers" not in remove(TEXT, "phone")


def test_what_is_not_there_is_not_removed() -> None:
    assert remove(TEXT, "nobody") == TEXT


def test_a_note_is_put_behind_a_header_and_taken_away() -> None:
    changed = with_note(TEXT, SOURCE, lambda one: one.values["name"] == "laptop", "")
    assert changed == TEXT.replace("[[peer]] # being added", "[[peer]]")
    assert with_note(changed, SOURCE, lambda one: one.note == "", "") == changed.replace(
        "[[ peer ]]", "[[peer]]"
    )
    again = with_note(changed, SOURCE, lambda one: one.values["name"] == "laptop", "being added")
    assert again == TEXT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[peer]\n", "not understood as TOML"),
        ('[[peer]]\nname = "a', "not understood as TOML"),
        ("lease_time = 60\n", "cannot be told"),
        ("lease_time = 60\n[[peer]]\n", "cannot be told"),
        ("[[pool]]\n", "line 1 begins another table"),
        ("[peer]\n", "line 1 begins another table"),
        ("[[peer]]\n[dns]\n", "line 2 begins another table"),
        ("[[reservation]]\n[dns]\n", "line 2 begins another table"),
        ('peer = [{name = "a"}]\n', "cannot be told"),
        ('[["peer"]]\n', "cannot be told"),
        ('[[peer]]\nname = """\n[[peer]]\n"""\n', "from line 1 on"),
        ('[[peer]]\nname = """\n[[peer]] # """\n', "from line 1 on"),
        ("[[peer]]\nvalues = [\n[[peer]]\n]\n", "not understood as TOML"),
        ("[[peer]]\nvalues = [\n[[1]]\n]\n", "line 3 begins another table"),
    ],
)
def test_what_cannot_be_changed_line_by_line_is_refused(text: str, expected: str) -> None:
    changes: tuple[Callable[[], str], ...] = (
        lambda: with_entry(text, SOURCE, "peer", {"name": "new"}, ""),
        lambda: without_entries(text, SOURCE, lambda _: True),
        lambda: with_note(text, SOURCE, lambda _: True, ""),
    )
    for change in changes:
        with pytest.raises(UsageError) as caught:
            change()
        message = str(caught.value)
        assert message.startswith(f"{SOURCE}: ")
        assert expected in message
        assert "\n" not in message


PIECES = st.sampled_from(
    [
        *("[[peer]]", "[[reservation]]", "[peer.dns]", "[[pool]]", "\t[[peer]] # e", '["f"],'),
        *("[[g]],", 'a = "x"', "b = [", "]", '"""', "'''", "c = '''", "# d", "", "  ", "\r"),
    ]
)


@given(st.lists(PIECES, max_size=12).map("\n".join), st.booleans())
def test_whatever_is_written_other_entries_keep_their_meaning(text: str, first: bool) -> None:
    def unwanted(entry: Entry) -> bool:
        return (entry.start == start) is first

    start = -1
    try:
        before = read_entries(text, SOURCE)
        start = before[0].start if before else -1
        changed = without_entries(text, SOURCE, unwanted)
    except UsageError:
        return
    kept = [(one.kind, one.values) for one in before if not unwanted(one)]
    assert [(one.kind, one.values) for one in read_entries(changed, SOURCE)] == kept
    assert sum(map(len, tomllib.loads(changed).values())) == len(kept)
