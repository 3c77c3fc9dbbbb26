"""Go into the background, and tell the waiting foreground how it went (daemon(7), the SysV way).

The foreground process forks first, before anything is opened, and waits at a pipe. The daemon
writes one line of verdict; a daemon that dies without one is reported as such.
"""

import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from wg_dynamic.system.log import logger

if TYPE_CHECKING:
    from pathlib import Path

_LOG = logger(__name__)

_TEXT_SIZE = 2048
"""Characters of a verdict: the pipe holds it whole."""


class Verdict:
    """The daemon's end of the pipe: says once what the foreground prints and exits with."""

    def __init__(self, descriptor: int | None) -> None:
        """`descriptor` None: there is no foreground process to tell (--foreground)."""
        self._descriptor = descriptor
        self.is_given = False
        """Whether it was decided how the start went."""

    def give(self, status: int, text: str) -> None:
        """Let the foreground print `text` and exit with `status`. The first call counts."""
        self.is_given = True
        if self._descriptor is None:
            return
        line = f"{status} {text[:_TEXT_SIZE]}".encode(errors="replace")
        try:
            os.write(self._descriptor, line)
        except BrokenPipeError:
            pass  # the foreground waited long enough and has left
        finally:
            os.close(self._descriptor)
            self._descriptor = None


def go_to_background(
    daemon: Callable[[Verdict], int], wait: float | None, away: str, note: str = ""
) -> int:
    """Run `daemon` in a new session; return the exit status for the foreground.

    Args:
        daemon: runs in the background, with the verdict to give; returns its own exit status.
        wait: seconds to wait for the verdict, None for as long as it takes.
        away: what to print when `wait` is over (the exit status is 0 then).
        note: what to put behind a verdict that all is well.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _become_daemon(daemon, Verdict(writer))
    os.close(writer)
    with open(reader, "rb") as verdicts:
        os.waitpid(child, 0)  # the intermediate process, which ends at once
        ready, _, _ = select.select([verdicts], [], [], wait)
        if not ready:
            sys.stdout.write(away + "\n")
            return 0
        line = verdicts.read().decode()  # the daemon closes its end after the one it gives
    if not line:
        sys.stderr.write("the daemon ended while starting: see its log\n")
        return 1
    status, _, text = line.partition(" ")
    if status == "0":
        sys.stdout.write(f"{text}{note}\n")
    else:
        sys.stderr.write(text + "\n")
    return int(status)


def _become_daemon(daemon: Callable[[Verdict], int], verdict: Verdict) -> None:
    """Never returns, whatever happens: what the foreground does afterwards is not ours to do."""
    status = 1
    try:
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        status = _run_daemon(daemon, verdict)
    except BaseException:  # noqa: BLE001 - nothing may get past here
        _LOG.exception("the daemon failed")
    finally:
        # Not sys.exit: the foreground's clean-up handlers are not ours to run.
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(status)


def _run_daemon(daemon: Callable[[Verdict], int], verdict: Verdict) -> int:
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    return daemon(verdict)


def redirect_stderr(log_file: "Path | None") -> None:
    """Let the daemon's standard error, inherited by its children, go to a file or nowhere.

    Raises as system.ownership.open_log.
    """
    if log_file is None:
        target = os.open(os.devnull, os.O_WRONLY)
    else:
        from wg_dynamic.system.ownership import open_log  # noqa: PLC0415 - few want it

        target = open_log(log_file)
    os.dup2(target, 2)
    os.close(target)


def signal_descriptor(numbers: tuple[signal.Signals, ...]) -> int:
    """A descriptor that becomes readable, one byte with the signal's number, when one arrives."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    for number in numbers:
        signal.signal(number, lambda _number, _frame: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader
