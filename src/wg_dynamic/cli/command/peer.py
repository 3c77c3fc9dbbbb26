"""`wg-dynamic peer`: add a peer to a hub with one command, remove it, list them.

Done by the command itself, as root. No request of a daemon's network process comes here.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from wg_dynamic.address import Prefix
from wg_dynamic.cli.command import peer_add
from wg_dynamic.cli.command.arguments import Nouns, add_json, add_noun, add_verb
from wg_dynamic.cli.command.device import control_of
from wg_dynamic.cli.command.hub import Hub, Removed
from wg_dynamic.cli.command.output import escaped, print_json
from wg_dynamic.cli.command.peer_list import as_json, as_table, list_peers, names_of
from wg_dynamic.cli.command.quick_conf import QuickConf
from wg_dynamic.cli.command.tell_server import tell_server
from wg_dynamic.cli.status import OK
from wg_dynamic.errors import UsageError
from wg_dynamic.helper.config.file import load_config
from wg_dynamic.helper.config.peers import PeersFile
from wg_dynamic.system.clock import SystemClock
from wg_dynamic.system.log import complain
from wg_dynamic.system.privileges import require_root
from wg_dynamic.wireguard.control import WireGuardControl
from wg_dynamic.wireguard.key import format_key
from wg_dynamic.wireguard.lladdr import link_local_of

PROGRAM: Final = "wg-dynamic peer"
INTERFACE: Final = "wg0"


def add_parser(nouns: Nouns) -> None:
    """See the module's docstring."""
    verbs = add_noun(nouns, "peer", "add, remove and list the peers of a hub")
    add = add_verb(verbs, "add", _add, "add a peer and print the configuration for its device")
    peer_add.add_options(add)
    remove = add_verb(verbs, "remove", _remove, "remove a peer")
    remove.add_argument("peer", metavar="NAME|KEY", help="its name, or its public key")
    listing = add_verb(verbs, "list", _list, "list the peers of a hub")
    for parser in (add, remove, listing):
        parser.add_argument(
            "--interface", default=INTERFACE, metavar="NAME", help=f"default: {INTERFACE}"
        )
        add_json(parser)


@contextmanager
def _hub(interface: str) -> Iterator[tuple[Hub, WireGuardControl]]:
    """The hub, held locked, with what an earlier command did not finish taken back.

    At the end its server is told, unless there was an error.
    """
    require_root(PROGRAM)
    with control_of(interface) as (control, ifindex):
        with PeersFile(interface) as file:
            names = names_of(load_config(None, interface))
            hub = Hub(interface, control, file, QuickConf(interface), names)
            _say(hub.take_back_unfinished())
            yield hub, control
        _say(tell_server(interface, ifindex))


def _add(arguments: argparse.Namespace) -> int:
    with _hub(arguments.interface) as (hub, control):
        _say(peer_add.add(arguments, hub, control))
    return OK


def _remove(arguments: argparse.Namespace) -> int:
    with _hub(arguments.interface) as (hub, _):
        removed = hub.remove(hub.find(arguments.peer))
        if arguments.json:
            print_json(_removed_json(removed))
        else:
            sys.stdout.write(f"removed peer {arguments.peer} from {arguments.interface}\n")
            _say(_about_removed(removed, hub))
    return OK


def _list(arguments: argparse.Namespace) -> int:
    require_root(PROGRAM)
    interface = arguments.interface
    with control_of(interface) as (control, _):
        device = control.device()
    names: dict[bytes, str] = {}
    try:
        names = names_of(load_config(None, interface))
    except UsageError as error:  # what there is can be shown all the same
        complain(PROGRAM, f"without names: {error}")
    listed = list_peers(device, names)
    if arguments.json:
        print_json({"interface": interface, "peers": [as_json(one) for one in listed]})
    else:
        sys.stdout.write(escaped_lines(as_table(listed, SystemClock().wall())))
    return OK


def escaped_lines(text: str) -> str:
    """Text of several lines that steers no terminal."""
    return "\n".join(map(escaped, text.split("\n")))


def _leased(removed: Removed) -> list[Prefix]:
    """What it was allowed on the interface besides its link-local address."""
    own = link_local_of(removed.public_key)
    return [one for one in (removed.peer.allowed_ips if removed.peer else ()) if one.packed != own]


def _removed_json(removed: Removed) -> dict[str, object]:
    return {
        "public_key": format_key(removed.public_key),
        "was_on_interface": removed.peer is not None,
        "allowed_ips": [str(one) for one in (removed.peer.allowed_ips if removed.peer else ())],
        "was_saved": removed.saved,
        "still_in_line": removed.line,
        "entries_removed": removed.entries,
    }


def _about_removed(removed: Removed, hub: Hub) -> list[str]:
    """What the administrator should know, a line for each."""
    said = []
    leased = _leased(removed)
    if leased:
        said.append(
            f"it has {', '.join(map(str, leased))} no more; what of this was leased stays set"
            " apart for this key until the lease ends"
        )
    if removed.line is not None:
        said.append(
            f"{hub.conf.path}, line {removed.line}, has it still: take that [Peer] out,"
            f" else it comes back with {hub.interface}"
        )
    if hub.configured(removed.public_key):
        said.append(f"/etc/wg-dynamic/{hub.interface}.toml names it, too: what it says there stays")
    return said


def _say(lines: list[str]) -> None:
    if lines:
        complain(PROGRAM, "\n".join(map(escaped, lines)))
