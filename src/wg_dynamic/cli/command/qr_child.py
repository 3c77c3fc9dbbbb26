"""The process that draws a QR code: text on standard input, block characters on standard output.

It begins as root, since the interpreter or the checkout may be root's alone to read, and imports
the standard library and our own code. It is nobody, for good, before it imports segno and before it
draws. So whatever segno does, it does without a right, a network or a way back.
"""

import sys
from typing import Final

from wg_dynamic.errors import WgDynamicError
from wg_dynamic.system.privileges import Account, drop_privileges

NOBODY: Final = Account(65534, 65534)
MISSING: Final = 3
"""Exit status: there is no segno."""
_FAILED: Final = 1


def main() -> int:
    """Draw; returns the exit status."""
    text = sys.stdin.buffer.read()
    try:
        drop_privileges(NOBODY)
    except WgDynamicError as error:
        sys.stderr.write(f"{error}\n")
        return _FAILED
    try:
        import segno  # noqa: PLC0415 - not before now
    except ImportError:
        return MISSING
    try:
        code = segno.make(text.decode(), micro=False)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return _FAILED
    lines = drawn([list(row) for row in code.matrix_iter(border=2)])
    sys.stdout.buffer.write(lines.encode())
    sys.stdout.buffer.flush()
    return 0


def drawn(rows: list[list[int]]) -> str:
    """Two rows to a line; what is dark is left out, as on a terminal of light letters on black."""
    if len(rows) % 2:
        rows = [*rows, [0] * len(rows[0])]
    letters = {(0, 0): "█", (0, 1): "▀", (1, 0): "▄", (1, 1): " "}
    lines = [
        "".join(letters[bool(upper), bool(lower)] for upper, lower in zip(*pair, strict=True))
        for pair in zip(rows[::2], rows[1::2], strict=True)
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
