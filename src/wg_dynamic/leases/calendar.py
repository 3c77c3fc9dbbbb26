"""Addresses in the order of a point in time, for a million of them. Pure.

They lie in buckets of some seconds, a few bytes each; only the bucket that comes next is a heap of
exact times. Nothing is ever searched for to be taken out: an address whose time has changed is
simply added again, and the old entry is passed over when its turn comes.
"""

import heapq
from collections.abc import Callable, Iterator

SPAN = 16
"""Seconds of a bucket."""
STALE_ENTRIES = 64
"""Entries that are out of date, beside as many as there are good ones, before all is made anew."""


class Calendar:
    """Points in time of addresses, seconds of any clock. Infinite ones must not be added."""

    def __init__(self, time_of: Callable[[bytes], float | None]) -> None:
        """`time_of` says when an address is on today; None when it is on no more."""
        self._time_of = time_of
        self._near: list[tuple[float, bytes]] = []
        """Heap of every entry whose bucket is `_horizon` or before."""
        self._horizon = float("-inf")
        self._far: dict[int, list[bytes]] = {}
        """Bucket -> addresses, all after the horizon."""
        self._buckets: list[int] = []
        """Heap of the keys of `_far`."""
        self._size = 0
        """Entries, out of date or not."""

    def __len__(self) -> int:
        """How many entries are kept, out of date or not."""
        return self._size

    def add(self, address: bytes, at: float, live: int) -> None:
        """Put an address on; `live` is how many there are now, this one included."""
        self._add(address, at)
        self._bound(live)

    def move(self, address: bytes, before: float, at: float, live: int) -> None:
        """Put an address on that was on `before`: in its old bucket it need not be added again."""
        bucket = int(at // SPAN)
        if bucket <= self._horizon or bucket != int(before // SPAN):
            self._add(address, at)
            self._bound(live)

    def _bound(self, live: int) -> None:
        if self._size > 2 * live + STALE_ENTRIES:
            self._make_anew()

    def first(self) -> tuple[float, bytes] | None:
        """The earliest entry; None when there is none."""
        while True:
            while self._near:
                if self._is_good(self._near[0]):
                    return self._near[0]
                heapq.heappop(self._near)
                self._size -= 1
            if not self._buckets:
                return None
            self._pull()

    def until(self, now: float) -> list[bytes]:
        """What is on at `now` or before, each once, the earliest first; it stays on."""
        found: dict[bytes, float] = {}
        while (entry := self.first()) is not None and entry[0] <= now:
            at, address = heapq.heappop(self._near)
            self._size -= 1
            found[address] = at
        for address, at in found.items():
            heapq.heappush(self._near, (at, address))
            self._size += 1
        return list(found)

    def walk(self) -> Iterator[bytes]:
        """Every address, the earliest first. Nothing may be added meanwhile."""
        first = self.first()
        if first is None:
            return
        yield first[1]
        last = first
        for entry in sorted(self._near):
            if entry != last and self._is_good(entry):
                last = entry
                yield entry[1]
        for bucket in sorted(self._buckets):
            for _, address in sorted(self._entries(bucket)):
                yield address

    def _add(self, address: bytes, at: float) -> None:
        bucket = int(at // SPAN)
        if bucket < self._horizon:
            self._push_back(bucket)
        if bucket <= self._horizon:
            heapq.heappush(self._near, (at, address))
        elif bucket in self._far:
            self._far[bucket].append(address)
        else:
            self._far[bucket] = [address]
            heapq.heappush(self._buckets, bucket)
        self._size += 1

    def _pull(self) -> None:
        """Make the next bucket the heap of exact times."""
        bucket = heapq.heappop(self._buckets)
        entries = self._entries(bucket)
        self._size += len(entries) - len(self._far.pop(bucket))
        self._near.extend(entries)
        heapq.heapify(self._near)
        self._horizon = bucket

    def _push_back(self, bucket: int) -> None:
        """Something earlier has come: what lies after `bucket` goes into its buckets again."""
        self._horizon = bucket
        later = [entry for entry in self._near if entry[0] // SPAN > bucket]
        self._near = [entry for entry in self._near if entry[0] // SPAN <= bucket]
        heapq.heapify(self._near)
        self._size -= len(later)
        for at, address in later:
            self._add(address, at)

    def _entries(self, bucket: int) -> set[tuple[float, bytes]]:
        """The good entries of a bucket, with their exact times."""
        entries = set()
        for address in self._far[bucket]:
            at = self._time_of(address)
            if at is not None and at // SPAN == bucket:
                entries.add((at, address))
        return entries

    def _is_good(self, entry: tuple[float, bytes]) -> bool:
        return self._time_of(entry[1]) == entry[0]

    def _make_anew(self) -> None:
        entries = {entry for entry in self._near if self._is_good(entry)}
        for bucket in self._buckets:
            entries |= self._entries(bucket)
        self._near, self._far, self._buckets = [], {}, []
        self._horizon, self._size = float("-inf"), 0
        for at, address in entries:
            self._add(address, at)
