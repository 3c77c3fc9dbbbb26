"""The options that both daemons have, and how a command line that is wrong is answered."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from wg_dynamic.cli.status import USAGE
from wg_dynamic.system.log import complain


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, as all others are."""

    def error(self, message: str) -> NoReturn:
        """See argparse."""
        complain(self.prog, f"{message}; see {self.prog} --help")
        sys.exit(USAGE)


def add_daemon_options(parser: argparse.ArgumentParser) -> None:
    """The options that both daemons take."""
    parser.add_argument(
        "--foreground", action="store_true", help="stay in the foreground, log to standard error"
    )
    parser.add_argument(
        "--log-file",
        type=Path,
        metavar="FILE",
        help="in the background: log to FILE instead of syslog",
    )
    parser.add_argument(
        "--user",
        metavar="NAME",
        help="account of the process that parses packets (default: wg-dynamic, else uid 60970)",
    )
    parser.add_argument("--verbose", action="store_true", help="log more")
