"""Who is told what of leases, and what is only counted."""

import logging

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.patience import until
from tests.fakes.server import ALICE, BOB, LEASE_TIME, Server
from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.leases.event import (
    DECLINED,
    EXPIRED,
    GRANTED,
    REFUSED,
    RELEASED,
    RENEWED,
    REVOKED,
    LeaseEvent,
)
from wg_dynamic.leases.lease import Lease
from wg_dynamic.protocol import ErrorCode
from wg_dynamic.server import engine as engine_module
from wg_dynamic.server.events import GIVEN_UP, Events

NETWORK = parse_prefix("192.0.2.0/24")
ADDRESS = parse_address("192.0.2.7")
LEASE = Lease(ALICE, ADDRESS, 60.0, 1060.0)


def some_events() -> Events:
    return Events(FakeClock(), lambda _address: NETWORK)


def listening(server: Server) -> list[LeaseEvent]:
    told: list[LeaseEvent] = []
    server.engine.events.listen(told.append)
    return told


async def test_an_engine_tells_of_a_lease_from_its_grant_to_its_release() -> None:
    server = Server()
    told = listening(server)
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        await server.request(ALICE, "192.0.2.7")
        await server.release(ALICE, "192.0.2.7")
        await server.request(BOB, "192.0.2.9")
        await server.decline(BOB, "192.0.2.9")
    assert [(one.kind, one.public_key) for one in told] == [
        (GRANTED, ALICE),
        (RENEWED, ALICE),
        (RELEASED, ALICE),
        (GRANTED, BOB),
        (DECLINED, BOB),
    ]
    grant, _, release, *_ = told
    assert (grant.address, grant.network, grant.lease_time) == (ADDRESS, NETWORK, LEASE_TIME)
    assert grant.at == server.clock.wall()
    assert (release.address, release.lease_time) == (ADDRESS, None)


async def test_an_engine_tells_before_it_answers_and_after_it_is_in_force() -> None:
    server = Server()
    server.engine.events.listen(lambda event: server.journal.append(event.kind))
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
    assert server.journal == ["commit hold 192.0.2.7", "add 192.0.2.7", "granted", "answer"]


async def test_what_ends_by_itself_has_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "RECHECK", 0.0)
    server = Server()
    told = listening(server)
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        server.clock.pass_time(LEASE_TIME)
        await until(lambda: len(told) == 2)
    assert [one.kind for one in told] == [GRANTED, EXPIRED]


async def test_what_was_given_up_for_another_address_was_released(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_module, "RECHECK", 0.0)
    server = Server()
    told = listening(server)
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        await server.request(ALICE, "192.0.2.8")
        await until(lambda: len(told) == 3)
    assert [(one.kind, one.reason) for one in told] == [
        (GRANTED, ""),
        (GRANTED, ""),
        (RELEASED, GIVEN_UP),
    ]


async def test_a_refusal_has_the_name_of_its_errno() -> None:
    server = Server("192.0.2.8/31")
    told = listening(server)
    async with server.running():
        await server.request(ALICE)
        await server.request(BOB)
        await server.request(ALICE, "2001:db8::1")
        server.store.fails = True
        await server.request(ALICE)
    assert [(one.kind, one.reason) for one in told if one.kind == REFUSED] == [
        (REFUSED, "exhausted"),
        (REFUSED, "store_down"),
    ]
    counts = server.engine.events.counts
    assert (counts[GRANTED], counts[REFUSED]) == (2, 2)
    assert server.engine.events.outcomes == {
        ("request_ip", ErrorCode.SUCCESS): 2,
        ("request_ip", ErrorCode.EXHAUSTED): 1,
        ("request_ip", ErrorCode.STORE_DOWN): 1,
    }


async def test_what_the_allowed_ips_refused_was_never_granted() -> None:
    server = Server()
    told = listening(server)
    server.allowed_ips.refuse[parse_prefix("192.0.2.7/32")] = "it is somebody's"
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
    assert [one.kind for one in told] == [REFUSED]


def test_nothing_is_built_for_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)  # the log wants its line
    events = some_events()

    def never(_key: bytes) -> str:
        raise AssertionError

    events.name_of = never
    events.changed(LEASE, 1000.0, fresh=True, released=False)
    events.listen(lambda _event: None, [GRANTED])
    events.changed(LEASE, 1000.0, fresh=False, released=False)
    assert (events.counts[GRANTED], events.counts[RENEWED]) == (1, 1)


def test_who_listens_to_some_kinds_is_told_those_and_who_stopped_is_told_none() -> None:
    events = some_events()
    ends: list[str] = []
    stop = events.listen(lambda event: ends.append(event.kind), [RELEASED, REVOKED])
    events.changed(LEASE, 1000.0, fresh=True, released=False)
    events.changed(LEASE.end(1001.0), 1001.0, fresh=False, released=True)
    events.tell(REVOKED, LEASE.end(1001.0), "by an administrator")
    assert ends == [RELEASED, REVOKED]
    stop()
    stop()
    events.tell(REVOKED, LEASE.end(1001.0))
    assert len(ends) == 2
    assert events.wanted == frozenset()


def test_one_who_fails_is_told_no_more_and_the_others_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    events = some_events()
    told: list[LeaseEvent] = []

    def fails(event: LeaseEvent) -> None:
        raise ValueError(event.kind)

    events.listen(fails)
    events.listen(told.append, [GRANTED])
    for _ in range(2):
        events.tell(GRANTED, LEASE)
    assert len(told) == 2
    assert events.wanted == {GRANTED}
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_the_name_of_a_peer_is_told_with_it() -> None:
    events = some_events()
    told: list[LeaseEvent] = []
    events.listen(told.append)
    events.name_of = {ALICE: "laptop"}.get
    events.tell(GRANTED, LEASE)
    events.tell(GRANTED, Lease(BOB, ADDRESS, 60.0, 1060.0))
    assert [one.name for one in told] == ["laptop", None]


def test_what_is_told_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    events = some_events()
    events.name_of = {ALICE: "laptop"}.get
    events.tell(REVOKED, LEASE.end(1001.0), "by an administrator")
    events.answered(ALICE, "request_ip", ErrorCode.EXHAUSTED)
    events.answered(ALICE, "request_ip", ErrorCode.SUCCESS)
    assert [line.split()[0] for line in caplog.messages] == ["event=revoked", "event=refused"]
    assert all("name=laptop" in line for line in caplog.messages)
