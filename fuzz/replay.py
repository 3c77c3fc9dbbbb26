"""Run inputs through a target, without a fuzzer.

    python -m fuzz.replay TARGET [--quiet] FILE-OR-DIRECTORY…

Prints each as a line for fuzz/found/TARGET.txt; the first fault ends it with its traceback.
"""

import argparse
import logging
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from fuzz.examples import format_example
from fuzz.target import NAMES, load


def files(paths: Iterable[Path]) -> Iterator[Path]:
    """The files, and those in the directories."""
    for path in paths:
        yield from sorted(path.iterdir()) if path.is_dir() else [path]


def main() -> int:
    """Replay."""
    parser = argparse.ArgumentParser(prog="fuzz.replay")
    parser.add_argument("target", choices=NAMES)
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    parser.add_argument("paths", nargs="+", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    logging.disable()
    target = load(arguments.target)
    for path in files(arguments.paths):
        data = path.read_bytes()
        if not arguments.quiet:
            print(format_example(data), flush=True)
        target.check(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
