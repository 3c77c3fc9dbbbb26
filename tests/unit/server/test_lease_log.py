"""What the log says of leases, and how often."""

import logging

import pytest

from wg_dynamic.address import parse_address
from wg_dynamic.leases.lease import Lease
from wg_dynamic.server.lease_log import LINES_SPAN, MAX_LINES, LeaseLog

ALICE, BOB = bytes([1]) * 32, bytes([2]) * 32
LEASE = Lease(ALICE, parse_address("192.0.2.7"), 60.0, 1060.0)


def test_each_change_has_its_word(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log = LeaseLog()
    log.tell(LEASE, 1000.0, fresh=True)
    log.tell(LEASE, 1000.0, fresh=False)
    log.tell(LEASE, 1060.0, fresh=False)
    log.tell(LEASE.end(1060.0), 1060.0, fresh=False)
    log.tell(LEASE.decline(9999.0), 1060.0, fresh=False)
    words = [record.getMessage().split(" 192.0.2.7 ")[0] for record in caplog.records]
    assert words == ["granted", "renewed", "given up", "ended", "declined"]
    assert caplog.messages[0].endswith(" for 60 s")


def test_a_peer_that_changes_all_the_time_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    log = LeaseLog()
    for _ in range(10 * MAX_LINES):
        log.tell(LEASE, 1000.0, fresh=True)
    assert len(caplog.records) == MAX_LINES + 1
    assert "not logged" in caplog.messages[-1]
    log.tell(Lease(BOB, LEASE.address, 60.0, 1060.0), 1000.0, fresh=True)
    assert len(caplog.records) == MAX_LINES + 2
    log.tell(LEASE, 1000.0 + LINES_SPAN, fresh=True)
    assert len(caplog.records) == MAX_LINES + 3
