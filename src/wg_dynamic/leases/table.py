"""All leases in memory: by address, by peer, and by when they end. Pure; the store is elsewhere.

An address is free (nobody ever had it), remembered (its lease ended; kept for the peer that had
it), or held. Every change goes through `put`, which writes into a journal, so that a batch whose
commit fails is undone as a whole.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from wg_dynamic.address import IPV4_SIZE, IPV6_SIZE
from wg_dynamic.leases.allocator import Allocator
from wg_dynamic.leases.lease import Lease
from wg_dynamic.leases.pool import Pool

Journal = list[tuple[bytes, Lease | None, int | None]]
"""(address, what stood there before, its turn as a memory), in the order of the changes."""


class LeaseTable:
    """Every lease and memory of one server."""

    def __init__(self, pools: Iterable[Pool], excluded: Iterable[bytes] = ()) -> None:
        self.allocators = [Allocator(pool) for pool in pools]
        self._excluded = frozenset(excluded)
        for address in self._excluded:
            for allocator in self.allocators:
                allocator.take(address)
        self._leases: dict[bytes, Lease] = {}
        self._of_peer: dict[bytes, set[bytes]] = {}
        self._remembered: dict[int, dict[bytes, int]] = {IPV4_SIZE: {}, IPV6_SIZE: {}}
        """Of each family, the memories that a newcomer may get: address -> turn, in that order."""
        self._turn = 0
        """Counts endings: the memory with the lowest ended first."""
        self._held = 0
        """How many leases have not ended."""
        self._ends: list[tuple[float, bytes]] = []
        """Heap of (ends_at, address); entries that a renewal made stale are dropped lazily."""
        self._journal: Journal = []

    def __len__(self) -> int:
        """How many leases have not ended."""
        return self._held

    def get(self, address: bytes) -> Lease | None:
        """The lease or memory at an address."""
        return self._leases.get(address)

    def of_peer(self, public_key: bytes) -> list[Lease]:
        """Every lease and memory of a peer, in no order."""
        return [self._leases[address] for address in self._of_peer.get(public_key, ())]

    def held(self) -> Iterator[Lease]:
        """Every lease that has not ended."""
        return (lease for lease in self._leases.values() if not lease.ended)

    def all(self) -> Iterable[Lease]:
        """Every lease and memory."""
        return self._leases.values()

    def is_available(self, address: bytes, public_key: bytes) -> bool:
        """Whether the address may be leased to this peer now: free, or remembered, or its own."""
        lease = self._leases.get(address)
        if lease is not None:
            return self._is_ours(address) and (lease.ended or lease.public_key == public_key)
        return any(allocator.is_free(address) for allocator in self.allocators)

    def is_kept_for_another(self, address: bytes, public_key: bytes) -> bool:
        """Whether it is remembered for another peer, and its pool has others to give."""
        lease = self._leases.get(address)
        if lease is None or not lease.ended or lease.public_key == public_key:
            return False
        return any(
            allocator.free_count > 0
            for allocator in self.allocators
            if allocator.pool.position(address) is not None
        )

    def choose(
        self, *, ipv4: bool, usable: Callable[[bytes], bool], random_below: Callable[[int], int]
    ) -> bytes | None:
        """An address for a newcomer: a free one at random, else the longest-ended memory.

        `usable` may refuse an address (a fence). After `PROBES` refusals the free addresses, and
        then the memories, are walked.
        """
        for allocator in self.allocators:
            if allocator.pool.network.is_ipv4 is not ipv4:
                continue
            for _ in range(PROBES):
                address = allocator.choose(random_below)
                if address is None:
                    break
                if usable(address):
                    return address
            else:
                address = self._walk(allocator, usable, random_below)
                if address is not None:
                    return address
        memories = islice(self._remembered[IPV4_SIZE if ipv4 else IPV6_SIZE], WALK_LIMIT)
        return next(filter(usable, memories), None)

    def put(self, lease: Lease) -> None:
        """Set what stands at the lease's address."""
        address = lease.address
        turn = self._remembered[len(address)].get(address)
        self._journal.append((address, self._leases.get(address), turn))
        self._set(lease)

    def due(self, now: float) -> list[Lease]:
        """Leases past their end that have not been ended; they stay until `put` ends them.

        The same lease is returned by each call until then.
        """
        over: dict[bytes, Lease] = {}  # a rollback may leave a lease in the heap twice
        while self._ends and self._ends[0][0] <= now:
            entry = heapq.heappop(self._ends)
            if self._is_current(entry):
                over[entry[1]] = self._leases[entry[1]]
        for lease in over.values():
            heapq.heappush(self._ends, (lease.ends_at, lease.address))
        return list(over.values())

    def next_end(self) -> float | None:
        """When the next lease ends; None when none will."""
        while self._ends:
            if self._is_current(self._ends[0]):
                return self._ends[0][0]
            heapq.heappop(self._ends)
        return None

    def begin(self) -> None:
        """Start a batch: what follows can be undone by `rollback`."""
        self._journal = []

    def before(self) -> dict[bytes, Lease | None]:
        """What stood at every address changed since `begin`, before its first change."""
        first: dict[bytes, Lease | None] = {}
        for address, old, _ in self._journal:
            first.setdefault(address, old)
        return first

    def rollback(self) -> None:
        """Undo everything since `begin`."""
        unsorted: set[int] = set()
        for address, old, turn in reversed(self._journal):
            if old is None:
                self._remove(address)
            else:
                self._set(old)
            if turn is not None:
                self._remembered[len(address)][address] = turn
                unsorted.add(len(address))
        for size in unsorted:
            turns = self._remembered[size]
            self._remembered[size] = dict(sorted(turns.items(), key=lambda item: item[1]))
        self._journal = []

    def _set(self, lease: Lease) -> None:
        address = lease.address
        old = self._leases.get(address)
        if old is None:
            for allocator in self.allocators:
                allocator.take(address)
        else:
            self._unlink(old)
        self._leases[address] = lease
        self._of_peer.setdefault(lease.public_key, set()).add(address)
        if not lease.ended:
            self._held += 1
            if old is None or old.ended or old.ends_at != lease.ends_at:
                self._push_end(lease)
        elif self._is_ours(address):
            self._turn += 1
            self._remembered[len(address)][address] = self._turn

    def _remove(self, address: bytes) -> None:
        self._unlink(self._leases.pop(address))
        if address not in self._excluded:
            for allocator in self.allocators:
                allocator.free(address)

    def _unlink(self, lease: Lease) -> None:
        addresses = self._of_peer[lease.public_key]
        addresses.discard(lease.address)
        if not addresses:
            del self._of_peer[lease.public_key]
        self._remembered[len(lease.address)].pop(lease.address, None)
        self._held -= not lease.ended

    def _push_end(self, lease: Lease) -> None:
        heapq.heappush(self._ends, (lease.ends_at, lease.address))
        if len(self._ends) > 2 * self._held + STALE_ENDS:  # a peer may renew as often as it likes
            self._ends = list({entry for entry in self._ends if self._is_current(entry)})
            heapq.heapify(self._ends)

    def _is_current(self, entry: tuple[float, bytes]) -> bool:
        lease = self._leases.get(entry[1])
        return lease is not None and not lease.ended and lease.ends_at == entry[0]

    def _is_ours(self, address: bytes) -> bool:
        """Whether the address is one that the pools lease."""
        return address not in self._excluded and any(
            allocator.pool.position(address) is not None for allocator in self.allocators
        )

    @staticmethod
    def _walk(
        allocator: Allocator, usable: Callable[[bytes], bool], random_below: Callable[[int], int]
    ) -> bytes | None:
        count = allocator.free_count
        begin = random_below(count)  # beyond the limit, who asks again looks elsewhere
        for step in range(min(count, WALK_LIMIT)):
            address = allocator.free_address((begin + step) % count)
            if usable(address):
                return address
        return None


PROBES = 64
"""Random choices before the pool is walked: at half the pool fenced, 2**-64 of all requests."""
WALK_LIMIT = 1 << 16
"""Addresses looked at in a walk: bounds the time that one request may take."""
STALE_ENDS = 64
"""Stale entries in the heap of ends, beside as many as there are leases, before it is made anew."""
