"""What a request gets: held leases, terms and wishes in, leases and a code out. Pure.

Nothing is decided here that the store could still refuse: the caller puts the outcome into the
table, commits it, and rolls the table back when that fails.
"""

from collections.abc import Callable, Iterable, Sequence
from math import ceil, isinf

from wg_dynamic.address import IPV4_SIZE, IPV6_SIZE, Prefix, host_prefix
from wg_dynamic.leases.lease import Lease
from wg_dynamic.leases.pool import Pool
from wg_dynamic.leases.table import LeaseTable
from wg_dynamic.leases.terms import (
    FREE_DECLINES,
    AddressRange,
    LeaseTerms,
    PoolTerms,
    Reservation,
)
from wg_dynamic.protocol.errors import ErrorCode
from wg_dynamic.record import dataclass, replace

USUAL = 2
"""Wishes of a usual request: an address of each family."""
MEMORIES_PER_ADDRESS = 8
"""Ended leases that are remembered of a peer, for each one of a family that it may hold."""

FORMER_TIME = 2 * 86400.0
"""Seconds that a lease for ever has at least when it is no longer reserved for its peer: the client
asks once a day (protocol.md 10.2), and learns of it then."""


class Rules:
    """The terms of a server, in the form in which requests are decided."""

    def __init__(
        self,
        terms: LeaseTerms,
        random_below: Callable[[int], int],
        is_open: Callable[[bytes, bytes], bool],
        hub: Iterable[bytes] = (),
    ) -> None:
        """Lay the terms out.

        Args:
            terms: the administrator's.
            random_below: gives 0 to n - 1, each as likely.
            is_open: (address, public key): no static allowed IP of another peer is in the way.
            hub: the server's own addresses, which nobody gets, reserved or not.
        """
        self.terms = terms
        self.random_below = random_below
        self._is_open = is_open
        self._hub = frozenset(hub)
        self._reservations = {one.public_key: one for one in terms.reservations}
        self._reserved_for = terms.reserved_for()
        self._names = {one.public_key: one.name for one in terms.names}
        self._ranges = [_range(one) for one in terms.pools]

    @property
    def pools(self) -> list[Pool]:
        """What is leased from, in the order of the terms."""
        return [one.pool for one in self.terms.pools]

    def new_table(self) -> LeaseTable:
        """A table of the pools without leases."""
        grace_time = self.terms.grace_time
        return LeaseTable(self.pools, self._excluded(), grace_time=grace_time)

    def change_table(self, table: LeaseTable) -> None:
        """Let a table of other rules be one of these; what it holds stays."""
        table.change_pools(self.pools, self._excluded(), grace_time=self.terms.grace_time)

    def _excluded(self) -> list[bytes | AddressRange]:
        """What the pools do not lease; what is reserved is nobody's by chance."""
        ranges = [excluded for one in self.terms.pools for excluded in one.excluded]
        return [*self._hub, *ranges, *self._reserved_for]

    def has_reservation(self, public_key: bytes) -> bool:
        """Whether anything is reserved for a peer."""
        return public_key in self._reservations

    def choose(self, table: LeaseTable, size: int, public_key: bytes, now: float) -> bytes | None:
        """An address of that many bytes for a newcomer; None when there is none."""
        return table.choose(
            now,
            ipv4=size == IPV4_SIZE,
            usable=lambda address: self.is_usable(address, public_key),
            random_below=self.random_below,
        )

    def name_of(self, public_key: bytes) -> str | None:
        """What people call a peer, if they call it anything."""
        return self._names.get(public_key)

    def reserved(self, public_key: bytes, size: int) -> list[bytes]:
        """The addresses of that many bytes that are reserved for a peer, in the file's order."""
        reservation = self._reservations.get(public_key)
        addresses = reservation.addresses if reservation else ()
        return [address for address in addresses if len(address) == size]

    def may_have(self, table: LeaseTable, address: bytes, public_key: bytes, now: float) -> bool:
        """Whether this peer may be leased this address now."""
        owner = self._reserved_for.get(address)
        if owner is None:
            return table.is_available(address, public_key, now) and self.is_usable(
                address, public_key
            )
        return (
            owner == public_key
            and address not in self._hub
            and self._pool_of(address) is not None
            and table.is_vacant(address, public_key)
            and self._is_open(address, public_key)
        )

    def may_keep(self, table: LeaseTable, lease: Lease) -> bool:
        """`may_have` for what the peer holds, if nothing is reserved for it."""
        return (
            lease.address not in self._reserved_for
            and table.leases(lease.address)
            and self.is_usable(lease.address, lease.public_key)
        )

    def is_usable(self, address: bytes, public_key: bytes) -> bool:
        """Whether nothing but other leases can be in the way of an address that pools lease."""
        pool = self._pool_of(address)
        told = None if pool is None else pool.network_length
        if pool is not None and told is not None and told != pool.pool.network.length:
            # It may be the broadcast address, say, of the network that the client is told.
            inside = Pool(_network(address, pool)).leases(address)
        else:
            inside = True
        return inside and self._is_open(address, public_key)

    def lease_time(
        self, address: bytes, public_key: bytes, wished: float | None, *, finite: bool
    ) -> float:
        """Seconds to lease an address for; `finite` where the client knows no other."""
        usual = self._usual_time(address, public_key)
        terms = self.terms
        if wished is None or (isinf(wished) and isinf(usual)):
            return terms.max_lease_time if finite and isinf(usual) else usual
        return float(int(min(max(wished, terms.min_lease_time), terms.max_lease_time)))

    def bounded(self, lease: Lease, now: float) -> Lease:
        """A lease of an earlier start; one for ever gets an end when nothing gives it for ever now.

        Else an address that was reserved for a peer that never comes back would be lost.
        """
        if lease.ended or not isinf(lease.ends_at):
            return lease
        usual = self._usual_time(lease.address, lease.public_key)
        if isinf(usual):
            return lease
        time = max(usual, FORMER_TIME)
        return replace(lease, lease_time=time, ends_at=now + time)

    def network(self, address: bytes) -> Prefix:
        """The on-link network that the client is told; the address alone outside the pools."""
        pool = self._pool_of(address)
        return host_prefix(address) if pool is None else _network(address, pool)

    def _usual_time(self, address: bytes, public_key: bytes) -> float:
        reservation: Reservation | None = None
        if self._reserved_for.get(address) == public_key:
            reservation = self._reservations[public_key]
        pool = self._pool_of(address)
        for one in (reservation, pool):
            if one is not None and one.lease_time is not None:
                return one.lease_time
        return self.terms.lease_time

    def _pool_of(self, address: bytes) -> PoolTerms | None:
        for size, first, last, pool in self._ranges:
            if size == len(address) and first <= address <= last:
                return pool
        return None


