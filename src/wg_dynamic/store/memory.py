"""A LeaseStore that forgets at exit: for unit tests, held to the same contract as the real one."""

from collections.abc import Iterator, Sequence

from wg_dynamic.leases.lease import Lease
from wg_dynamic.record import replace
from wg_dynamic.store.base import Moment, StoreConflictError, restored_end


class MemoryStore:
    """Leases in a dict."""

    def __init__(self) -> None:
        self._rows: dict[bytes, tuple[Lease, str]] = {}
        """Each with the boot in which it was committed."""
        self._boots: dict[str, Moment] = {}
        """The last commit of each boot, the latest boot at the end."""

    def load(self, moment: Moment) -> list[Lease]:
        """See LeaseStore."""
        return sorted(self.read(moment), key=lambda lease: lease.ends_at)

    def read(self, moment: Moment) -> Iterator[Lease]:
        """See LeaseStore."""
        for lease, boot_id in self._rows.values():
            last = next(reversed(self._boots.values()))
            ends_at = restored_end(lease.ends_at, self._boots[boot_id], last, moment)
            yield replace(lease, ends_at=ends_at)

    def commit(
        self, leases: Sequence[Lease], moment: Moment, forgotten: Sequence[bytes] = ()
    ) -> None:
        """See LeaseStore."""
        rows = dict(self._rows)
        for lease in leases:
            held = rows.get(lease.address)
            if held and not held[0].ended and held[0].public_key != lease.public_key:
                msg = "an address of the commit is held by another peer"
                raise StoreConflictError(msg)
            rows[lease.address] = (lease, moment.boot_id)
        for address in forgotten:
            if address in rows and rows[address][0].ended:
                del rows[address]
        self._rows = rows
        self._boots[moment.boot_id] = moment

    def look(self) -> None:
        """See LeaseStore."""

    def rebuild(self, leases: Sequence[Lease], moment: Moment) -> None:
        """See LeaseStore."""
        self.commit(leases, moment)

    def close(self) -> None:
        """See LeaseStore."""
