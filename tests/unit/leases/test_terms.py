"""The values that a server leases by."""

import pytest

from wg_dynamic.leases.terms import AddressRange


def test_a_range_holds_both_its_ends() -> None:
    found = AddressRange(bytes([10, 0, 0, 3]), bytes([10, 0, 0, 5]))
    assert [found.holds(bytes([10, 0, 0, last])) for last in range(2, 7)] == [
        False,
        True,
        True,
        True,
        False,
    ]


def test_a_range_holds_nothing_of_the_other_family() -> None:
    assert not AddressRange(bytes(4), bytes([255] * 4)).holds(bytes(16))


@pytest.mark.parametrize(
    ("first", "last"), [(bytes([10, 0, 0, 3]), bytes([10, 0, 0, 2])), (bytes(4), bytes(16))]
)
def test_ends_that_make_no_range_are_refused(first: bytes, last: bytes) -> None:
    with pytest.raises(ValueError, match="lower one first"):
        AddressRange(first, last)
