"""Draw docs/demo.svg: what `make demo` prints on a terminal, as it printed it.

    python -m tools.terminal_picture          # as root: runs the demo on a terminal of its own

The picture shows the steps named by --steps; of the others, that they are left out. Draw it anew
when what the demo says has changed (tests/netns/test_demo.py compares).
"""

import argparse
import errno
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from tools.narrator import WIDTH
from tools.repository import ROOT

PICTURE: Final = ROOT / "docs" / "demo.svg"
STEPS: Final = (2, 4, 6, 8)
FONT: Final = "'DejaVu Sans Mono', ui-monospace, Menlo, Consolas, 'Liberation Mono', monospace"
FONT_SIZE: Final = 14
ADVANCE: Final = 8.43
"""Width of a character at that size in the first of these fonts."""
LINE: Final = 19
MARGIN: Final = 18
BACKGROUND: Final = "#14191f"
FOREGROUND: Final = "#d5dbe3"
STYLES: Final = {
    "1": 'fill="#ffffff" font-weight="bold"',
    "2": 'fill="#9aa7b4"',
    "31": 'fill="#ff7b72"',
    "32": 'fill="#56d364"',
    "36": 'fill="#6cb6ff"',
}
"""By the codes of ECMA-48's SGR that tools.narrator writes."""

_SGR: Final = re.compile(r"\x1b\[([0-9;]*)m")
_STEP: Final = re.compile(r"^(\d+)\. ")
_LAST: Final = re.compile(r"^All \d+ steps ")


@dataclass(frozen=True, slots=True)
class Run:
    """Characters of one style in one line."""

    column: int
    text: str
    codes: tuple[str, ...]


def plain(line: str) -> str:
    """A line without its colours."""
    return _SGR.sub("", line)


def runs(line: str) -> Iterator[Run]:
    """The runs of a line, without those of blanks only."""
    column = 0
    codes: tuple[str, ...] = ()
    for number, piece in enumerate(_SGR.split(line)):
        if number % 2:
            codes = tuple(code for code in piece.split(";") if code.strip("0"))
        else:
            if piece.strip():
                yield Run(column, piece, codes)
            column += len(piece)


def chosen(lines: Sequence[str], steps: Iterable[int]) -> list[str]:
    """The lines of these steps, with a mark where others were left out, and what is around them."""
    wanted = set(steps)
    shown: list[str] = []
    keep = True
    for line in lines:
        step = _STEP.match(plain(line))
        if step or _LAST.match(plain(line)):
            was, keep = keep, step is None or int(step[1]) in wanted
            if was and not keep:
                shown += ["\x1b[2m…\x1b[0m", ""]
        if keep:
            shown.append(line)
    return shown


def svg(lines: Sequence[str]) -> str:
    """The picture of these lines."""
    columns = max(len(plain(line)) for line in lines)
    width = round(columns * ADVANCE + 2 * MARGIN)
    height = len(lines) * LINE + 2 * MARGIN
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}">',
        "<title>make demo</title>",
        f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>',
        f'<g font-family="{FONT}" font-size="{FONT_SIZE}" fill="{FOREGROUND}"'
        ' xml:space="preserve">',
    ]
    for number, line in enumerate(lines):
        y = MARGIN + number * LINE + FONT_SIZE
        for run in runs(line):
            text = run.text.lstrip()
            x = MARGIN + (run.column + len(run.text) - len(text)) * ADVANCE
            style = "".join(f" {STYLES[code]}" for code in run.codes[-1:] if code in STYLES)
            drawn.append(f'<text x="{x:.1f}" y="{y}"{style}>{escape(text.rstrip())}</text>')
    return "\n".join([*drawn, "</g>", "</svg>", ""])


def record(command: Sequence[str]) -> list[str]:
    """What a command prints on a terminal. Raises CalledProcessError when it fails."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(WIDTH)}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=theirs, cwd=ROOT, env=environment
    ) as process:
        os.close(theirs)
        printed = b"".join(_pieces(ours))
    os.close(ours)
    text = printed.decode()
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command, text)
    return text.replace("\r\n", "\n").rstrip("\n").split("\n")


def _pieces(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError as error:
            if error.errno != errno.EIO:  # which is how a terminal says that nobody writes any more
                raise
            return
        if not piece:
            return
        yield piece


def main() -> int:
    """Run the demo and draw it."""
    parser = argparse.ArgumentParser(description="Draw what the demo prints.")
    parser.add_argument("--output", type=Path, default=PICTURE)
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS)
    arguments = parser.parse_args()
    lines = record([sys.executable, "-m", "tools.demo"])
    arguments.output.write_text(svg(chosen(lines, arguments.steps)), encoding="utf-8")
    print(f"{arguments.output}: {len(lines)} lines printed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
