"""Reading the peers again: how often, and who is told."""

import asyncio

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.helper import FakeAllowedIPs, FakeHelperProxy
from tests.fakes.patience import a_while, until
from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.leases.pool import Pool
from wg_dynamic.privsep.requests import PeerInfo
from wg_dynamic.server import peer_reader
from wg_dynamic.server.identity import PeerTable
from wg_dynamic.server.peer_reader import Pace, PeerReader
from wg_dynamic.server.proxy import NotReadError

ALICE = bytes([1]) * 32


class Readings:
    """A PeerReader on a helper that answers at once."""

    def __init__(self) -> None:
        self.allowed_ips = FakeAllowedIPs()
        self.journal: list[str] = []
        self.clock = FakeClock()
        self.peers = PeerTable([Pool(parse_prefix("192.0.2.0/24"))])
        self.told: list[list[PeerInfo]] = []
        proxy = FakeHelperProxy(self.allowed_ips, self.journal)
        self.reader = PeerReader(proxy, self.peers, self.told.append, self.clock)


async def test_a_reading_reaches_the_peer_table_and_the_engine() -> None:
    readings = Readings()
    readings.allowed_ips.add_peer(ALICE, parse_prefix("fe80::a/128"))
    await readings.reader.read()
    assert readings.peers.owner(parse_address("fe80::a")) == ALICE
    assert readings.told == [readings.allowed_ips.read()]


async def test_the_peers_are_read_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_reader, "REFRESH_SOON", 0.0)
    monkeypatch.setattr(peer_reader, "REFRESH_TIME", 0.001)
    readings = Readings()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(readings.reader.run())
        await until(lambda: len(readings.told) >= 3)
        task.cancel()


async def test_a_stranger_makes_the_next_reading_come_sooner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peer_reader, "REFRESH_SOON", 0.0)
    monkeypatch.setattr(peer_reader, "REFRESH_TIME", 3600.0)
    readings = Readings()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(readings.reader.run())
        for count in (1, 2):
            readings.reader.soon()
            await until(lambda count=count: len(readings.told) == count)  # type: ignore[misc]
        task.cancel()


async def test_who_needs_a_reading_gets_one_as_soon_as_the_peers_can_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peer_reader, "REFRESH_SOON", 0.0)
    readings = Readings()
    readings.allowed_ips.add_peer(ALICE, parse_prefix("fe80::a/128"))
    proxy = FailingProxy(readings.allowed_ips, readings.journal)
    reader = PeerReader(proxy, readings.peers, readings.told.append, readings.clock)
    got: list[list[PeerInfo]] = []

    async def use(infos: list[PeerInfo]) -> None:
        other = group.create_task(reader.read())
        await a_while()
        assert not other.done(), "one at a time"
        assert len(readings.journal) == 1
        got.append(infos)

    async with asyncio.TaskGroup() as group:
        await reader.read_for(use)
    assert readings.told == got == [readings.allowed_ips.read()]


class FailingProxy(FakeHelperProxy):
    """Cannot read the first time."""

    failed = False

    async def read_peers(self) -> list[PeerInfo]:
        if not self.failed:
            self.failed = True
            msg = "changed all the time"
            raise NotReadError(msg)
        return await super().read_peers()


def test_a_stranger_waits_as_long_as_a_reading_takes_and_longer_when_nobody_was_found() -> None:
    pace = Pace()
    assert (pace.soonest(), pace.latest()) == (1.0, 5.0)
    pace.cost = 3.0
    assert (pace.soonest(), pace.latest()) == (3.0, 300.0)
    pauses = []
    for _ in range(5):
        pace.asked(found=False)
        pauses.append(pace.soonest())
    assert pauses == [6.0, 12.0, 24.0, 30.0, 30.0]
    pace.asked(found=True)
    assert pace.soonest() == 3.0


async def test_a_stranger_who_stays_one_is_let_wait_and_one_who_became_a_peer_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peer_reader, "REFRESH_SOON", 0.0)
    monkeypatch.setattr(peer_reader, "REFRESH_TIME", 3600.0)
    readings = Readings()
    asked: list[bool] = []
    monkeypatch.setattr(Pace, "asked", lambda _, *, found: asked.append(found))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(readings.reader.run())
        for address in ("", "fe80::a/128", ""):
            if address:
                readings.allowed_ips.add_peer(ALICE, parse_prefix(address))
            readings.reader.soon()
            count = len(asked) + 1
            await until(lambda count=count: len(asked) == count)  # type: ignore[misc]
        task.cancel()
    assert asked == [False, True, False]
