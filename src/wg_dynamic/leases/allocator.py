"""Choose a free address at random, at the same cost however full the pool is. Knows no time.

The pool's positions are thought of as an array that is kept permuted so that all free positions
stand in front: choosing is picking an index below the count of free ones, taking and freeing is
a swap across that border (Fisher and Yates). Only what stands away from its own place is stored.
A free position whose own place lies in front stands there: so no more is stored than two entries
for each taken one, however many came and went, and a /64 costs no more than its leases do.
"""

from collections.abc import Callable

from wg_dynamic.leases.pool import Pool


class Allocator:
    """The free addresses of one pool."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.free_count = pool.size
        self._at: dict[int, int] = {}
        """Index in the permuted array -> position, where they differ."""
        self._index: dict[int, int] = {}
        """Position -> index in the permuted array, where they differ."""

    def is_free(self, address: bytes) -> bool:
        """Whether the address is in the pool and not taken."""
        position = self.pool.position(address)
        return position is not None and self._index.get(position, position) < self.free_count

    def take(self, address: bytes) -> bool:
        """Mark an address as taken; False when it was, or is not of this pool."""
        position = self.pool.position(address)
        if position is None or not self.is_free(address):
            return False
        self.free_count -= 1
        self._swap(self._index.get(position, position), self.free_count)
        return True

    def free(self, address: bytes) -> bool:
        """Mark an address as free again; False when it was, or is not of this pool."""
        position = self.pool.position(address)
        if position is None or self.is_free(address):
            return False
        border = self.free_count
        self._swap(self._index.get(position, position), border)
        self.free_count += 1
        if position < border:
            self._swap(border, position)  # home; what lent it the place has its own behind
        if self._index.get(border, border) < border:
            self._swap(border, self._index[border])  # its own place is in front now
        return True

    def choose(self, random_below: Callable[[int], int]) -> bytes | None:
        """A free address (still free afterwards), None when the pool is full.

        `random_below(n)` gives 0 to n - 1, each as likely.
        """
        return None if self.free_count == 0 else self.free_address(random_below(self.free_count))

    def free_address(self, index: int) -> bytes:
        """The free address at an index below `free_count`: each at one, in no order."""
        return self.pool.address(self._at.get(index, index))

    def _swap(self, one: int, other: int) -> None:
        first, second = self._at.get(one, one), self._at.get(other, other)
        self._put(one, second)
        self._put(other, first)

    def _put(self, index: int, position: int) -> None:
        if index == position:
            self._at.pop(index, None)
            self._index.pop(position, None)
        else:
            self._at[index] = position
            self._index[position] = index
