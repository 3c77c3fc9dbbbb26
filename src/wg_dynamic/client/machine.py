"""What a client does next: a table of states and events. Pure; `now` comes in, actions go out.

Theory of operation. The machine is in one of six states and has at most one deadline. The driver
feeds it events as they happen, and DeadlinePassed when the deadline has come; it performs the
returned actions in their order. Whatever is not in the table cannot happen and is our own bug.

REQUESTING  no lease; an exchange runs, or waits for its retry
BOUND       a lease; nothing to do before T1, half of its time (protocol.md, "Lease life")
RENEWING    a lease past T1; an exchange runs, or waits for its retry; the lease may run out
DECLINING   an address that something here uses already is given back; others may be held
PAUSED      the interface is down; a lease may be held and may run out
STOPPED     the end: nothing is done any more
"""

from collections.abc import Callable, Mapping
from enum import Enum, auto
from math import ceil, inf
from types import MappingProxyType
from typing import Final

from wg_dynamic.protocol.messages import Address, Dns, LeasedAddress, Route
from wg_dynamic.protocol.schema import FOREVER
from wg_dynamic.record import dataclass, replace

MIN_LEASE_TIME: Final = 10
"""Seconds: a shorter lease is ignored (protocol.md, "Lease life")."""
RETRY_FIRST: Final = 1.0
RETRY_MAX: Final = 64.0
"""Seconds between two tries while there is a lease: doubled from the first to the maximum."""
RETRY_MAX_WITHOUT: Final = 8.0
"""The maximum without a lease: nothing works, so a server that is back is found within it."""
HINT_PAUSE: Final = 10.0
"""Seconds in which a change of the network makes us try at once only once."""
DECLINES_MAX: Final = 4
DECLINES_TIME: Final = 3600.0
"""At most so many declines in so many seconds: a hostile hub cannot make us go round and round."""
RENEW_MAX: Final = 86400.0
"""Seconds: also a lease for ever is asked for, and judged by the helper's policy, every day."""
RETRY_AFTER_MAX: Final = 3600.0
"""Seconds: a server that asks for more patience than this does not get it."""
JITTER: Final = 0.1
"""Share of a wait by which it is made longer or shorter, so that clients do not move in step."""
REPLY_LIMIT: Final = 15.0
"""Seconds an exchange may take before it counts as failed, whatever the driver says."""
LONGEST_TIME: Final = FOREVER - 1
"""Seconds: one more means for ever, here and to Linux (protocol.md 6.4)."""


class State(Enum):
    """Where the client stands."""

    REQUESTING = auto()
    BOUND = auto()
    RENEWING = auto()
    DECLINING = auto()
    PAUSED = auto()
    STOPPED = auto()


_NO_DNS: Final = Dns()


@dataclass(frozen=True)
class Pushed:
    """What came with the addresses, and is in force as long as they are."""

    routes: tuple[Route, ...] = ()
    dns: Dns = _NO_DNS
    mtu: int = 0
    """Bytes; 0 for none."""


@dataclass(frozen=True)
class Lease:
    """What the server granted."""

    addresses: tuple[LeasedAddress, ...]
    granted_at: float
    """CLOCK_BOOTTIME seconds when the request was sent: never later than the server's start."""
    pushed: Pushed = Pushed()

    @property
    def renew_at(self) -> float:
        """T1: half of the shortest time, and a day at the latest."""
        half = min(_span(one.valid_time) for one in self.addresses) / 2
        return self.granted_at + min(half, RENEW_MAX)

    @property
    def ends_at(self) -> float:
        """When the first address is over."""
        return self.granted_at + min(_span(one.valid_time) for one in self.addresses)


# --- events ---


@dataclass(frozen=True)
class Started:
    """The machine begins, the interface came up again, or the computer woke up."""


@dataclass(frozen=True)
class LinkDown:
    """The interface went down."""


@dataclass(frozen=True)
class NetworkChanged:
    """Another interface got an address or a default route: it may be worth a try now."""


@dataclass(frozen=True)
class DeadlinePassed:
    """`deadline` has come."""


@dataclass(frozen=True)
class Granted:
    """The server leased addresses."""

    addresses: tuple[LeasedAddress, ...]
    asked_at: float
    pushed: Pushed = Pushed()


