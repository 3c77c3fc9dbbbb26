import os
from pathlib import Path

import pytest

from wg_dynamic.cli.command import tell_server as module
from wg_dynamic.cli.command.tell_server import tell_server
from wg_dynamic.errors import WgDynamicError
from wg_dynamic.helper.config import file as file_module
from wg_dynamic.privsep.requests import Reloaded
from wg_dynamic.system.runtime import control_path


class World:
    """A server that started at 1000, and how it answers."""

    def __init__(self, top: Path) -> None:
        self.root = top
        self.control = control_path(7, "server", top)
        self.config = top / "wg0.toml"
        self.answer: Reloaded | WgDynamicError | None = Reloaded(done=True, text="one peer more")
        self.asked: list[Path] = []

    def start(self) -> None:
        self.control.parent.mkdir()
        self.control.touch()
        os.utime(self.control, (1000, 1000))

    def write(self, at: float) -> None:
        self.config.touch()
        os.utime(self.config, (at, at))

    def ask(self, path: Path) -> Reloaded | None:
        self.asked.append(path)
        if isinstance(self.answer, WgDynamicError):
            raise self.answer
        return self.answer

    def tell(self) -> list[str]:
        return tell_server("wg0", 7, self.root)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setattr(file_module, "CONFIG_ROOT", tmp_path)
    monkeypatch.setattr(module, "ask_reload", made.ask)
    return made


def test_where_no_server_runs_nobody_is_asked(world: World) -> None:
    assert world.tell() == []
    assert world.asked == []


@pytest.mark.parametrize("at", [None, 999.0])
def test_a_server_reads_its_files_again(world: World, at: float | None) -> None:
    world.start()
    if at is not None:
        world.write(at)
    assert world.tell() == []
    assert world.asked == [world.control]


@pytest.mark.parametrize("at", [1000.0, 2000.0])
def test_what_an_administrator_changed_since_is_not_put_into_force(world: World, at: float) -> None:
    world.start()
    world.write(at)
    (said,) = world.tell()
    assert "was changed since the server started" in said
    assert "wg-dynamic-server --reload wg0" in said
    assert world.asked == []


def test_a_server_that_refuses_is_quoted(world: World) -> None:
    world.start()
    world.answer = Reloaded(done=False, text="wg0.toml: unknown key\nand more\n")
    assert world.tell()[1:] == ["wg0.toml: unknown key", "and more"]


def test_one_that_just_ends_or_is_slow_is_no_failure(world: World) -> None:
    world.start()
    world.answer = None
    assert world.tell() == []
    world.answer = WgDynamicError("the daemon did not answer")
    assert world.tell() == ["the daemon did not answer"]
