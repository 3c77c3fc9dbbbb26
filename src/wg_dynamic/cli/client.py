"""wg-dynamic-client(8): keep a lease on a WireGuard interface."""

import argparse
import contextlib
import sys

from wg_dynamic import __version__
from wg_dynamic.address import Prefix
from wg_dynamic.cli.client_start import DEFAULT_WAIT, PROGRAM, start
from wg_dynamic.cli.daemon import umask
from wg_dynamic.cli.options import Parser, add_daemon_options
from wg_dynamic.cli.running import stop_daemon
from wg_dynamic.cli.show import describe, has_lease
from wg_dynamic.cli.status import NO_LEASE, NOT_RUNNING, OK, run
from wg_dynamic.helper.client import (
    ROLE,
    undo_leftovers,
)
from wg_dynamic.helper.config.file import load_client_config
from wg_dynamic.helper.config.values import parse_network
from wg_dynamic.helper.control_socket import ask_status
from wg_dynamic.helper.policy import Acceptance
from wg_dynamic.helper.qualify import find_interface
from wg_dynamic.netlink.rtnetlink import RtnetlinkControl
from wg_dynamic.privsep.ledger import Entry, read_entries
from wg_dynamic.record import replace
from wg_dynamic.system.privileges import require_root
from wg_dynamic.system.runtime import RuntimeDirectory, control_path
from wg_dynamic.wireguard.key import format_key


def _prefix(text: str) -> Prefix:
    try:
        return parse_network(text)
    except ValueError as error:
        msg = f"{text!r}: {error}"
        raise argparse.ArgumentTypeError(msg) from error


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 3600:  # noqa: PLR2004 - an hour is more than anybody waits
        msg = f"{text!r}, expected 0 to 3600 seconds"
        raise argparse.ArgumentTypeError(msg)
    return value


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = Parser(
        PROGRAM,
        description="Keep a lease of IPv4 and IPv6 addresses on a WireGuard interface.",
        epilog="The interface needs one link-local address of length 128 and a peer that has"
        " fe80::/128 in its allowed IPs. Ends by itself when the interface is removed.",
    )
    parser.add_argument("interface", help="the WireGuard interface, for example wg0")
    verbs = parser.add_mutually_exclusive_group()
    verbs.add_argument("--stop", action="store_true", help="release the lease, undo it, and end")
    verbs.add_argument("--status", action="store_true", help="show the lease and what is set")
    verbs.add_argument(
        "--applied", action="store_true", help="say what is set for the lease, one thing a line"
    )
    parser.add_argument("--json", action="store_true", help="with --status: for programs")
    parser.add_argument(
        "--wait",
        type=_seconds,
        default=DEFAULT_WAIT,
        metavar="SECONDS",
        help="how long to wait for the first lease before going on in the background (default: 5)",
    )
    parser.add_argument(
        "--accept-routes",
        type=_prefix,
        action="append",
        default=[],
        metavar="NETWORK",
        help="take addresses and routes inside NETWORK too, private ones are taken anyway",
    )
    parser.add_argument(
        "--accept-dns",
        type=_prefix,
        action="append",
        default=[],
        metavar="NETWORK",
        help="take name servers inside NETWORK, and search domains with them; may be repeated",
    )
    parser.add_argument(
        "--accept-default-route",
        action="store_true",
        help="take a default route: all traffic goes through the tunnel, as with wg-quick",
    )
    add_daemon_options(parser)
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    return parser


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    return run(PROGRAM, lambda: _main(_parse(argv)))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = make_parser()
    arguments = parser.parse_args(argv)
    if arguments.json and not arguments.status:
        parser.error("argument --json: only with --status")
    return arguments


def _main(arguments: argparse.Namespace) -> int:
    require_root(PROGRAM)
    umask()
    if arguments.applied:
        return _show_applied(arguments.interface)
    if arguments.stop:
        return _stop(arguments.interface)
    if arguments.status:
        return _status(arguments.interface, as_json=arguments.json)
    return start(arguments, _accepts(arguments))


def _status(name: str, *, as_json: bool) -> int:
    import json  # noqa: PLC0415 - a client starts sooner without

    ifindex = find_interface(RtnetlinkControl(), name).ifindex
    text = ask_status(control_path(ifindex, ROLE))
    if text is None:
        absent = json.dumps({"interface": name, "state": "not running"})
        print(absent if as_json else f"{name}: no {PROGRAM} runs here")
        return NOT_RUNNING
    status = json.loads(text)
    print(text if as_json else describe(status), end="\n" if as_json else "")
    return OK if has_lease(status) else NO_LEASE


def _accepts(arguments: argparse.Namespace) -> Acceptance:
    """What the configuration file says, and the options besides. Raises UsageError."""
    accepts = load_client_config(arguments.interface)
    return replace(
        accepts,
        routes=(*accepts.routes, *arguments.accept_routes),
        dns=(*accepts.dns, *arguments.accept_dns),
        default_route=accepts.default_route or arguments.accept_default_route,
    )


def _stop(name: str) -> int:
    interfaces = RtnetlinkControl()
    runtime = RuntimeDirectory(find_interface(interfaces, name).ifindex, role=ROLE)
    return stop_daemon(
        PROGRAM, name, runtime, lambda: undo_leftovers(name, interfaces, runtime), release=True
    )


def _show_applied(name: str) -> int:
    """For wg-dynamic-quick: what must not be saved as the administrator's own."""
    interfaces = RtnetlinkControl()
    runtime = RuntimeDirectory(find_interface(interfaces, name).ifindex, role=ROLE)
    for entry in read_entries(runtime.ledger):
        words = entry.line()
        if isinstance(entry, Entry) and entry.public_key:
            words = f"{entry.kind} {entry.prefix} {format_key(entry.public_key)}"
        sys.stdout.write(f"{words}\n")
    with contextlib.suppress(OSError):  # a daemon's, if there is anything in it
        runtime.path.rmdir()
    return OK


if __name__ == "__main__":
    sys.exit(main())
