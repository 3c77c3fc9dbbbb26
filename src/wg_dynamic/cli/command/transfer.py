"""Leases as JSON and CSV: what `lease export` prints and `lease import` reads. Pure."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from wg_dynamic.address import format_address
from wg_dynamic.errors import UsageError
from wg_dynamic.helper.config.document import Problems
from wg_dynamic.helper.config.values import read_address, read_key, read_text, shown
from wg_dynamic.record import dataclass

JSON: Final = "json"
CSV: Final = "csv"
FORMATS: Final = (JSON, CSV)
COLUMNS: Final = ("address", "public_key", "name", "state", "lease_time", "ends_at", "reserved")
"""Of the CSV; what an import needs are the first two, by these names and in any order."""


@dataclass(frozen=True)
class Taken:
    """One line of an import."""

    public_key: bytes
    address: bytes
    name: str
    """'' is none."""


def to_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows of leases as RFC 4180 has it, with a line of headings; None is an empty field."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: row.get(key) for key in COLUMNS} for row in rows)
    return out.getvalue()


def from_text(text: str, source: str) -> list[Taken]:
    """What an export holds, whichever format it has. Raises UsageError: all faults, by line."""
    lines = _json_rows(text, source) if text.lstrip().startswith("[") else _csv_rows(text, source)
    found: list[Taken] = []
    problems = Problems(source)
    holders: dict[bytes, bytes] = {}
    for place, row in lines:
        try:
            one = _taken(row)
            if holders.setdefault(one.address, one.public_key) != one.public_key:
                msg = f"address: {format_address(one.address)} is another peer's further up"
                raise ValueError(msg)
        except ValueError as error:
            problems.add(f"{place}: {error}")
        else:
            found.append(one)
    problems.raise_any()
    return found


def _taken(row: Mapping[str, Any]) -> Taken:
    values: dict[str, Any] = {}
    for key, read in (("public_key", read_key), ("address", read_address)):
        if row.get(key) in (None, ""):
            msg = f"{key} is missing, expected it"
            raise ValueError(msg)
        try:
            values[key] = read(row[key])
        except ValueError as error:
            msg = f"{key}: {error}"
            raise ValueError(msg) from error
    name = row.get("name")
    return Taken(values["public_key"], values["address"], read_text(name) if name else "")


def _json_rows(text: str, source: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        msg = f"{source}: not understood as JSON: {error}"
        raise UsageError(msg) from error
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            msg = f"{source}: item {number}: {shown(row)}, expected an object for each lease"
            raise UsageError(msg)
        yield f"item {number}", row


def _csv_rows(text: str, source: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    try:
        headings = reader.fieldnames or ()
        if not {"address", "public_key"} <= set(headings):
            msg = f"{source}: line 1 has the headings {shown(','.join(headings))}, expected"
            msg += " address and public_key among them, or a list in JSON"
            raise UsageError(msg)
        for row in reader:
            yield f"line {reader.line_num}", row
    except csv.Error as error:
        msg = f"{source}: line {reader.line_num}: not understood as CSV: {error}"
        raise UsageError(msg) from error
