"""What is put together for the client's daemon, and in which order it is undone."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fakes.netlink import FakeInterfaces
from tests.fakes.wireguard import FakeWireGuard
from wg_dynamic.address import parse_prefix
from wg_dynamic.cli import client_keep as module
from wg_dynamic.cli import supervise
from wg_dynamic.cli.client_keep import keep
from wg_dynamic.errors import WgDynamicError
from wg_dynamic.helper.client import ClientSettings, QualifiedInterface
from wg_dynamic.helper.policy import Acceptance
from wg_dynamic.privsep.process import NetworkProcess
from wg_dynamic.system.background import Verdict
from wg_dynamic.system.privileges import Account
from wg_dynamic.system.runtime import RuntimeDirectory

ACCOUNT = Account(60970, 60970)


class FakeParts:
    """Stands for everything that `keep` puts together; keeps the order of what is done."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[object] = []
        self.gone = False
        self.stopping = False
        self.failed = False
        self.reason = "no way"
        self.error: Exception | None = None
        self.settings: object = None
        self.supervised: dict[str, object] = {}
        interfaces, wireguard = FakeInterfaces(), FakeWireGuard()
        link = interfaces.add_link("wg0")
        runtime = RuntimeDirectory(link.ifindex, root, "client")
        assert runtime.lock("x")
        monkeypatch.setattr(runtime, "release", lambda: self.done.append("release"))
        opened = QualifiedInterface(link, wireguard, parse_prefix("fe80::1/128"), runtime)

        def open_interface(settings: ClientSettings, _: object) -> QualifiedInterface:
            self.settings = settings
            return opened

        monkeypatch.setattr(module, "open_interface", open_interface)
        monkeypatch.setattr(module, "RtnetlinkControl", lambda: interfaces)
        monkeypatch.setattr(module, "undo_what_is_left_of_gone", lambda *_: None)
        monkeypatch.setattr(module, "stop_signals", lambda: 99)
        monkeypatch.setattr(module, "ClientHelper", self.make("ClientHelper"))
        for name in ("ControlSocket", "Supervisor"):
            monkeypatch.setattr(supervise, name, self.make(name))

    def make(self, name: str) -> Callable[..., Any]:
        def made(*_: object, **more: object) -> "FakeParts":
            self.done.append(name)
            if name == "Supervisor":
                self.supervised = more
            return self

        return made

    def last_call(self) -> bool:
        return False

    def start(self) -> None:
        self.done.append("start")
        if self.error is not None:
            raise self.error

    def run(self, signals: int) -> None:
        assert signals == 99
        self.done.append("run")

    def close(self, **more: object) -> None:
        self.done.append(("close helper", more["gone"]) if more else "close control")

    def keep(self, accepts: Acceptance | None = None, user: str | None = None) -> int:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            started = (NetworkProcess(os.getpid()), ours)
            status = keep(
                SimpleNamespace(interface="wg0", user=user),
                accepts,
                Verdict(None),
                account=ACCOUNT,
                network=["stderr", "quiet"],
                started=started,
            )
        assert self.supervised["started"] is started
        assert self.supervised["account"] == ACCOUNT
        assert self.supervised["arguments"] == ["stderr", "quiet"]
        return status


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeParts:
    return FakeParts(tmp_path, monkeypatch)


MADE = ["ControlSocket", "ClientHelper", "Supervisor", "start"]


@pytest.mark.parametrize("gone", [True, False])
def test_who_waits_for_the_end_is_told_after_everything_is_undone(
    parts: FakeParts, *, gone: bool
) -> None:
    parts.gone = gone
    accepts = Acceptance((parse_prefix("192.0.2.0/24"),))
    assert parts.keep(accepts, "x") == 0
    assert parts.settings == ClientSettings("wg0", accepts, "x")
    assert parts.done == [*MADE, "run", ("close helper", gone), "release", "close control"]


def test_what_is_taken_by_default_is_little(parts: FakeParts) -> None:
    assert parts.keep() == 0
    assert parts.settings == ClientSettings("wg0", Acceptance())


def test_a_start_that_fails_leaves_nothing(parts: FakeParts) -> None:
    parts.error = WgDynamicError("the kernel is busy")
    with pytest.raises(WgDynamicError):
        parts.keep()
    assert parts.done == [*MADE, ("close helper", False), "release", "close control"]


def test_a_network_process_that_cannot_go_on_is_a_failure(parts: FakeParts) -> None:
    parts.failed = True
    assert parts.keep() == 3


@pytest.mark.parametrize(("stopping", "listens", "status"), [(0, 1, 7), (0, 0, 0), (1, 1, 0)])
def test_only_a_manager_is_told_of_an_interface_that_is_gone(
    parts: FakeParts, monkeypatch: pytest.MonkeyPatch, stopping: int, listens: int, status: int
) -> None:
    monkeypatch.setattr(module, "notify", lambda _: bool(listens))
    parts.gone, parts.stopping = True, bool(stopping)
    assert parts.keep() == status
