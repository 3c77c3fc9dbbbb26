r"""Files of examples, one a line: what people can read as text, the rest in hexadecimal.

`text` is followed by ASCII with the escapes of a Python bytes literal (`\n`, `\x00`, `\\`),
`hex` by digits; a line that begins with `#` is a comment, an empty one nothing.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

_READABLE: Final = 0.7
"""Share of printable characters and newlines from which on bytes are text."""


def read_examples(path: Path) -> list[bytes]:
    """The examples in their order; none when there is no such file. Raises ValueError."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="ascii").splitlines()
    return [_parse(line) for line in lines if line and not line.startswith("#")]


def write_examples(path: Path, examples: Iterable[bytes], comment: str) -> None:
    """Make the file anew: short examples first, each once."""
    lines = [
        format_example(each) for each in sorted(set(examples), key=lambda each: (len(each), each))
    ]
    path.write_text("".join([f"# {comment}\n", *(f"{line}\n" for line in lines)]), "ascii")


def _parse(line: str) -> bytes:
    kind, _, rest = line.partition(" ")
    if kind == "text":
        return rest.encode("ascii").decode("unicode_escape").encode("latin-1")
    if kind == "hex":
        return bytes.fromhex(rest)
    msg = f"line {line[:60]!r}, expected 'text …' or 'hex …'"
    raise ValueError(msg)


def format_example(data: bytes) -> str:
    """The line of one example."""
    readable = sum(each == ord("\n") or ord(" ") <= each <= ord("~") for each in data)
    if readable < _READABLE * len(data):
        return f"hex {data.hex()}"
    return "text " + data.decode("latin-1").encode("unicode_escape").decode("ascii")
