import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.netlink import FakeEvents, FakeInterfaces
from tests.fakes.wireguard import FakeWireGuard
from wg_dynamic.address import parse_prefix
from wg_dynamic.cli import daemon as shared
from wg_dynamic.cli import server as module
from wg_dynamic.cli import supervise
from wg_dynamic.cli.server import main, make_parser
from wg_dynamic.errors import ConfigError, PrivilegeError, WgDynamicError
from wg_dynamic.helper.server import OpenedInterface, ServerSettings
from wg_dynamic.netlink.control import Overrun, Route
from wg_dynamic.netlink.errors import NetlinkError
from wg_dynamic.privsep.ledger import ALLOWED_IP, ROUTE, Entry, Ledger
from wg_dynamic.system.background import Verdict
from wg_dynamic.system.privileges import Account
from wg_dynamic.system.runtime import RuntimeDirectory
from wg_dynamic.wireguard.control import WireGuardGoneError


class Events(FakeEvents):
    """Events that can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.ours, self.theirs = socket.socketpair()

    def fileno(self) -> int:
        return self.ours.fileno()

    def happen(self, *events: Overrun) -> None:
        self.waiting.extend(events)
        self.theirs.send(b"x")

    def read(self) -> list[Any]:
        self.ours.recv(1)
        return super().read()


def test_stop_ends_the_server_and_releases_nothing(
    world: "World", monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Path, bool]] = []

    def stop_running(path: Path, *, release: bool) -> bool:
        asked.append((path, release))
        return True

    monkeypatch.setattr(shared, "stop_running", stop_running)
    assert main(["--stop", "wg0"]) == 0
    assert asked == [(world.runtime.control, False)]


def test_stop_takes_back_the_routes_of_a_killed_server_and_no_allowed_ip(
    world: "World", capsys: pytest.CaptureFixture[str]
) -> None:
    route = Route(parse_prefix("10.44.0.0/24"), world.link.ifindex)
    world.interfaces.add_route(route)
    leased = Entry(ALLOWED_IP, parse_prefix("10.44.0.7"), bytes(32))
    ledger = Ledger(world.runtime.ledger)
    ledger.add(Entry(ROUTE, route.prefix), leased)
    ledger.close()
    assert main(["--stop", "wg0"]) == 0
    assert "undid what a killed one had left" in capsys.readouterr().out
    assert world.interfaces.routes(world.link.ifindex) == []
    assert leased in Ledger(world.runtime.ledger)


class World:
    """A machine with wg0; what the parts of a server do is played by the test."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.interfaces = FakeInterfaces()
        self.link = self.interfaces.add_link("wg0")
        self.wireguard = FakeWireGuard()
        self.runtime = RuntimeDirectory(self.link.ifindex, root, "server")
        self.events = Events()
        self.signals, self.signaller = socket.socketpair()
        self.done: list[object] = []
        self.settings: ServerSettings | None = None
        self.rounds: list[Callable[[], None]] = []
        self.gone = False
        self.failed = False
        self.stopping = False
        self.reason = "no database"
        replace = monkeypatch.setattr
        replace(os, "geteuid", lambda: 0)
        replace(module, "umask", lambda: None)
        replace(module, "RtnetlinkControl", lambda: self.interfaces)
        replace(self.interfaces, "events", lambda: self.events)
        replace(module, "service_account", lambda _: Account(60970, 60970))
        replace(module, "stop_signals", self.signals.fileno)
        replace(module, "RuntimeDirectory", lambda *_, **__: self.runtime)
        replace(module, "open_interface", self.open_interface)
        replace(module, "prepare_state_directory", lambda *_: self.done.append("prepare"))
        replace(self.runtime, "release", lambda: self.done.append("release"))
        replace(module, "ServerHelper", self.make("ServerHelper"))
        for name in ("ControlSocket", "Supervisor"):
            replace(supervise, name, self.make(name))

    def open_interface(self, settings: ServerSettings, _: object) -> OpenedInterface:
        self.settings = settings
        self.gone = self.failed = self.stopping = False
        self.rounds.pop(0)()
        return OpenedInterface(self.link, self.wireguard, (), self.runtime)

    def make(self, name: str) -> Callable[..., Any]:
        def made(*arguments: object, **_: object) -> "World":
            self.done.append(name)
            if name == "ServerHelper":
                verdict = arguments[2]
                assert isinstance(verdict, Verdict)
                verdict.give(0, "serving")
            return self

        return made

    def start(self) -> None:
        self.done.append("start")

    def run(self, _: int) -> None:
        self.done.append("run")

    def close(self, **more: object) -> None:
        self.done.append(("close helper", more["gone"]) if more else "close control")

    # what may come of a round

    def is_stopped(self) -> None:
        self.stopping = True

    def loses_its_interface(self) -> None:
        self.gone = True
        self.events.happen(Overrun())

    def loses_its_interface_and_is_stopped(self) -> None:
        self.gone = self.stopping = True

    def fails(self) -> None:
        self.failed = True

    def finds(self, error: WgDynamicError) -> Callable[[], None]:
        def refuse() -> None:
            self.events.happen(Overrun())
            raise error

        return refuse

    def is_signalled(self) -> None:
        self.gone = True
        self.events.happen()  # something that is no event
        self.signaller.send(bytes([signal.SIGUSR1]))
        self.signaller.send(bytes([signal.SIGTERM]))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(tmp_path, monkeypatch)
    yield made
    for each in (made.events.ours, made.events.theirs, made.signals, made.signaller):
        each.close()


