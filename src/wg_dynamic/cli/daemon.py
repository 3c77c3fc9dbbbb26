"""What both daemons' commands share: foreground or background, log, helper.

Imports little: see cli/client_start.py.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from wg_dynamic.cli.status import FAILED, UNQUALIFIED, status_of
from wg_dynamic.errors import ConfigError, WgDynamicError
from wg_dynamic.system.background import Verdict, go_to_background, redirect_stderr
from wg_dynamic.system.log import (
    STDERR,
    SYSLOG,
    SYSLOG_SOCKET,
    logger,
    set_up_log,
    standard_error,
)
from wg_dynamic.system.privileges import limit_helper

if TYPE_CHECKING:
    from pathlib import Path

_LOG = logger(__name__)

NO_LOG = f"nowhere, as there is no {SYSLOG_SOCKET}: use --log-file"


def run_daemon(
    program: str,
    arguments: Any,
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


def log_place(log_file: "Path | None") -> str:
    """Where the daemon in the background writes its log, in words."""
    if log_file is not None:
        return str(log_file)
    return "syslog" if os.path.exists(SYSLOG_SOCKET) else NO_LOG


def _open_log(log_file: "Path | None") -> None:
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
