"""One log line for each change of a lease, and not as many as a peer likes to cause.

A line is logfmt, with the words of docs/events.md: `event=granted address=192.0.2.7 public_key=… `.
"""

from collections import Counter
from collections.abc import Callable
from math import isinf
from typing import Final

from wg_dynamic.address import format_address
from wg_dynamic.leases.event import BEGINNINGS, REFUSED, quote
from wg_dynamic.leases.lease import Lease
from wg_dynamic.system.log import INFO, WARNING, logger
from wg_dynamic.wireguard.key import format_key

_LOG = logger(__name__)

MAX_LINES: Final = 20
"""Lines about one peer in LINES_SPAN."""
LINES_SPAN: Final = 60.0
"""Seconds."""
MAX_LINES_AT_ONCE: Final = 200
"""Lines about all peers together in AT_ONCE_SPAN: when a hub starts again, all of them ask."""
AT_ONCE_SPAN: Final = 1.0
"""Seconds."""
EXHAUSTED: Final = "exhausted"
"""The reason of a refusal that an administrator has to do something about."""
Names = Callable[[bytes], str | None]
"""The name of the peer of a public key, where it has one."""
_MAX_NAME: Final = 64
"""Characters of a name that a line repeats."""


class LeaseLog:
    """Where changes are told."""

    def __init__(self) -> None:
        self._since = float("-inf")
        self._lines: Counter[bytes] = Counter()
        self._second = float("-inf")
        self._in_second = 0

    def tell(self, kind: str, lease: Lease, now: float, name_of: Names, reason: str = "") -> None:
        """Say what became of a lease; `now` is CLOCK_BOOTTIME seconds."""
        if not _LOG.is_enabled_for(INFO) or not self._may(lease.public_key, name_of, now):
            return
        fields = [f"event={kind}", f"address={format_address(lease.address)}"]
        fields += _peer(lease.public_key, name_of)
        if kind in BEGINNINGS:
            span = "infinite" if isinf(lease.lease_time) else f"{lease.lease_time:.0f}"
            fields.append(f"lease_time={span}")
        _LOG.info("%s", _line(fields, reason))

    def refused(self, public_key: bytes, now: float, name_of: Names, reason: str) -> None:
        """Say that a request got nothing, or less than it asked for."""
        level = WARNING if reason == EXHAUSTED else INFO
        if _LOG.is_enabled_for(level) and self._may(public_key, name_of, now):
            fields = [f"event={REFUSED}", *_peer(public_key, name_of)]
            _LOG.log(level, "%s", _line(fields, reason))

    def _may(self, public_key: bytes, name_of: Names, now: float) -> bool:
        """Whether there is room for a line: one peer's flood must not hide what others do."""
        return self._may_of(public_key, name_of, now) and self._is_calm(now)

    def _is_calm(self, now: float) -> bool:
        """Count a line; whether there is room for it in this second."""
        if now - self._second >= AT_ONCE_SPAN:
            left_out = self._in_second - MAX_LINES_AT_ONCE
            if left_out > 0:
                _LOG.info("event=more reason=%s", quote(f"{left_out} changes at once, not logged"))
            self._second = now
            self._in_second = 0
        self._in_second += 1
        return self._in_second <= MAX_LINES_AT_ONCE

    def _may_of(self, public_key: bytes, name_of: Names, now: float) -> bool:
        if now - self._since >= LINES_SPAN:
            self._since = now
            self._lines.clear()
        self._lines[public_key] += 1
        if self._lines[public_key] == MAX_LINES + 1 and self._is_calm(now):
            fields = ["event=more", *_peer(public_key, name_of)]
            _LOG.info("%s", _line(fields, "not logged before this minute is over"))
        return self._lines[public_key] <= MAX_LINES


def _peer(public_key: bytes, name_of: Names) -> list[str]:
    """Who it is: the name, where there is one, and always the key."""
    name = name_of(public_key)
    fields = [] if name is None else [f"name={_value(name[:_MAX_NAME])}"]
    return [*fields, f"public_key={format_key(public_key)}"]


def _line(fields: list[str], reason: str) -> str:
    return " ".join([*fields, f"reason={_value(reason)}"] if reason else fields)


def _value(text: str) -> str:
    """A value as logfmt has it: bare, or in quotes; printable ASCII in any case."""
    bare = text.isascii() and text.isprintable() and text and not set(text) & set(' ="\\')
    return text if bare else quote(text)
