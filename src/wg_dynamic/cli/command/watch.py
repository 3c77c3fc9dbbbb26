"""`--watch`: a command that shows something, again and again until it is interrupted."""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Final

from wg_dynamic.cli.options import Parser

EVERY: Final = 2.0
"""Seconds, as watch(1)."""
LEAST: Final = 0.1
MOST: Final = 86400.0
_CLEAR: Final = "\x1b[H\x1b[2J"
"""Cursor home, erase in display (ECMA-48)."""


def add_watch(parser: Parser) -> None:
    """`--watch`, as `arguments.watch`."""
    parser.add_argument(
        "--watch",
        nargs="?",
        type=_seconds,
        const=EVERY,
        metavar="SECONDS",
        help=f"show it again and again, every {EVERY:g} s unless said otherwise",
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not LEAST <= seconds <= MOST:
        msg = f"{text!r}, expected {LEAST:g} to {MOST:g} seconds"
        raise argparse.ArgumentTypeError(msg)
    return seconds


def again(arguments: argparse.Namespace, once: Callable[[], int]) -> int:
    """Call it once, or with --watch for ever: on a terminal, in the place of what was shown.

    What it raises ends it, as an interrupt does; a daemon that is away does not.
    """
    if arguments.watch is None:
        return once()
    clears = sys.stdout.isatty() and not arguments.json
    while True:
        if clears:
            sys.stdout.write(_CLEAR)
        once()
        sys.stdout.flush()
        time.sleep(arguments.watch)  # noqa: TID251 - time is all that it waits for
