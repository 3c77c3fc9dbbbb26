"""Stop and reload of a daemon; what the commands make of it: test_client.py, test_server.py."""

import os
from pathlib import Path

import pytest

from wg_dynamic.cli import running as module
from wg_dynamic.cli.running import reload_daemon, stop_daemon
from wg_dynamic.cli.status import NOT_RUNNING, OK, USAGE
from wg_dynamic.errors import ConfigError
from wg_dynamic.privsep.requests import Reloaded
from wg_dynamic.system.runtime import RuntimeDirectory


@pytest.fixture
def runtime(tmp_path: Path) -> RuntimeDirectory:
    return RuntimeDirectory(3, tmp_path, "x")


def test_without_a_daemon_what_is_left_is_undone_under_its_lock(
    runtime: RuntimeDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    runtime.ledger.touch()

    def undo() -> bool:
        assert f"wg-x --stop wg0 (PID {os.getpid()})" in runtime.holder()
        return True

    assert stop_daemon("wg-x", "wg0", runtime, undo, release=False) == OK
    assert capsys.readouterr().out.endswith("undid what a killed one had left\n")
    assert not (runtime.path / "lock").exists()


def test_a_daemon_that_is_not_ours_is_not_stopped(
    runtime: RuntimeDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_PAUSE", 0.0)
    other = RuntimeDirectory(3, runtime.path.parent, "y")
    assert other.lock("wg-y wg0")
    with pytest.raises(ConfigError, match="no wg-x to stop on wg0: wg-y wg0"):
        stop_daemon("wg-x", "wg0", runtime, lambda: True, release=False)
    other.release()


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (None, NOT_RUNNING),
        (Reloaded(done=False, text="no"), USAGE),
        (Reloaded(done=True, text="yes"), OK),
    ],
)
def test_a_reload_says_whether_anything_was_taken(
    runtime: RuntimeDirectory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: Reloaded | None,
    status: int,
) -> None:
    monkeypatch.setattr(module, "ask_reload", lambda _: answer)
    assert reload_daemon("wg-x", "wg0", runtime) == status
    assert capsys.readouterr().out == ("yes\n" if status == OK else "")
