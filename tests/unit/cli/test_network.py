import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from wg_dynamic.cli import network as module
from wg_dynamic.cli.network import run_network_process
from wg_dynamic.errors import ConfigError
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.codec import ChannelError
from wg_dynamic.privsep.requests import MAX_TEXT, Fatal, Ready
from wg_dynamic.privsep.spawn import AGAIN
from wg_dynamic.system.privileges import Account

ARGV = ["wg-x", "7,60970,60970", "syslog", "verbose"]


class FakeChannel:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[object] = []
        self.error: Exception | None = None

    def send(self, message: object) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append(message)


@pytest.fixture
def channel() -> FakeChannel:
    return FakeChannel()


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch, channel: FakeChannel) -> list[object]:
    """What was done, in order; nothing of it to the process that runs the tests."""
    done: list[object] = []

    def inherited(*arguments: object) -> tuple[Any, Account]:
        done.append(arguments)
        return channel, Account(60970, 60970)

    def drop(account: Account) -> list[str]:
        done.append(account)
        return ["x"]

    monkeypatch.setattr(module, "inherited_channel", inherited)
    monkeypatch.setattr(module, "set_up_log", lambda *a, **k: done.append((a, k)))
    monkeypatch.setattr(module, "drop_privileges", drop)
    monkeypatch.setattr(module, "Sandbox", lambda lacks, tell: (lacks, tell))
    monkeypatch.setattr(os, "chdir", done.append)
    monkeypatch.setattr(signal, "signal", lambda *a: done.append(a))
    return done


def run(work: Callable[[Channel, Any], None], *again: str) -> int:
    return run_network_process("wg-x", [*ARGV, *again], (Fatal,), (Ready,), work)


def test_it_drops_root_before_it_works(order: list[object]) -> None:
    assert run(lambda _, sandbox: order.append(sandbox)) == 0
    assert order == [
        "/",
        ("7,60970,60970", (Fatal,), (Ready,)),
        (("wg-x", "syslog"), {"verbose": True}),
        Account(60970, 60970),
        (signal.SIGINT, signal.SIG_IGN),
        (signal.SIGTERM, signal.SIG_IGN),
        (signal.SIGHUP, signal.SIG_IGN),
        (["x"], True),
    ]


def test_what_is_lacking_is_told_by_the_first_one_only(order: list[object]) -> None:
    assert run(lambda _, sandbox: order.append(sandbox), AGAIN) == 0
    assert order[-1] == (["x"], False)


@pytest.mark.usefixtures("order")
def test_the_end_of_the_helper_is_its_end(channel: FakeChannel) -> None:
    assert run(raising(EOFError())) == 0
    assert channel.sent == []


@pytest.mark.usefixtures("order")
def test_why_it_cannot_go_on_is_told_to_the_helper(channel: FakeChannel) -> None:
    assert run(raising(ConfigError("no database" * 1000))) == 1
    assert channel.sent == [Fatal(("no database" * 1000)[:MAX_TEXT])]
    channel.error = ChannelError("gone")
    assert run(raising(ConfigError("no database"))) == 1


@pytest.mark.usefixtures("order")
def test_a_bug_leaves_its_traceback_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    assert run(raising(ZeroDivisionError("oops"))) == 1
    assert "the network process ends by a bug" in caplog.text
    assert "ZeroDivisionError: oops" in caplog.text


def raising(error: Exception) -> Callable[[Channel, Any], None]:
    def fail(*_: object) -> None:
        raise error

    return fail
