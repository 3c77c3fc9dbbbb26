"""wg-dynamic-watch(8): hooks, names and metrics beside a server."""

import argparse
import os
import pwd
import select
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wg_dynamic import __version__
from wg_dynamic.cli.command.asking import index_of
from wg_dynamic.cli.options import Parser
from wg_dynamic.cli.status import OK, run
from wg_dynamic.errors import ConfigError, PrivilegeError, UsageError
from wg_dynamic.helper.config.beside import DEFAULT_USER, Beside, Hook
from wg_dynamic.helper.config.file import CONFIG_ROOT, load_config
from wg_dynamic.helper.supervisor import stop_signals
from wg_dynamic.system import libc
from wg_dynamic.system.clock import SystemClock
from wg_dynamic.system.log import logger, set_up_log, standard_error
from wg_dynamic.system.notify import notify
from wg_dynamic.system.privileges import Account, drop_privileges
from wg_dynamic.system.runtime import admin_path, make_own_directory
from wg_dynamic.watch.exporter import Exporter, listen
from wg_dynamic.watch.follower import GoneError, NamesFile, Server, follow
from wg_dynamic.watch.hooks import Hooks, Queue, children_of_ours, command_line
from wg_dynamic.watch.link import pair
from wg_dynamic.watch.names import Names
from wg_dynamic.watch.spawner import Spawner

if TYPE_CHECKING:
    import socket

_LOG = logger(__name__)

PROGRAM: Final = "wg-dynamic-watch"
ACCOUNT: Final = "wg-dynamic-watch"
"""Who reads what the server says; where there is no such account, the one of hooks by default."""
NAMES_ROOT: Final = Path("/run/wg-dynamic-watch")
RESTART: Final = 1.0
"""Seconds before a process that has ended is started again."""
_PR_SET_CHILD_SUBREAPER: Final = 36
"""linux/prctl.h"""
_PR_SET_PDEATHSIG: Final = 1


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = Parser(
        PROGRAM,
        description="Run hooks on lease events of a server, keep a file of names, serve metrics.",
        epilog=f"What to do is in the server's configuration, {CONFIG_ROOT}/INTERFACE.toml. It"
        " stays in the foreground and waits for the server, as often as that goes and comes.",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    parser.add_argument("--config", type=Path, metavar="FILE", help="another configuration file")
    parser.add_argument("--verbose", action="store_true", help="log more")
    parser.add_argument("interface", help="the server's, as in wg0")
    return parser


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    return run(PROGRAM, lambda: _main(make_parser().parse_args(argv)))


def _main(arguments: argparse.Namespace) -> int:
    set_up_log(PROGRAM, standard_error(), verbose=arguments.verbose)
    beside = load_config(arguments.config, arguments.interface).beside
    if beside == Beside():
        msg = "nothing to do: the configuration has neither [[hook]] nor [names] nor [metrics]"
        raise UsageError(msg)
    queues = make_queues(beside)
    listener = None if beside.metrics is None else _listen(*beside.metrics)
    names = _make_names(arguments.interface, beside)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signals = stop_signals()
    hooks = Hooks(queues, children_of_ours)
    notify("READY=1")
    try:
        while not _serve(arguments.interface, hooks, listener, names, signals):
            _LOG.warning("the process that follows the server ended; starting another one")
            if select.select([signals], [], [], RESTART)[0]:
                break
    finally:
        hooks.stop()
    return OK


def _account(name: str) -> Account:
    """Raises ConfigError when there is none."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        msg = f"no account {name!r} on this machine, expected one: see `user` of [[hook]]"
        raise ConfigError(msg) from None
    return Account(entry.pw_uid, entry.pw_gid)


def make_queues(beside: Beside) -> list[Queue]:
    """One for each hook. Raises ConfigError, PrivilegeError."""
    clock = SystemClock()
    return [Queue(hook, _command(hook), clock) for hook in beside.hooks]


def _command(hook: Hook) -> list[str]:
    account, own = _account(hook.user), os.geteuid()
    if own not in (0, account.uid):
        msg = f"hook {hook.command[0]} is to run as {hook.user}, which takes root: run as root, or"
        msg += " name the account of this process as its user"
        raise PrivilegeError(msg)
    if not os.access(hook.command[0], os.X_OK):
        msg = f"hook {hook.command[0]} is no program that can be run, expected one"
        raise ConfigError(msg)
    return command_line(hook, uid=account.uid, gid=account.gid, own=own)


def _listen(address: str, port: int) -> "socket.socket":
    try:
        return listen(address, port)
    except OSError as error:
        msg = f"metrics: cannot listen on {address}, port {port}: {error.strerror}"
        raise ConfigError(msg) from error


def follower_account() -> Account:
    """Who reads what the server says. Raises ConfigError."""
    try:
        return _account(ACCOUNT)
    except ConfigError:
        return _account(DEFAULT_USER)


def _make_names(interface: str, beside: Beside) -> NamesFile | None:
    """The file, in a directory that the follower may write in. Raises ConfigError."""
    if not beside.suffix:
        return None
    directory = NAMES_ROOT / interface
    make_own_directory(NAMES_ROOT, 0o755)
    directory.mkdir(mode=0o755, exist_ok=True)
    if os.geteuid() == 0:  # ours first: the unit has no right to change what is another's
        os.chown(directory, 0, 0)
    for one in (NAMES_ROOT, directory):
        one.chmod(0o755)
    if os.geteuid() == 0:
        account = follower_account()
        os.chown(directory, account.uid, account.gid)
    names = Names(interface, beside.suffix, beside.reserved)
    return NamesFile(names, directory / "hosts")


def _serve(
    interface: str,
    hooks: Hooks,
    listener: "socket.socket | None",
    names: NamesFile | None,
    signals: int,
) -> bool:
    """With one child, until a signal comes (True) or the child is gone (False)."""
    ours, theirs = pair()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        ours.close()
        os._exit(_child(parent, theirs, listener, names))
    theirs.close()
    hooks.others = {pid}
    try:
        return Spawner(ours, lambda: admin_path(index_of(interface)), hooks).run(signals)
    finally:
        ours.close()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        hooks.others = set()


def _child(
    parent: int,
    link: "socket.socket",
    listener: "socket.socket | None",
    names: NamesFile | None,
) -> int:
    """Follow the server without privileges; returns an exit status."""
    try:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            return 1
        if os.geteuid() == 0:
            lacks = drop_privileges(follower_account())
            if lacks:
                _LOG.info("less confined than could be: not %s", ", ".join(lacks))
        server = Server(link)
        if listener is not None:
            exporter = Exporter(listener, server.metrics)
            threading.Thread(target=exporter.serve_forever, daemon=True).start()
        if names is not None:
            threading.Thread(target=names.run, daemon=True).start()
        follow(server, link, names, threading.Event().wait)
    except GoneError:
        return 0
    except Exception:  # noqa: BLE001 - the other process starts another one
        _LOG.exception("ended by a bug")
    return 1


if __name__ == "__main__":
    sys.exit(main())
