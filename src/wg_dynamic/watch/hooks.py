"""Hooks: programs that run on lease events, one at a time each, in the order of the events.

Theory of operation. Each hook has a queue of so many events; what does not fit is counted, and the
next run is told how many it missed. A run gets one event: JSON on standard input, and the same as
environment variables. It is a process group of its own, with limits (prlimit(1)) and, unless said
otherwise, another user without privileges (setpriv(1)); it ends with its first process, or when its
time is over, and then all of it is killed, whatever it has started. Of what it prints the first
lines go to the log; then its output is closed.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from wg_dynamic.helper.config.beside import Hook
from wg_dynamic.system.clock import Clock
from wg_dynamic.system.log import logger, printable

_LOG = logger(__name__)

QUEUE: Final = 1000
"""Events that wait for a hook."""
MAX_OUTPUT: Final = 4096
"""Bytes of one run that may go to the log."""
MAX_LINES: Final = 10
LIMITS: Final = (
    *("--core=0", "--data=268435456", "--fsize=67108864", "--nofile=256", "--nproc=64"),
)
"""Of a run's processes (setrlimit(2)); the number of processes counts all of that user."""
ORPHAN_ROUNDS: Final = 100
"""How often children are looked for after a run: as deep may what it has started be nested."""
_PRLIMIT: Final = "/usr/bin/prlimit"
_SETPRIV: Final = "/usr/bin/setpriv"
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_VARIABLES: Final = (
    *("event", "interface", "public_key", "name", "address", "network", "lease_time", "reason"),
    "lost",
)


