"""What writes log lines, and where they go: standard error with --foreground, else syslog.

Standard error may be the journal of systemd, which takes the priority of a line from its first
characters (sd-daemon(3)) and notes who wrote it by itself.

Not `logging`, whose import is a tenth of what a start costs (docs/decisions/0013): `logger` gives
what we use of one. Before `set_up_log`, as in a test or another program, lines go to `logging`
where that has been imported; what other libraries log (asyncio) goes our way after it.
"""

import contextlib
import io
import os
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any

SYSLOG_SOCKET = "/dev/log"
STDERR = "stderr"
SYSLOG = "syslog"
JOURNAL = "journal"

DEBUG = 10
INFO = 20
WARNING = 30
ERROR = 40
CRITICAL = 50
"""As in `logging`."""

_LOG_DAEMON = 3 << 3
"""sys/syslog.h"""
_SEVERITIES = ((CRITICAL, 2), (ERROR, 3), (WARNING, 4), (INFO, 6))
_LOG_DEBUG = 7
_NAMES = {DEBUG: "DEBUG", INFO: "INFO", WARNING: "WARNING", ERROR: "ERROR", CRITICAL: "CRITICAL"}


class Logger:
    """Writes lines of one module; arguments are put in their places by `%`, as in `logging`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def log(self, level: int, text: str, *arguments: object) -> None:
        """Write one line, or several, if the level is one that is logged."""
        if level >= WARNING and _log.watcher is not None:
            _log.watcher(_filled(text, arguments))
        if _log.write is None:
            _say_early(self._name, level, text, arguments)
        elif level >= _log.least:
            _log.write(level, _filled(text, arguments))

    def is_enabled_for(self, level: int) -> bool:
        """Whether a line of that level would be written."""
        if _log.write is None and (logging := sys.modules.get("logging")) is not None:
            return bool(logging.getLogger(self._name).isEnabledFor(level))
        return level >= _log.least

    def debug(self, text: str, *arguments: object) -> None:
        """Write what only --verbose shows."""
        self.log(DEBUG, text, *arguments)

    def info(self, text: str, *arguments: object) -> None:
        """Write what is worth knowing."""
        self.log(INFO, text, *arguments)

    def warning(self, text: str, *arguments: object) -> None:
        """Write what somebody should look at."""
        self.log(WARNING, text, *arguments)

    def error(self, text: str, *arguments: object) -> None:
        """Write what went wrong."""
        self.log(ERROR, text, *arguments)

    def exception(self, text: str, *arguments: object) -> None:
        """Write what went wrong, with the traceback of the exception that is being handled."""
        self.log(ERROR, "%s\n%s", _filled(text, arguments), _traceback())


class _Log:
    """Where lines go, for the whole process."""

    def __init__(self) -> None:
        self.write: Callable[[int, str], None] | None = None
        """None before `set_up_log`."""
        self.least = INFO
        self.watcher: Callable[[str], None] | None = None


_log = _Log()


def logger(name: str) -> Logger:
    """The logger of a module."""
    return Logger(name)


def watch(watcher: Callable[[str], None] | None) -> None:
    """Have somebody told of each warning and error besides; None: nobody any more."""
    _log.watcher = watcher


def _filled(text: str, arguments: tuple[object, ...]) -> str:
    try:
        return text % arguments if arguments else text
    except (TypeError, ValueError):  # our own fault, and no reason to end
        return f"{text} {arguments!r}"


def _traceback() -> str:
    """As the interpreter itself prints it: a network process can import no module any more."""
    kept, sys.stderr = sys.stderr, io.StringIO()
    try:
        sys.__excepthook__(*sys.exc_info())
        return sys.stderr.getvalue().rstrip()
    finally:
        sys.stderr = kept


def _say_early(name: str, level: int, text: str, arguments: tuple[object, ...]) -> None:
    logging = sys.modules.get("logging")
    if logging is not None:
        logging.getLogger(name).log(level, text, *arguments)
    elif level >= WARNING:
        _to_standard_error(f"{_filled(text, arguments)}\n")


def standard_error(environment: Mapping[str, str] = os.environ, descriptor: int = 2) -> str:
    """What our standard error is: JOURNAL, or STDERR for anything else (systemd.exec(5))."""
    try:
        status = os.fstat(descriptor)
    except OSError:  # closed
        return STDERR
    journal = environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
    return JOURNAL if journal else STDERR


def complain(program: str, text: str) -> None:
    """Write an error of a command to standard error, each line on its own."""
    start = f"<3>{program}: " if standard_error() == JOURNAL else f"{program}: "
    for line in text.splitlines():
        sys.stderr.write(f"{start}{line}\n")


def _severity(level: int) -> int:
    return next((s for least, s in _SEVERITIES if level >= least), _LOG_DEBUG)


def _to_standard_error(lines: str) -> None:
    with contextlib.suppress(OSError, AttributeError, ValueError):  # full, closed or not there
        sys.stderr.write(lines)
        sys.stderr.flush()


class _Syslog:
    """Lines to the local system log (RFC 3164), one datagram each, to whoever listens there now.

    Not connected: a network process cannot do that again when the log was restarted.
    """

    def __init__(self, program: str, path: str) -> None:
        self._program = program
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def __call__(self, level: int, text: str) -> None:
        line = f"<{_LOG_DAEMON | _severity(level)}>{self._program}: {text}\0"
        with contextlib.suppress(OSError):  # a log that is away stops nobody
            # Not sendto, to which the filter of a network process allows no address.
            self._socket.sendmsg([line.encode(errors="replace")], [], 0, self._path)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _to_journal(level: int, text: str) -> None:
    """Each line with its priority: a traceback has many."""
    start = f"<{_severity(level)}>"
    _to_standard_error("".join(f"{start}{line}\n" for line in text.splitlines()))


def set_up_log(program: str, destination: str, *, verbose: bool = False) -> None:
    """Send all lines to STDERR, JOURNAL or SYSLOG; `program` names the sender."""
    forget()
    if destination == SYSLOG and os.path.exists(SYSLOG_SOCKET):
        _log.write = _Syslog(program, str(SYSLOG_SOCKET))
    elif destination == JOURNAL:
        _log.write = _to_journal
    else:
        _log.write = lambda level, text: _to_standard_error(
            f"{program}: {_NAMES.get(level, level)}: {text}\n"
        )
    _log.least = DEBUG if verbose else INFO
    if (logging := sys.modules.get("logging")) is not None:
        _hear(logging)


def forget() -> None:
    """Be as before `set_up_log`."""
    if isinstance(_log.write, _Syslog):
        _log.write.close()
    _log.write, _log.least = None, INFO


def _hear(logging: Any) -> None:
    """Let what others write with `logging` go where our own lines go."""

    class Forwarder(logging.Handler):  # type: ignore[misc]  # of a module that may be away
        def emit(self, record: Any) -> None:
            if _log.write is not None:
                _log.write(record.levelno, self.format(record))

    root = logging.getLogger()
    root.handlers[:] = [Forwarder()]
    root.setLevel(_log.least)


def printable(text: str, limit: int = 200) -> str:
    """Foreign text made fit for one log line: printable ASCII, at most `limit` characters."""
    return "".join(c if " " <= c <= "~" else "?" for c in text[:limit])


class RateLimit:
    """At most `count` lines in `span` seconds for one kind of event that strangers can cause."""

    def __init__(self, now: Callable[[], float], count: int = 5, span: float = 60.0) -> None:
        self._now = now
        self._count = count
        self._span = span
        self._since = float("-inf")
        self._used = 0
        self.suppressed = 0
        """How many were refused so far."""

    def allow(self) -> bool:
        """Whether one more line may be written now."""
        now = self._now()
        if now - self._since >= self._span:
            self._since, self._used = now, 0
        if self._used >= self._count:
            self.suppressed += 1
            return False
        self._used += 1
        return True
