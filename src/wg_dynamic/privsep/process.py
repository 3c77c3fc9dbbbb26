"""The network process as its parent sees it: started by exec, waited for, killed.

Imports little: a client starts it before it imports anything else (cli/client_start.py).
"""

import contextlib
import os
import select
import signal
import socket
import sys

from wg_dynamic.system.privileges import Account

_KEPT_VARIABLES = ("LANG", "LC_ALL", "LC_CTYPE", "PATH", "TZ")
"""The rest of the environment is root's own business."""
_BEGIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "begin.py")
_SO_PASSRIGHTS = 83
"""asm-generic/socket.h: whether the other end may send descriptors."""
_STANDARD = 3
"""Descriptors below this one are passed on."""
_PAUSE = 0.01
"""Seconds between two looks at a child, on a kernel without pidfd_open (before Linux 5.3)."""


class NetworkProcess:
    """A child of ours."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def wait(self, seconds: float | None = None) -> int:
        """Wait for its end; its exit status, or minus the number of the signal that ended it.

        Raises TimeoutError when it goes on for so many seconds.
        """
        if self._status is None and seconds is not None and not self._ends_within(seconds):
            msg = f"process {self.pid} goes on after {seconds:g} s"
            raise TimeoutError(msg)
        if self._status is None:
            self._take(0)
        return self._status or 0

    def kill(self) -> None:
        """End it at once. No error when it has ended."""
        if self._status is None:  # not waited for: the number is still its own
            os.kill(self.pid, signal.SIGKILL)

    def _take(self, options: int) -> None:
        try:
            pid, status = os.waitpid(self.pid, options)
        except ChildProcessError:  # somebody else has waited for it
            pid, status = self.pid, 0
        if pid:
            self._status = os.waitstatus_to_exitcode(status)

    def _ends_within(self, seconds: float) -> bool:
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        except OSError:
            return self._look(seconds)
        try:
            return bool(select.select([descriptor], [], [], seconds)[0])
        finally:
            os.close(descriptor)

    def _look(self, seconds: float) -> bool:
        for _ in range(int(seconds / _PAUSE) + 1):
            self._take(os.WNOHANG)
            if self._status is not None:
                return True
            select.select([], [], [], _PAUSE)
        return False


def start_process(
    module: str, account: Account, arguments: list[str]
) -> tuple[NetworkProcess, socket.socket]:
    """Run the `main` of a module in a fresh interpreter; it, and our end of the channel.

    The process is told its account and drops to it by itself, after its imports: an interpreter
    or a checkout that only root can read (a virtual environment below /root) works too.

    Raises OSError: it cannot be started.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with contextlib.suppress(OSError):  # before Linux 6.16: Channel.receive closes what comes
        ours.setsockopt(socket.SOL_SOCKET, _SO_PASSRIGHTS, 0)
    with theirs:
        try:
            return NetworkProcess(_spawn(module, account, arguments, theirs.fileno())), ours
        except OSError:
            ours.close()
            raise


def _spawn(module: str, account: Account, arguments: list[str], channel: int) -> int:
    """Not subprocess, whose import takes as long as all of this."""
    # -I: nothing of the environment and of the working directory; -S: nothing of site-packages,
    # in which any package may have something run at every start. begin.py says where we are.
    command = [sys.executable, "-I", "-S", _BEGIN, module]
    _close_on_exec()
    os.set_inheritable(channel, True)
    return os.posix_spawn(
        sys.executable,
        [*command, f"{channel},{account.uid},{account.gid}", *arguments],
        {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
        file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
        # Ctrl-C is for the helper, which then stops this one in order; and what is not of the
        # terminal's session cannot type into it (TIOCSTI).
        setsid=True,
        setsigdef=[signal.SIGPIPE, signal.SIGHUP],
    )


def _close_on_exec() -> None:
    """What we have been given open is not passed on; what we open ourselves never is."""
    for number in map(int, os.listdir("/proc/self/fd")):
        if number >= _STANDARD:
            with contextlib.suppress(OSError):  # that of the listing itself
                os.set_inheritable(number, False)
