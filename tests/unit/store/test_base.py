"""How the end of a lease is found again after a reboot (docs/decisions/0005)."""

import pytest

from wg_dynamic.errors import WgDynamicError
from wg_dynamic.store.base import (
    Moment,
    StoreConflictError,
    StoreError,
    StoreSchemaError,
    restored_end,
)

BEFORE = Moment(now=1000.0, wall=50_000.0, boot_id="before")
ENDS_AT = BEFORE.now + 300


def today(*, wall: float) -> Moment:
    return Moment(now=20.0, wall=wall, boot_id="today")


@pytest.mark.parametrize(
    ("passed", "left"), [(0, 300), (100, 200), (300, 0), (1000, -700), (-1, 300), (-50_000, 300)]
)
def test_what_was_left_at_the_last_commit_is_left_less_the_time_since(
    passed: float, left: float
) -> None:
    now = today(wall=BEFORE.wall + passed)
    assert restored_end(ENDS_AT, BEFORE, BEFORE, now) == now.now + left


def test_a_lease_of_this_boot_ends_when_it_was_to_end() -> None:
    last = today(wall=1.0)
    assert restored_end(77.0, last, last, today(wall=1e9)) == 77.0


def test_the_last_commit_of_all_bounds_a_clock_that_is_behind() -> None:
    between = Moment(now=3.0, wall=BEFORE.wall + 100, boot_id="between")
    assert restored_end(ENDS_AT, BEFORE, between, today(wall=0.0)) == 20.0 + 200


def test_a_boot_whose_clock_was_behind_takes_nothing_from_older_leases() -> None:
    between = Moment(now=3.0, wall=BEFORE.wall - 9000, boot_id="between")
    assert restored_end(ENDS_AT, BEFORE, between, today(wall=0.0)) == 20.0 + 300


def test_every_error_of_a_store_is_a_store_error() -> None:
    assert issubclass(StoreError, WgDynamicError)
    for error in (StoreConflictError, StoreSchemaError):
        assert issubclass(error, StoreError)
