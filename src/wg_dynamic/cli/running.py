"""What a command asks of a daemon that runs: to stop, to read its configuration again."""

import select
import sys
from collections.abc import Callable

from wg_dynamic.cli.status import NOT_RUNNING, OK, USAGE
from wg_dynamic.errors import ConfigError
from wg_dynamic.helper.control_socket import ask_reload, stop_running
from wg_dynamic.system.log import complain
from wg_dynamic.system.runtime import RuntimeDirectory

STOP_TRIES = 20
STOP_PAUSE = 0.05
"""Seconds between tries: a daemon that starts has the lock a moment before its socket."""


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
