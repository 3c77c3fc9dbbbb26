"""Where log lines go: standard error with --foreground, syslog in the background.

Standard error may be the journal of systemd, which takes the priority of a line from its first
characters (sd-daemon(3)) and notes who wrote it by itself.
"""

import logging
import os
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

SYSLOG_SOCKET = Path("/dev/log")
STDERR = "stderr"
SYSLOG = "syslog"
JOURNAL = "journal"

_LOG_DAEMON = 3 << 3
"""sys/syslog.h"""
_SEVERITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_LOG_DEBUG = 7


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


class _JournalFormatter(logging.Formatter):
    """Each line of a record with its priority: a traceback has many."""

    def format(self, record: logging.LogRecord) -> str:
        start = f"<{_severity(record)}>"
        return "\n".join(f"{start}{line}" for line in super().format(record).splitlines())


def _severity(record: logging.LogRecord) -> int:
    return next((s for level, s in _SEVERITIES if record.levelno >= level), _LOG_DEBUG)


class SyslogHandler(logging.Handler):
    """Lines to the local system log (RFC 3164), one datagram each.

    logging.handlers has one too, and imports pickle, queue and threading for the others beside it;
    and it connects, which a network process cannot do again when the log was restarted.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def emit(self, record: logging.LogRecord) -> None:
        """Send one line, to whoever listens there now."""
        try:
            line = f"<{_LOG_DAEMON | _severity(record)}>{self.format(record)}\0".encode()
            # Not sendto, to which the filter of a network process allows no address.
            self._socket.sendmsg([line], [], 0, self._path)
        except Exception:  # noqa: BLE001 - as in logging's own: a log that is away stops nobody
            self.handleError(record)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()


def set_up_log(program: str, destination: str, *, verbose: bool = False) -> None:
    """Send the root logger's lines to STDERR, JOURNAL or SYSLOG; `program` names the sender."""
    handler: logging.Handler
    if destination == SYSLOG and SYSLOG_SOCKET.exists():
        handler = SyslogHandler(SYSLOG_SOCKET)
        handler.setFormatter(logging.Formatter(f"{program}: %(message)s"))
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(
            _JournalFormatter("%(message)s")
            if destination == JOURNAL
            else logging.Formatter(f"{program}: %(levelname)s: %(message)s")
        )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if verbose else logging.INFO)


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
