"""`wg-dynamic lease reserve`, `unreserve`, `export`, `import`: addresses that stay a peer's.

Reservations are written by the command itself, as root, into the file of peers; the server reads
them from there. No request of a daemon's network process comes here.
"""

import argparse
import sys
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from wg_dynamic.address import format_address
from wg_dynamic.admin.protocol import HELD, LEASES, Request
from wg_dynamic.cli.command.arguments import Nouns, add_verb
from wg_dynamic.cli.command.asking import ask, index_of, read_lease_address
from wg_dynamic.cli.command.output import escaped, print_json
from wg_dynamic.cli.command.peer_list import keys_named, names_of
from wg_dynamic.cli.command.tell_server import tell_server
from wg_dynamic.cli.command.transfer import CSV, FORMATS, JSON, Taken, from_text, to_csv
from wg_dynamic.cli.status import FAILED, OK
from wg_dynamic.errors import UsageError
from wg_dynamic.helper import pools
from wg_dynamic.helper.config.checks import checked_terms
from wg_dynamic.helper.config.document import ServerConfig, with_peers
from wg_dynamic.helper.config.entries import RESERVATION, Entry
from wg_dynamic.helper.config.file import MAX_SIZE, load_config, load_own_config
from wg_dynamic.helper.config.peers import PeersFile
from wg_dynamic.helper.config.values import INFINITE_TEXT, read_time_or_infinite
from wg_dynamic.leases.terms import MAX_LEASE_TIME, MIN_LEASE_TIME
from wg_dynamic.netlink.control import InterfaceControl
from wg_dynamic.netlink.rtnetlink import RtnetlinkControl
from wg_dynamic.system.log import complain
from wg_dynamic.system.privileges import require_root
from wg_dynamic.wireguard.key import format_key, parse_key

PROGRAM: Final = "wg-dynamic lease"
INTERFACE: Final = "wg0"
_TIME: Final = partial(read_time_or_infinite, low=MIN_LEASE_TIME, high=MAX_LEASE_TIME)


interfaces_of_machine: Callable[[], InterfaceControl] = RtnetlinkControl


def add_verbs(verbs: Nouns) -> None:
    """To the noun `lease`."""
    reserve = add_verb(verbs, "reserve", _reserve, "keep addresses for a peer, held or not")
    reserve.add_argument("peer", metavar="NAME|KEY", help="its name, or its public key")
    reserve.add_argument("addresses", metavar="ADDRESS", nargs="+", type=read_lease_address)
    reserve.add_argument(
        "--lease-time",
        metavar="TIME",
        type=_lease_time,
        help=f"of these addresses, as in 7d, or {INFINITE_TEXT}",
    )
    unreserve = add_verb(
        verbs, "unreserve", _unreserve, "keep addresses no longer that reserve or import has kept"
    )
    unreserve.add_argument("peer", metavar="NAME|KEY", help="its name, or its public key")
    export = add_verb(verbs, "export", _export, "print all leases that are held, for an import")
    export.add_argument("--format", choices=FORMATS, default=JSON, help=f"default: {JSON}")
    take = add_verb(verbs, "import", _import, "keep the addresses of an export for their peers")
    take.add_argument("file", metavar="FILE", help="JSON or CSV, or - for standard input")
    for parser in (reserve, unreserve, export, take):
        parser.add_argument("--interface", default=INTERFACE, help=f"default: {INTERFACE}")


