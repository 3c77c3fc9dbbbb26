"""Tell a person at a terminal what is being done, step by step, and whether it was seen to work.

Colours only where they help: on a terminal, unless NO_COLOR is set or TERM is `dumb`. Marks are
ASCII where the stream's encoding has no tick.
"""

import os
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TextIO, TypeVar

WIDTH: Final = 98
"""Columns: what is wider is a command line, which goes on in the next one after a backslash."""
INDENT: Final = "   "
CONTINUED: Final = " \\"

_BOLD: Final = "1"
_DIM: Final = "2"
_RED: Final = "1;31"
_GREEN: Final = "32"
_CYAN: Final = "36"

Seen = TypeVar("Seen")


class StepError(Exception):
    """Something else was seen than what was expected."""

    def __init__(self, expected: str, seen: str) -> None:
        self.expected = expected
        self.seen = seen
        super().__init__(f"expected {expected}, seen {seen}")


def expect(*, holds: bool, expected: str, seen: object) -> None:
    """Raise StepError unless it holds."""
    if not holds:
        raise StepError(expected, str(seen))


def look_until(
    look: Callable[[], Seen],
    good: Callable[[Seen], bool],
    *,
    expected: str,
    timeout: float = 5.0,
) -> Seen:
    """Look again and again until what is seen is good, and return it. Raises StepError."""
    deadline = time.monotonic() + timeout
    while True:
        seen = look()
        if good(seen):
            return seen
        if time.monotonic() >= deadline:
            what = f"{expected} within {timeout:g} s"
            raise StepError(what, str(seen))
        time.sleep(0.01)


def wants_colour(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether to write colours (no-color.org)."""
    return stream.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


class Narrator:
    """Writes to one stream; counts the steps."""

    def __init__(self, stream: TextIO, environment: Mapping[str, str] = os.environ) -> None:
        self._stream = stream
        self._colour = wants_colour(stream, environment)
        self._tick, self._cross = _marks(stream.encoding)
        self.steps = 0
        """Begun."""
        self.seen = 0
        """Of those, seen to work."""

    def title(self, text: str, *lines: str) -> None:
        """What this is all about."""
        self._write(text, _BOLD)
        for line in lines:
            self._write(line, _DIM)

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """One step of the story; what is raised inside is told as its failure, and goes on up."""
        self.steps += 1
        self._write(f"\n{self.steps}. {text}", _BOLD)
        try:
            yield
        except StepError as error:
            self.cross(f"{text}: not as expected")
            self.output(f"expected: {error.expected}\nseen:     {error.seen}")
            raise
        except Exception as error:
            self.cross(f"{text}: {type(error).__name__}")
            self.output(str(error))
            raise
        self.seen += 1

    def command(self, host: str, command: str) -> None:
        """A command as it is typed, with the host's prompt."""
        prompt = f"{host}# "
        lines = textwrap.wrap(
            command,
            WIDTH - len(INDENT + prompt + CONTINUED),
            break_long_words=False,
            break_on_hyphens=False,
        )
        for number, line in enumerate(lines):
            end = CONTINUED if number < len(lines) - 1 else ""
            shown = self._painted(prompt, _CYAN) if number == 0 else " " * len(prompt)
            self._stream.write(f"{INDENT}{shown}{line}{end}\n")
        self._stream.flush()

    def output(self, text: str, notes: Mapping[str, str] | None = None) -> None:
        """What a command printed; `notes` are set beside the lines that contain their keys."""
        for line in text.splitlines():
            note = next((note for key, note in (notes or {}).items() if key in line), "")
            beside = self._painted(f"  <- {note}", _CYAN) if note else ""
            self._stream.write(f"{INDENT}{self._painted(line, _DIM)}{beside}".rstrip() + "\n")
        self._stream.flush()

    def say(self, text: str) -> None:
        """A sentence in between."""
        for line in textwrap.wrap(text, WIDTH - len(INDENT)):
            self._write(f"{INDENT}{line}")

    def tick(self, text: str) -> None:
        """What was seen to work."""
        self._marked(self._tick, text, _GREEN)

    def cross(self, text: str) -> None:
        """What was not."""
        self._marked(self._cross, text, _RED)

    def _marked(self, mark: str, text: str, style: str) -> None:
        lines = textwrap.wrap(text, WIDTH - len(f"{INDENT}{mark} "))
        for number, line in enumerate(lines):
            shown = self._painted(mark, style) if number == 0 else " " * len(mark)
            self._stream.write(f"{INDENT}{shown} {line}\n")
        self._stream.flush()

    def _write(self, text: str, style: str = "") -> None:
        start = len(text) - len(text.lstrip("\n"))
        self._stream.write(f"{text[:start]}{self._painted(text[start:], style)}\n")
        self._stream.flush()

    def _painted(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self._colour and style and text else text


def _marks(encoding: str | None) -> tuple[str, str]:
    try:
        "✓✗".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "ok", "FAILED"
    return "✓", "✗"