def _range(pool: PoolTerms) -> tuple[int, bytes, bytes, PoolTerms]:
    """A pool's size of address, first and last address: bytes of one length compare as numbers."""
    packed, length = pool.pool.network
    last = int.from_bytes(packed, "big") | (1 << len(packed) * 8 - length) - 1
    return len(packed), packed, last.to_bytes(len(packed), "big"), pool


def _network(address: bytes, pool: PoolTerms) -> Prefix:
    length = pool.network_length
    return pool.pool.network if length is None else Prefix(address, length).network()


@dataclass(frozen=True)
class Asked:
    """One request for addresses."""

    public_key: bytes
    """Who asks."""
    wishes: tuple[bytes, ...] = ()
    """Packed addresses, all-zero for any of the family; () for one of each family."""
    version: int = 2
    """1: a wish that cannot be met gives that family nothing instead of another address, unless it
    was the peer's own, and every lease ends."""
    lease_time: float | None = None
    """Seconds wished for; INFINITE for without end."""
    new_left: int = 1 << 32
    """Addresses that the peer did not have before that it may get."""


@dataclass(frozen=True)
class Outcome:
    """What one request comes to."""

    leases: tuple[Lease, ...] = ()
    """Granted or renewed; already put into the table."""
    code: ErrorCode = ErrorCode.SUCCESS
    """Not SUCCESS when a wish got nothing; `leases` holds the others."""
    new: int = 0
    """How many of the addresses the peer did not have before."""
    retry_at: float | None = None
    """CLOCK_BOOTTIME seconds when what is in the way will be gone, if that is known."""


def decide(table: LeaseTable, asked: Asked, rules: Rules, now: float) -> Outcome:
    """Grant or renew for one request, and put the leases into the table.

    `now` is in CLOCK_BOOTTIME seconds.
    """
    usual = _usual(table, asked, rules, now)
    return _Decision(table, asked, rules, now).outcome() if usual is None else usual