def serve(*words: str) -> int:
    return main(["--foreground", "wg0", *words])


# --- the command line ------------------------------------------------------------------------


def test_the_defaults_are_those_of_the_manual() -> None:
    arguments = make_parser().parse_args(["wg0"])
    assert (arguments.interface, arguments.pool, arguments.lease_time) == ("wg0", [], 3600)
    assert arguments.database is None


@pytest.mark.parametrize("value", ["59", "0", "-60", "31536001", "1e3", "60.0", "", "soon"])
def test_a_lease_time_out_of_bounds_is_refused(
    value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["wg0", f"--lease-time={value}"])
    assert ended.value.code == 2
    text = capsys.readouterr().err
    assert f"'{value}', expected 60 to 31536000 seconds" in text
    assert text.count("\n") == 1


@pytest.mark.parametrize("value", [60, 31536000])
def test_its_bounds_are_taken(value: int) -> None:
    assert make_parser().parse_args(["wg0", "--lease-time", str(value)]).lease_time == value


def test_only_root_may(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    assert main(["wg0"]) == 4
    assert "wg-dynamic-server runs as user 65534, expected root" in capsys.readouterr().err


def test_settings_come_from_the_command_line(world: World) -> None:
    world.rounds = [world.is_stopped]
    words = ("--pool", "a", "--pool", "b", "--lease-time", "60", "--database", "x", "--user", "u")
    assert serve(*words) == 0
    assert world.settings == ServerSettings("wg0", ("a", "b"), 60, Path.cwd() / "x", "u")
    world.rounds = [world.is_stopped]
    assert serve() == 0
    database = Path("/var/lib/wg-dynamic/wg0.sqlite")
    assert world.settings == ServerSettings("wg0", (), 3600, database)


# --- serving ---------------------------------------------------------------------------------

ROUND = ["ControlSocket", "prepare", "ServerHelper", "Supervisor", "start", "run"]


def test_everything_is_closed_in_order(world: World) -> None:
    world.rounds = [world.is_stopped]
    assert serve() == 0
    assert world.done == [*ROUND, ("close helper", False), "release", "close control"]
    assert world.wireguard.closed


def test_what_was_opened_is_closed_when_the_start_fails(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        msg = "cannot prepare /x"
        raise ConfigError(msg)

    monkeypatch.setattr(module, "prepare_state_directory", fail)
    world.rounds = [lambda: None]
    assert serve() == 3
    assert world.done == ["ControlSocket", "release", "close control"]
    assert world.wireguard.closed
    assert capsys.readouterr().err == "wg-dynamic-server: cannot prepare /x\n"


def test_a_network_process_that_cannot_serve_is_a_failure(world: World) -> None:
    world.rounds = [world.fails]
    assert serve() == 3


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigError("no"), 3),
        (PrivilegeError("no"), 4),
        (NetlinkError(12, "no"), 1),
        (WireGuardGoneError("no"), 1),
    ],
)
def test_the_first_start_fails_at_once(world: World, error: WgDynamicError, status: int) -> None:
    world.rounds = [world.finds(error)]
    assert serve() == status


def test_an_interface_that_comes_back_is_served_again(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.rounds = [
        world.loses_its_interface,
        world.finds(ConfigError("no interface 'wg0'")),
        world.finds(ConfigError("no interface 'wg0'")),
        world.finds(NetlinkError(19, "look up interface 3")),
        world.finds(WireGuardGoneError("no WireGuard yet")),
        world.loses_its_interface,
        world.finds(ConfigError("no interface 'wg0'")),
        world.is_stopped,
    ]
    assert serve() == 0
    assert world.rounds == []
    text = capsys.readouterr().err
    assert text.count("waiting for wg0 to come back") == 2
    assert text.count("not serving yet: no interface 'wg0'") == 2, "once each time"
    assert "not serving yet: look up interface 3: No such device" in text
    assert "not serving yet: no WireGuard yet" in text


def test_a_signal_ends_the_waiting(world: World) -> None:
    world.rounds = [world.is_signalled]
    assert serve() == 0


def test_a_signal_that_came_with_the_loss_is_not_forgotten(world: World) -> None:
    world.rounds = [world.loses_its_interface_and_is_stopped]
    assert serve() == 0
