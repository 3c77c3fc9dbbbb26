"""The last events and warnings, and who follows what comes."""

import json
from typing import Any

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.patience import until
from tests.fakes.server import ALICE, BOB, Server
from wg_dynamic.admin.protocol import MAX_LAST
from wg_dynamic.server import admin_history as module
from wg_dynamic.server.admin_history import MAX_TROUBLES, History, Troubles


class Follower:
    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.lost = 0

    def tell(self, rows: list[bytes], lost: int) -> None:
        self.rows += map(json.loads, rows)
        self.lost += lost

    @property
    def kinds(self) -> list[str]:
        return [row["event"] for row in self.rows]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TICK", 0.0)


async def test_what_was_is_remembered_but_for_renewals() -> None:
    server = Server()
    history = History(server.engine, "wg0")
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        await server.request(ALICE, "192.0.2.7")
        await server.release(ALICE)
    rows = [json.loads(row) for row in history.last]
    assert [(row["event"], row["interface"], row["address"]) for row in rows] == [
        ("granted", "wg0", "192.0.2.7"),
        ("released", "wg0", "192.0.2.7"),
    ]
    assert history.last.maxlen == MAX_LAST


async def test_who_follows_is_told_all_that_comes_until_it_leaves() -> None:
    server = Server()
    history = History(server.engine, "wg0")
    first, second = Follower(), Follower()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        history.follow(first)
        history.follow(second)
        await server.request(ALICE, "192.0.2.7")
        await server.request(BOB, "192.0.2.8")
        await until(lambda: len(first.rows) == len(second.rows) == 2)
        history.leave(first)
        history.leave(first)
        await server.request(BOB, "192.0.2.8")
        await until(lambda: len(second.rows) == 3)
        history.leave(second)
        await server.request(BOB, "192.0.2.8")
    assert first.kinds == ["renewed", "granted"]
    assert second.kinds == ["renewed", "granted", "renewed"]
    assert "renewed" not in server.engine.events.wanted, "nothing is built for nobody"


async def test_of_too_many_at_once_the_number_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TICK", 2)
    monkeypatch.setattr(module, "TICK", 0.05)
    server = Server()
    history = History(server.engine, "wg0")
    follower = Follower()
    history.follow(follower)
    async with server.running():
        for key in (ALICE, BOB, ALICE, BOB):
            await server.request(key)
        await until(lambda: follower.lost > 0)
    assert (follower.kinds, follower.lost) == (["granted", "granted"], 2)
    assert len(history.last) == 2


def test_warnings_are_kept_and_steer_no_terminal() -> None:
    troubles = Troubles(FakeClock())
    troubles.add("\x1b[2J came\nwith a traceback")
    assert list(troubles.last) == [(1_700_000_000.0, "?[2J came")]
    for number in range(2 * MAX_TROUBLES):
        troubles.add(f"trouble {number}")
    assert [text for _, text in troubles.last][-1] == f"trouble {2 * MAX_TROUBLES - 1}"
    assert len(troubles.last) == MAX_TROUBLES
