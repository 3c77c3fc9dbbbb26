"""`wg-dynamic status`, `leases`, `lease`, `events`: asked of a server's administration socket.

And `reload`, which root asks of the server's helper. Docs: docs/command.md.
"""

import argparse
import socket
import sys
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any, Final

from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.admin.client import AdminClient, NotRunningError
from wg_dynamic.admin.protocol import (
    EVENTS,
    HELD,
    LEASES,
    MAX_LAST,
    RELEASE,
    REVOKE,
    STATES,
    STATUS,
    AdminError,
    Request,
)
from wg_dynamic.cli.command.arguments import Nouns, add_json, add_noun, add_verb
from wg_dynamic.cli.command.output import escaped, print_json
from wg_dynamic.cli.status import FAILED, NOT_RUNNING, OK
from wg_dynamic.errors import ConfigError
from wg_dynamic.helper.control_socket import ask_reload
from wg_dynamic.system.log import complain
from wg_dynamic.system.privileges import require_root
from wg_dynamic.system.runtime import admin_path, control_path

PROGRAM: Final = "wg-dynamic"
INTERFACE: Final = "wg0"
ALL: Final = "all"
SERVER: Final = "server"
_BAR: Final = 20
_HEADINGS: Final = ("ADDRESS", "NAME", "PUBLIC KEY", "STATE", "ENDS IN")


def add_parser(nouns: Nouns) -> None:
    """See the module's docstring."""
    status = add_verb(nouns, "status", _status, "show how the server of an interface stands")
    leases = add_verb(nouns, "leases", _leases, "list the leases of a server")
    leases.add_argument("--peer", metavar="NAME|KEY", help="those of this peer alone")
    leases.add_argument("--address", type=_address, help="the one of this address alone")
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
    for parser in (status, leases, events, reload):
        parser.add_argument("interface", nargs="?", default=INTERFACE, help=f"default: {INTERFACE}")
    for parser in (show, revoke, release):
        parser.add_argument("address", type=_address)
        parser.add_argument("--interface", default=INTERFACE, help=f"default: {INTERFACE}")
    for parser in (status, leases, show, revoke, release):
        add_json(parser)


def _address(text: str) -> bytes:
    try:
        return parse_address(text)
    except ValueError as error:
        msg = f"{text!r}, expected an address as in 10.44.0.7"
        raise argparse.ArgumentTypeError(msg) from error


def _network(text: str) -> Any:
    try:
        return parse_prefix(text)
    except ValueError as error:
        msg = f"{text!r}, expected a network as in 10.44.0.0/24"
        raise argparse.ArgumentTypeError(msg) from error


def _index(interface: str) -> int:
    try:
        return socket.if_nametoindex(interface)
    except OSError as error:
        msg = f"no interface {interface!r} here, expected one with a server"
        raise ConfigError(msg) from error


def ask(interface: str, request: Request) -> Iterable[dict[str, Any]]:
    """The rows of a server's answer. Raises ConfigError, PrivilegeError, AdminError."""
    with AdminClient(admin_path(_index(interface))) as client:
        yield from client.ask(request)


def _status(arguments: argparse.Namespace) -> int:
    try:
        (status,) = ask(arguments.interface, Request(STATUS))
        text = describe(status)
    except NotRunningError as error:
        complain(PROGRAM, f"{arguments.interface}: {error}")
        return NOT_RUNNING
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        msg = "an answer that makes no sense, expected a server of the same version"
        raise AdminError(msg) from error
    if arguments.json:
        print_json(status)
    else:
        sys.stdout.write(text)
    return OK


def describe(status: dict[str, Any]) -> str:
    """The status for people. Raises KeyError, TypeError, ValueError for one that is none."""
    store, leases = status["store"], status["leases"]
    lines = [
        f"interface: {status['interface']}",
        f"  role: server, version {status['version']}, up {_span(status['up_for'])}",
        f"  leases: {leases['held']} held,"
        f" {leases['remembered_or_quarantined']} remembered or in quarantine",
        f"  peers: {status['peers']}, connections: {status['connections']}",
        f"  database: {store['path']} ({'works' if store['works'] else 'TAKES NO COMMIT'})",
    ]
    for pool in status["pools"]:
        share = min(1.0, max(0.0, pool["held"] / max(1, pool["size"])))
        bar = ("#" * round(share * _BAR)).ljust(_BAR, ".")
        lines += ["", f"pool: {pool['network']}"]
        lines += [f"  [{bar}] {share:4.0%}  {pool['held']} of {pool['size']} held"]
    lines += ["", *(f"warning: {one['text']}" for one in status["troubles"])]
    return "\n".join(map(escaped, lines)).rstrip() + "\n"


def _leases(arguments: argparse.Namespace) -> int:
    state = None if arguments.state == ALL else arguments.state
    request = Request(LEASES, arguments.peer, arguments.address, arguments.pool, state)
    return _print(list(ask(arguments.interface, request)), as_json=arguments.json)


def _show(arguments: argparse.Namespace) -> int:
    return _about(arguments, Request(LEASES, address=arguments.address))


def _revoke(arguments: argparse.Namespace) -> int:
    return _about(arguments, Request(REVOKE, address=arguments.address))


def _release(arguments: argparse.Namespace) -> int:
    return _about(arguments, Request(RELEASE, address=arguments.address))


def _about(arguments: argparse.Namespace, request: Request) -> int:
    rows = list(ask(arguments.interface, request))
    if not rows:
        complain(PROGRAM, "there is no lease of this address, nor was one of late")
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
    return *(escaped(str(value)) for value in values), _span(row.get("ends_in"))


def _span(seconds: object) -> str:
    """A span for people; what is none of it is for ever."""
    if not isinstance(seconds, int | float) or not isfinite(seconds):
        return "never"
    left = int(abs(seconds))
    days, hours, minutes = left // 86400, left // 3600 % 24, left // 60 % 60
    text = f"{days}d {hours}h" if days else f"{hours}h {minutes}min" if hours else ""
    text = text or (f"{minutes}min {left % 60}s" if minutes else f"{left}s")
    return f"{text} ago" if seconds < 0 else text


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
    answer = ask_reload(control_path(_index(arguments.interface), SERVER))
    if answer is None:
        complain(PROGRAM, f"{arguments.interface}: no wg-dynamic-server runs here")
        return NOT_RUNNING
    text = "\n".join(map(escaped, answer.text.splitlines()))
    if not answer.done:
        complain(PROGRAM, text)
        return FAILED
    sys.stdout.write(f"{text}\n")
    return OK
