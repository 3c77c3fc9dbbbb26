"""Run one of the system's own programs (resolvconf, resolvectl, nft): never by way of a shell.

What it is given is a list of arguments and a text; what it inherits is a fixed PATH, two more
variables, `/` and the usual umask, and no descriptor of ours. It has a time limit, and so have its
children: they form one process group. What it prints is kept up to a bound and thrown away beyond.
"""

import os
import select
import signal
from typing import TYPE_CHECKING, Final

from wg_dynamic.errors import WgDynamicError
from wg_dynamic.record import dataclass
from wg_dynamic.system.clock import SystemClock
from wg_dynamic.system.log import printable

if TYPE_CHECKING:
    import subprocess

TRUSTED_PATH: Final = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")
"""Where tools are looked for: directories that root alone writes to. /usr/local is not among them:
on Debian a group may write there."""
TIME_LIMIT: Final = 10.0
"""Seconds; openresolv waits as long for its own lock."""
TERM_TIME: Final = 1.0
"""Seconds for a tool to put its things in order (openresolv: its lock) before it is killed."""
MAX_OUTPUT: Final = 1 << 16
"""Bytes kept of each of the two streams."""
_CHUNK: Final = 1 << 14
_ENVIRONMENT: Final = {"PATH": ":".join(TRUSTED_PATH), "LC_ALL": "C", "HOME": "/"}


class ToolError(WgDynamicError):
    """A tool did not do what it was run for; says why in the tool's own words, made printable."""


class ToolMissingError(ToolError):
    """There is no such tool on this machine."""


@dataclass(frozen=True)
class ToolResult:
    """What became of a tool that ended by itself."""

    command: str
    """Name and arguments, for errors."""
    status: int
    """Exit status; negative: the signal that ended it."""
    output: str
    """Standard output, the first MAX_OUTPUT bytes."""
    words: str
    """What it said about a failure, in one printable line: standard error, else output."""

    def check(self) -> str:
        """Its output. Raises ToolError for an exit status other than 0."""
        if self.status == 0:
            return self.output
        how = f"signal {-self.status}" if self.status < 0 else f"status {self.status}"
        msg = f"{self.command} ended with {how}"
        raise ToolError(f"{msg}: {self.words}" if self.words else msg)


def find_tool(name: str, path: tuple[str, ...] = TRUSTED_PATH) -> str | None:
    """The absolute path of a tool, or None. `name` is a plain file name."""
    for directory in path:
        candidate = f"{directory}/{name}"
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    return None


def run_tool(
    name: str,
    *arguments: str,
    text: str = "",
    time_limit: float = TIME_LIMIT,
    path: tuple[str, ...] = TRUSTED_PATH,
) -> ToolResult:
    """Run the tool with `text` as its standard input and wait for it.

    Children that it leaves in the background are left alone when it ends in time.

    Raises:
        ToolMissingError: it is in none of the directories of `path`.
        ToolError: it could not be started, or took longer than `time_limit`; then it has been
            ended, and its children with it.
    """
    program = find_tool(name, path)
    if program is None:
        msg = f"no {name} in {':'.join(path)}"
        raise ToolMissingError(msg)
    try:
        process = _start([program, *arguments], text)
    except OSError as error:
        msg = f"cannot start {program}: {error.strerror}"
        raise ToolError(msg) from error
    command = f"{name} {' '.join(arguments)}".rstrip()
    try:
        streams = _Streams(process)
    except OSError as error:  # no descriptor left
        with process:  # closes the pipes
            _kill(process)
        msg = f"cannot wait for {program}: {error.strerror}"
        raise ToolError(msg) from error
    return _wait(process, streams, command, time_limit)


def _start(command: list[str], text: str) -> "subprocess.Popen[bytes]":
    """Raises OSError."""
    import subprocess  # noqa: PLC0415 - most clients never run a tool, and start sooner without

    # A file in memory, not a pipe: a tool that does not read it cannot keep us waiting.
    stdin = os.memfd_create("stdin")
    try:
        os.write(stdin, text.encode())
        os.lseek(stdin, 0, os.SEEK_SET)
        return subprocess.Popen(  # noqa: S603 - no shell, an absolute path, our own arguments
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_ENVIRONMENT,
            cwd="/",
            umask=0o022,  # ours would make an /etc/resolv.conf that only root can read
            start_new_session=True,
        )
    finally:
        os.close(stdin)


def _wait(
    process: "subprocess.Popen[bytes]", streams: "_Streams", command: str, time_limit: float
) -> ToolResult:
    try:
        if not streams.read_until_end(time_limit):
            _signal_group(process, signal.SIGTERM)
            streams.read_until_end(TERM_TIME)
            _kill(process)
            msg = f"{command} did not end within {time_limit:g} s and was ended"
            said = streams.words()
            raise ToolError(f"{msg}; it said: {said}" if said else msg)
        status = process.wait()
        return ToolResult(command, status, streams.output(), streams.words())
    finally:
        if process.poll() is None:  # an error of ours on the way
            _kill(process)
        streams.close()


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """End it and its children, and take its status."""
    _signal_group(process, signal.SIGKILL)
    process.wait()


def _signal_group(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """Signal the tool and its children. Its process ID stays the group's while one of them lives.

    A leader that was waited for is out of the question here: until then its number is taken.
    """
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


class _Streams:
    """What a process prints, until it ends: a child of it may keep the pipes open for ever."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None  # noqa: S101 - pipes both
        assert process.stderr is not None  # noqa: S101
        self._files = (process.stdout, process.stderr)
        self._kept = {file.fileno(): bytearray() for file in self._files}
        self._handle = os.pidfd_open(process.pid)
        self._poll = select.poll()
        self._poll.register(self._handle, select.POLLIN)
        for descriptor in self._kept:
            os.set_blocking(descriptor, False)
            self._poll.register(descriptor, select.POLLIN)

    def read_until_end(self, seconds: float) -> bool:
        """Read until the process has ended; False when it has not within `seconds`."""
        clock = SystemClock()
        deadline = clock.now() + seconds
        while True:
            left = deadline - clock.now()
            ready = [fd for fd, _ in self._poll.poll(max(0, left) * 1000)]
            for descriptor in ready:
                if descriptor != self._handle and not self._read(descriptor):
                    self._poll.unregister(descriptor)
            if self._handle in ready:
                self._drain()
                return True
            if left <= 0:
                return False

    def output(self) -> str:
        """Standard output."""
        return self._text(0)

    def words(self) -> str:
        """One printable line of what it said."""
        return printable(" ".join((self._text(1).strip() or self._text(0).strip()).split()))

    def close(self) -> None:
        """Close what was opened here."""
        os.close(self._handle)
        for file in self._files:
            file.close()

    def _text(self, number: int) -> str:
        return self._kept[self._files[number].fileno()].decode("utf-8", "replace")

    def _read(self, descriptor: int) -> bool:
        """Take what is there; False at the end."""
        try:
            chunk = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return True
        kept = self._kept[descriptor]
        kept += chunk[: MAX_OUTPUT - len(kept)]
        return bool(chunk)

    def _drain(self) -> None:
        """What the process wrote before it ended; a child that writes on is not waited for."""
        for descriptor in self._kept:
            for _ in range(MAX_OUTPUT // _CHUNK + 1):
                try:
                    chunk = os.read(descriptor, _CHUNK)
                except BlockingIOError:
                    break
                kept = self._kept[descriptor]
                kept += chunk[: MAX_OUTPUT - len(kept)]
                if not chunk:
                    break
