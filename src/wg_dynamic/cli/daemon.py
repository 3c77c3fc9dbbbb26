"""What both daemons' commands share: foreground or background, log, helper, clean-up."""

import argparse
import os
import select
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from wg_dynamic.cli.status import FAILED, NOT_RUNNING, OK, UNQUALIFIED, USAGE, status_of
from wg_dynamic.errors import ConfigError, WgDynamicError
from wg_dynamic.helper.control_socket import ask_reload, stop_running
from wg_dynamic.system.background import Verdict, go_to_background, redirect_stderr
from wg_dynamic.system.log import (
    STDERR,
    SYSLOG,
    SYSLOG_SOCKET,
    complain,
    logger,
    set_up_log,
    standard_error,
)
from wg_dynamic.system.privileges import limit_helper
from wg_dynamic.system.runtime import RuntimeDirectory

_LOG = logger(__name__)

NO_LOG = f"nowhere, as there is no {SYSLOG_SOCKET}: use --log-file"
STOP_TRIES = 20
STOP_PAUSE = 0.05
"""Seconds between tries: a daemon that starts has the lock a moment before its socket."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, as all others are."""

    def error(self, message: str) -> NoReturn:
        """See argparse."""
        complain(self.prog, f"{message}; see {self.prog} --help")
        sys.exit(USAGE)


def add_daemon_options(parser: argparse.ArgumentParser) -> None:
    """The options that both daemons take."""
    parser.add_argument(
        "--foreground", action="store_true", help="stay in the foreground, log to standard error"
    )
    parser.add_argument(
        "--log-file",
        type=Path,
        metavar="FILE",
        help="in the background: log to FILE instead of syslog",
    )
    parser.add_argument(
        "--user",
        metavar="NAME",
        help="account of the process that parses packets (default: wg-dynamic, else uid 60970)",
    )
    parser.add_argument("--verbose", action="store_true", help="log more")


def run_daemon(
    program: str,
    arguments: argparse.Namespace,
    daemon: Callable[[Verdict, str], int],
    wait: float | None,
    away: str,
) -> int:
    """Run `daemon(verdict, log destination)` in the foreground or the background.

    Returns the exit status for the command.
    """
    if arguments.foreground:
        destination = standard_error()
        set_up_log(program, destination, verbose=arguments.verbose)
        return daemon(Verdict(None), destination)
    log_file = arguments.log_file.absolute() if arguments.log_file else None
    where = log_place(log_file)
    lost = f"; log: {where}" if where == NO_LOG else ""

    def in_background(verdict: Verdict) -> int:
        try:
            destination = SYSLOG if log_file is None else STDERR
            _open_log(log_file)
            set_up_log(program, destination, verbose=arguments.verbose)
            return daemon(verdict, destination)
        except WgDynamicError as error:
            _LOG.error("%s", error)
            verdict.give(status_of(error), f"{program}: {error}")
            return status_of(error)
        except OSError as error:
            _LOG.error("%s", error)
            verdict.give(FAILED, f"{program}: {error}")
            return FAILED
        except BaseException:  # our own fault: nobody reads a daemon's standard error
            _LOG.exception("ended by a bug")
            raise

    return go_to_background(in_background, wait, f"{away}; log: {where}", lost)


def log_place(log_file: Path | None) -> str:
    """Where the daemon in the background writes its log, in words."""
    if log_file is not None:
        return str(log_file)
    return "syslog" if os.path.exists(SYSLOG_SOCKET) else NO_LOG


def _open_log(log_file: Path | None) -> None:
    try:
        redirect_stderr(log_file)
    except ConfigError:
        redirect_stderr(None)
        raise
    except OSError as error:
        # Not to the terminal, which the foreground's line goes to: to nowhere.
        redirect_stderr(None)
        msg = f"cannot write --log-file {log_file}: {error.strerror}"
        msg += ", expected a file in a directory that exists"
        raise ConfigError(msg) from error


def verdict_on_failure(program: str, verdict: Verdict, reason: str) -> int:
    """The network process cannot serve: say why, once, wherever somebody reads it."""
    _LOG.error("%s", reason)
    verdict.give(UNQUALIFIED, f"{program}: {reason}")
    return UNQUALIFIED


def stop_daemon(
    program: str,
    name: str,
    runtime: RuntimeDirectory,
    undo: Callable[[], bool],
    *,
    release: bool,
) -> int:
    """Stop the daemon of an interface; without one, undo what a killed one left behind.

    Args:
        program: whose daemon.
        name: the interface.
        runtime: of that daemon's role on the interface.
        undo: called with the lock held; whether there was anything to undo.
        release: a client gives its lease back.

    Returns:
        The exit status for the command.

    Raises:
        ConfigError: another program's daemon runs there.
    """
    for left in reversed(range(STOP_TRIES)):
        if stop_running(runtime.control, release=release):
            return OK
        if runtime.lock(f"{program} --stop {name}"):
            break
        if not left:
            msg = f"no {program} to stop on {name}: {runtime.holder()} runs there"
            raise ConfigError(msg)
        select.select([], [], [], STOP_PAUSE)
    try:
        undone = runtime.ledger.exists() and undo()
    finally:
        runtime.release()
    text = "undid what a killed one had left" if undone else "nothing to undo"
    sys.stdout.write(f"{name}: no {program} runs here; {text}\n")
    return OK


def reload_daemon(program: str, name: str, runtime: RuntimeDirectory) -> int:
    """Let the daemon of an interface read its configuration again, and say how that went.

    Returns:
        The exit status for the command: USAGE when nothing was changed.

    Raises:
        WgDynamicError: it is there and does not answer.
    """
    answer = ask_reload(runtime.control)
    if answer is None:
        complain(program, f"no {program} runs on {name}, expected one to reload")
        return NOT_RUNNING
    if not answer.done:
        complain(program, f"{name}: not taken, all stays as it was\n{answer.text}")
        return USAGE
    sys.stdout.write(f"{answer.text}\n")
    return OK


def network_arguments(destination: str, *, verbose: bool) -> list[str]:
    """How the network process is told about its log."""
    return [destination, "verbose" if verbose else "quiet"]


def confine_helper() -> None:
    """Keep no more of root than the helper needs; said in the log where that cannot be done."""
    lacks = limit_helper()
    if lacks:
        _LOG.warning("the helper is less confined than could be: not %s", ", ".join(lacks))


def umask() -> None:
    """Nothing that we make is anybody else's to read."""
    os.umask(0o077)
