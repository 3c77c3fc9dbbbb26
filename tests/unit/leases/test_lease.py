"""One lease and its end."""

from math import inf

import pytest

from wg_dynamic.address import parse_address
from wg_dynamic.leases.lease import (
    Lease,
    pack_lease,
    row_ends_at,
    row_is_held,
    unpack_lease,
)


def a_lease(address: str = "192.0.2.7", *, ends_at: float = 100.0, ended: bool = False) -> Lease:
    return Lease(b"k" * 32, parse_address(address), 60.0, ends_at, ended)


@pytest.mark.parametrize(("now", "over"), [(0.0, False), (99.9, False), (100.0, True)])
def test_a_lease_is_over_from_its_end_on(now: float, *, over: bool) -> None:
    assert a_lease(ends_at=100.0).is_over(now) is over


def test_an_ended_lease_is_over_at_any_time() -> None:
    assert a_lease(ends_at=100.0, ended=True).is_over(0.0)


@pytest.mark.parametrize(("now", "ends_at"), [(40.0, 40.0), (100.0, 100.0), (500.0, 100.0)])
def test_a_lease_ends_now_but_never_later_than_it_was_to(now: float, ends_at: float) -> None:
    lease = a_lease(ends_at=100.0)
    assert lease.end(now) == a_lease(ends_at=ends_at, ended=True)
    assert not lease.ended  # the lease itself is a value


def test_a_lease_knows_its_family() -> None:
    assert a_lease("192.0.2.7").is_ipv4
    assert not a_lease("2001:db8::7").is_ipv4


def test_a_declined_lease_is_over_and_in_quarantine_until_its_time() -> None:
    lease = a_lease(ends_at=100.0).decline(500.0)
    assert lease.ended
    assert lease.is_over(0.0)
    assert lease.is_in_quarantine(499.9)
    assert not lease.is_in_quarantine(500.0)
    assert not a_lease(ends_at=100.0, ended=True).is_in_quarantine(0.0)


@pytest.mark.parametrize(
    "lease",
    [
        a_lease(ends_at=0.1),
        a_lease("2001:db8::7", ends_at=-17.25, ended=True),
        a_lease().decline(1e9 + 0.3),
        Lease(b"k" * 32, parse_address("192.0.2.7"), inf, inf),
        Lease(b"k" * 32, parse_address("192.0.2.7"), 0xFFFF_FFFE, 1.0),
    ],
)
def test_a_row_says_all_of_a_lease(lease: Lease) -> None:
    row = pack_lease(lease)
    assert unpack_lease(lease.address, row) == lease
    assert row_ends_at(row) == lease.ends_at
    assert row_is_held(row) is not lease.ended
    assert len(row) == 45
