"""`wg-dynamic lladdr`: the link-local address that belongs to a public key."""

import argparse
import sys
from typing import Final

from wg_dynamic.address import format_address, host_prefix
from wg_dynamic.cli.command.arguments import Nouns, add_json, add_verb
from wg_dynamic.cli.command.output import print_json
from wg_dynamic.cli.status import OK
from wg_dynamic.errors import UsageError
from wg_dynamic.helper.config.values import read_key
from wg_dynamic.wireguard.key import format_key
from wg_dynamic.wireguard.lladdr import link_local_of

STANDARD_INPUT: Final = "-"


def add_parser(nouns: Nouns) -> None:
    """See the module's docstring."""
    parser = add_verb(nouns, "lladdr", _run, "print the link-local address of a public key")
    parser.add_argument(
        "public_key",
        metavar="PUBLICKEY",
        help="44 characters of base64, or - to read them from standard input",
    )
    add_json(parser)


def _run(arguments: argparse.Namespace) -> int:
    public_key = argument_key(arguments.public_key)
    address = link_local_of(public_key)
    if arguments.json:
        print_json({"public_key": format_key(public_key), "link_local": format_address(address)})
    else:
        sys.stdout.write(f"{host_prefix(address)}\n")
    return OK


def argument_key(text: str) -> bytes:
    """A public key that was typed, or the first line of standard input for `-`.

    Raises UsageError, without what came: it might be the wrong key of a pair.
    """
    if text == STANDARD_INPUT:
        text = sys.stdin.readline().strip()
    try:
        return read_key(text)
    except ValueError as error:
        raise UsageError(str(error)) from None
