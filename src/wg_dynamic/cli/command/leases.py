"""`wg-dynamic leases`, `lease`, `events`: asked of a server's administration socket.

And `reload`, which root asks of the server's helper. Docs: docs/command.md.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, Final

from wg_dynamic.address import parse_prefix
from wg_dynamic.admin.protocol import (
    EVENTS,
    HELD,
    LEASES,
    MAX_LAST,
    RELEASE,
    REVOKE,
    STATES,
    Request,
)
from wg_dynamic.cli.command import reserve
from wg_dynamic.cli.command.arguments import Nouns, add_json, add_noun, add_verb
from wg_dynamic.cli.command.asking import ask, index_of, read_lease_address, span
from wg_dynamic.cli.command.output import escaped, print_json
from wg_dynamic.cli.command.watch import add_watch, again
from wg_dynamic.cli.status import FAILED, NOT_RUNNING, OK
from wg_dynamic.errors import UsageError
from wg_dynamic.helper.control_socket import ask_reload
from wg_dynamic.system.log import complain
from wg_dynamic.system.privileges import require_root
from wg_dynamic.system.runtime import control_path
from wg_dynamic.wireguard.key import format_key, parse_key

PROGRAM: Final = "wg-dynamic"
INTERFACE: Final = "wg0"
ALL: Final = "all"
SERVER: Final = "server"
_HEADINGS: Final = ("ADDRESS", "NAME", "PUBLIC KEY", "STATE", "ENDS IN")


def add_parser(nouns: Nouns) -> None:
    """See the module's docstring."""
    leases = add_verb(nouns, "leases", _leases, "list the leases of a server")
    leases.add_argument("--peer", metavar="NAME|KEY", help="those of this peer alone")
    leases.add_argument("--address", type=read_lease_address, help="the one of this address alone")
    leases.add_argument("--pool", type=_network, metavar="NETWORK", help="those inside it alone")
    leases.add_argument("--state", choices=(*STATES, ALL), default=HELD, help=f"default: {HELD}")
    events = add_verb(
        nouns, "events", _events, "print what happens to leases, a JSON object a line"
    )
    events.add_argument("--last", type=int, default=0, metavar="N", help="those that were, first")
    events.add_argument("--follow", action="store_true", help="go on with those that come")
    reload = add_verb(nouns, "reload", _reload, "let a server read its configuration again")
    verbs = add_noun(nouns, "lease", "show a lease, or end it")
    show = add_verb(verbs, "show", _show, "show the lease of an address")
    revoke = add_verb(verbs, "revoke", _revoke, "end a lease; nobody gets its address for a while")
    release = add_verb(verbs, "release", _release, "end a lease, or a quarantine")
    reserve.add_verbs(verbs)
    for parser in (leases, events, reload):
        parser.add_argument("interface", nargs="?", default=INTERFACE, help=f"default: {INTERFACE}")
    show.add_argument("address", type=read_lease_address)
    for parser in (revoke, release):
        parser.add_argument("address", type=read_lease_address, nargs="?")
        parser.add_argument("--peer", metavar="NAME|KEY", help="all of this peer, or that of both")
    for parser in (show, revoke, release):
        parser.add_argument("--interface", default=INTERFACE, help=f"default: {INTERFACE}")
    for parser in (leases, show, revoke, release):
        add_json(parser)
    add_watch(leases)


def _network(text: str) -> Any:
    try:
        return parse_prefix(text)
    except ValueError as error:
        msg = f"{text!r}, expected a network as in 10.44.0.0/24"
        raise argparse.ArgumentTypeError(msg) from error


def _leases(arguments: argparse.Namespace) -> int:
    return again(arguments, lambda: _list(arguments))


def _list(arguments: argparse.Namespace) -> int:
    state = None if arguments.state == ALL else arguments.state
    request = Request(LEASES, arguments.peer, arguments.address, arguments.pool, state)
    return _print(list(ask(arguments.interface, request)), as_json=arguments.json)


def _show(arguments: argparse.Namespace) -> int:
    return _about(arguments, Request(LEASES, address=arguments.address))


def _revoke(arguments: argparse.Namespace) -> int:
    return _end(arguments, REVOKE)


def _release(arguments: argparse.Namespace) -> int:
    return _end(arguments, RELEASE)


def _end(arguments: argparse.Namespace, verb: str) -> int:
    if arguments.address is None and arguments.peer is None:
        msg = "expected the address of a lease, or --peer for all of a peer"
        raise UsageError(msg)
    key = None if arguments.peer is None else _key_of(arguments.peer, arguments.interface)
    return _about(arguments, Request(verb, key, arguments.address))


def _key_of(peer: str, interface: str) -> str:
    """The public key that a name means, by the leases that there are. Raises UsageError."""
    try:
        return format_key(parse_key(peer))
    except ValueError:
        rows = ask(interface, Request(LEASES, peer))
        keys = {str(row.get("public_key")) for row in rows}
    if len(keys) != 1:
        what = f"{len(keys)} peers named {peer!r} have leases" if keys else "no such name has one"
        msg = f"--peer {peer}: {what}, expected one: say which by its public key"
        raise UsageError(msg)
    return keys.pop()


def _about(arguments: argparse.Namespace, request: Request) -> int:
    rows = list(ask(arguments.interface, request))
    if not rows:
        complain(PROGRAM, "there is no such lease, nor was one of late")
        return FAILED
    return _print(rows, as_json=arguments.json)


def _print(rows: Sequence[dict[str, Any]], *, as_json: bool) -> int:
    if as_json:
        print_json(rows)
        return OK
    cells = [_HEADINGS, *map(_row, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEADINGS))]
    for row in cells:
        sys.stdout.write(f"{'  '.join(map(str.ljust, row, widths)).rstrip()}\n")
    return OK


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    values = (row.get("address"), row.get("name") or "-", row.get("public_key"), row.get("state"))
    return *(escaped(str(value)) for value in values), span(row.get("ends_in"))


def _events(arguments: argparse.Namespace) -> int:
    if not 0 <= arguments.last <= MAX_LAST:
        complain(PROGRAM, f"--last {arguments.last}, expected 0 to {MAX_LAST}")
        return FAILED
    request = Request(EVENTS, last=arguments.last, follow=arguments.follow)
    for row in ask(arguments.interface, request):
        print_json(row)
        sys.stdout.flush()
    return OK


def _reload(arguments: argparse.Namespace) -> int:
    require_root(PROGRAM)
    answer = ask_reload(control_path(index_of(arguments.interface), SERVER))
    if answer is None:
        complain(PROGRAM, f"{arguments.interface}: no wg-dynamic-server runs here")
        return NOT_RUNNING
    text = "\n".join(map(escaped, answer.text.splitlines()))
    if not answer.done:
        complain(PROGRAM, text)
        return FAILED
    sys.stdout.write(f"{text}\n")
    return OK
