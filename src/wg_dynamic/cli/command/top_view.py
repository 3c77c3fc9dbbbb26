"""What `wg-dynamic top` shows, as text: of one reading of a server. Pure.

A reading is an object: `status`, `leases` and `events` as the server answers (docs/command.md),
`handshakes` (public key -> seconds since the latest one, where the reader may know), `more` (leases
that were left out), `error` (why there is nothing new).
"""

from collections.abc import Iterator, Mapping, Sequence
from time import localtime, strftime
from typing import Any, Final

from wg_dynamic.cli.command.asking import bar, span
from wg_dynamic.cli.command.output import escaped
from wg_dynamic.record import dataclass

MISSING: Final = 3
"""Exit status of who draws: there is no textual."""
FULL: Final = "█"
EMPTY: Final = "░"
HEADINGS: Final = ("NAME", "ADDRESS", "LEFT", "", "HANDSHAKE", "STATE")
_COUNTDOWN: Final = 10
"""Cells of the bar of a lease."""
_MANY: Final = 10**9
"""From here on a pool has about so many addresses."""
_KEY: Final = 8
"""Characters of a public key that stand for a peer without a name."""


@dataclass(frozen=True, slots=True)
class PoolLine:
    """One pool."""

    network: str
    bar: str
    share: float
    """0 to 1."""
    text: str


def headline(reading: Mapping[str, Any]) -> str:
    """The server in a line, or why there is nothing new."""
    status = reading.get("status") or {}
    if not status:
        return escaped(str(reading.get("error") or "asking the server"))
    leases = status["leases"]
    words = [
        f"{status['interface']}: {leases['held']} leased",
        f"{status['peers']} peers",
        f"{status.get('subscribers', 0)} told of changes",
        f"up {span(status['up_for'])}",
        "database works" if status["store"]["works"] else "DATABASE TAKES NO COMMIT",
    ]
    if reading.get("error"):
        words.append(f"NOT ANSWERING: {reading['error']}")
    return escaped(" · ".join(words))


def pools(reading: Mapping[str, Any], width: int) -> list[PoolLine]:
    """Each pool; `width`: cells of its bar."""
    found = []
    for one in (reading.get("status") or {}).get("pools", []):
        share = one["held"] / max(1, one["size"])
        size = one["size"] if one["size"] < _MANY else f"{one['size']:.1e}"
        text = f"{share:4.0%}  {one['held']} of {size} leased"
        found.append(
            PoolLine(escaped(str(one["network"])), bar(share, width, FULL, EMPTY), share, text)
        )
    return found


def leases(reading: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Each lease, in HEADINGS, those that end first at the top."""
    handshakes = reading.get("handshakes") or {}
    rows: Sequence[Mapping[str, Any]] = reading.get("leases") or []
    for one in sorted(rows, key=_order):
        held = one.get("state") == "held"
        time, left = one.get("lease_time"), one.get("ends_in")
        whole = isinstance(time, int | float) and isinstance(left, int | float) and time > 0
        share = left / time if whole and held else float(held)  # type: ignore[operator]
        ago = handshakes.get(one.get("public_key"))
        yield (
            escaped(_who(one)),
            escaped(str(one.get("address"))),
            span(left) if held else "-",
            bar(share, _COUNTDOWN, FULL, EMPTY),
            "-" if ago is None else f"{span(ago)} ago",
            escaped(str(one.get("state"))),
        )


def _who(one: Mapping[str, Any]) -> str:
    return str(one.get("name") or f"{str(one.get('public_key'))[:_KEY]}…")


def _order(one: Mapping[str, Any]) -> tuple[bool, float, str]:
    left = one.get("ends_in")
    return (
        one.get("state") != "held",
        float(left) if isinstance(left, int | float) else float("inf"),
        str(one.get("address")),
    )


def events(reading: Mapping[str, Any]) -> list[str]:
    """The last events, the newest first."""
    return [_event(one) for one in reversed(reading.get("events") or [])]


def _event(one: Mapping[str, Any]) -> str:
    time = one.get("time")
    at = strftime("%H:%M:%S", localtime(time)) if isinstance(time, int | float) else ""
    words = [at, str(one.get("event")), _who(one), str(one.get("address") or "")]
    if one.get("reason"):
        words.append(f"({one['reason']})")
    return escaped(" ".join(word for word in words if word))
