"""One timer for all connections: who is late hears of it once, and nobody else."""

import asyncio

from tests.fakes.patience import until
from wg_dynamic.server.deadlines import Deadlines


class Waiting:
    """Counts how often it was too late."""

    def __init__(self) -> None:
        self.times = 0

    def too_late(self) -> None:
        self.times += 1


async def test_who_is_late_hears_of_it_once_and_has_no_deadline_then() -> None:
    deadlines, one = Deadlines(), Waiting()
    deadlines.set(one, 0.0)
    await until(lambda: one.times > 0)
    assert len(deadlines) == 0
    deadlines.clear(one)
    other = Waiting()
    deadlines.set(other, 0.01)
    await until(lambda: other.times > 0)
    assert (one.times, other.times) == (1, 1)


async def test_a_new_deadline_takes_the_place_of_the_last_one() -> None:
    deadlines, one, other = Deadlines(), Waiting(), Waiting()
    deadlines.set(one, 0.0)
    deadlines.set(one, 60.0)
    deadlines.set(other, 0.0)
    await until(lambda: other.times > 0)
    assert one.times == 0
    assert len(deadlines) == 1


async def test_who_was_cleared_hears_nothing() -> None:
    deadlines, one, other = Deadlines(), Waiting(), Waiting()
    deadlines.set(one, 0.0)
    deadlines.set(other, 0.0)
    deadlines.clear(one)
    await until(lambda: other.times > 0)
    assert one.times == 0


async def test_a_shorter_span_that_is_set_later_ends_first() -> None:
    deadlines, slow, swift = Deadlines(), Waiting(), Waiting()
    deadlines.set(slow, 60.0)
    deadlines.set(swift, 0.01)
    await until(lambda: swift.times > 0)
    assert slow.times == 0


async def test_the_timer_goes_on_for_those_that_are_left() -> None:
    deadlines, first, second = Deadlines(), Waiting(), Waiting()
    deadlines.set(first, 0.0)
    deadlines.set(second, 0.02)
    await until(lambda: second.times > 0)
    assert first.times == 1


async def test_one_that_sets_a_deadline_when_it_is_late_has_it() -> None:
    deadlines = Deadlines()

    class Again(Waiting):
        def too_late(self) -> None:
            super().too_late()
            if self.times < 3:
                deadlines.set(self, 0.001)

    one = Again()
    deadlines.set(one, 0.0)
    await until(lambda: one.times == 3)
    await asyncio.sleep(0)
    assert len(deadlines) == 0
