"""wg-dynamic-server(8): lease addresses to the peers of a WireGuard interface."""

import argparse
import select
import sys
from contextlib import closing
from pathlib import Path

from wg_dynamic import __version__
from wg_dynamic.cli.check_store import check_store
from wg_dynamic.cli.daemon import (
    confine_helper,
    network_arguments,
    run_daemon,
    umask,
    verdict_on_failure,
)
from wg_dynamic.cli.options import Parser, add_daemon_options
from wg_dynamic.cli.running import STOP_PAUSE, STOP_TRIES, reload_daemon, stop_daemon
from wg_dynamic.cli.status import OK, run
from wg_dynamic.cli.supervise import supervise
from wg_dynamic.errors import ConfigError
from wg_dynamic.helper.config.checks import checked_terms
from wg_dynamic.helper.config.file import CONFIG_ROOT, load_config
from wg_dynamic.helper.config.values import read_pool, read_time
from wg_dynamic.helper.control_socket import stop_running
from wg_dynamic.helper.qualify import find_interface
from wg_dynamic.helper.server import (
    ROLE,
    ServerHelper,
    ServerSettings,
    open_interface,
    undo_leftovers,
)
from wg_dynamic.helper.state import prepare_state_directory
from wg_dynamic.helper.supervisor import Supervisor, stop_signals
from wg_dynamic.helper.waiting import WaitingRoom, stop_waiting
from wg_dynamic.leases.pool import Pool
from wg_dynamic.leases.terms import DEFAULT_LEASE_TIME, MAX_LEASE_TIME, MIN_LEASE_TIME
from wg_dynamic.netlink.control import EventSource
from wg_dynamic.netlink.errors import NetlinkError
from wg_dynamic.netlink.rtnetlink import RtnetlinkControl
from wg_dynamic.privsep.ledger import LedgerError
from wg_dynamic.record import replace
from wg_dynamic.system.background import Verdict
from wg_dynamic.system.log import logger
from wg_dynamic.system.notify import notify
from wg_dynamic.system.privileges import Account, require_root, service_account
from wg_dynamic.system.runtime import RuntimeDirectory
from wg_dynamic.wireguard.control import WireGuardError

_LOG = logger(__name__)

PROGRAM = "wg-dynamic-server"
STATE_ROOT = Path("/var/lib/wg-dynamic")


def _pool(text: str) -> Pool:
    try:
        return read_pool(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _lease_time(text: str) -> int:
    try:
        return read_time(text, MIN_LEASE_TIME, MAX_LEASE_TIME)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = Parser(
        PROGRAM,
        description="Lease IPv4 and IPv6 addresses to the peers of a WireGuard interface.",
        epilog="The interface needs fe80::/64, and each peer a fe80::…/128 of its own in its"
        " allowed IPs. Without pools, the on-link networks of the interface are leased. Options"
        " win over the configuration file.",
    )
    parser.add_argument("interface", help="the WireGuard interface, for example wg0")
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"the configuration file (default: {CONFIG_ROOT}/INTERFACE.toml if there is one)",
    )
    parser.add_argument(
        "--pool",
        type=_pool,
        action="append",
        default=[],
        metavar="NETWORK",
        help="lease addresses out of NETWORK, as in 10.44.0.0/24 or fd00:44::/64; may be repeated",
    )
    parser.add_argument(
        "--lease-time",
        type=_lease_time,
        metavar="SECONDS",
        help=f"how long a lease lasts (default: {DEFAULT_LEASE_TIME}, at least {MIN_LEASE_TIME})",
    )
    parser.add_argument(
        "--database",
        type=Path,
        metavar="FILE",
        help=f"where the leases are kept (default: {STATE_ROOT}/INTERFACE.sqlite)",
    )
    parser.add_argument(
        "--stop",
        action="store_true",
        help="end the server of this interface; leases and their allowed IPs stay",
    )
    parser.add_argument(
        "--reload",
        action="store_true",
        help="let the server of this interface read its configuration file again",
    )
    parser.add_argument(
        "--check-store",
        action="store_true",
        help="look the lease database over, beside a running server too, and change nothing",
    )
    parser.add_argument(
        "--adopt",
        action="store_true",
        help="at this start, make leases of the allowed IPs inside the pools that peers have",
    )
    add_daemon_options(parser)
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    return parser


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    return run(PROGRAM, lambda: _main(make_parser().parse_args(argv)))


def _main(arguments: argparse.Namespace) -> int:
    require_root(PROGRAM)
    umask()
    name = arguments.interface
    # In the background we are elsewhere, and a reload is to find them all the same.
    for option in ("config", "database"):
        if getattr(arguments, option) is not None:
            setattr(arguments, option, getattr(arguments, option).absolute())
    if arguments.stop:
        return _stop(name)
    if arguments.reload:
        return reload_daemon(PROGRAM, name, _runtime(name))
    settings = _settings(arguments)
    if arguments.check_store:
        return check_store(PROGRAM, settings.database, service_account(settings.user))
    return run_daemon(
        PROGRAM,
        arguments,
        lambda verdict, destination: _serve(arguments, settings, verdict, destination),
        None,
        "",
    )


