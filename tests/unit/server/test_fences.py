"""Leases that a static allowed IP is in the way of are reported once."""

import pytest

from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.leases.lease import Lease
from wg_dynamic.leases.pool import parse_pool
from wg_dynamic.leases.table import LeaseTable
from wg_dynamic.server.fences import FenceWatch

ALICE, BOB = bytes([1]) * 32, bytes([2]) * 32


@pytest.mark.parametrize("fence", ["192.0.2.7/32", "192.0.2.0/29"])
def test_a_lease_in_the_way_of_a_new_fence_is_reported_once(
    caplog: pytest.LogCaptureFixture, fence: str
) -> None:
    table, watch = LeaseTable([parse_pool("192.0.2.0/24")]), FenceWatch()
    table.put(Lease(ALICE, parse_address("192.0.2.7"), 60.0, 100.0))
    table.put(Lease(ALICE, parse_address("192.0.2.9"), 60.0, 100.0))
    watch.look([], table, 50.0)
    assert not caplog.records
    for _ in range(3):
        watch.look([(parse_prefix(fence), BOB)], table, 50.0)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("192.0.2.7 is leased to")
    assert fence in record.getMessage()
    watch.look([], table, 50.0)
    watch.look([(parse_prefix(fence), BOB)], table, 50.0)
    assert len(caplog.records) == 2


@pytest.mark.parametrize(("owner", "now"), [(ALICE, 50.0), (BOB, 100.0)])
def test_ones_own_fence_and_a_lease_that_is_over_are_in_nobodys_way(
    caplog: pytest.LogCaptureFixture, owner: bytes, now: float
) -> None:
    table = LeaseTable([parse_pool("192.0.2.0/24")])
    table.put(Lease(ALICE, parse_address("192.0.2.7"), 60.0, 100.0))
    fences = [(parse_prefix("192.0.2.7/32"), owner), (parse_prefix("192.0.2.9/32"), owner)]
    FenceWatch().look(fences, table, now)
    assert not caplog.records