def _usual(table: LeaseTable, asked: Asked, rules: Rules, now: float) -> Outcome | None:
    """What nearly all requests are, decided the short way; None for all others.

    A peer that has nothing, nor had of late, wants an address of each family; or it wants to keep
    all that it has. The outcome is as `_Decision` has it.
    """
    wishes = asked.wishes
    if len(wishes) != USUAL or len(wishes[0]) == len(wishes[1]):
        return None
    if rules.has_reservation(asked.public_key):
        return None
    had = table.of_peer(asked.public_key)
    if had:
        return _all_kept(table, asked, rules, now, had)
    if any(wishes[0]) or any(wishes[1]) or asked.new_left < USUAL:
        return None
    ipv4 = rules.choose(table, IPV4_SIZE, asked.public_key, now)
    ipv6 = rules.choose(table, IPV6_SIZE, asked.public_key, now)
    if ipv4 is None or ipv6 is None:
        return None
    leases = _lease(asked, rules, ipv4, now), _lease(asked, rules, ipv6, now)
    for lease in leases:
        table.put(lease)  # what stood there may be remembered for another
    return Outcome(leases, new=USUAL)


def _all_kept(
    table: LeaseTable, asked: Asked, rules: Rules, now: float, had: Sequence[Lease]
) -> Outcome | None:
    """A peer that names all that it has, and may keep it; else None."""
    wishes = asked.wishes
    if len(had) != USUAL or any(one.ended or one.address not in wishes for one in had):
        return None
    if not all(rules.may_keep(table, one) for one in had):
        return None
    first, second = had if len(had[0].address) < len(had[1].address) else reversed(had)
    leases = _lease(asked, rules, first.address, now), _lease(asked, rules, second.address, now)
    table.replace(first, leases[0])
    table.replace(second, leases[1])
    return Outcome(leases)


def _lease(asked: Asked, rules: Rules, address: bytes, now: float) -> Lease:
    """The lease of an address to who asks."""
    key = asked.public_key
    time = rules.lease_time(address, key, asked.lease_time, finite=asked.version == 1)
    return Lease(key, address, time, now + time)


