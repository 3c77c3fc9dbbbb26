"""How the command shows what it found: JSON for programs, harmless text for people.

Names, messages and such come from daemons, which have them from a network or a file. Nothing is
printed as it came but what is printable.
"""

import sys
from typing import Final

_ESCAPE: Final = "\\x{:02x}"
_LONG_ESCAPE: Final = "\\u{:04x}"


def escaped(text: str) -> str:
    r"""Text on one line that steers no terminal: what is not printable becomes `\x1b`, say."""
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(_escape(c) for c in text)


def _escape(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    number = ord(character)
    return (_ESCAPE if number <= 0xFF else _LONG_ESCAPE).format(number)  # noqa: PLR2004 - two digits


def print_json(value: object) -> None:
    """One JSON value on a line, ASCII only, so that no terminal obeys it either."""
    import json  # noqa: PLC0415 - not needed by most

    sys.stdout.write(f"{json.dumps(value)}\n")
