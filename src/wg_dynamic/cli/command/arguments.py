"""What the nouns of the command take alike."""

import argparse
from collections.abc import Callable
from typing import TypeAlias

from wg_dynamic.cli.options import Parser

Nouns: TypeAlias = "argparse._SubParsersAction[Parser]"
"""What `add_parser` of a noun's module adds itself to."""
Run: TypeAlias = Callable[[argparse.Namespace], int]
"""Does what was asked for, and returns the exit status. Raises WgDynamicError, OSError."""


def add_verb(verbs: Nouns, name: str, run: Run, summary: str) -> Parser:
    """A noun or one of its verbs; `summary` is one sentence without a full stop."""
    parser = verbs.add_parser(
        name, help=summary, description=f"{summary[:1].upper()}{summary[1:]}."
    )
    parser.set_defaults(run=run)
    return parser


def add_noun(nouns: Nouns, name: str, summary: str) -> Nouns:
    """A noun that is nothing without a verb: what `add_verb` adds them to."""
    parser = nouns.add_parser(
        name, help=summary, description=f"{summary[:1].upper()}{summary[1:]}."
    )
    return parser.add_subparsers(metavar="VERB", required=True)


def add_json(parser: Parser) -> None:
    """`--json`, as `arguments.json`."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
