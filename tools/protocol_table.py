"""Write the attribute table of docs/protocol.md from the schema, or check that it is fresh.

Usage: python tools/protocol_table.py [--check] [FILE]
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from wg_dynamic.protocol.schema import SCHEMA, Attribute, Kind, MessageSpec, Section

BEGIN: Final = "<!-- attribute table: begin (tools/protocol_table.py) -->"
END: Final = "<!-- attribute table: end -->"
DOCUMENT: Final = Path(__file__).resolve().parent.parent / "docs" / "protocol.md"

HEAD: Final = (
    "| Message | Sender | Section | Name | Value | Times | Meaning |\n"
    "|---|---|---|---|---|---|---|\n"
)


def table(schema: Sequence[MessageSpec] = SCHEMA) -> str:
    """The whole table as Markdown."""
    return HEAD + "".join(row for spec in schema for row in _rows(spec))


def _rows(spec: MessageSpec) -> Iterator[str]:
    for attribute in spec.attributes:
        yield _row(spec, "", attribute)
    for section in spec.sections:
        for attribute in section.attributes:
            yield _row(spec, _section(section), attribute)


def _row(spec: MessageSpec, section: str, attribute: Attribute) -> str:
    cells = (
        f"`{spec.command}={spec.version}`",
        spec.sender.value,
        section,
        f"`{attribute.name}`",
        _value(attribute),
        _times(attribute.required, attribute.most),
        attribute.meaning,
    )
    return f"| {' | '.join(cells)} |\n"


def _section(section: Section) -> str:
    return f"`{section.name}`, {_times(section.required, section.most)}"


def _times(required: bool, most: int) -> str:
    least = int(required)
    return str(most) if least == most else f"{least}-{most}"


def _value(attribute: Attribute) -> str:
    match attribute.kind:
        case Kind.NUMBER:
            return f"number {attribute.minimum}-{attribute.maximum}"
        case Kind.FLAG:
            return f"`{attribute.literal}`"
        case Kind.TEXT | Kind.DOMAIN:
            return f"{attribute.kind.value}, at most {attribute.maximum} characters"
        case Kind.NAMES:
            return f"names, at most {attribute.maximum}"
        case _:
            return str(attribute.kind.value)


def refresh(document: str) -> str:
    """The document with the table between the markers made anew.

    Raises:
        ValueError: the markers are not there once each, in order.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        msg = f"expected {BEGIN!r} and {END!r} once each"
        raise ValueError(msg)
    return f"{before}{BEGIN}\n\n{table()}\n{END}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0, or 1 when `--check` finds the table stale."""
    parser = argparse.ArgumentParser(description="attribute table of docs/protocol.md")
    parser.add_argument("--check", action="store_true", help="exit 1 when stale, write nothing")
    parser.add_argument("file", nargs="?", type=Path, default=DOCUMENT)
    options = parser.parse_args(arguments)
    old = options.file.read_text(encoding="utf-8")
    new = refresh(old)
    if options.check:
        if old != new:
            print(f"{options.file}: table is stale, run tools/protocol_table.py", file=sys.stderr)
        return int(old != new)
    if old != new:
        options.file.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
