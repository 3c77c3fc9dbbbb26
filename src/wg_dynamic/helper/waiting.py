"""Where a server waits for its interface to come back, and `--stop` finds it meanwhile.

Its runtime directory is named by the interface's index, and there is no such index now
(docs/decisions/0006). So a waiting server has a control socket by the interface's name and its own
process ID beside the directories; more than one may wait for the same name.
"""

import os
import select
import signal
from pathlib import Path

from wg_dynamic.helper.control_socket import ControlSocket, stop_running
from wg_dynamic.netlink.control import EventSource
from wg_dynamic.system.runtime import RUNTIME_ROOT, namespace_key

RETRY = 30.0
"""Seconds between two looks when nothing changes in the kernel: a full disk may have room again."""


def _prefix(name: str) -> str:
    return f"waiting-{namespace_key()}-{name}."


class WaitingRoom:
    """Of one server, which may be inside or not."""

    def __init__(self, name: str, root: Path | None = None) -> None:
        self._path = (root or RUNTIME_ROOT) / f"{_prefix(name)}{os.getpid()}"
        self._control: ControlSocket | None = None
        self.reload_asked = False
        """SIGHUP came while we waited: whoever goes on reads the file again, and says False."""

    def enter(self) -> None:
        """Can be found here from now on. Calling it inside is fine."""
        if self._control is None:
            self._control = ControlSocket(self._path)

    def leave(self) -> bool:
        """Cannot be found here any more; whether anybody has found us, and said stop.

        They are told that it is done by `close`. To be called when we can be found elsewhere.
        """
        if self._control is None:
            return False
        self._path.unlink(missing_ok=True)
        if self._control.last_call():
            return True
        self.close()
        return False

    def wait(self, events: EventSource, signals: int) -> bool:
        """Wait inside for a change in the kernel or a SIGHUP, or RETRY; False on a stop."""
        self.enter()
        control = self._control
        assert control is not None  # noqa: S101 - entered
        watched = [events.fileno(), signals, control.fileno()]
        while True:
            ready, _, _ = select.select(watched, [], [], RETRY)
            if not ready:
                return True
            if signals in ready:
                numbers = set(os.read(signals, 64))
                if numbers & {signal.SIGTERM, signal.SIGINT}:
                    return False
                if signal.SIGHUP in numbers:
                    self.reload_asked = True
                    return True
            elif control.fileno() in ready:
                if control.receive() is not None:
                    return False
            elif events.read():
                return True

    def close(self) -> None:
        """Tell everybody who has said stop that it is done. Calling it twice is fine."""
        if self._control is not None:
            self._path.unlink(missing_ok=True)
            self._control.close()
            self._control = None


def stop_waiting(name: str, root: Path | None = None) -> bool:
    """Stop the servers that wait for an interface of this name; False when none does.

    Raises:
        WgDynamicError: one did not stop in time.
    """
    directory, prefix = root or RUNTIME_ROOT, _prefix(name)
    found = False
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        if path.name.startswith(prefix) and path.name.removeprefix(prefix).isdecimal():
            if stop_running(path, release=False):
                found = True
            else:
                path.unlink(missing_ok=True)  # of one that was killed
    return found
