"""Where log lines go: standard error with --foreground, syslog in the background."""

import logging
import logging.handlers
import sys
from collections.abc import Callable
from pathlib import Path

SYSLOG_SOCKET = Path("/dev/log")
STDERR = "stderr"
SYSLOG = "syslog"


def set_up_log(program: str, destination: str, *, verbose: bool = False) -> None:
    """Send the root logger's lines to STDERR or SYSLOG; `program` names the sender."""
    handler: logging.Handler
    if destination == SYSLOG and SYSLOG_SOCKET.exists():
        handler = logging.handlers.SysLogHandler(
            str(SYSLOG_SOCKET), logging.handlers.SysLogHandler.LOG_DAEMON
        )
        handler.setFormatter(logging.Formatter(f"{program}: %(message)s"))
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter(f"{program}: %(levelname)s: %(message)s"))
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
