import contextlib
import io
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.netlink import FakeEvents, FakeInterfaces
from tests.fakes.wireguard import FakeWireGuard
from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.cli import running as shared
from wg_dynamic.cli import server as module
from wg_dynamic.cli import supervise
from wg_dynamic.cli.server import main, make_parser
from wg_dynamic.errors import ConfigError, PrivilegeError, WgDynamicError
from wg_dynamic.helper import waiting
from wg_dynamic.helper.config import file
from wg_dynamic.helper.record import Record
from wg_dynamic.helper.server import OpenedInterface, ServerSettings
from wg_dynamic.leases.pool import parse_pool
from wg_dynamic.leases.terms import LeaseTerms, PeerName, PoolTerms, Reservation
from wg_dynamic.netlink.control import Overrun, Route
from wg_dynamic.netlink.errors import NetlinkError
from wg_dynamic.privsep.ledger import ALLOWED_IP, ROUTE, Entry, Ledger, LedgerError
from wg_dynamic.privsep.requests import Reloaded
from wg_dynamic.system.background import Verdict
from wg_dynamic.system.privileges import Account
from wg_dynamic.system.runtime import RuntimeDirectory
from wg_dynamic.wireguard.control import WireGuardGoneError

POOL4, POOL6 = "10.44.0.0/24", "fd00:44::/64"
CONFIG = f"""
lease_time = "2h"
database = "/srv/x"
user = "leaser"
[[pool]]
network = "{POOL4}"
lease_time = "10m"
[[pool]]
network = "{POOL6}"
[[reservation]]
name = "printer"
public_key = "{"A" * 43}="
addresses = ["10.44.0.7"]
"""


def a_pool(network: str) -> PoolTerms:
    return PoolTerms(parse_pool(network))


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
        self.root = root / "ledger"
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
        self.root = root
        self.etc = root / "etc"
        self.etc.mkdir(0o700)
        replace(file, "CONFIG_ROOT", self.etc)
        replace(file, "_refuse_foreign", lambda *_: None)  # tests of its own, test_file.py
        replace(os, "geteuid", lambda: 0)
        replace(module, "umask", lambda: None)
        replace(module, "RtnetlinkControl", lambda: self.interfaces)
        replace(self.interfaces, "events", lambda: self.events)
        replace(module, "service_account", lambda _: Account(60970, 60970))
        replace(module, "stop_signals", lambda *, reloads: self.signals.fileno() if reloads else -1)
        replace(module, "RuntimeDirectory", lambda *_, **__: self.runtime)
        replace(waiting, "RUNTIME_ROOT", root)
        replace(module, "STOP_PAUSE", 0.0)
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
        record = Record(settings.database, "boot n1-1", self.root)
        return OpenedInterface(self.link, self.wireguard, settings.terms, self.runtime, record)

    def make(self, name: str) -> Callable[..., Any]:
        def made(*arguments: object, **_: object) -> "World":
            self.done.append(name)
            if name == "ServerHelper":
                verdict = arguments[2]
                assert isinstance(verdict, Verdict)
                verdict.give(0, "serving")
            return self

        return made

    def last_call(self) -> bool:
        return False

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
    assert (arguments.interface, arguments.pool) == ("wg0", [])
    rest = (arguments.config, arguments.lease_time, arguments.database, arguments.user)
    assert rest == (None,) * 4


@pytest.mark.parametrize("value", ["59", "0", "-60", "31536001", "1e3", "60.0", "", "soon"])
def test_a_lease_time_out_of_bounds_is_refused(
    value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["wg0", f"--lease-time={value}"])
    assert ended.value.code == 2
    text = capsys.readouterr().err
    assert f"'{value}', expected 60 to 31536000 seconds, or text as in '10m', '1h', '7d'" in text
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "value"), [("60", 60), ("1m", 60), ("31536000", 31536000), ("365d", 31536000)]
)
def test_its_bounds_are_taken(text: str, value: int) -> None:
    assert make_parser().parse_args(["wg0", "--lease-time", text]).lease_time == value


def test_a_pool_that_makes_no_sense_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["wg0", "--pool", "10.44.0.1/24"])
    assert ended.value.code == 2
    text = capsys.readouterr().err
    assert "pool '10.44.0.1/24' has host bits set, expected 10.44.0.0/24" in text
    assert text.count("\n") == 1


