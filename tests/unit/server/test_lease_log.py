"""What the log says of leases, and how often."""

import logging

import pytest

from wg_dynamic.address import parse_address
from wg_dynamic.leases.event import ENDINGS, GRANTED, RENEWED, REVOKED
from wg_dynamic.leases.lease import Lease
from wg_dynamic.leases.terms import INFINITE
from wg_dynamic.server.lease_log import (
    AT_ONCE_SPAN,
    EXHAUSTED,
    LINES_SPAN,
    MAX_LINES,
    MAX_LINES_AT_ONCE,
    LeaseLog,
)
from wg_dynamic.wireguard.key import format_key

ALICE, BOB = bytes([1]) * 32, bytes([2]) * 32
LEASE = Lease(ALICE, parse_address("192.0.2.7"), 60.0, 1060.0)
KEY = format_key(ALICE)


def nameless(_key: bytes) -> None:
    return None


@pytest.fixture(autouse=True)
def info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_each_change_is_a_line_of_keys_and_values(caplog: pytest.LogCaptureFixture) -> None:
    log = LeaseLog()
    log.tell(GRANTED, LEASE, 1000.0, nameless)
    log.tell(RENEWED, LEASE, 1000.0, lambda _: "laptop")
    for kind in sorted(ENDINGS):
        log.tell(kind, LEASE.end(1060.0), 1060.0, nameless)
    assert caplog.messages == [
        f"event=granted address=192.0.2.7 public_key={KEY} lease_time=60",
        f"event=renewed address=192.0.2.7 name=laptop public_key={KEY} lease_time=60",
        *[f"event={kind} address=192.0.2.7 public_key={KEY}" for kind in sorted(ENDINGS)],
    ]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Bob's phone", '"Bob\'s phone"'),
        ('say "x"', '"say \\"x\\""'),
        ("a=b", '"a=b"'),
        ("büro", '"b\\u00fcro"'),
        ("\x1b[2J\n", '"\\u001b[2J\\u000a"'),
        ("", '""'),
        ("n" * 1000, "n" * 64),
    ],
)
def test_no_name_breaks_a_line_or_steers_a_terminal(
    name: str, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    LeaseLog().tell(REVOKED, LEASE.end(1000.0), 1000.0, lambda _: name, "by an administrator")
    (line,) = caplog.messages
    assert f" name={shown} public_key=" in line
    assert line.endswith(' reason="by an administrator"')
    assert line.isascii()
    assert line.isprintable()


def test_a_lease_without_end_says_so(caplog: pytest.LogCaptureFixture) -> None:
    LeaseLog().tell(GRANTED, Lease(ALICE, LEASE.address, INFINITE, INFINITE), 1000.0, nameless)
    assert caplog.messages[0].endswith(" lease_time=infinite")


def test_a_refusal_says_why_and_an_empty_pool_is_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = LeaseLog()
    log.refused(ALICE, 1000.0, nameless, EXHAUSTED)
    log.refused(ALICE, 1000.0, lambda _: "laptop", "rate_limited")
    assert caplog.messages == [
        f"event=refused public_key={KEY} reason=exhausted",
        f"event=refused name=laptop public_key={KEY} reason=rate_limited",
    ]
    assert [one.levelno for one in caplog.records] == [logging.WARNING, logging.INFO]


def test_a_peer_that_changes_all_the_time_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = LeaseLog()
    for _ in range(5 * MAX_LINES):
        log.tell(GRANTED, LEASE, 1000.0, nameless)
        log.refused(ALICE, 1000.0, nameless, EXHAUSTED)
    assert len(caplog.records) == MAX_LINES + 1
    assert "not logged" in caplog.messages[-1]
    log.tell(GRANTED, Lease(BOB, LEASE.address, 60.0, 1060.0), 1000.0, nameless)
    assert len(caplog.records) == MAX_LINES + 2
    log.tell(GRANTED, LEASE, 1000.0 + LINES_SPAN, nameless)
    assert len(caplog.records) == MAX_LINES + 3


def test_all_peers_at_once_do_not_keep_the_server_busy_with_its_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = LeaseLog()
    keys = [number.to_bytes(32, "big") for number in range(MAX_LINES_AT_ONCE + 50)]
    for key in keys:
        log.tell(GRANTED, Lease(key, LEASE.address, 60.0, 1060.0), 1000.0, nameless)
    assert len(caplog.records) == MAX_LINES_AT_ONCE
    log.tell(GRANTED, LEASE, 1000.0 + AT_ONCE_SPAN, nameless)
    assert caplog.messages[-2] == 'event=more reason="50 changes at once, not logged"'
    assert "event=granted" in caplog.messages[-1]


def test_nothing_is_made_of_lines_that_are_not_wanted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    log = LeaseLog()
    log.tell(GRANTED, LEASE, 1000.0, nameless)
    log.refused(ALICE, 1000.0, nameless, EXHAUSTED)
    assert caplog.messages == []