@dataclass(frozen=True)
class ExchangeFailed:
    """No connection, no reply, or a reply that refuses."""

    reason: str
    retry_after: float | None = None
    """Seconds that the server asked for."""
    lost: bool = False
    """The server said that our addresses are not ours: they go now (protocol.md 6.6)."""


@dataclass(frozen=True)
class AddressesInUse:
    """Leased addresses that something here has already; they are not set."""

    addresses: frozenset[Address]


@dataclass(frozen=True)
class Declined:
    """The server has taken the decline."""


@dataclass(frozen=True)
class ServerTold:
    """What holds for us now, pushed by the server (protocol.md 6.9)."""

    addresses: tuple[LeasedAddress, ...]
    pushed: Pushed = Pushed()


@dataclass(frozen=True)
class StopAsked:
    """The daemon is to end."""

    release: bool


Event = (
    Started
    | LinkDown
    | NetworkChanged
    | DeadlinePassed
    | Granted
    | ExchangeFailed
    | AddressesInUse
    | Declined
    | ServerTold
    | StopAsked
)

# --- actions ---


@dataclass(frozen=True)
class Ask:
    """Begin an exchange (ending one that runs)."""

    lease: Lease | None
    """What is held: its addresses are wished for."""


@dataclass(frozen=True)
class Abandon:
    """End the exchange that runs, if one does."""


@dataclass(frozen=True)
class Apply:
    """Set these addresses, as long as they last; undo others."""

    lease: Lease


@dataclass(frozen=True)
class Drop:
    """Undo every leased address: the lease is over."""


@dataclass(frozen=True)
class Tell:
    """Something a person wants to know."""

    text: str


@dataclass(frozen=True)
class Decline:
    """Tell the server that these cannot be used, as an exchange (ending one that runs)."""

    addresses: tuple[Address, ...]


@dataclass(frozen=True)
class Release:
    """Give the addresses back, within a second."""

    lease: Lease


@dataclass(frozen=True)
class Finish:
    """End the process."""


Action = Ask | Abandon | Apply | Drop | Tell | Decline | Release | Finish

# --- the table ---

_S = State
TRANSITIONS: Final[Mapping[tuple[State, type[Event]], State]] = MappingProxyType(
    {
        (_S.REQUESTING, Started): _S.REQUESTING,
        (_S.REQUESTING, LinkDown): _S.PAUSED,
        (_S.REQUESTING, NetworkChanged): _S.REQUESTING,
        (_S.REQUESTING, DeadlinePassed): _S.REQUESTING,
        (_S.REQUESTING, Granted): _S.BOUND,
        (_S.REQUESTING, ExchangeFailed): _S.REQUESTING,
        (_S.REQUESTING, AddressesInUse): _S.REQUESTING,
        (_S.REQUESTING, StopAsked): _S.STOPPED,
        (_S.BOUND, Started): _S.RENEWING,
        (_S.BOUND, LinkDown): _S.PAUSED,
        (_S.BOUND, NetworkChanged): _S.BOUND,
        (_S.BOUND, DeadlinePassed): _S.RENEWING,
        (_S.BOUND, AddressesInUse): _S.DECLINING,  # BOUND when too much was declined of late
        (_S.BOUND, ServerTold): _S.BOUND,  # RENEWING, or REQUESTING, when an address is gone
        (_S.BOUND, StopAsked): _S.STOPPED,
        (_S.RENEWING, Started): _S.RENEWING,
        (_S.RENEWING, LinkDown): _S.PAUSED,
        (_S.RENEWING, NetworkChanged): _S.RENEWING,
        (_S.RENEWING, DeadlinePassed): _S.RENEWING,  # REQUESTING when the lease is over
        (_S.RENEWING, Granted): _S.BOUND,
        (_S.RENEWING, ExchangeFailed): _S.RENEWING,  # REQUESTING when the lease was lost
        (_S.RENEWING, AddressesInUse): _S.RENEWING,
        (_S.RENEWING, ServerTold): _S.RENEWING,  # REQUESTING when no address is left
        (_S.RENEWING, StopAsked): _S.STOPPED,
        (_S.DECLINING, Started): _S.RENEWING,  # REQUESTING without a lease
        (_S.DECLINING, LinkDown): _S.PAUSED,
        (_S.DECLINING, NetworkChanged): _S.DECLINING,
        (_S.DECLINING, DeadlinePassed): _S.RENEWING,  # REQUESTING without a lease
        (_S.DECLINING, ExchangeFailed): _S.RENEWING,  # REQUESTING without a lease
        (_S.DECLINING, AddressesInUse): _S.DECLINING,
        (_S.DECLINING, Declined): _S.RENEWING,  # REQUESTING without a lease
        (_S.DECLINING, StopAsked): _S.STOPPED,
        (_S.PAUSED, Started): _S.RENEWING,  # REQUESTING without a lease
        (_S.PAUSED, LinkDown): _S.PAUSED,
        (_S.PAUSED, NetworkChanged): _S.PAUSED,
        (_S.PAUSED, DeadlinePassed): _S.PAUSED,
        (_S.PAUSED, ExchangeFailed): _S.PAUSED,
        (_S.PAUSED, AddressesInUse): _S.PAUSED,
        (_S.PAUSED, StopAsked): _S.STOPPED,
    }
)
"""Every pair that can happen. `Granted` in BOUND or PAUSED cannot: no exchange runs there; what the
server tells is of interest with a lease, and the driver passes it on then only.

In use is told about what was set last, also when that was long dropped, or while a renewal runs:
only in BOUND it is about the lease, and what a renewal brings is judged again.
"""