def test_only_root_may(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    assert main(["wg0"]) == 4
    assert "wg-dynamic-server runs as user 65534, expected root" in capsys.readouterr().err


def test_what_stands_is_adopted_at_the_first_start_alone(world: World) -> None:
    seen: list[bool] = []

    def look() -> None:
        assert world.settings is not None
        seen.append(world.settings.adopt)
        world.loses_its_interface()

    world.rounds = [look, look, look, world.is_stopped]
    assert serve("--adopt") == 0
    assert seen == [True, False, False]


def test_settings_come_from_the_command_line(world: World) -> None:
    world.rounds = [world.is_stopped]
    pools = ("--pool", POOL4, "--pool", POOL6, "--pool", POOL4)
    assert serve(*pools, "--lease-time", "60", "--database", "x", "--user", "u") == 0
    terms = LeaseTerms((a_pool(POOL4), a_pool(POOL6)), lease_time=60, max_lease_time=60)
    assert world.settings == ServerSettings("wg0", terms, Path.cwd() / "x", user="u")
    world.rounds = [world.is_stopped]
    assert serve() == 0
    database = Path("/var/lib/wg-dynamic/wg0.sqlite")
    assert world.settings == ServerSettings("wg0", LeaseTerms((), max_lease_time=3600), database)


def test_settings_come_from_the_interface_s_own_file(world: World) -> None:
    (world.etc / "wg0.toml").write_text(CONFIG)
    world.rounds = [world.is_stopped]
    assert serve() == 0
    pools = (PoolTerms(parse_pool(POOL4), lease_time=600), a_pool(POOL6))
    address = parse_address("10.44.0.7")
    terms = LeaseTerms(
        pools,
        (Reservation(bytes(32), (address,)),),
        lease_time=7200,
        max_lease_time=7200,
        names=(PeerName(bytes(32), "printer"),),
    )
    assert world.settings == ServerSettings("wg0", terms, Path("/srv/x"), ("printer",), "leaser")


def test_the_file_that_an_option_names_is_read_instead(world: World, tmp_path: Path) -> None:
    (world.etc / "wg0.toml").write_text("nonsense")
    (tmp_path / "other.toml").write_text("lease_time = '2h'")
    world.rounds = [world.is_stopped]
    assert serve("--config", str(tmp_path / "other.toml")) == 0
    assert world.settings is not None
    assert world.settings.terms.lease_time == 7200


def test_options_win_over_the_file_which_still_says_what_it_says_of_a_pool(world: World) -> None:
    (world.etc / "wg0.toml").write_text(CONFIG)
    world.rounds = [world.is_stopped]
    words = ("--lease-time", "900", "--pool", "10.45.0.0/24", "--pool", POOL4)
    assert serve(*words, "--database", "/srv/y", "--user", "me") == 0
    assert world.settings is not None
    terms = world.settings.terms
    assert terms.pools == (
        a_pool("10.45.0.0/24"),
        PoolTerms(parse_pool(POOL4), lease_time=600),
    )
    assert (terms.lease_time, world.settings.user) == (900, "me")
    assert world.settings.database == Path("/srv/y")


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        (
            "",
            ["--pool", POOL4, "--pool", "10.44.0.0/25"],
            "10.44.0.0/25 overlaps pool 10.44.0.0/24",
        ),
        ("lease_tme = 60", [], "wg0.toml: unknown key 'lease_tme', did you mean lease_time?"),
        (
            CONFIG,
            ["--pool", POOL6],
            "wg0.toml: [[reservation]] 1 (printer): 10.44.0.7 is in no pool",
        ),
        ("", ["--config", "/nowhere/x.toml"], "/nowhere/x.toml: cannot be read: No such file"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_looked_at(
    world: World,
    capsys: pytest.CaptureFixture[str],
    text: str,
    words: list[str],
    expected: str,
) -> None:
    (world.etc / "wg0.toml").write_text(text)
    assert serve(*words) == 2
    assert expected in capsys.readouterr().err
    assert world.done == []


def test_a_file_that_is_wrong_stands_in_the_way_of_no_stop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (world.etc / "wg0.toml").write_text("nonsense")
    monkeypatch.setattr(shared, "stop_running", lambda *_, **__: True)
    assert main(["--stop", "wg0"]) == 0


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
        world.finds(LedgerError("cannot open the ledger: no room")),
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
    assert "not serving yet: cannot open the ledger: no room" in text


def test_a_signal_ends_the_waiting(world: World) -> None:
    world.rounds = [world.is_signalled]
    assert serve() == 0


def test_stop_reaches_one_that_waits_and_waits_for_its_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_PAUSE", 0.05)
    asker: list[threading.Thread] = []
    statuses: list[int] = []

    def ask() -> None:
        statuses.append(main(["--stop", "wg0"]))

    def goes_and_somebody_says_stop() -> None:
        world.gone = True
        world.interfaces.remove_link(world.link.ifindex)
        asker.append(threading.Thread(target=ask))
        asker[0].start()

    world.rounds = [goes_and_somebody_says_stop]
    assert serve() == 0
    asker[0].join()
    assert statuses == [0]
    assert not list(world.root.glob("waiting-*"))


def test_stop_is_heard_when_the_interface_comes_back_at_the_same_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting.WaitingRoom, "leave", lambda _: "waiting" in world.done)
    comes_back = [world.loses_its_interface, lambda: world.done.append("waiting")]
    world.rounds = [*comes_back]
    assert serve() == 0
    assert world.done[-3:] == ["ControlSocket", "release", "close control"], "nothing was started"


def test_stop_of_no_interface_is_an_error(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stop", "wg1"]) == 3
    assert "no interface 'wg1'" in capsys.readouterr().err


def test_stop_stops_one_that_waits_and_one_that_serves_instead(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Path, bool]] = []
    monkeypatch.setattr(module, "stop_waiting", lambda _: True)
    monkeypatch.setattr(
        module, "stop_running", lambda path, *, release: asked.append((path, release))
    )
    assert main(["--stop", "wg0"]) == 0
    assert asked == [(world.runtime.control, False)]


def test_a_signal_that_came_with_the_loss_is_not_forgotten(world: World) -> None:
    world.rounds = [world.loses_its_interface_and_is_stopped]
    assert serve() == 0


Said = tuple[int, str, str]
"""Exit status, standard output, standard error."""

# --- --reload --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Reloaded(True, "pool 10.45.0.0/24 added"), (0, "pool 10.45.0.0/24 added\n", "")),
        (
            Reloaded(False, "lease_tme: unknown\nmore"),
            (
                2,
                "",
                "wg-dynamic-server: wg0: not taken, all stays as it was\n"
                "wg-dynamic-server: lease_tme: unknown\nwg-dynamic-server: more\n",
            ),
        ),
        (
            None,
            (
                6,
                "",
                "wg-dynamic-server: no wg-dynamic-server runs on wg0, expected one to reload\n",
            ),
        ),
    ],
)
def test_reload_asks_the_server_and_says_how_it_went(
    world: World, monkeypatch: pytest.MonkeyPatch, answer: Reloaded | None, expected: Said
) -> None:
    asked: list[Path] = []

    def ask_reload(path: Path) -> Reloaded | None:
        asked.append(path)
        return answer

    monkeypatch.setattr(shared, "ask_reload", ask_reload)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(["--reload", "wg0"])
    assert (status, out.getvalue(), err.getvalue()) == expected
    assert asked == [world.runtime.control]


