"""Tells whoever listens what happens to leases, counts and logs it.

Theory of operation. The engine calls, in its own task, when a thing is on disk and in force, so an
event is never of something that a crash undoes. A listener is called at once, before the reply
goes out: it puts the event somewhere and returns; it never waits. One that raises is heard no
more. An event is built only when somebody listens to its kind: a renewal on a hub of many
thousands of peers costs one addition else, and its line in the log.
"""

from collections.abc import Callable, Iterable

from wg_dynamic.address import Prefix
from wg_dynamic.leases.event import (
    DECLINED,
    EXPIRED,
    GRANTED,
    KINDS,
    REFUSED,
    RELEASED,
    RENEWED,
    REVOKED,
    LeaseEvent,
    event_line,
)
from wg_dynamic.leases.lease import Lease
from wg_dynamic.protocol import ErrorCode
from wg_dynamic.server.lease_log import LeaseLog
from wg_dynamic.system.clock import Clock
from wg_dynamic.system.log import logger

__all__ = ["GIVEN_UP", "KINDS", "RELEASED", "REVOKED", "Events", "LeaseEvent", "event_line"]

_LOG = logger(__name__)

GIVEN_UP = "given up for another address"
"""Reason of a release that nobody asked for in words."""

Tell = Callable[[LeaseEvent], None]


class Events:
    """The fan-out of one server."""

    def __init__(self, clock: Clock, network: Callable[[bytes], Prefix]) -> None:
        """`network`: the on-link network of an address."""
        self.counts = dict.fromkeys(KINDS, 0)
        """How often each kind has happened since the start."""
        self.outcomes: dict[tuple[str, int], int] = {}
        """(command, errno of the reply) -> how many requests were answered so."""
        self.name_of: Callable[[bytes], str | None] = lambda _key: None
        """The name of the peer of a public key."""
        self.wanted: frozenset[str] = frozenset()
        """The kinds that somebody listens to."""
        self._log = LeaseLog()
        self._clock = clock
        self._network = network
        self._listeners: list[tuple[frozenset[str], Tell]] = []
        self._given_up: dict[bytes, float] = {}
        """Address -> `ends_at` of a lease whose holder took another one for it."""

    def listen(self, tell: Tell, kinds: Iterable[str] = KINDS) -> Callable[[], None]:
        """Call `tell` with each event of these kinds from now on; returns what ends it."""
        entry = (frozenset(kinds), tell)
        self._listeners.append(entry)
        self._count_wanted()

        def stop() -> None:
            self._listeners = [one for one in self._listeners if one is not entry]
            self._count_wanted()

        return stop

    def changed(self, lease: Lease, now: float, *, fresh: bool, released: bool) -> None:
        """A lease was committed as it is now, and the allowed IPs follow.

        Args:
            lease: of what is over and not ended yet nothing is told before it has ended.
            now: CLOCK_BOOTTIME seconds.
            fresh: it is in the allowed IPs only now.
            released: its holder gave it back.
        """
        if not lease.is_over(now):
            kind, reason = GRANTED if fresh else RENEWED, ""
        elif not lease.ended:
            self._given_up[lease.address] = lease.ends_at
            return
        else:
            kind, reason = self._ending(lease, released=released)
        self.tell(kind, lease, reason)

    def tell(self, kind: str, lease: Lease, reason: str = "") -> None:
        """Count and log one, and tell those who listen to it."""
        self.counts[kind] += 1
        self._log.tell(kind, lease, self._clock.now(), self.name_of, reason)
        if kind not in self.wanted:
            return
        self._fan_out(
            LeaseEvent(
                kind,
                self._clock.wall(),
                lease.public_key,
                lease.address,
                self._network(lease.address),
                None if lease.ended else lease.lease_time,
                self.name_of(lease.public_key),
                reason,
            )
        )

    def answered(self, public_key: bytes, command: str, code: int) -> None:
        """A request was answered; with less than it asked for unless the code is SUCCESS."""
        self.count(command, code)
        if code == ErrorCode.SUCCESS:
            return
        self.counts[REFUSED] += 1
        reason = ErrorCode(code).name.lower()
        self._log.refused(public_key, self._clock.now(), self.name_of, reason)
        if REFUSED in self.wanted:
            self._fan_out(
                LeaseEvent(
                    REFUSED,
                    self._clock.wall(),
                    public_key,
                    name=self.name_of(public_key),
                    reason=reason,
                )
            )

    def count(self, command: str, code: int) -> None:
        """A request was answered, and it is no event: a subscription, or too much of something."""
        self.outcomes[command, code] = self.outcomes.get((command, code), 0) + 1

    def _ending(self, lease: Lease, *, released: bool) -> tuple[str, str]:
        given_up = self._given_up.pop(lease.address, None) == lease.ends_at
        if lease.declined:
            return DECLINED, ""
        if released:
            return RELEASED, ""
        return (RELEASED, GIVEN_UP) if given_up else (EXPIRED, "")

    def _count_wanted(self) -> None:
        self.wanted = frozenset(kind for kinds, _ in self._listeners for kind in kinds)

    def _fan_out(self, event: LeaseEvent) -> None:
        for entry in self._listeners:
            kinds, tell = entry
            if event.kind not in kinds:
                continue
            try:
                tell(event)
            except Exception:  # noqa: BLE001 - grants do not end with what is done beside them
                _LOG.exception("one who listens to lease events failed, and is told no more")
                self._listeners = [one for one in self._listeners if one is not entry]
                self._count_wanted()
