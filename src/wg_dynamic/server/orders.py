"""What an operator has done to leases, by the administration socket; the engine does it.

An order shares a batch with requests of peers, and keeps its order of steps: off the allowed IPs,
committed, told. Nothing of it is a peer's to see but that the address is gone.
"""

from collections.abc import Callable
from typing import Final

from wg_dynamic.leases.lease import Lease
from wg_dynamic.leases.table import LeaseTable
from wg_dynamic.record import dataclass

REVOKE: Final = "revoke"
"""The lease ends now, and nobody gets the address before a quarantine is over, as if its holder had
declined it: a client that wishes for it again, as clients do, gets another."""
RELEASE: Final = "release"
"""The lease ends now, and the address is remembered for its peer; as if the peer had released it.
One in quarantine is free again."""
BY_OPERATOR: Final = "by an administrator"
"""The reason that is told."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an order."""

    leases: tuple[Lease, ...]
    """Those that it was about, as they are now; none: there was nothing of the kind."""
    stored: bool
    """Whether it is on disk; if not, nothing has changed."""


@dataclass(frozen=True, slots=True)
class Order:
    """One order of an operator."""

    verb: str
    """REVOKE or RELEASE."""
    done: Callable[[Outcome], None]
    address: bytes | None = None
    """The lease there; None: all of the peer's."""
    public_key: bytes | None = None
    """Whose; None: whoever has the address."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What an order comes to."""

    ending: tuple[Lease, ...]
    """Leases, and memories, as they are to be."""
    lifted: tuple[Lease, ...] = ()
    """Those in quarantine whose addresses are to be free."""


def decide_order(table: LeaseTable, order: Order, now: float, quarantine_time: float) -> Decision:
    """What is to be done; the table stays as it is. `now` is in CLOCK_BOOTTIME seconds."""
    concerned = _concerned(table, order)
    if order.verb == REVOKE:
        until = now + quarantine_time
        if order.address is None:  # what a peer had of late is no business of this order
            concerned = [lease for lease in concerned if not lease.ended]
        return Decision(tuple(lease.decline(until) for lease in concerned))
    return Decision(
        tuple(lease.end(now) for lease in concerned if not lease.ended),
        tuple(lease for lease in concerned if lease.declined),
    )


def _concerned(table: LeaseTable, order: Order) -> list[Lease]:
    """The leases and memories that an order names."""
    if order.address is None:
        return [] if order.public_key is None else table.of_peer(order.public_key)
    lease = table.get(order.address)
    if lease is None or order.public_key not in (None, lease.public_key):
        return []
    return [lease]
