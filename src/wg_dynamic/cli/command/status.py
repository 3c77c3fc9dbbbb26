"""`wg-dynamic status`: how the daemons of this machine stand, servers and clients alike.

A server is asked on its administration socket; a client has none, so root asks its helper.
"""

import argparse
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from wg_dynamic.admin.client import NotRunningError
from wg_dynamic.admin.protocol import STATUS, AdminError, Request, decode_object
from wg_dynamic.cli import show
from wg_dynamic.cli.command.arguments import Nouns, add_json, add_verb
from wg_dynamic.cli.command.asking import ask, bar, index_of, span
from wg_dynamic.cli.command.output import escaped, print_json
from wg_dynamic.cli.command.watch import add_watch, again
from wg_dynamic.cli.status import NO_LEASE, NOT_RUNNING, OK
from wg_dynamic.errors import ConfigError, PrivilegeError
from wg_dynamic.helper.control_socket import ask_status
from wg_dynamic.system.log import complain
from wg_dynamic.system.runtime import control_path

PROGRAM: Final = "wg-dynamic"
SERVER: Final = "server"
CLIENT: Final = "client"
ROLE: Final = "role"
_BAR: Final = 20


def add_parser(nouns: Nouns) -> None:
    """See the module's docstring."""
    status = add_verb(nouns, "status", _status, "show how the daemons of this machine stand")
    status.add_argument("interface", nargs="?", help="default: every one that has a daemon")
    add_json(status)
    add_watch(status)


def _status(arguments: argparse.Namespace) -> int:
    return again(arguments, lambda: _once(arguments))


def _once(arguments: argparse.Namespace) -> int:
    if arguments.interface is None:
        found = list(everything())
        if arguments.json:
            print_json(found)
        elif not found:
            complain(PROGRAM, "no daemon of wg-dynamic runs here, of those that you may ask")
        else:
            sys.stdout.write("\n".join(map(text_of, found)))
        return OK if found or arguments.json else NOT_RUNNING
    try:
        status = status_of(arguments.interface)
    except NotRunningError as error:
        complain(PROGRAM, f"{arguments.interface}: {error}")
        return NOT_RUNNING
    if arguments.json:
        print_json(status)
    else:
        sys.stdout.write(text_of(status))
    return OK if status[ROLE] == SERVER or show.has_lease(status) else NO_LEASE


def everything() -> Iterator[dict[str, Any]]:
    """The status of each daemon that may be asked, by interface. Raises AdminError."""
    for _, name in socket.if_nameindex():
        try:
            yield status_of(name)
        except (ConfigError, PrivilegeError):  # none there, or none for us to ask
            continue


def status_of(interface: str) -> dict[str, Any]:
    """Of the server or the client of an interface.

    Raises:
        NotRunningError: there is none.
        ConfigError: there is no such interface.
        PrivilegeError: it may not be asked by this user.
        AdminError: its answer is none.
    """
    try:
        (status,) = ask(interface, Request(STATUS))
    except NotRunningError:
        status = _of_client(index_of(interface))
    except ValueError as error:
        raise _no_sense() from error
    if status.get(ROLE) not in (SERVER, CLIENT):
        raise _no_sense()
    return status


def _of_client(index: int) -> dict[str, Any]:
    try:
        text = ask_status(control_path(index, CLIENT))
    except PermissionError as error:
        msg = "no wg-dynamic-server runs here that you may ask; only root may ask a client"
        raise PrivilegeError(msg) from error
    if text is None:
        msg = "no wg-dynamic-server or wg-dynamic-client runs here"
        raise NotRunningError(msg)
    return {ROLE: CLIENT, **decode_object(text.encode("utf-8"))}


def text_of(status: Mapping[str, Any]) -> str:
    """A status for people. Raises AdminError for one that is none."""
    try:
        if status[ROLE] == CLIENT:
            return "".join(f"{escaped(line)}\n" for line in show.describe(status).splitlines())
        return describe(status)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _no_sense() from error


def _no_sense() -> AdminError:
    return AdminError("an answer that makes no sense, expected a daemon of the same version")


def describe(status: Mapping[str, Any]) -> str:
    """Of a server. Raises KeyError, TypeError, ValueError for one that is none."""
    return "".join(f"{escaped(line)}\n" for line in _lines(status))


def _lines(status: Mapping[str, Any]) -> Iterable[str]:
    store, leases = status["store"], status["leases"]
    yield f"interface: {status['interface']}"
    yield f"  role: server, version {status['version']}, up {span(status['up_for'])}"
    yield (
        f"  leases: {leases['held']} held,"
        f" {leases['remembered_or_quarantined']} remembered or in quarantine"
    )
    yield (
        f"  peers: {status['peers']}, connections: {status['connections']},"
        f" told of changes: {status.get('subscribers', 0)}"
    )
    yield f"  database: {store['path']} ({'works' if store['works'] else 'TAKES NO COMMIT'})"
    for pool in status["pools"]:
        share = min(1.0, max(0.0, pool["held"] / max(1, pool["size"])))
        yield ""
        yield f"pool: {pool['network']}"
        drawn = bar(share, _BAR, "#", ".")
        yield f"  [{drawn}] {share:4.0%}  {pool['held']} of {pool['size']} held"
    if status["troubles"]:
        yield ""
    for one in status["troubles"]:
        yield f"warning: {one['text']}"
