"""What clients asked and were told, and whether a server kept its word. Pure.

`History` is told each request and reply as the clients saw them. An address is a client's from the
reply that gave it until the time that was promised, counted from the request, as the client
counts; or until the client itself asks for something that gives it up, answered or not. Times are
CLOCK_BOOTTIME seconds, the same as in the database. Everything found wrong is a line of text.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

ROUNDING: Final = 0.001
"""Seconds by which a time may differ that went through a decimal or a float of 32 bits."""


@dataclass(slots=True)
class Holding:
    """One address in one client's hands."""

    peer: str
    address: str
    since: float
    until: float
    given_up: bool = False
    """`until` is when the client gave it up, and not what was promised."""

    def give_up(self, at: float) -> None:
        """The client goes by it no more, if it still did."""
        if self.until > at:
            self.until = at
            self.given_up = True


@dataclass(frozen=True, slots=True)
class Row:
    """What the database says of one address."""

    peer: str
    ends_at: float
    ended: bool

    def holds(self, at: float) -> bool:
        """Whether it is a lease then, and no memory of one."""
        return not self.ended and self.ends_at > at


@dataclass(slots=True)
class _Request:
    at: float
    expected: list[Holding] = field(default_factory=list)
    """What the client holds and asked to keep."""


def family(address: str) -> int:
    """4 or 6."""
    return 6 if ":" in address else 4


class History:
    """All that the clients of one server have seen."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        """What replies alone showed to be wrong."""
        self.acknowledged = 0
        """Addresses in replies, renewals included."""
        self.renewed = 0
        self.expired = 0
        """Leases that ended because their time was over."""
        self._current: dict[tuple[str, int], Holding] = {}
        """What each client goes by, of each family; it may be over."""
        self._recent: list[Holding] = []
        """Every holding that was not over at the last `settle`."""
        self._open: dict[str, _Request] = {}

    def held(self, peer: str, at: float) -> list[str]:
        """The addresses that a client goes by at a time, at most one of each family."""
        found = (self._current.get((peer, number)) for number in (4, 6))
        return [holding.address for holding in found if holding and holding.until > at]

    def holdings(self, at: float) -> list[Holding]:
        """Everything that is in a client's hands."""
        return [holding for holding in self._current.values() if holding.until > at]

    def asked(self, peer: str, at: float, wishes: Collection[str]) -> None:
        """A request leaves the client; a wish of `0.0.0.0` or `::` is for any address.

        Wishing for another address than the held one gives the held one up.
        """
        request = self._open[peer] = _Request(at)
        for wish in wishes:
            holding = self._current.get((peer, family(wish)))
            if holding is None or holding.until <= at:
                continue
            if wish in ("0.0.0.0", "::", holding.address):  # noqa: S104 - any address, no binding
                request.expected.append(holding)
            else:
                holding.give_up(at)

    def released(self, peer: str, at: float) -> None:
        """A release of all addresses leaves the client."""
        self._open[peer] = _Request(at)
        for number in (4, 6):
            holding = self._current.get((peer, number))
            if holding is not None:
                holding.give_up(at)

    def told(self, peer: str, at: float, addresses: Mapping[str, float]) -> None:
        """The reply arrives: addresses and their valid_time. {} for a release or an error."""
        request = self._open.pop(peer)
        for holding in request.expected:
            if holding.until <= at:
                continue  # it ended while the request was on its way
            if holding.address not in addresses:
                self.wrong.append(
                    f"not renewed: {holding.address} is {peer}'s until {holding.until:.3f},"
                    f" and was left out of the reply at {at:.3f}"
                )
                holding.give_up(at)
        for address, valid_time in addresses.items():
            self.acknowledged += 1
            self._acknowledge(peer, address, at, request.at + valid_time)

    def unanswered(self, peer: str) -> None:
        """The connection ended before the reply: whether it was carried out, nobody knows."""
        self._open.pop(peer, None)

    def _acknowledge(self, peer: str, address: str, at: float, until: float) -> None:
        holding = self._current.get((peer, family(address)))
        if holding is not None and holding.until > at:
            if holding.address == address:
                holding.until = until
                self.renewed += 1
                return
            holding.give_up(at)
        elif holding is not None and not holding.given_up:
            self.expired += 1
        holding = Holding(peer, address, at, until)
        self._current[peer, family(address)] = holding
        self._recent.append(holding)

    def settle(self, at: float) -> list[str]:
        """What was wrong since the last call, two holders of one address included."""
        found = [*self.wrong, *doubles(self._recent)]
        self.wrong = []
        self._recent = [holding for holding in self._recent if holding.until > at]
        return found


def doubles(holdings: Iterable[Holding]) -> list[str]:
    """Addresses that two clients had at the same time."""
    of_address: dict[str, list[Holding]] = defaultdict(list)
    for holding in holdings:
        if holding.until > holding.since:
            of_address[holding.address].append(holding)
    found = []
    for address, several in of_address.items():
        several.sort(key=lambda holding: holding.since)
        last = several[0]
        for holding in several[1:]:
            if holding.since < last.until and holding.peer != last.peer:
                found.append(
                    f"double: {address} is {last.peer}'s from {last.since:.3f} to"
                    f" {last.until:.3f} and {holding.peer}'s from {holding.since:.3f}"
                )
            if holding.until > last.until:
                last = holding
    return found


def losses(holdings: Iterable[Holding], rows: Mapping[str, Row], at: float) -> list[str]:
    """Acknowledged leases that the database does not have, or not for as long as was said."""
    found = []
    for holding in holdings:
        if holding.until <= at:
            continue
        row = rows.get(holding.address)
        what = f"{holding.address} is {holding.peer}'s until {holding.until:.3f}, and the database"
        if row is None:
            found.append(f"lost: {what} does not have it")
        elif row.peer != holding.peer:
            found.append(f"lost: {what} says it is {row.peer}'s")
        elif row.ended:
            found.append(f"lost: {what} says it has ended")
        elif row.ends_at < holding.until - ROUNDING:
            found.append(f"lost: {what} says until {row.ends_at:.3f}")
    return found


def deviations(
    allowed: Mapping[str, Collection[str]],
    static: Mapping[str, Collection[str]],
    rows: Mapping[str, Row],
    since: float,
    until: float,
) -> list[str]:
    """Where allowed IPs differ from the static ones and the leases of the database.

    Args:
        allowed: prefixes by peer, as read at some time from `since` to `until`: a lease that
            ended between these may be there or not.
        static: what the administrator gave each peer.
        rows: the database, by address.
        since: CLOCK_BOOTTIME seconds.
        until: as well.
    """
    found = []
    leased: dict[str, set[str]] = defaultdict(set)
    ending: dict[str, set[str]] = defaultdict(set)
    for address, row in rows.items():
        prefix = f"{address}/{128 if family(address) == 6 else 32}"  # noqa: PLR2004
        if row.holds(until):
            leased[row.peer].add(prefix)
        elif row.holds(since):
            ending[row.peer].add(prefix)
    for peer in sorted({*allowed, *static, *leased}):
        if peer not in allowed:
            found.append(f"static: {peer} is no peer any more")
            continue
        there = set(allowed[peer])
        fixed = set(static.get(peer, ()))
        found += [f"static: {prefix} was taken from {peer}" for prefix in sorted(fixed - there)]
        missing = leased[peer] - there - fixed
        surplus = there - fixed - leased[peer] - ending[peer]
        found += [f"not in force: {prefix}, leased to {peer}" for prefix in sorted(missing)]
        found += [f"not leased: {prefix}, allowed to {peer}" for prefix in sorted(surplus)]
    return found