def _settings(arguments: argparse.Namespace) -> ServerSettings:
    """The configuration file with the options over it. Raises UsageError."""
    name = arguments.interface
    config = load_config(arguments.config, name)
    if arguments.pool:
        config = replace(config, pools=config.with_pools(arguments.pool))
    if arguments.lease_time is not None:
        config = replace(config, lease_time=arguments.lease_time)
    database = arguments.database or config.database or STATE_ROOT / f"{name}.sqlite"
    return ServerSettings(
        interface=name,
        terms=checked_terms(config),
        names=config.names,
        database=database.absolute(),
        user=arguments.user or config.user,
        admin_group=config.admin_group,
        adopt=arguments.adopt,
    )


def _runtime(name: str) -> RuntimeDirectory:
    """Of the server on an interface that is there. Raises ConfigError."""
    return RuntimeDirectory(find_interface(RtnetlinkControl(), name).ifindex, role=ROLE)


def _stop(name: str) -> int:
    interfaces = RtnetlinkControl()
    waited = False
    for left in reversed(range(STOP_TRIES)):
        waited = stop_waiting(name) or waited
        try:
            link = find_interface(interfaces, name)
            break
        except ConfigError:
            if waited:
                return OK
            if not left:
                raise
        select.select([], [], [], STOP_PAUSE)  # just gone, perhaps, and its server not waiting yet
    runtime = RuntimeDirectory(link.ifindex, role=ROLE)
    if waited:  # and another one may have been faster when the interface came back
        stop_running(runtime.control, release=False)
        return OK
    return stop_daemon(
        PROGRAM, name, runtime, lambda: undo_leftovers(link, interfaces, runtime), release=False
    )


class _StoppedError(Exception):
    """Somebody said stop while we waited, and we heard it when the interface was back."""


def _serve(
    arguments: argparse.Namespace, settings: ServerSettings, verdict: Verdict, destination: str
) -> int:
    """Serve; when the interface goes, wait for it to come back and serve again."""
    account = service_account(settings.user)
    confine_helper()
    interfaces = RtnetlinkControl()
    events = interfaces.events()  # before the first look: nothing is missed in between
    signals = stop_signals(reloads=True)
    network = network_arguments(destination, verbose=arguments.verbose)
    told = ""
    with closing(WaitingRoom(settings.interface)) as room:
        while True:
            try:
                settings = _read_if_asked(arguments, settings, room)
                helper, supervisor = _serve_once(
                    arguments=arguments,
                    settings=settings,
                    account=account,
                    interfaces=interfaces,
                    events=events,
                    verdict=verdict,
                    network=network,
                    signals=signals,
                    room=room,
                )
            except _StoppedError:
                return OK
            except (ConfigError, NetlinkError, WireGuardError, LedgerError) as error:
                if not verdict.is_given:
                    raise
                if str(error) != told:  # every change in the kernel brings us here
                    _LOG.info("not serving yet: %s", error)
                told = str(error)
            else:
                told = ""
                settings = replace(helper.settings, adopt=False)  # once: what comes later is meant
                if supervisor.failed:
                    return verdict_on_failure(PROGRAM, verdict, helper.reason)
                if supervisor.stopping or not supervisor.gone:
                    return OK
                _LOG.warning("waiting for %s to come back", settings.interface)
                notify(f"STATUS=waiting for {settings.interface} to come back")
            if not room.wait(events, signals):
                return OK


def _read_if_asked(
    arguments: argparse.Namespace, settings: ServerSettings, room: WaitingRoom
) -> ServerSettings:
    """The configuration as it is now, if somebody asked for that while we waited and it is good."""
    if not room.reload_asked:
        return settings
    room.reload_asked = False
    try:
        return replace(_settings(arguments), adopt=settings.adopt)
    except ConfigError as error:
        _LOG.error("the configuration is not taken, all stays as it was: %s", error)
        return settings


def _serve_once(
    *,
    arguments: argparse.Namespace,
    settings: ServerSettings,
    account: Account,
    interfaces: RtnetlinkControl,
    events: EventSource,
    verdict: Verdict,
    network: list[str],
    signals: int,
    room: WaitingRoom,
) -> tuple[ServerHelper, Supervisor]:
    opened = open_interface(settings, interfaces)

    def make_helper() -> ServerHelper:
        if room.leave():
            raise _StoppedError
        prepare_state_directory(settings.database, STATE_ROOT, account)
        return ServerHelper(settings, interfaces, verdict, opened, lambda: _settings(arguments))

    with closing(opened.record):
        return supervise(
            opened,
            make_helper,
            account=account,
            events=events,
            arguments=network,
            signals=signals,
            on_gone=room.enter,
            has_served=verdict.is_given,
            reloads=lambda helper: helper,
        )


if __name__ == "__main__":
    sys.exit(main())
