"""wg-dynamic(1): what an operator asks of the daemons, and does to their files."""

import argparse
import os
import sys
from typing import Final

from wg_dynamic import __version__
from wg_dynamic.cli.command import completion, config, leases, lladdr, peer, status, top
from wg_dynamic.cli.options import Parser
from wg_dynamic.cli.status import FAILED, run

PROGRAM: Final = "wg-dynamic"
NOUNS: Final = (config, status, top, leases, lladdr, peer, completion)
"""Modules of this package; each has `add_parser(nouns)`."""


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = Parser(
        PROGRAM,
        description="See and steer wg-dynamic's daemons.",
        epilog="COMMAND --help says what each takes; wg-dynamic(1) says all.",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    nouns = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in NOUNS:
        module.add_parser(nouns)
    return parser


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    return run(PROGRAM, lambda: _main(make_parser().parse_args(argv)))


def _main(arguments: argparse.Namespace) -> int:
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # a pager that was left; what is still to be written goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), sys.stdout.fileno())
        return FAILED
    return code


if __name__ == "__main__":
    sys.exit(main())
