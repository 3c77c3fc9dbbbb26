"""The LeaseStore interface and its errors."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from wg_dynamic.errors import WgDynamicError
from wg_dynamic.leases.lease import Lease
from wg_dynamic.record import dataclass


class StoreError(WgDynamicError):
    """The store cannot be opened, read or written; nothing was changed."""


class StoreSchemaError(StoreError):
    """The store was written by a newer version, or is not a store of leases at all."""


class StoreLostError(StoreError):
    """What is open is no longer what the next start would open: `rebuild` it."""


class StoreConflictError(StoreError):
    """A lease in the commit takes an address that another peer holds; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One reading of the clocks: what `now` is to a store that must survive a reboot."""

    now: float
    """CLOCK_BOOTTIME seconds."""
    wall: float
    """CLOCK_REALTIME seconds."""
    boot_id: str
    """Which boot `now` counts from (/proc/sys/kernel/random/boot_id)."""


class LeaseStore(Protocol):
    """Leases and memories of one server, each address once. Blocking; one caller at a time."""

    def load(self, moment: Moment) -> list[Lease]:
        """Every lease and memory, `ends_at` in today's CLOCK_BOOTTIME, by `ends_at`.

        Leases of this boot are timed by CLOCK_BOOTTIME alone. Those of an earlier boot had some
        time left at its last commit; from then on the wall clock counts. If it stands before the
        last commit of all, it cannot be trusted, and each lease gets the time it had left at that
        commit (docs/decisions/0005).

        Raises:
            StoreError: it cannot be read.
        """

    def read(self, moment: Moment) -> Iterator[Lease]:
        """The same, one by one and in no order: a million of them need not fit in memory.

        Raises:
            StoreError: it cannot be read; also after some were.
        """

    def commit(
        self, leases: Sequence[Lease], moment: Moment, forgotten: Sequence[bytes] = ()
    ) -> None:
        """Set what stands at each lease's address; on return it survives a crash.

        All or nothing. A later lease for the same address within one call wins. Then the memories
        at the addresses in `forgotten` go; what is held, or not there, is left alone.

        Raises:
            StoreConflictError: an address is held (not ended) by another peer.
            StoreLostError: it was removed, or replaced, under our feet.
            StoreError: it could not be made durable.
        """

    def look(self) -> None:
        """Raise StoreLostError if it was removed, or replaced, under our feet. Writes nothing."""

    def rebuild(self, leases: Sequence[Lease], moment: Moment) -> None:
        """After a StoreLostError: open it again, or begin anew where nothing stands, and commit.

        `leases` is everything there is to know. Raises as `commit`.
        """

    def close(self) -> None:
        """Release it. Calling it twice is fine."""


def restored_end(ends_at: float, of_boot: Moment, last: Moment, today: Moment) -> float:
    """When a lease ends, in today's CLOCK_BOOTTIME (docs/decisions/0005).

    Only the wall clock can tell how much time has passed between two boots; within each of them
    it may have been set, by minutes or by decades, and counts for nothing. If it stands before the
    last commit it is wrong (no battery, not yet set): the time since that commit is unknown, and
    the lease keeps all that it had left then.

    Args:
        ends_at: in the CLOCK_BOOTTIME of the boot in which the lease was committed.
        of_boot: the last commit of that boot.
        last: the last commit of all.
        today: now.
    """
    if of_boot.boot_id == today.boot_id:
        return ends_at
    passed = max(0.0, max(today.wall, last.wall) - of_boot.wall)
    return today.now + (ends_at - of_boot.now) - passed
