"""A document of [[peer]] and [[reservation]] tables, changed as text: the rest stays. Pure.

Theory of operation. The lines are cut at the headers of tables, each piece is parsed by itself, and
what comes out together must be what the whole document means; so a header inside a text of several
lines, say, is noticed, and the document is refused rather than spoilt. After a change the outcome
is compared with what was meant once more.
"""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Final

from wg_dynamic.errors import UsageError
from wg_dynamic.helper.config.values import shortened
from wg_dynamic.record import dataclass

PEER: Final = "peer"
RESERVATION: Final = "reservation"
KINDS: Final = (PEER, RESERVATION)

Value = str | int | Sequence[str]
"""What an entry is made of."""
_HEADER: Final = re.compile(r"[ \t]*\[\[?[ \t]*([\w-]+)[ \t]*([].])")
_ENTRY: Final = re.compile(r"[ \t]*\[\[[ \t]*([\w-]+)[ \t]*\]\][ \t]*(?:#[ \t]*(.*?))?[ \t\r]*")


@dataclass(frozen=True)
class Entry:
    """One table, and where it stands."""

    kind: str
    """One of KINDS."""
    values: Mapping[str, object]
    note: str
    """The comment behind its header."""
    start: int
    """Number of its first line, from 0."""
    end: int
    """Of the line after its last one; comments and empty lines behind it are not its own."""


def read_entries(text: str, source: str) -> list[Entry]:
    """The entries in their order.

    Raises:
        UsageError: it is no TOML, or has other things than these tables, or is written in a way
            that no line of it can be told to be one table's.
    """
    whole = _parse(text, source)
    lines = text.split("\n")
    starts = _starts(lines, source)
    entries = []
    found: dict[str, list[object]] = {}
    for start, stop in pairwise([*starts, len(lines)]):
        kind, values = _one_table(lines[start:stop]) or ("", {})
        header = _ENTRY.fullmatch(lines[start])
        if header is None or not kind:
            raise _not_apart(source, start)
        end = stop
        while lines[end - 1].strip() == "" or lines[end - 1].lstrip().startswith("#"):
            end -= 1
        found.setdefault(kind, []).append(values)
        entries.append(Entry(kind, values, header[2] or "", start, end))
    if found != whole:
        raise _not_apart(source, starts[0] if starts else 0)
    return entries


def with_entry(text: str, source: str, kind: str, values: Mapping[str, Value], note: str) -> str:
    """The text with one more entry at its end. Raises UsageError, as `read_entries`."""
    return with_entries(text, source, kind, [values], note)


def with_entries(
    text: str, source: str, kind: str, new: Sequence[Mapping[str, Value]], note: str = ""
) -> str:
    """The text with more entries at its end. Raises UsageError, as `read_entries`."""
    header = f"[[{kind}]] # {note}" if note else f"[[{kind}]]"
    changed = f"{text}\n" if text and not text.endswith("\n") else text
    for values in new:
        lines = [header, *(f"{key} = {_written(value)}" for key, value in values.items())]
        gap = "\n" if changed.strip() else ""
        changed += "\n".join([f"{gap}{lines[0]}", *lines[1:], ""])
    meant = [(kind, {k: _plain(v) for k, v in values.items()}) for values in new]
    return _checked(changed, source, [*_values(text, source), *meant])


def without_entries(text: str, source: str, unwanted: Callable[[Entry], bool]) -> str:
    """The text without these entries. Raises UsageError, as `read_entries`."""
    entries = read_entries(text, source)
    lines = text.split("\n")
    for entry in reversed(entries):
        if unwanted(entry):
            end = entry.end
            if end < len(lines) and lines[end].strip() == "" and end + 1 < len(lines):
                end += 1  # the gap behind it
            elif entry.start and lines[entry.start - 1].strip() == "":
                del lines[entry.start : end]
                del lines[entry.start - 1]  # or, of the last one, the gap before it
                continue
            del lines[entry.start : end]
    expected = [(one.kind, one.values) for one in entries if not unwanted(one)]
    return _checked("\n".join(lines), source, expected)


def with_note(text: str, source: str, wanted: Callable[[Entry], bool], note: str) -> str:
    """The text with another note behind the headers of these entries. Raises UsageError."""
    lines = text.split("\n")
    for entry in read_entries(text, source):
        if wanted(entry):
            header = f"[[{entry.kind}]]"
            lines[entry.start] = f"{header} # {note}" if note else header
    return _checked("\n".join(lines), source, _values(text, source))


def _values(text: str, source: str) -> list[tuple[str, Mapping[str, object]]]:
    return [(one.kind, one.values) for one in read_entries(text, source)]


def _checked(text: str, source: str, expected: Sequence[tuple[str, Mapping[str, object]]]) -> str:
    if _values(text, source) != list(expected):
        msg = f"{source}: cannot be changed by this command as it is written: edit it by hand"
        raise UsageError(msg)
    return text


def _parse(text: str, source: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        msg = f"{source}: not understood as TOML: {shortened(error)}"
        raise UsageError(msg) from error


def _one_table(lines: Sequence[str]) -> tuple[str, Mapping[str, object]] | None:
    """What the one table of these lines is called and holds; None when they are not one."""
    try:
        piece = tomllib.loads("\n".join(lines))
    except ValueError:
        return None
    kind, tables = next(iter(piece.items()))
    return (kind, tables[0]) if isinstance(tables, list) and len(tables) == 1 else None


def _starts(lines: Sequence[str], source: str) -> list[int]:
    """The lines where entries begin. Raises UsageError for another table."""
    starts: list[int] = []
    kind = ""
    for number, line in enumerate(lines):
        header = _HEADER.match(line)
        if header is None or (header[2] == "." and header[1] == kind):
            continue  # a line of the entry, or a table inside it
        if _ENTRY.fullmatch(line) is None or header[1] not in KINDS:
            msg = f"{source}: line {number + 1} begins another table, expected [[{PEER}]] or"
            msg += f" [[{RESERVATION}]] alone: move it to the interface's own file"
            raise UsageError(msg)
        kind = header[1]
        starts.append(number)
    return starts


def _not_apart(source: str, line: int) -> UsageError:
    msg = f"{source}: from line {line + 1} on, it cannot be told which line is which table's:"
    msg += f" write [[{PEER}]] and [[{RESERVATION}]] tables alone, each value on one line"
    return UsageError(msg)


def _plain(value: Value) -> object:
    return value if isinstance(value, str | int) else list(value)


def _written(value: Value) -> str:
    """The value as TOML. Raises ValueError for text that is not printable."""
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        if not value.isprintable():
            msg = f"text {value!r}, expected one line that can be printed"
            raise ValueError(msg)
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{quoted}"'
    return "[" + ", ".join(map(_written, value)) + "]"
