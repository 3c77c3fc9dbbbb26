"""The addresses that a pool leases, counted: the pool less its exclusions, cut into stretches.

An exclusion may be half a /64, so nothing is kept of the addresses themselves: positions count
through the stretches in address order, and a bisection finds the stretch.
"""

from bisect import bisect_right
from collections.abc import Iterable

from wg_dynamic.leases.pool import Pool
from wg_dynamic.leases.terms import AddressRange


class Space:
    """Positions 0 to `size` - 1, each for one address."""

    def __init__(self, pool: Pool, excluded: Iterable[AddressRange] = ()) -> None:
        self.is_ipv4 = pool.network.is_ipv4
        self._bytes = len(pool.network.packed)
        holes = sorted(
            (int.from_bytes(one.first, "big"), int.from_bytes(one.last, "big"))
            for one in excluded
            if len(one.first) == self._bytes
        )
        stretches = [stretch for whole in pool.stretches() for stretch in _less(whole, holes)]
        self._firsts = [first for first, _ in stretches]
        """The lowest address of each stretch."""
        self._positions: list[int] = []
        """And its position."""
        self.size = 0
        for first, last in stretches:
            self._positions.append(self.size)
            self.size += last - first + 1
        self._ends = [last for _, last in stretches]

    def __eq__(self, other: object) -> bool:
        """Whether both lease the same addresses."""
        if not isinstance(other, Space):
            return NotImplemented
        mine = (self._bytes, self._firsts, self._ends)
        return mine == (other._bytes, other._firsts, other._ends)

    __hash__ = None  # type: ignore[assignment]  # nobody keeps them in sets

    def address(self, position: int) -> bytes:
        """The packed address at a position below `size`."""
        at = bisect_right(self._positions, position) - 1
        number = self._firsts[at] + position - self._positions[at]
        return number.to_bytes(self._bytes, "big")

    def position(self, address: bytes) -> int | None:
        """Where an address stands; None when it is not leased from here."""
        if len(address) != self._bytes:
            return None
        number = int.from_bytes(address, "big")
        at = bisect_right(self._firsts, number) - 1
        if at < 0 or number > self._ends[at]:
            return None
        return self._positions[at] + number - self._firsts[at]


def _less(whole: tuple[int, int], holes: Iterable[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    """What is left of a stretch without the holes, which come in the order of their beginnings."""
    begin, end = whole
    for first, last in holes:
        if last < begin:
            continue
        if first > end:
            break
        if first > begin:
            yield begin, first - 1
        begin = last + 1
    if begin <= end:
        yield begin, end