class _Decision:
    """One request under way."""

    def __init__(self, table: LeaseTable, asked: Asked, rules: Rules, now: float) -> None:
        self._table = table
        self._asked = asked
        self._key = asked.public_key
        self._rules = rules
        self._now = now
        self._granted: dict[bytes, Lease] = {}
        self._new = 0
        self._code = ErrorCode.SUCCESS
        self._retry_at: float | None = None
        self._exhausted: set[int] = set()
        """Families of which there was no new address: a search may be long, 64 wishes many."""

    def outcome(self) -> Outcome:
        wishes = self._asked.wishes or self._any_of_each()
        for size in (IPV4_SIZE, IPV6_SIZE):
            self._family(size, [wish for wish in wishes if len(wish) == size])
        if not self._granted and self._code is ErrorCode.SUCCESS:
            self._code = ErrorCode.UNAVAILABLE
        return Outcome(tuple(self._granted.values()), self._code, self._new, self._retry_at)

    def _any_of_each(self) -> list[bytes]:
        return [bytes(size) for size in sorted({len(one) for one in self._pool_networks()})]

    def _pool_networks(self) -> list[bytes]:
        return [one.pool.network.packed for one in self._rules.terms.pools]

    def _family(self, size: int, wishes: Sequence[bytes]) -> None:
        if not wishes:
            return
        room = self._room(size)
        granted: list[bytes] = []
        for wish in sorted(wishes, key=lambda wish: not any(wish)):  # named ones first
            if len(granted) >= room:
                self._code = ErrorCode.QUOTA_EXCEEDED
                break
            address = self._choose(wish, [other for other in wishes if any(other)])
            if address is not None:
                granted.append(address)
                self._grant(address)
        if granted:
            self._give_up(size, room - len(granted))

    def _room(self, size: int) -> int:
        """How many addresses of the family the peer may have, less what it declined too often.

        What is reserved for it, and can be had, it may have all the same (protocol.md 6.8).
        """
        quarantined = [
            lease.ends_at
            for lease in self._table.of_peer(self._key)
            if lease.is_in_quarantine(self._now) and len(lease.address) == size
        ]
        counted = max(0, len(quarantined) - FREE_DECLINES)
        room = self._rules.terms.addresses_per_peer - counted
        if room <= 0:
            self._retry_at = min(quarantined)
        return max(room, len(self._reserved(size)))

    def _reserved(self, size: int) -> list[bytes]:
        """What is reserved for the peer, can be had, and is not granted yet."""
        return [one for one in self._rules.reserved(self._key, size) if self._takes(one)]

    def _choose(self, wish: bytes, named: Sequence[bytes]) -> bytes | None:
        """The address for one wish; None, with the code set, when there is none."""
        own = self._own(wish)
        strict = self._asked.version == 1 and any(wish) and own is None
        reserved = self._reserved(len(wish))
        if reserved:
            if wish in reserved or not strict:
                return wish if wish in reserved else reserved[0]
        elif any(wish) and self._meets(wish):
            return wish
        if strict:
            self._code = ErrorCode.UNAVAILABLE
            return None
        return self._any(len(wish), named)

    def _meets(self, wish: bytes) -> bool:
        """Whether a wish can be met, and robs nobody of a memory that could be kept."""
        kept = self._table.is_kept_for_another(wish, self._key)
        new = self._own(wish) is None
        return self._takes(wish) and not kept and (not new or self._may_get_new())

    def _any(self, size: int, named: Sequence[bytes]) -> bytes | None:
        """One that the peer holds or had, else a new one."""
        own = [
            lease
            for lease in self._table.of_peer(self._key)
            if len(lease.address) == size and not lease.declined and lease.address not in named
        ]
        own.sort(key=lambda lease: (lease.ended, -lease.ends_at))  # held first, then the latest
        own += [lease for wish in named if (lease := self._own(wish)) is not None]
        for lease in own:
            if self._takes(lease.address):
                return lease.address
        if not self._may_get_new():
            self._code = ErrorCode.RATE_LIMITED
            return None
        searched = size in self._exhausted
        address = None if searched else self._rules.choose(self._table, size, self._key, self._now)
        if address is None:
            self._exhausted.add(size)
            self._code = ErrorCode.EXHAUSTED
        return address

    def _own(self, address: bytes) -> Lease | None:
        """What stands there, if the peer holds it or had it."""
        lease = self._table.get(address)
        mine = lease is not None and lease.public_key == self._key and not lease.declined
        return lease if mine else None

    def _takes(self, address: bytes) -> bool:
        return address not in self._granted and self._rules.may_have(
            self._table, address, self._key, self._now
        )

    def _may_get_new(self) -> bool:
        return self._new < self._asked.new_left

    def _grant(self, address: bytes) -> None:
        reserved = self._rules.reserved(self._key, len(address))
        if self._own(address) is None and address not in reserved:
            self._new += 1
        lease = _lease(self._asked, self._rules, address, self._now)
        self._table.put(lease)
        self._granted[address] = lease

    def _give_up(self, size: int, room: int) -> None:
        """Let what the peer holds beside, and may hold no longer, end now."""
        others = [
            lease
            for lease in self._table.of_peer(self._key)
            if len(lease.address) == size
            and lease.address not in self._granted
            and not lease.is_over(self._now)
        ]
        others.sort(key=lambda lease: -lease.ends_at)
        for lease in others[room:]:
            self._table.put(replace(lease, ends_at=self._now))


def to_release(
    table: LeaseTable, public_key: bytes, addresses: Sequence[bytes]
) -> tuple[list[Lease], ErrorCode]:
    """The leases that a release names (all of the peer's when it names none).

    Naming what one does not hold releases nothing at all: NOT_PERMITTED when another peer holds
    it; an address that nobody holds is released already.
    """
    if not addresses:
        return [lease for lease in table.of_peer(public_key) if not lease.ended], ErrorCode.SUCCESS
    leases = []
    for address in addresses:
        lease = table.get(address)
        if lease is None or lease.ended:
            continue
        if lease.public_key != public_key:
            return [], ErrorCode.NOT_PERMITTED
        leases.append(lease)
    return leases, ErrorCode.SUCCESS


def to_decline(
    table: LeaseTable, public_key: bytes, addresses: Sequence[bytes], now: float
) -> tuple[list[Lease], ErrorCode]:
    """The leases that a decline names; none, and NOT_PERMITTED, if the peer lacks one of them."""
    leases = {}
    for address in addresses:
        lease = table.get(address)
        if lease is None or lease.public_key != public_key or lease.is_over(now):
            return [], ErrorCode.NOT_PERMITTED
        leases[address] = lease
    return list(leases.values()), ErrorCode.SUCCESS


def retry_after(outcome: Outcome, now: float) -> int | None:
    """Whole seconds until asking again makes sense; None when nobody knows."""
    if outcome.code is ErrorCode.SUCCESS or outcome.retry_at is None:
        return None
    return max(1, ceil(outcome.retry_at - now))
