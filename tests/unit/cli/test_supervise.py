"""What is opened is closed, in order. The daemons' own parts: test_client.py, test_server.py."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.netlink import FakeEvents
from wg_dynamic.cli import supervise as module
from wg_dynamic.cli.supervise import supervise
from wg_dynamic.errors import ConfigError
from wg_dynamic.system.privileges import Account

ACCOUNT = Account(60970, 60970)


class Parts:
    """Stands for the opened interface and for all that is made of it."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.reloads: object = None
        self.gone = False
        self.stopping = False
        self.late = False
        """Somebody says stop when the supervisor has ended."""
        self.control = Path("/run/control")
        self.failing = ""
        self.work: Callable[[], None] = lambda: None
        self.control_socket = Closing(self, "control")

    runtime = property(lambda self: self)
    wireguard = property(lambda self: Closing(self, "wireguard"))

    def do(self, what: str) -> "Parts":
        self.done.append(what)
        if what == self.failing:
            raise ConfigError(what)
        return self

    def release(self) -> None:
        self.do("release")

    def start(self) -> None:
        self.do("start")

    def run(self, signals: int) -> None:
        assert signals == 99
        self.do("run")
        self.work()

    def close(self, *, gone: bool) -> None:
        self.do("close helper, gone" if gone else "close helper")


class Closing:
    """Says that it was closed."""

    def __init__(self, parts: Parts, name: str) -> None:
        self.parts = parts
        self.name = name
        self.status: Callable[[], str] | None = None
        self.reloads = False

    def close(self) -> None:
        self.parts.do(f"close {self.name}")

    def last_call(self) -> bool:
        assert self.parts.done[-1] == "release", "nobody can come after it"
        return self.parts.late


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Parts:
    made = Parts()

    def make_control(path: Path) -> Closing:
        assert path == made.control
        made.do("control")
        made.control_socket = Closing(made, "control")
        return made.control_socket

    def make_supervisor(helper: object, **more: Any) -> Parts:
        assert helper is made
        assert (more["account"], more["arguments"]) == (ACCOUNT, ["stderr"])
        made.reloads = more["reloads"]
        return made.do("supervisor")

    monkeypatch.setattr(module, "ControlSocket", make_control)
    monkeypatch.setattr(module, "Supervisor", make_supervisor)
    return made


def run(parts: Parts) -> tuple[object, object]:
    opened: Any = parts

    def make_helper() -> Any:
        return parts.do("helper")

    return supervise(
        opened,
        make_helper,
        account=ACCOUNT,
        events=FakeEvents(),
        arguments=["stderr"],
        signals=99,
        on_gone=lambda: parts.done.append("gone"),
        status=lambda helper: f"status of {helper}",
    )


CLOSED = ["close wireguard", "release", "close control"]


@pytest.mark.parametrize("gone", [True, False])
def test_who_waits_at_the_control_socket_is_told_last(parts: Parts, *, gone: bool) -> None:
    parts.gone = gone
    assert run(parts) == (parts, parts)
    closed = ["gone", "close helper, gone"] if gone else ["close helper"]
    assert parts.done == ["control", "helper", "supervisor", "start", "run", *closed, *CLOSED]
    assert not parts.stopping


def test_who_asks_for_the_status_is_answered_by_the_helper(parts: Parts) -> None:
    answers: list[str] = []

    def work() -> None:
        assert parts.control_socket.status is not None
        answers.append(parts.control_socket.status())

    parts.work = work
    run(parts)
    assert answers == [f"status of {parts}"]
    assert parts.control_socket.status is None, "it runs no longer"


def test_who_says_stop_while_the_interface_goes_is_heard(parts: Parts) -> None:
    parts.gone = parts.late = True
    run(parts)
    assert parts.stopping


def test_one_that_is_stopped_goes_nowhere_to_wait(parts: Parts) -> None:
    parts.gone = parts.stopping = True
    run(parts)
    assert "gone" not in parts.done
    assert parts.stopping


@pytest.mark.parametrize(
    ("failing", "before"),
    [
        ("helper", ["control", "helper"]),
        ("start", ["control", "helper", "supervisor", "start", "close helper"]),
    ],
)
def test_what_was_opened_is_closed_when_the_start_fails(
    parts: Parts, failing: str, before: list[str]
) -> None:
    parts.failing = failing
    with pytest.raises(ConfigError, match=failing):
        run(parts)
    assert parts.done == [*before, *CLOSED]


def test_only_what_can_reload_is_asked_to_and_only_while_it_runs(parts: Parts) -> None:
    seen: list[tuple[object, bool]] = []
    parts.work = lambda: seen.append((parts.reloads, parts.control_socket.reloads))
    run(parts)
    opened: Any = parts
    supervise(
        opened,
        lambda: opened.do("helper"),
        account=ACCOUNT,
        events=FakeEvents(),
        arguments=["stderr"],
        signals=99,
        reloads=lambda helper: helper,
    )
    assert seen == [(None, False), (parts, True)]
    assert not parts.control_socket.reloads
