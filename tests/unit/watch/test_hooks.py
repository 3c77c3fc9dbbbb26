"""Hooks as real processes of ours; as other users: tests/netns/test_watch.py."""

import contextlib
import json
import os
import select
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from wg_dynamic.helper.config.beside import Hook
from wg_dynamic.watch import hooks as module
from wg_dynamic.watch.hooks import (
    MAX_OUTPUT,
    Hooks,
    Queue,
    children_of_ours,
    command_line,
    environment,
)

EVENT = {"event": "granted", "address": "10.44.0.7", "lease_time": 3600}


class Scene:
    """Hooks whose commands are scripts; they write into a directory."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.clock = FakeClock()
        self.queues: list[Queue] = []
        self.hooks = Hooks(self.queues, children_of_ours)
        self.hooks.others = set(children_of_ours())

    def add(self, script: str, **more: object) -> Queue:
        hook = Hook(("/bin/sh",), **more)  # type: ignore[arg-type]
        command = ["/bin/sh", "-c", f"cd {self.place}; {script}"]
        self.queues.append(Queue(hook, command, self.clock))
        return self.queues[-1]

    def finish(self) -> None:
        """Until nothing runs."""
        for _ in range(500):
            for run in self.hooks.runs():
                select.select([run.pidfd], [], [], 0.02)
            self.hooks.look()
            if not self.hooks.runs():
                return
        pytest.fail("it does not end")

    def lines(self, name: str) -> list[str]:
        path = self.place / name
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_run_gets_the_event_twice_over(scene: Scene) -> None:
    scene.add("cat >event; echo $WG_DYNAMIC_EVENT $WG_DYNAMIC_ADDRESS >variables")
    scene.hooks.tell(EVENT)
    scene.finish()
    assert json.loads(scene.lines("event")[0]) == EVENT
    assert scene.lines("variables") == ["granted 10.44.0.7"]


def test_events_come_one_after_the_other_and_those_that_are_wanted(scene: Scene) -> None:
    scene.add("echo $WG_DYNAMIC_ADDRESS >>got", events=("granted",))
    for number in range(5):
        scene.hooks.tell({**EVENT, "address": str(number)})
        scene.hooks.tell({**EVENT, "event": "expired"})
    assert len(scene.hooks.runs()) == 1
    scene.finish()
    assert scene.lines("got") == ["0", "1", "2", "3", "4"]


def test_what_does_not_fit_is_counted_and_told(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "QUEUE", 2)
    scene.add("echo x$WG_DYNAMIC_LOST >>got")
    for _ in range(6):  # one runs, two wait
        scene.hooks.tell(EVENT)
    scene.finish()
    scene.hooks.tell({**EVENT, "lost": 4})
    scene.finish()
    assert scene.lines("got") == ["x", "x3", "x", "x4"]
    assert caplog.text.count("2 events wait, losing others") == 1


def test_one_that_hangs_is_killed_with_all_that_it_has_started(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.add("(setsid sleep 1000 & sleep 1000 & wait) & sleep 1000", timeout=2)
    scene.hooks.tell(EVENT)
    scene.hooks.look()
    assert len(scene.hooks.runs()) == 1
    scene.clock.pass_time(2.0)
    scene.hooks.look()
    assert not scene.hooks.runs()
    assert "killed after 2 s" in caplog.text


def test_one_that_fails_says_why_in_the_log(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    scene.add("printf 'why\\033\\n'; exit 7")
    scene.hooks.tell(EVENT)
    scene.finish()
    assert "hook /bin/sh: why?\n" in caplog.text
    assert "ended with 7, expected 0" in caplog.text


def test_of_a_flood_some_lines_are_logged(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    scene.add("yes flood")
    scene.hooks.tell(EVENT)
    (run,) = scene.hooks.runs()
    scene.finish()
    assert MAX_OUTPUT <= len(run.output) <= 2 * MAX_OUTPUT
    assert caplog.text.count(": flood") == 10


def test_one_that_cannot_be_started_does_not_stop_the_others(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.queues.append(Queue(Hook(("/x",)), ["/no/such/program"], scene.clock))
    scene.add("echo x >>got")
    scene.hooks.tell(EVENT)
    scene.finish()
    assert scene.lines("got") == ["x"]
    assert "cannot be started" in caplog.text


def test_stopping_ends_all_of_them(scene: Scene) -> None:
    scene.add("sleep 1000")
    for _ in range(3):
        scene.hooks.tell(EVENT)
    (run,) = scene.hooks.runs()
    scene.hooks.stop()
    assert not scene.hooks.runs()
    with contextlib.suppress(ChildProcessError):
        assert run.pid not in children_of_ours()
    scene.hooks.look()
    assert not scene.hooks.runs()


def test_orphans_are_killed_and_other_children_are_not(scene: Scene) -> None:
    children = [1111111, 2222222]
    hooks = Hooks([], lambda: children)
    hooks.others = {2222222}
    looked: list[int] = []

    def gone(pid: int, _: int) -> None:
        looked.append(pid)
        children.remove(pid)
        raise ProcessLookupError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "kill", gone)
        hooks.stop()
    assert looked == [1111111]


def test_another_user_and_limits_are_set_by_the_system_s_own_programs() -> None:
    hook = Hook(("/bin/x", "a"), timeout=7)
    line = command_line(hook, uid=65534, gid=65533, own=0)
    assert line[0] == "/usr/bin/prlimit"
    assert "--cpu=7" in line
    assert line[-3:] == ["--", "/bin/x", "a"]
    become = line[line.index("/usr/bin/setpriv") :]
    assert {"--reuid=65534", "--regid=65533", "--no-new-privs", "--clear-groups"} < set(become)
    assert "/usr/bin/setpriv" not in command_line(hook, uid=1000, gid=1000, own=1000)


def test_the_environment_has_what_is_known_and_nothing_of_ours() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WG_DYNAMIC_MORE", "x")
        variables = environment({**EVENT, "more": 1})
    assert set(variables) == {
        *("PATH", "LANG", "HOME"),
        *("WG_DYNAMIC_EVENT", "WG_DYNAMIC_ADDRESS", "WG_DYNAMIC_LEASE_TIME"),
    }
