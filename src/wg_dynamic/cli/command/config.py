"""`wg-dynamic config`: a commented configuration file, and what is wrong with one."""

import argparse
import sys
from pathlib import Path
from typing import Final

from wg_dynamic.cli.command.arguments import Nouns, add_json, add_noun, add_verb
from wg_dynamic.cli.command.output import escaped, print_json
from wg_dynamic.cli.status import OK, USAGE
from wg_dynamic.errors import UsageError
from wg_dynamic.helper.config.checks import checked_terms
from wg_dynamic.helper.config.client import parse_client_config
from wg_dynamic.helper.config.document import CLIENT, parse_config
from wg_dynamic.helper.config.file import read_safely
from wg_dynamic.system.log import complain

PROGRAM: Final = "wg-dynamic config"
_DEFAULTS: Final = Path(__file__).parent
SERVER: Final = "server"


def add_parser(nouns: Nouns) -> None:
    """See the module's docstring."""
    verbs = add_noun(nouns, "config", "make or check a configuration file")
    default = add_verb(verbs, "default", _default, "print a configuration file with comments")
    default.add_argument(
        "--client", action="store_true", help="one for wg-dynamic-client (default: for a server)"
    )
    check = add_verb(verbs, "check", _check, "say what is wrong with a configuration file")
    check.add_argument("file", type=Path, metavar="FILE", help="as in /etc/wg-dynamic/wg0.toml")
    add_json(check)


def default_text(kind: str) -> str:
    """The commented default file of SERVER or CLIENT."""
    return (_DEFAULTS / f"{kind}.toml").read_text(encoding="utf-8")


def _default(arguments: argparse.Namespace) -> int:
    sys.stdout.write(default_text(CLIENT if arguments.client else SERVER))
    return OK


def _check(arguments: argparse.Namespace) -> int:
    kind, problems = _problems(arguments.file)
    if arguments.json:
        name = str(arguments.file)
        print_json({"file": name, "kind": kind, "ok": not problems, "problems": problems})
    elif problems:
        complain(PROGRAM, "\n".join(map(escaped, problems)))
    else:
        sys.stdout.write(
            f"{escaped(str(arguments.file))}: a {kind}'s file, nothing wrong with it\n"
        )
    return USAGE if problems else OK


def _problems(path: Path) -> tuple[str, list[str]]:
    """Whose file it is, SERVER or CLIENT, and what is wrong with it, in sentences."""
    kind = SERVER
    try:
        text = read_safely(path)
        kind = _kind(text)
        if kind == CLIENT:
            parse_client_config(text, str(path))
        else:
            checked_terms(parse_config(text, str(path)))
    except UsageError as error:
        return kind, str(error).split("\n")
    return kind, []


def _kind(text: str) -> str:
    """A client's file has the table [client] and nothing else; one that is no TOML is either's."""
    import tomllib  # noqa: PLC0415 - with helper.config.document

    try:
        return CLIENT if CLIENT in tomllib.loads(text) else SERVER
    except (ValueError, RecursionError):
        return SERVER
