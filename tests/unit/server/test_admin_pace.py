"""Turns beside the grants."""

import asyncio

import pytest

from tests.fakes.patience import a_while, until
from wg_dynamic.server import admin_pace as module
from wg_dynamic.server.admin_pace import Pace


async def test_all_get_turns_by_turns_until_they_have_enough() -> None:
    pace = Pace()
    seen: list[str] = []
    for name, count in (("a", 3), ("b", 2)):
        left = [True] * count

        def turn(name: str = name, left: list[bool] = left) -> bool:
            seen.append(name)
            return bool(left) and left.pop()

        pace.want(turn)
    await until(lambda: len(seen) == 7)
    assert seen == ["a", "b", "a", "b", "a", "b", "a"]


class FakeLoop:
    """One whose clock goes on as the test says."""

    def __init__(self, *times: float) -> None:
        self.times = list(times)
        self.planned: list[float] = []

    def time(self) -> float:
        return self.times.pop(0)

    def call_at(self, when: float, _do: object) -> None:
        self.planned.append(when)


def test_a_turn_is_followed_by_a_pause_of_three_times_its_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = FakeLoop(100.0, 100.02, 200.0, 900.0, 1000.0, 1000.0)
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    pace = Pace()
    pace.want(lambda: True)
    for _ in range(3):
        pace._next()
    assert loop.planned[-3:] == pytest.approx(
        [100.08, 900.0 + module.MAX_PAUSE, 1000.0 + module.MIN_PAUSE]
    )


async def test_after_the_end_nobody_gets_one() -> None:
    pace = Pace()
    seen: list[int] = []

    def turn() -> bool:
        seen.append(1)
        return False

    pace.want(turn)
    pace.close()
    pace.close()
    await a_while()
    assert seen == []