def command_line(hook: Hook, *, uid: int, gid: int, own: int) -> list[str]:
    """What is run: the hook's command under its limits, as its user unless that is ours already."""
    become: list[str] = []
    if uid != own:
        become = [_SETPRIV, f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
        become += ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--"]
    seconds = f"--cpu={hook.timeout}"
    return [_PRLIMIT, *LIMITS, seconds, "--", *become, *hook.command]


def environment(event: Mapping[str, Any]) -> dict[str, str]:
    """The variables of a run."""
    variables = {f"WG_DYNAMIC_{key.upper()}": str(event[key]) for key in _VARIABLES if key in event}
    return {"PATH": _PATH, "LANG": "C.UTF-8", "HOME": "/", **variables}


class Run:
    """One run of a hook that has begun."""

    def __init__(self, command: Sequence[str], event: Mapping[str, Any], ends_at: float) -> None:
        """Start it. Raises OSError."""
        self.ends_at = ends_at
        self.output = b""
        self._process = subprocess.Popen(  # noqa: S603 - the administrator's own command
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(event),
            cwd="/",
            start_new_session=True,
        )
        assert self._process.stdin is not None  # noqa: S101 - a pipe
        assert self._process.stdout is not None  # noqa: S101 - likewise
        self._out = self._process.stdout
        os.set_blocking(self._out.fileno(), False)
        with contextlib.suppress(OSError):  # it does not read
            self._process.stdin.write(f"{json.dumps(dict(event))}\n".encode("ascii"))
            self._process.stdin.close()
        self.pidfd = os.pidfd_open(self._process.pid)

    @property
    def pid(self) -> int:
        """Of its first process, and of the group."""
        return self._process.pid

    def fileno(self) -> int:
        """Readable when it has printed something; -1 when no more is read."""
        return -1 if self._out.closed else self._out.fileno()

    def read(self) -> None:
        """Take what was printed; close the output when that is enough."""
        try:
            data = os.read(self._out.fileno(), MAX_OUTPUT)
        except BlockingIOError:
            return
        self.output += data
        if not data or len(self.output) >= MAX_OUTPUT:
            self._out.close()

    def end(self) -> int:
        """Kill what is left of it, and wait; the status, below 0 for a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        status = self._process.wait()
        if not self._out.closed:
            with contextlib.suppress(BlockingIOError, OSError):
                self.output += os.read(self._out.fileno(), MAX_OUTPUT)
            self._out.close()
        os.close(self.pidfd)
        return status


class Queue:
    """One hook, what waits for it, and its run."""

    def __init__(self, hook: Hook, command: Sequence[str], clock: Clock) -> None:
        self.hook = hook
        self.run: Run | None = None
        self.lost = 0
        """Events since the last run that it will not get."""
        self._command = command
        self._clock = clock
        self._waiting: deque[Mapping[str, Any]] = deque()

    def tell(self, event: Mapping[str, Any]) -> None:
        """Queue an event that the hook wants."""
        if event["event"] not in self.hook.events:
            return
        if len(self._waiting) >= QUEUE:
            if not self.lost:
                _LOG.warning("hook %s: %d events wait, losing others", self.name, QUEUE)
            self.lost += 1
            return
        self._waiting.append(event)
        self.begin()

    @property
    def name(self) -> str:
        """For messages."""
        return printable(self.hook.command[0])

    def begin(self) -> None:
        """Run it with the next event, if there is one and it does not run."""
        while self.run is None and self._waiting:
            event = dict(self._waiting.popleft())
            event["lost"] = event.get("lost", 0) + self.lost
            self.lost = 0
            if not event["lost"]:
                del event["lost"]
            try:
                self.run = Run(self._command, event, self._clock.now() + self.hook.timeout)
            except OSError as error:
                _LOG.error("hook %s: cannot be started: %s", self.name, error.strerror)

    def look(self) -> None:
        """End the run if its first process has ended, or its time is over."""
        if self.run is None:
            return
        late = self._clock.now() >= self.run.ends_at
        done = bool(select.select([self.run.pidfd], [], [], 0)[0])
        if not (late or done):
            return
        run, self.run = self.run, None
        status = run.end()
        for line in run.output.decode("utf-8", "replace").splitlines()[:MAX_LINES]:
            _LOG.info("hook %s: %s", self.name, printable(line))
        if late and not done:
            _LOG.warning("hook %s: killed after %d s", self.name, self.hook.timeout)
        elif status:
            _LOG.warning("hook %s: ended with %d, expected 0", self.name, status)
        self.begin()

    def stop(self) -> None:
        """Kill the run; what waits is given up."""
        self._waiting.clear()
        if self.run is not None:
            self.run.end()
            self.run = None


class Hooks:
    """All hooks of one server."""

    def __init__(self, queues: Sequence[Queue], children: Callable[[], list[int]]) -> None:
        """`children`: PIDs of our child processes, those included that came to us as orphans."""
        self._queues = queues
        self._children = children
        self.others: set[int] = set()
        """Children that are no hook's."""

    def tell(self, event: Mapping[str, Any]) -> None:
        """One event, to whom it concerns."""
        for queue in self._queues:
            queue.tell(event)

    def runs(self) -> list[Run]:
        """Those that have begun."""
        return [queue.run for queue in self._queues if queue.run is not None]

    def look(self) -> None:
        """Read what was printed, end what has ended, begin what is next."""
        for run in self.runs():
            if run.fileno() >= 0:
                run.read()
        before = {run.pid for run in self.runs()}
        for queue in self._queues:
            queue.look()
        if before - {run.pid for run in self.runs()}:
            self._end_orphans()

    def _end_orphans(self) -> None:
        """What a run has put out of its process group came to us, and ends with it."""
        known = {run.pid for run in self.runs()} | self.others
        for _ in range(ORPHAN_ROUNDS):  # what an orphan has started comes to us when it is killed
            orphans = [pid for pid in self._children() if pid not in known]
            for pid in orphans:
                with contextlib.suppress(ProcessLookupError, ChildProcessError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
            if not orphans:
                return

    def stop(self) -> None:
        """End all of them."""
        for queue in self._queues:
            queue.stop()
        self._end_orphans()


def children_of_ours() -> list[int]:
    """PIDs of our child processes (proc_pid_task(5), children)."""
    try:
        text = Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii")
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN
        return []
    return [int(word) for word in text.split()]
