"""Choose a free address at random, at the same cost however full the pool is. Knows no time.

While no more than a quarter of a large pool is taken, a random position is free more often than
not, and nothing is stored: what is taken is looked up where the leases are. Beyond that, and in
small pools always, the positions stand in an array that is kept permuted so that all free ones
are in front: choosing is picking an index below the count of free ones, taking and freeing is a
swap across that border (Fisher and Yates). That costs 8 bytes for each address of the pool, which
is 32 for each one taken at the most.
"""

from array import array
from collections.abc import Callable, Collection, Iterator

from wg_dynamic.leases.space import Space

SMALL_SIZE = 1 << 16
"""Pools up to here always have the array: half a megabyte."""
DENSE_SHARE = 4
"""The array is made when one in so many addresses is taken; it goes at half of that."""
MAX_SIZE = 1 << 32
"""What the array can number; of a larger pool no quarter is ever taken."""
TRIES = 64
"""Random positions in a pool without array before they are tried one after the other."""


class Allocator:
    """The free addresses of one space.

    The caller keeps what is taken and says when that changed.
    """

    def __init__(self, space: Space, taken: Collection[bytes]) -> None:
        """`taken` may hold foreign addresses too; it is looked into, and never changed."""
        self.space = space
        self._taken = taken
        self._order: array[int] | None = None
        """Index -> position, the free ones in front."""
        self._index: array[int] = array("I")
        """Position -> index."""
        self.free_count = space.size
        if space.size <= SMALL_SIZE or taken:
            self.count()

    def holds(self, address: bytes) -> bool:
        """Whether the address is one of the space, free or not."""
        return self.space.position(address) is not None

    def is_free(self, address: bytes) -> bool:
        """Whether the address is one of the space and not taken."""
        return address not in self._taken and self.holds(address)

    def took(self, address: bytes) -> None:
        """An address, maybe a foreign one, has become one of `taken`."""
        position = self.space.position(address)
        if position is None:
            return
        self.free_count -= 1
        if self._order is not None:
            self._swap(self._order, position, self.free_count)
        elif self._is_dense(DENSE_SHARE):
            self.count()

    def freed(self, address: bytes) -> None:
        """An address, maybe a foreign one, is one of `taken` no more."""
        position = self.space.position(address)
        if position is None:
            return
        if self._order is not None:
            self._swap(self._order, position, self.free_count)
        self.free_count += 1
        if self.space.size > SMALL_SIZE and not self._is_dense(2 * DENSE_SHARE):
            self._order, self._index = None, array("I")

    def choose(self, random_below: Callable[[int], int]) -> bytes | None:
        """A free address (still free afterwards), None when there is none.

        `random_below(n)` gives 0 to n - 1, each as likely.
        """
        if self.free_count == 0:
            return None
        if self._order is not None:
            return self.space.address(self._order[random_below(self.free_count)])
        for _ in range(TRIES):
            address = self.space.address(random_below(self.space.size))
            if address not in self._taken:
                return address
        return next(self.walk(random_below))

    def walk(self, random_below: Callable[[int], int]) -> Iterator[bytes]:
        """Every free address, each once, from a random one on."""
        if self._order is not None:
            count = self.free_count
            begin = random_below(count) if count else 0
            for step in range(count):
                yield self.space.address(self._order[(begin + step) % count])
            return
        begin = random_below(self.space.size)
        for step in range(self.space.size):
            address = self.space.address((begin + step) % self.space.size)
            if address not in self._taken:
                yield address

    def _is_dense(self, share: int) -> bool:
        """Whether more than one in `share` addresses is taken."""
        size = self.space.size
        return size < MAX_SIZE and (size - self.free_count) * share > size

    def count(self) -> None:
        """Look through `taken`, which may be another than before; make the array if worth it."""
        positions = [
            position
            for address in self._taken
            if (position := self.space.position(address)) is not None
        ]
        size = self.space.size
        self.free_count = size - len(positions)
        if size > SMALL_SIZE and not self._is_dense(DENSE_SHARE):
            return
        self._order = array("I", range(size))
        self._index = array("I", range(size))
        for taken, position in enumerate(positions, 1):
            self._swap(self._order, position, size - taken)

    def _swap(self, order: "array[int]", position: int, border: int) -> None:
        """Let a position change places with the one at the border."""
        index, other = self._index[position], order[border]
        order[index], order[border] = other, position
        self._index[other], self._index[position] = index, border
