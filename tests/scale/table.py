"""A lease table with many leases in it, each of another peer; run as a program, its memory.

python -m tests.scale.table 1000000
"""

import gc
import random
import resource
import sys
from pathlib import Path

from wg_dynamic.leases.lease import Lease
from wg_dynamic.leases.pool import parse_pool
from wg_dynamic.leases.table import LeaseTable

POOL = parse_pool("10.16.0.0/12")
SIZE = (1 << 20) - 2
"""Without the network's and the broadcast address."""
STEP = 700_001
"""Has no divisor in common with the size of the pool: each address comes once."""


def address(number: int) -> bytes:
    """One of SIZE addresses, in no order."""
    first = int.from_bytes(POOL.network.packed, "big") + 1
    return (first + number * STEP % SIZE).to_bytes(4, "big")


def random_key(chance: random.Random) -> bytes:
    """A public key."""
    return chance.randbytes(32)


def filled_table(count: int, chance: random.Random) -> LeaseTable:
    """So many leases at addresses in no order, which end at random times of an hour."""
    table = LeaseTable([POOL])
    for number in range(count):
        ends_at = 1000.0 + 3600.0 * chance.random()
        table.put(Lease(random_key(chance), address(number), 3600.0, ends_at))
        table.begin()  # nothing of it is to be undone
    return table


def resident() -> int:
    """Bytes of memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def main() -> None:
    """Print how many bytes a lease takes."""
    count = int(sys.argv[1])
    chance = random.Random(1)  # noqa: S311 - which addresses
    gc.collect()
    before = resident()
    table = filled_table(count, chance)
    gc.collect()
    assert len(table) == count
    sys.stdout.write(f"{(resident() - before) / count}\n")


if __name__ == "__main__":
    main()