def test_the_file_is_read_again_for_a_reload_wherever_we_are_then(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.toml").write_text("lease_time = '2h'")
    read: list[Callable[[], ServerSettings]] = []
    make: Any = vars(module)["ServerHelper"]

    def made(*arguments: Any) -> object:
        read.append(arguments[4])
        return make(*arguments[:4])

    monkeypatch.setattr(module, "ServerHelper", made)
    world.rounds = [world.is_stopped]
    assert serve("--config", "own.toml", "--database", "x") == 0
    monkeypatch.chdir("/")
    (tmp_path / "own.toml").write_text("lease_time = '3h'")
    settings = read[0]()
    assert (settings.terms.lease_time, settings.database) == (10800, tmp_path / "x")


@pytest.mark.parametrize(
    ("text", "lease_time", "told"),
    [("lease_time = '2h'", 7200, ""), ("lease_tme = 60", 3600, "not taken, all stays as it was")],
)
def test_sighup_while_it_waits_has_the_file_read_again(
    world: World, capsys: pytest.CaptureFixture[str], text: str, lease_time: int, told: str
) -> None:
    def goes() -> None:
        world.gone = True
        (world.etc / "wg0.toml").write_text(text)
        world.signaller.send(bytes([signal.SIGHUP]))

    world.rounds = [goes, world.is_stopped]
    assert serve() == 0
    assert world.settings is not None
    assert world.settings.terms.lease_time == lease_time
    assert told in capsys.readouterr().err
