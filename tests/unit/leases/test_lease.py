"""One lease and its end."""

import pytest

from wg_dynamic.address import parse_address
from wg_dynamic.leases.lease import Lease


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