def _lease_time(text: str) -> str:
    """As it is written into the file."""
    try:
        _TIME(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


@contextmanager
def _changing(interface: str) -> Iterator[tuple[PeersFile, ServerConfig]]:
    """The file of peers, locked, and all that is configured. Its server is told at the end."""
    require_root(PROGRAM)
    index = index_of(interface)
    with PeersFile(interface) as file:
        yield file, load_config(None, interface)
    for line in tell_server(interface, index):
        complain(PROGRAM, escaped(line))


def _find(who: str, config: ServerConfig) -> bytes:
    """The public key that a name or a key means. Raises UsageError."""
    try:
        return parse_key(who)
    except ValueError:
        found = keys_named(who, names_of(config))
    if len(found) != 1:
        what = f"{len(found)} peers are named {who!r}" if found else f"no peer is named {who!r}"
        msg = f"{what} in {config.source or 'a configuration file'}, expected one: say which by"
        msg += " its public key"
        raise UsageError(msg)
    return found[0]


def _reserve(arguments: argparse.Namespace) -> int:
    with _changing(arguments.interface) as (file, config):
        key = _find(arguments.peer, config)
        taken = [Taken(key, address, "") for address in arguments.addresses]
        added = add_reservations(file, config, taken, arguments.interface, arguments.lease_time)
    _say_added(added, len(taken), arguments.interface)
    return OK


def _import(arguments: argparse.Namespace) -> int:
    text, source = _read(arguments.file)
    taken = from_text(text, source)
    with _changing(arguments.interface) as (file, config):
        added = add_reservations(file, config, taken, arguments.interface, None)
    _say_added(added, len(taken), arguments.interface)
    return OK


def _read(name: str) -> tuple[str, str]:
    """Text and what messages call it. Raises UsageError."""
    source = "standard input" if name == "-" else name
    try:
        with sys.stdin.buffer if name == "-" else Path(name).open("rb") as file:
            data = file.read(MAX_SIZE + 1)
        if len(data) > MAX_SIZE:
            msg = f"{source}: more than {MAX_SIZE} bytes, expected at most as many"
            raise UsageError(msg)
        return data.decode("utf-8-sig"), source
    except UnicodeDecodeError as error:
        msg = f"{source}: byte {error.start} is no UTF-8, expected JSON or CSV"
        raise UsageError(msg) from error


def add_reservations(
    file: PeersFile,
    config: ServerConfig,
    taken: Sequence[Taken],
    interface: str,
    lease_time: str | None,
) -> int:
    """Reserve what is not reserved yet, all of it or nothing; how many addresses that were.

    Raises UsageError, ConfigError: the server would not take it; OSError: it cannot be written.
    """
    there = {(one.public_key, address) for one in config.reservations for address in one.addresses}
    wanted: dict[str, list[str]] = {}
    for one in taken:
        if (one.public_key, one.address) not in there:
            there.add((one.public_key, one.address))
            wanted.setdefault(format_key(one.public_key), []).append(format_address(one.address))
    if not wanted:
        return 0
    own = load_own_config(None, interface)
    _refuse_foreign(own, wanted)
    known = {key: dict(entry.values) for entry in file.entries() if (key := _reserves(entry))}
    names = {format_key(one.public_key): one.name for one in taken if one.name}
    names |= {format_key(key): name for key, name in names_of(config).items()}
    entries = []
    for key, addresses in wanted.items():
        entry: dict[str, Any] = known.get(key) or {
            **({"name": names[key]} if key in names else {}),
            "public_key": key,
            "addresses": [],
        }
        entry["addresses"] = [*entry["addresses"], *addresses]
        if lease_time is not None:
            entry["lease_time"] = int(lease_time) if lease_time.isdecimal() else lease_time
        entries.append(entry)
    file.replace_all(
        RESERVATION,
        lambda entry: _reserves(entry) in wanted,
        entries,
        lambda new: _check(with_peers(own, new), interface),
    )
    return sum(map(len, wanted.values()))


def _reserves(entry: Entry) -> str:
    """The public key that an entry reserves for; '' if it does not reserve."""
    return str(entry.values["public_key"]) if entry.kind == RESERVATION else ""


def _refuse_foreign(own: ServerConfig, wanted: Container[str]) -> None:
    """What the administrator has reserved for a peer is theirs to add to."""
    for one in own.reservations:
        if format_key(one.public_key) in wanted:
            msg = f"{own.source} has a [[reservation]] of {format_key(one.public_key)}, which no"
            msg += " command changes: add the addresses there"
            raise UsageError(msg)


def _check(config: ServerConfig, interface: str) -> None:
    """Judge the whole as the server will. Raises UsageError, ConfigError."""
    interfaces = interfaces_of_machine()
    try:
        link = interfaces.link(interface)
        terms = pools.complete_terms(checked_terms(config), config.names, link, interfaces.routes())
        pools.check_own_addresses(terms, config.names, interfaces.addresses())
    finally:
        interfaces.close()


def _say_added(count: int, asked: int, interface: str) -> None:
    what = "1 address" if count == 1 else f"{count} addresses"
    rest = "" if count == asked else f"; {asked - count} reserved already"
    sys.stdout.write(f"{what} of {interface} reserved{rest}\n")


def _unreserve(arguments: argparse.Namespace) -> int:
    with _changing(arguments.interface) as (file, config):
        key = format_key(_find(arguments.peer, config))
        entries: list[Any] = [one.values for one in file.entries() if _reserves(one) == key]
        file.remove(lambda entry: _reserves(entry) == key)
    addresses = [address for entry in entries for address in entry["addresses"]]
    if not addresses:
        complain(PROGRAM, f"{file.path} has no reservation of {arguments.peer}")
        return FAILED
    sys.stdout.write(f"{escaped(', '.join(addresses))} no longer reserved\n")
    return OK


def _export(arguments: argparse.Namespace) -> int:
    rows = list(ask(arguments.interface, Request(LEASES, state=HELD)))
    if arguments.format == CSV:
        sys.stdout.write(to_csv([{k: _harmless(v) for k, v in row.items()} for row in rows]))
    else:
        print_json(rows)
    return OK


def _harmless(value: object) -> object:
    return escaped(value) if isinstance(value, str) else value
