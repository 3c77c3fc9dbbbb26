"""The screen, without a terminal: what it shows of what comes in its pipe."""

import json
import os
from collections.abc import Iterator

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

from tests.fakes.patience import until
from tests.unit.cli.command.test_top_view import STATUS, a_lease
from wg_dynamic.cli import top_app
from wg_dynamic.cli.top_app import Top


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def say(writing: int, *addresses: str, **more: object) -> None:
    reading = {"status": STATUS, "leases": [a_lease(one, 60) for one in addresses], **more}
    os.write(writing, f"{json.dumps(reading)}\n".encode())


def shown(app: Top, name: str) -> str:
    return str(app.query_one(f"#{name}", Static).render())


async def rows(pilot: Pilot[None], app: Top, count: int) -> None:
    await until(lambda: app.query_one(DataTable).row_count == count)
    await pilot.pause()


async def test_a_reading_is_shown_and_the_next_in_its_place(pipe: tuple[int, int]) -> None:
    app = Top(pipe[0])
    async with app.run_test() as pilot:
        assert shown(app, "head") == "asking the server"
        say(pipe[1], "10.44.0.7", "10.44.0.8", more=3)
        await rows(pilot, app, 2)
        assert shown(app, "head").startswith("wg0: 2 leased")
        assert "127 of 254 leased" in shown(app, "pools")
        assert app.query_one(DataTable).border_title == "Leases (3 more)"
        say(pipe[1], "10.44.0.7", events=[{"event": "released", "name": "[bold]laptop"}])
        await rows(pilot, app, 1)
        assert "released [bold]laptop" in shown(app, "events")


async def test_paused_it_stands_still(pipe: tuple[int, int]) -> None:
    app = Top(pipe[0])
    async with app.run_test() as pilot:
        await pilot.press("p")
        say(pipe[1], "10.44.0.7")
        await until(lambda: bool(app.reading))
        assert app.query_one(DataTable).row_count == 0
        await pilot.press("p")
        await rows(pilot, app, 1)


async def test_what_is_no_reading_is_passed_over(pipe: tuple[int, int]) -> None:
    app = Top(pipe[0])
    async with app.run_test() as pilot:
        os.write(pipe[1], b"garbage\n")
        say(pipe[1], "10.44.0.7")
        await rows(pilot, app, 1)


async def test_it_ends_with_the_pipe_and_with_a_line_without_end(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(top_app, "MAX_LINE", 1000)
    app = Top(pipe[0])
    async with app.run_test():
        os.write(pipe[1], b"x" * 3000)
        await until(lambda: not app.is_running or app._exit)


async def test_q_leaves(pipe: tuple[int, int]) -> None:
    app = Top(pipe[0])
    async with app.run_test() as pilot:
        await pilot.press("q")
    assert app.return_code == 0