class LeaseClient:
    """The machine. Does no I/O, reads no clock."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        """`jitter` gives a number from -1 to 1, evenly."""
        self.state = State.REQUESTING
        self.lease: Lease | None = None
        self.deadline: float | None = None
        """When `handle` wants a DeadlinePassed, CLOCK_BOOTTIME seconds."""
        self._jitter = jitter
        self._retry_time = RETRY_FIRST
        self._not_before = 0.0
        """Until when the server asked us to wait (retry_after)."""
        self._told = ""
        self._hint_after = 0.0
        """Until when changes of the network are passed over."""
        self._waiting = False
        """No exchange runs: the deadline is the next try."""
        self._declines: list[float] = []
        """When, of late; as many as count."""

    def handle(self, event: Event, now: float) -> list[Action]:
        """What to do about an event. Raises KeyError for a pair that cannot happen (a bug)."""
        was, self.state = self.state, TRANSITIONS[self.state, type(event)]
        match event:
            case Started():
                return self._start(now)
            case LinkDown():
                return self._pause()
            case DeadlinePassed():
                return self._deadline_passed(now)
            case Granted():
                return self._granted(event, now)
            case ExchangeFailed():
                return self._failed(event, now)
            case _:
                return self._seldom(event, now, was)

    def _seldom(
        self,
        event: NetworkChanged | AddressesInUse | Declined | ServerTold | StopAsked,
        now: float,
        was: State,
    ) -> list[Action]:
        """What happens seldom."""
        match event:
            case NetworkChanged():
                return self._network_changed(now)
            case AddressesInUse():
                return self._in_use(event, now) if was is State.BOUND else []
            case Declined():
                return self._declined(now)
            case ServerTold():
                return self._server_told(event, now)
            case _:
                return self._stop(release=event.release, now=now)

    def _start(self, now: float) -> list[Action]:
        self._retry_time = RETRY_FIRST
        self._not_before = 0.0
        actions = self._drop_what_is_over(now)
        if self.lease is not None:  # the kernel has dropped half of it with the link
            actions.append(Apply(self.lease))
        return [*actions, *self._ask(now)]

    def _pause(self) -> list[Action]:
        self._waiting = False
        self.deadline = self.lease.ends_at if self.lease else None
        return [Abandon()]

    def _deadline_passed(self, now: float) -> list[Action]:
        dropped = self._drop_what_is_over(now)
        if self.state is State.PAUSED:
            self.deadline = self.lease.ends_at if self.lease else None
            return dropped
        if now < self._not_before:  # the lease ran out while the server wants to be left alone
            self._wait_until(self._not_before)
            return dropped
        return [*dropped, *self._ask(now)]

    def _network_changed(self, now: float) -> list[Action]:
        if not self._waiting or now < max(self._not_before, self._hint_after):
            return []
        self._hint_after = now + HINT_PAUSE
        self._retry_time = RETRY_FIRST
        return [*self._drop_what_is_over(now), *self._ask(now)]

    def _in_use(self, event: AddressesInUse, now: float) -> list[Action]:
        """Give back what cannot be used, and keep the rest; or leave it as it is."""
        lease = self.lease
        held = lease.addresses if lease else ()
        mine = tuple(one.ip for one in held if one.ip in event.addresses)
        listed = ", ".join(map(str, mine))
        self._declines = [at for at in self._declines if now - at < DECLINES_TIME]
        if lease is None or not mine or len(self._declines) >= DECLINES_MAX:
            self.state = State.BOUND
            left_alone = (
                f"{listed} in use here; declined {DECLINES_MAX} times of late: left as it is"
            )
            return self._tell_once(left_alone) if mine else []
        self._declines.append(now)
        left = tuple(one for one in held if one.ip not in mine)
        self.lease = replace(lease, addresses=left) if left else None
        self.deadline = self._no_later_than_end(now + REPLY_LIMIT)
        return [Tell(f"{listed} in use here: declined, asking for another"), Decline(mine)]

    def _declined(self, now: float) -> list[Action]:
        """Ask for another at once, but after repeated declines with more and more patience."""
        dropped = self._drop_what_is_over(now)
        count = len(self._declines)
        if count <= 1:
            return [*dropped, *self._ask(now)]
        self._wait_until(now + RETRY_FIRST * 2 ** (count - 1))
        return dropped

    def _server_told(self, event: ServerTold, now: float) -> list[Action]:
        """Take over what is otherwise, and ask when it is about addresses."""
        lease = self.lease
        if lease is None:
            return []
        told = {one.ip: one for one in event.addresses}
        passed = now - lease.granted_at
        held = [one for one in lease.addresses if one.ip in told]
        kept = tuple(_shortened(one, told[one.ip], passed) for one in held)
        gone = [one.ip for one in lease.addresses if one.ip not in told]
        more = len(told) > len(held)
        actions: list[Action] = []
        if kept != lease.addresses or event.pushed != lease.pushed:
            self.lease = Lease(kept, lease.granted_at, event.pushed) if kept else None
            actions.append(Apply(self.lease) if self.lease else Drop())
        if gone:
            actions.append(Tell(f"the server took back {', '.join(map(str, gone))}"))
        if self.lease is None:
            self.state = State.REQUESTING
        self.deadline = self._no_later_than_end(inf if self.deadline is None else self.deadline)
        if gone or (more and self.state is State.BOUND):
            actions += self._ask_soon(now)
        return actions

    def _ask_soon(self, now: float) -> list[Action]:
        """Ask at once, unless that was so a moment ago: then in a moment."""
        if now < self._hint_after:
            at = self._hint_after
            if self.state is State.BOUND:
                self.deadline = min(at, inf if self.deadline is None else self.deadline)
            elif self.state is State.REQUESTING:
                self._wait_until(max(at, self._not_before))
                return [Abandon()]
            return []
        self._hint_after = now + HINT_PAUSE
        self._retry_time = RETRY_FIRST
        if self.state is State.BOUND:
            self.state = State.RENEWING
        return self._ask(now)

    def _drop_what_is_over(self, now: float) -> list[Action]:
        """Each address goes at its own end (protocol.md 10.2). Without any: REQUESTING."""
        lease, actions = self.lease, list[Action]()
        if lease is not None and now >= lease.ends_at:
            begin = lease.granted_at  # the sum, as in ends_at: a difference is rounded otherwise
            left = tuple(one for one in lease.addresses if now < begin + _span(one.valid_time))
            over = ", ".join(str(one.ip) for one in lease.addresses if one not in left)
            self.lease = replace(lease, addresses=left) if left else None
            actions.append(Apply(self.lease) if self.lease else Drop())
            actions.append(Tell(f"the lease of {over} ran out before the server could be reached"))
            self._told = ""
        if self.lease is None and self.state is State.RENEWING:
            self.state = State.REQUESTING
        return actions

    def _ask(self, now: float) -> list[Action]:
        self._waiting = False
        self.deadline = self._no_later_than_end(now + REPLY_LIMIT)
        return [Ask(self.lease)]

    def _wait_until(self, at: float) -> None:
        self._waiting = True
        self.deadline = self._no_later_than_end(at)

    def _no_later_than_end(self, at: float) -> float:
        return at if self.lease is None else min(at, self.lease.ends_at)

    def _granted(self, event: Granted, now: float) -> list[Action]:
        usable = tuple(one for one in event.addresses if one.valid_time >= MIN_LEASE_TIME)
        if not usable:
            self.state = State.RENEWING if self.lease else State.REQUESTING
            reason = f"the server leases for less than {MIN_LEASE_TIME} s"
            return self._failed(ExchangeFailed(reason), now)
        lease = Lease(usable, event.asked_at, event.pushed)
        self.lease = lease
        self._retry_time = RETRY_FIRST
        self._not_before = 0.0
        self._told = ""
        self._waiting = False
        half = lease.renew_at - lease.granted_at
        self.deadline = lease.renew_at + half * JITTER * self._jitter()
        return [Apply(lease)]

    def _failed(self, event: ExchangeFailed, now: float) -> list[Action]:
        actions: list[Action] = []
        if event.lost and self.lease is not None:
            self.lease = None
            actions.append(Drop())
        if self.lease is None and self.state is State.RENEWING:
            self.state = State.REQUESTING
        if self.state is State.PAUSED:
            self.deadline = self.lease.ends_at if self.lease else None
            return actions
        most = RETRY_MAX if self.lease else RETRY_MAX_WITHOUT
        wait = min(self._retry_time, most) * (1 + JITTER * self._jitter())
        self._retry_time = min(self._retry_time * 2, RETRY_MAX)
        if event.retry_after is not None:
            asked = min(event.retry_after, RETRY_AFTER_MAX)
            wait = max(wait, asked * (1 + JITTER * abs(self._jitter())))
            self._not_before = now + wait
        self._wait_until(now + wait)
        return actions + self._tell_once(event.reason)

    def _tell_once(self, text: str) -> list[Action]:
        """The same trouble is told once."""
        if text == self._told:
            return []
        self._told = text
        return [Tell(text)]

    def _stop(self, *, release: bool, now: float) -> list[Action]:
        self.deadline = None
        lease, self.lease = self.lease, None
        if release and lease is not None and now < lease.ends_at:
            return [Abandon(), Drop(), Release(lease), Finish()]  # protocol.md 6.7: off first
        return [Abandon(), Finish()]


def remaining(lease: Lease, now: float) -> tuple[LeasedAddress, ...]:
    """The addresses of a lease with the times left at `now`, in whole seconds, rounded up.

    Those that are over are left out. The kernel's lifetimes are a second late at the most; the
    machine's own deadline is not.
    """
    passed = now - lease.granted_at
    return tuple(
        replace(
            one,
            preferred_time=_left(one.preferred_time, passed),
            valid_time=_left(one.valid_time, passed),
        )
        for one in lease.addresses
        if _span(one.valid_time) > passed
    )


def _shortened(held: LeasedAddress, told: LeasedAddress, passed: float) -> LeasedAddress:
    """An address as the server says it is, for no longer than it was granted.

    Its times are of `passed` seconds after the grant. They are rounded and were on the way: what is
    two seconds less is no less.
    """
    valid_time = held.valid_time
    if _span(told.valid_time) + passed + _ROUNDING < _span(held.valid_time):
        valid_time = max(1, ceil(told.valid_time + passed))
    preferred_time = min(held.preferred_time, valid_time)
    return LeasedAddress(held.ip, told.network, preferred_time, valid_time)


_ROUNDING: Final = 2.0
"""Seconds."""


def _span(time: int) -> float:
    """Seconds of a time as it is on the wire."""
    return inf if time == FOREVER else time


def _left(time: int, passed: float) -> int:
    """What is left, as it would be on the wire; a second at least."""
    return FOREVER if time == FOREVER else min(max(1, ceil(time - passed)), LONGEST_TIME)
