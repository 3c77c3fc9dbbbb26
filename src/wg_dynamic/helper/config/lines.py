"""Where in a document something stands, for messages: tomllib does not tell. Pure."""

import re
from typing import Final

_HEADER: Final = re.compile(r"[ \t]*(\[\[?)[ \t]*([\w-]+)[ \t]*\]")
_KEY: Final = re.compile(r"""[ \t]*["']?([\w-]+)["']?[ \t]*[.=]""")
_PLACE: Final = re.compile(
    r"(?:\[\[(?P<list>\w+)\]\] (?P<number>\d+): )?(?:(?P<table>dns|metrics|names): )?"
    r"(?:unknown key '(?P<unknown>[\w-]+)'|(?P<key>\w+)(?::|,| is))"
)
"""How a complaint begins: `[[pool]] 2: network: …`, `metrics: listen is missing, …`."""


def line_of(text: str, complaint: str) -> int | None:
    """The number of the line that a complaint of `document` is about; None when that is not clear.

    Of a key that is missing, the line of its table's header.
    """
    place = _PLACE.match(complaint)
    if place is None:
        return None
    key = place["unknown"] or place["key"]
    name, number = place["list"], int(place["number"] or 0)
    if place["table"] and not name:
        name = place["table"]
    lines = text.splitlines()
    at = _header(lines, name, number) if name else -1
    if at is None:  # an inline table: `dns = { … }`
        return _key(lines, -1, name)
    found = _key(lines, at, key)
    if found is None and place["table"]:
        found = _key(lines, at, place["table"])
    if found is None and not name:  # a table that is not known
        headers = [_header(lines, key, number) for number in (0, 1)]
        found = min((index + 1 for index in headers if index is not None), default=None)
    return found if found is not None or at < 0 else at + 1


def _header(lines: list[str], name: str, number: int) -> int | None:
    """The index of the line of `[[name]]`, the number-th, or of `[name]` for 0."""
    seen = 0
    for index, line in enumerate(lines):
        header = _HEADER.match(line)
        if header and header[2] == name and (header[1] == "[[") == bool(number):
            seen += 1
            if seen == max(number, 1):
                return index
    return None


def _key(lines: list[str], header: int, key: str) -> int | None:
    """The number of the line of a key of the table that begins there, before the next one."""
    for index in range(header + 1, len(lines)):
        if _HEADER.match(lines[index]):
            return None
        found = _KEY.match(lines[index])
        if found and found[1] == key:
            return index + 1
    return None
