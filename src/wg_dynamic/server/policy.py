"""What a request gets: held leases, pools and wishes in, leases and a code out. Pure.

Nothing is decided here that the store could still refuse: the caller puts the outcome into the
table, commits it, and rolls the table back when that fails.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from wg_dynamic.address import IPV4_SIZE, IPV6_SIZE
from wg_dynamic.leases.lease import Lease
from wg_dynamic.leases.table import LeaseTable
from wg_dynamic.protocol.errors import ErrorCode

MAX_PER_FAMILY = 1
"""Addresses of one family that one peer may hold."""


@dataclass(frozen=True)
class Terms:
    """What the server grants by."""

    lease_time: float
    """Seconds."""
    random_below: Callable[[int], int]
    """Gives 0 to n - 1, each as likely."""
    is_open: Callable[[bytes, bytes], bool]
    """(address, public key): no static allowed IP of another peer is in the way."""


@dataclass(frozen=True)
class Outcome:
    """What one request comes to."""

    leases: tuple[Lease, ...] = ()
    """Granted or renewed; already put into the table."""
    code: ErrorCode = ErrorCode.SUCCESS
    """Not SUCCESS when a family that was asked for got nothing; `leases` holds the others."""


def decide(
    table: LeaseTable,
    public_key: bytes,
    wishes: Sequence[bytes],
    terms: Terms,
    now: float,
    *,
    wish_or_nothing: bool,
) -> Outcome:
    """Grant or renew for one request, and put the leases into the table.

    Args:
        table: every lease of the server.
        public_key: who asks.
        wishes: packed addresses, all-zero for any of the family; empty for one of each family.
        terms: the server's.
        now: CLOCK_BOOTTIME seconds.
        wish_or_nothing: a wish that cannot be met gives that family nothing (version 1), instead
            of another address (version 2).
    """
    granted: list[Lease] = []
    code = ErrorCode.SUCCESS
    families = [len(wish) for wish in wishes]
    if any(families.count(family) > MAX_PER_FAMILY for family in families):
        return Outcome(code=ErrorCode.QUOTA_EXCEEDED)
    for wish in wishes or _any_of_each(table):
        address = _choose(table, public_key, wish, terms, now, wish_or_nothing=wish_or_nothing)
        if address is None:
            refused = wish_or_nothing and any(wish)
            code = ErrorCode.UNAVAILABLE if refused else ErrorCode.EXHAUSTED
            continue
        _move_from(table, public_key, address, now)
        lease = Lease(public_key, address, terms.lease_time, now + terms.lease_time)
        table.put(lease)
        granted.append(lease)
    if not granted and code is ErrorCode.SUCCESS:
        code = ErrorCode.UNAVAILABLE
    return Outcome(tuple(granted), code)


def _any_of_each(table: LeaseTable) -> list[bytes]:
    sizes = {IPV4_SIZE if allocator.space.is_ipv4 else IPV6_SIZE for allocator in table.allocators}
    return [bytes(size) for size in sorted(sizes)]


def _choose(
    table: LeaseTable,
    public_key: bytes,
    wish: bytes,
    terms: Terms,
    now: float,
    *,
    wish_or_nothing: bool,
) -> bytes | None:
    def usable(address: bytes) -> bool:
        return terms.is_open(address, public_key)

    def takes(address: bytes) -> bool:
        return table.is_available(address, public_key, now) and usable(address)

    if any(wish):
        if takes(wish) and not table.is_kept_for_another(wish, public_key):
            return wish
        if wish_or_nothing:
            return None
    own = [lease for lease in table.of_peer(public_key) if len(lease.address) == len(wish)]
    own.sort(key=lambda lease: (lease.ended, -lease.ends_at))  # held first, then the latest memory
    for lease in own:
        if takes(lease.address):
            return lease.address
    return table.choose(
        now,
        ipv4=len(wish) == IPV4_SIZE,
        usable=usable,
        random_below=terms.random_below,
    )


def _move_from(table: LeaseTable, public_key: bytes, address: bytes, now: float) -> None:
    """Let what the peer holds beside `address` in that family end now."""
    for lease in table.of_peer(public_key):
        other = lease.address != address and len(lease.address) == len(address)
        if other and not lease.is_over(now):
            table.put(replace(lease, ends_at=now))


def to_release(
    table: LeaseTable, public_key: bytes, addresses: Sequence[bytes]
) -> tuple[list[Lease], ErrorCode]:
    """The leases that a release names (all of the peer's when it names none).

    Naming what one does not hold releases nothing at all: NOT_PERMITTED when another peer holds
    it; an address that nobody holds is released already.
    """
    if not addresses:
        return [lease for lease in table.of_peer(public_key) if not lease.ended], ErrorCode.SUCCESS
    leases = []
    for address in addresses:
        lease = table.get(address)
        if lease is None or lease.ended:
            continue
        if lease.public_key != public_key:
            return [], ErrorCode.NOT_PERMITTED
        leases.append(lease)
    return leases, ErrorCode.SUCCESS
