"""All leases in memory: by address, by peer, and by when they end. Pure; the store is elsewhere.

An address is free (nobody has it, or had it of late), remembered (its lease ended; kept for the
peer that had it), in quarantine (that peer declined it), or held. Every change goes through `put`
and `forget`, which write into a journal, so that a batch whose commit fails is undone as a whole.

A million leases are to fit: an entry costs about 260 bytes (tests/scale), its key and address
included. So a lease is kept packed, and a peer by the hash of its key.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from math import isinf

from wg_dynamic.address import IPV4_SIZE, IPV6_SIZE
from wg_dynamic.leases.allocator import Allocator
from wg_dynamic.leases.calendar import Calendar
from wg_dynamic.leases.lease import Lease, pack_lease, row_ends_at, row_is_held, unpack_lease
from wg_dynamic.leases.pool import Pool, PoolIndex
from wg_dynamic.leases.space import Space
from wg_dynamic.leases.terms import AddressRange

Journal = list[tuple[bytes, Lease | None]]
"""(address, what stood there before), in the order of the changes."""


class LeaseTable:
    """Every lease and memory of one server."""

    def __init__(
        self,
        pools: Iterable[Pool],
        excluded: Iterable[bytes | AddressRange] = (),
        *,
        grace_time: float = 0.0,
    ) -> None:
        """A table without leases.

        Args:
            pools: leased from in this order.
            excluded: what they do not lease, be it in a pool or not.
            grace_time: seconds for which an address that ended is given to nobody else.
        """
        self._rows: dict[bytes, bytes] = {}
        self._pools: tuple[Pool, ...] = ()
        self._index = PoolIndex(())
        self.held_in: list[int] = []
        """Of each pool, the leases in its network that have not ended."""
        pools = tuple(pools)
        self._count_pools(pools)
        spaces = _spaces(pools, excluded)
        self.allocators = [Allocator(space, self._rows.keys()) for space in spaces]
        self._grace_time = grace_time
        self._of_peer: dict[int, bytes | tuple[bytes, ...]] = {}
        """Hash of a public key -> its only address, or its addresses."""
        self._ends = Calendar(self._end_of_held)
        """Leases that are held and will end."""
        self._memories = {size: Calendar(self._end_of_memory) for size in (IPV4_SIZE, IPV6_SIZE)}
        """Of each family, the memories that a newcomer may get."""
        self._remembered = dict.fromkeys(self._memories, 0)
        """How many those are."""
        self._held = 0
        """How many leases have not ended."""
        self._journal: Journal = []
        self._changed: dict[bytes, Lease | None] = {}

    def change_pools(
        self,
        pools: Iterable[Pool],
        excluded: Iterable[bytes | AddressRange] = (),
        *,
        grace_time: float = 0.0,
    ) -> None:
        """Lease from these from now on; arguments as of a new table. No batch may be under way.

        Leases and memories stay, those outside the pools too. The addresses are counted anew for
        a pool that changed, which looks at every lease: about a second for a million of them.
        """
        pools = tuple(pools)
        there = list(self.allocators)
        self.allocators = []
        for space in _spaces(pools, excluded):
            same = next((one for one in there if one.space == space), None)
            self.allocators.append(same or Allocator(space, self._rows.keys()))
        self._grace_time = grace_time
        self._count_pools(pools)
        if self.allocators != there:
            self._recount_memories()

    def _count_pools(self, pools: tuple[Pool, ...]) -> None:
        """Count what is held in these pools, if they are others than before."""
        if pools == self._pools:
            return
        self._pools = pools
        self._index = PoolIndex(pools)
        self.held_in = [0] * len(pools)
        for address, row in self._rows.items():
            if row_is_held(row):
                self._count_in_pool(address, 1)

    def _recount_memories(self) -> None:
        """Which memories a newcomer may get, where the pools have changed."""
        self._remembered = dict.fromkeys(self._remembered, 0)
        self._memories = {size: Calendar(self._end_of_memory) for size in self._memories}
        for address, row in self._rows.items():
            if not row_is_held(row) and self.leases(address):
                size = len(address)
                self._remembered[size] += 1
                if not isinf(row_ends_at(row)):
                    self._memories[size].add(address, row_ends_at(row), self._remembered[size])

    def endless(self) -> list[Lease]:
        """The leases that have no end."""
        return [
            unpack_lease(address, row)
            for address, row in self._rows.items()
            if row_is_held(row) and isinf(row_ends_at(row))
        ]

    def __len__(self) -> int:
        """How many leases have not ended."""
        return self._held

    def get(self, address: bytes) -> Lease | None:
        """The lease or memory at an address."""
        row = self._rows.get(address)
        return None if row is None else unpack_lease(address, row)

    def of_peer(self, public_key: bytes) -> list[Lease]:
        """Every lease and memory of a peer, in no order."""
        found = self._of_peer.get(_short(public_key), ())
        addresses = (found,) if isinstance(found, bytes) else found
        leases = (unpack_lease(address, self._rows[address]) for address in addresses)
        return [lease for lease in leases if lease.public_key == public_key]

    def held(self) -> Iterator[Lease]:
        """Every lease that has not ended."""
        return (
            unpack_lease(address, row) for address, row in self._rows.items() if row_is_held(row)
        )

    def all(self) -> Iterable[Lease]:
        """Every lease and memory."""
        return (unpack_lease(address, row) for address, row in self._rows.items())

    @property
    def remembered(self) -> int:
        """How many addresses of the pools are a memory, or in quarantine."""
        return sum(self._remembered.values())

    def addresses(self) -> list[bytes]:
        """Every address at which a lease or memory stands; the list does not change any more."""
        return list(self._rows)

    def is_vacant(self, address: bytes, public_key: bytes) -> bool:
        """Whether no other peer holds the address, whatever the pools say."""
        lease = self.get(address)
        return lease is None or lease.ended or lease.public_key == public_key

    def is_available(self, address: bytes, public_key: bytes, now: float) -> bool:
        """Whether the pools lease the address and this peer may get it now.

        It is free, or its own, or remembered for another peer for longer than the grace time. One
        that was declined is nobody's before its quarantine ends.
        """
        if not self.leases(address):
            return False
        lease = self.get(address)
        if lease is None:
            return True
        if lease.public_key == public_key and not lease.declined:
            return True
        return lease.ended and now >= lease.ends_at + self._grace_time

    def leases(self, address: bytes) -> bool:
        """Whether the address is one that the pools lease."""
        return any(allocator.holds(address) for allocator in self.allocators)

    def is_kept_for_another(self, address: bytes, public_key: bytes) -> bool:
        """Whether it is remembered for another peer, and its pool has others to give."""
        lease = self.get(address)
        if lease is None or not lease.ended or lease.declined or lease.public_key == public_key:
            return False
        return any(
            allocator.free_count > 0 for allocator in self.allocators if allocator.holds(address)
        )

    def choose(
        self,
        now: float,
        *,
        ipv4: bool,
        usable: Callable[[bytes], bool],
        random_below: Callable[[int], int],
    ) -> bytes | None:
        """An address for a newcomer: a free one at random, else the longest-ended memory.

        The first pool with room gives it. `usable` may refuse an address (a fence). After `PROBES`
        refusals the free addresses, and then the memories, are walked.
        """
        for allocator in self.allocators:
            if allocator.space.is_ipv4 is not ipv4:
                continue
            for _ in range(PROBES):
                address = allocator.choose(random_below)
                if address is None:
                    break
                if usable(address):
                    return address
            else:
                walk = islice(allocator.walk(random_below), WALK_LIMIT)
                address = next(filter(usable, walk), None)
                if address is not None:
                    return address
        return self._oldest_memory(now, usable, IPV4_SIZE if ipv4 else IPV6_SIZE)

    def excess(self, public_key: bytes, limit: int, now: float) -> list[bytes]:
        """The memories of a peer beyond so many of a family, the longest-ended ones.

        What is in quarantine or in its grace time is none, and not counted.
        """
        found = []
        over = [one for one in self.of_peer(public_key) if one.ended]
        for size in (IPV4_SIZE, IPV6_SIZE):
            memories = [
                lease
                for lease in over
                if len(lease.address) == size and lease.ends_at + self._grace_time <= now
            ]
            memories.sort(key=lambda lease: lease.ends_at)
            found += [lease.address for lease in memories[: max(0, len(memories) - limit)]]
        return found

    def load(self, leases: Iterable[Lease]) -> None:
        """Fill an empty table, each address once; none of it can be undone.

        The same as `put` for each, at a third of the cost: at a start there may be a million.
        """
        for lease in leases:
            address = lease.address
            self._rows[address] = pack_lease(lease)
            self._link(lease)
            calendar = self._count(lease)
            if not lease.ended:
                self._count_in_pool(address, 1)
            if calendar is not None and not isinf(lease.ends_at):
                calendar.add(address, lease.ends_at, len(self._rows))
        for allocator in self.allocators:
            allocator.count()

    def put(self, lease: Lease) -> None:
        """Set what stands at the lease's address."""
        self.replace(self.get(lease.address), lease)

    def replace(self, old: Lease | None, lease: Lease) -> None:
        """`put` for who knows already what stands there."""
        self._journal.append((lease.address, old))
        self._changed[lease.address] = lease
        self._set(lease, old)

    def forget(self, address: bytes) -> None:
        """Make the address free; nothing happens when it is."""
        lease = self.get(address)
        if lease is not None:
            self._journal.append((address, lease))
            self._changed[address] = None
            self._remove(lease)

    def due(self, now: float) -> list[Lease]:
        """Leases past their end that have not been ended; they stay until `put` ends them.

        The same lease is returned by each call until then.
        """
        return [unpack_lease(address, self._rows[address]) for address in self._ends.until(now)]

    def next_end(self) -> float | None:
        """When the next lease ends; None when none will."""
        first = self._ends.first()
        return None if first is None else first[0]

    def begin(self) -> None:
        """Start a batch: what follows can be undone by `rollback`."""
        self._journal = []
        self._changed = {}

    def before(self) -> dict[bytes, Lease | None]:
        """What stood at every address changed since `begin`, before its first change."""
        first: dict[bytes, Lease | None] = {}
        for address, old in self._journal:
            first.setdefault(address, old)
        return first

    def after(self) -> dict[bytes, Lease | None]:
        """What stands now at every address changed since `begin`, in the order of `before`."""
        return self._changed

    def rollback(self) -> None:
        """Undo everything since `begin`."""
        for address, old in reversed(self._journal):
            if old is not None:
                self._set(old, self.get(address))
            else:
                self._remove(unpack_lease(address, self._rows[address]))
        self.begin()

    def _set(self, lease: Lease, old: Lease | None) -> None:
        address = lease.address
        self._rows[address] = pack_lease(lease)
        held = old is not None and not old.ended and not lease.ended
        if old is not None and held and old.public_key == lease.public_key:
            self._move(lease, old)  # renewed, as nearly everything is
            return
        if old is not None:
            self._uncount(old)
        if old is None or old.public_key != lease.public_key:
            if old is not None:
                self._unlink(old)
            self._link(lease)
        change = int(not lease.ended) - int(old is not None and not old.ended)
        if change:
            self._count_in_pool(address, change)
        if old is None:
            for allocator in self.allocators:
                allocator.took(address)
        calendar = self._count(lease)
        changed = old is None or old.ended != lease.ended or old.ends_at != lease.ends_at
        if calendar is not None and changed and not isinf(lease.ends_at):
            live = self._remembered[len(address)] if lease.ended else self._held
            calendar.add(address, lease.ends_at, live)

    def _move(self, lease: Lease, old: Lease) -> None:
        """A lease that is held has another end."""
        if old.ends_at == lease.ends_at or isinf(lease.ends_at):
            return
        if isinf(old.ends_at):
            self._ends.add(lease.address, lease.ends_at, self._held)
        else:
            self._ends.move(lease.address, old.ends_at, lease.ends_at, self._held)

    def _remove(self, lease: Lease) -> None:
        self._uncount(lease)
        if not lease.ended:
            self._count_in_pool(lease.address, -1)
        self._unlink(lease)
        del self._rows[lease.address]
        for allocator in self.allocators:
            allocator.freed(lease.address)

    def _count(self, lease: Lease) -> Calendar | None:
        """Count one more lease or memory; the calendar that it is to stand in."""
        if not lease.ended:
            self._held += 1
            return self._ends
        if self.leases(lease.address):
            self._remembered[len(lease.address)] += 1
            return self._memories[len(lease.address)]
        return None

    def _uncount(self, lease: Lease) -> None:
        if not lease.ended:
            self._held -= 1
        elif self.leases(lease.address):
            self._remembered[len(lease.address)] -= 1

    def _count_in_pool(self, address: bytes, change: int) -> None:
        place = self._index.find(address)
        if place is not None:
            self.held_in[place] += change

    def _link(self, lease: Lease) -> None:
        short = _short(lease.public_key)
        there = self._of_peer.get(short, ())
        others = (there,) if isinstance(there, bytes) else there
        self._of_peer[short] = (*others, lease.address) if others else lease.address

    def _unlink(self, lease: Lease) -> None:
        short = _short(lease.public_key)
        there = self._of_peer[short]
        others = () if isinstance(there, bytes) else there
        left = tuple(address for address in others if address != lease.address)
        if not left:
            del self._of_peer[short]
        else:
            self._of_peer[short] = left if len(left) > 1 else left[0]

    def _end_of_held(self, address: bytes) -> float | None:
        row = self._rows.get(address)
        return row_ends_at(row) if row is not None and row_is_held(row) else None

    def _end_of_memory(self, address: bytes) -> float | None:
        row = self._rows.get(address)
        return None if row is None or row_is_held(row) else row_ends_at(row)

    def _oldest_memory(
        self, now: float, usable: Callable[[bytes], bool], size: int
    ) -> bytes | None:
        for address in islice(self._memories[size].walk(), WALK_LIMIT):
            if row_ends_at(self._rows[address]) + self._grace_time > now:
                return None  # and so are all that come after it
            if usable(address):
                return address
        return None


def _spaces(pools: Iterable[Pool], excluded: Iterable[bytes | AddressRange]) -> list[Space]:
    """What each pool leases."""
    holes = [one if isinstance(one, AddressRange) else AddressRange(one, one) for one in excluded]
    return [Space(pool, holes) for pool in pools]


def _short(public_key: bytes) -> int:
    """What stands for a key where there are a million: 32 bytes in memory instead of 80.

    Two keys may share one (2**-60), so whoever uses it looks at the whole key as well. Python
    salts the hash: nobody outside can look for such a pair.
    """
    return hash(public_key) & ((1 << 60) - 1)


PROBES = 64
"""Random choices before the pool is walked: at half the pool fenced, 2**-64 of all requests."""
WALK_LIMIT = 1 << 16
"""Addresses looked at in a walk: bounds the time that one request may take."""
