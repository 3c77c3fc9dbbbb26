import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.netlink import FakeInterfaces
from tests.fakes.wireguard import FakeWireGuard
from wg_dynamic.address import parse_prefix
from wg_dynamic.cli import client as module
from wg_dynamic.cli import running as shared
from wg_dynamic.cli.client import main, make_parser
from wg_dynamic.errors import UsageError
from wg_dynamic.helper.policy import Acceptance
from wg_dynamic.privsep.ledger import ADDRESS, ALLOWED_IP, MTU, Entry, Ledger, Setting
from wg_dynamic.system.runtime import RuntimeDirectory

NAME = parse_prefix("fe80::1/128")


class World:
    """A machine with wg0, and no process but ours."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.interfaces = FakeInterfaces()
        self.link = self.interfaces.add_link("wg0")
        self.wireguard = FakeWireGuard()
        self.done: list[object] = []
        self.daemon_stops = False
        replace = monkeypatch.setattr
        replace(os, "geteuid", lambda: 0)
        replace(module, "load_client_config", lambda _: Acceptance())
        replace(module, "umask", lambda: None)
        replace(module, "RtnetlinkControl", lambda: self.interfaces)
        replace(module, "RuntimeDirectory", self.runtime)
        replace(shared, "stop_running", self.stop_running)
        replace("wg_dynamic.helper.qualify.open_control", lambda _: self.wireguard)
        replace(shared.select, "select", lambda *_: self.done.append("wait"))  # type: ignore[attr-defined]

    def runtime(self, ifindex: int | None = None, role: str = "client") -> RuntimeDirectory:
        return RuntimeDirectory(ifindex or self.link.ifindex, self.root, role)

    def stop_running(self, _: Path, *, release: bool) -> bool:
        assert release
        return self.daemon_stops


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


# --- the command line ------------------------------------------------------------------------


def test_the_defaults_are_those_of_the_manual() -> None:
    arguments = make_parser().parse_args(["wg0"])
    assert (arguments.interface, arguments.stop, arguments.wait) == ("wg0", False, 5.0)
    assert arguments.accept_routes == arguments.accept_dns == []


def test_networks_to_accept_add_up() -> None:
    words = ["--accept-routes", "192.0.2.0/24", "--accept-routes", "2001:db8::/32", "wg0"]
    expected = [parse_prefix("192.0.2.0/24"), parse_prefix("2001:db8::/32")]
    assert make_parser().parse_args(words).accept_routes == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--wait", "-1"], "'-1', expected 0 to 3600 seconds"),
        (["--wait", "3600.1"], "'3600.1', expected 0 to 3600 seconds"),
        (["--wait", "nan"], "'nan', expected 0 to 3600 seconds"),
        (["--wait", "soon"], "'soon', expected 0 to 3600 seconds"),
        (["--accept-routes", "192.0.2.1/24"], "'192.0.2.1/24': expected a network as in"),
        (["--accept-routes", "0.0.0.0/0"], "not the whole Internet"),
        (["--accept-routes", "office"], "'office': "),
        ([], "the following arguments are required: interface"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, "wg0"] if words else [])
    assert ended.value.code == 2
    text = capsys.readouterr().err
    assert expected in text
    assert text.count("\n") == 1


def test_only_root_may(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    assert main(["wg0"]) == 4
    assert "wg-dynamic-client runs as user 65534, expected root" in capsys.readouterr().err


# --- --stop ----------------------------------------------------------------------------------


def test_stop_waits_for_the_daemon(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.daemon_stops = True
    assert main(["--stop", "wg0"]) == 0
    assert capsys.readouterr() == ("", "")


def test_stop_without_a_daemon_is_harmless(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--stop", "wg0"]) == 0
    text = "wg0: no wg-dynamic-client runs here; nothing to undo\n"
    assert capsys.readouterr() == (text, "")
    assert not world.runtime().ledger.exists()


def test_stop_undoes_what_a_killed_one_has_left(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger(world.runtime().ledger)
    ledger.add(Entry(ADDRESS, parse_prefix("10.44.0.7")))
    ledger.close()
    assert main(["--stop", "wg0"]) == 0
    assert "undid what a killed one had left" in capsys.readouterr().out


def test_stop_of_no_interface_is_an_error(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stop", "wg1"]) == 3
    assert "no interface 'wg1'" in capsys.readouterr().err
    assert world.done == []


def test_stop_waits_for_a_daemon_that_just_starts_or_ends(world: World) -> None:
    other = world.runtime()
    assert other.lock("wg-dynamic-client wg0")

    def select(*_: object) -> None:
        world.done.append("wait")
        if len(world.done) == 3:
            other.release()

    shared.select.select = select  # type: ignore[attr-defined]
    assert main(["--stop", "wg0"]) == 0
    assert world.done == ["wait"] * 3


def test_stop_stops_no_server(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    server = world.runtime(role="server")
    assert server.lock("wg-dynamic-server wg0")
    assert main(["--stop", "wg0"]) == 3
    expected = f"no wg-dynamic-client to stop on wg0: wg-dynamic-server wg0 (PID {os.getpid()})"
    assert expected in capsys.readouterr().err
    server.release()


# --- what is applied -------------------------------------------------------------------------


def test_what_is_set_for_the_lease_is_shown_beside_a_running_daemon(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    runtime = world.runtime()
    assert runtime.lock("wg-dynamic-client wg0")
    ledger = Ledger(runtime.ledger)
    network = parse_prefix("10.44.0.0/24")
    ledger.add(Entry(ALLOWED_IP, network, bytes(32)))
    ledger.add(Entry(ADDRESS, parse_prefix("10.44.0.9/32")))
    ledger.add(Setting(MTU, ("1420", "1380")))
    assert main(["--applied", "wg0"]) == 0
    shown = f"allowed-ip 10.44.0.0/24 {'A' * 43}=\naddress 10.44.0.9/32\nmtu 1420 1380\n"
    assert capsys.readouterr().out == shown
    ledger.close()
    assert runtime.ledger.exists()
    runtime.release()


def test_where_nothing_is_set_nothing_is_shown_and_nothing_left(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--applied", "wg0"]) == 0
    assert capsys.readouterr().out == ""
    assert list(world.root.iterdir()) == []


# --- --status --------------------------------------------------------------------------------


def a_status(valid_for: float | None) -> str:
    lease = [{"address": "10.44.0.7/32", "network": None, "valid_for": valid_for}]
    return json.dumps(
        {
            "interface": "wg0",
            "pid": 42,
            "state": "bound",
            "up": True,
            "link_local": "fe80::1/128",
            "server": {"address": "fe80::", "public_key": None, "version": 2},
            "lease": lease,
            "refused": [],
            "next_in": None,
            "error": None,
            "set": {},
        }
    )


@pytest.mark.parametrize(("valid_for", "status"), [(60.0, 0), (None, 0), (0.0, 5)])
def test_the_status_tells_a_lease_from_none(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    valid_for: float | None,
    status: int,
) -> None:
    paths = []

    def ask_status(path: Path) -> str:
        paths.append(path)
        return a_status(valid_for)

    monkeypatch.setattr(module, "ask_status", ask_status)
    assert main(["--status", "wg0"]) == status
    assert "address: 10.44.0.7/32\n" in capsys.readouterr().out
    assert main(["--status", "--json", "wg0"]) == status
    assert capsys.readouterr().out == a_status(valid_for) + "\n"
    assert {path.name for path in paths} == {"client-control"}
    assert {path.parent.name for path in paths} == {world.runtime().path.name}


def test_without_a_daemon_the_status_says_so_and_leaves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("wg_dynamic.system.runtime.RUNTIME_ROOT", world.root / "none")
    assert main(["--status", "wg0"]) == 6
    assert capsys.readouterr() == ("wg0: no wg-dynamic-client runs here\n", "")
    assert main(["--status", "--json", "wg0"]) == 6
    assert capsys.readouterr().out == '{"interface": "wg0", "state": "not running"}\n'
    assert not (world.root / "none").exists()
    assert main(["--status", "wg1"]) == 3
    assert "no interface 'wg1'" in capsys.readouterr().err


def test_json_without_status_and_status_with_stop_make_no_sense(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for words in (["--json", "wg0"], ["--status", "--stop", "wg0"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1


# --- a start ---------------------------------------------------------------------------------


@pytest.fixture
def started(world: World, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Acceptance]]:
    """What was started, with what is taken."""
    seen: list[tuple[Any, Acceptance]] = []

    def start(arguments: Any, accepts: Acceptance) -> int:
        seen.append((arguments, accepts))
        return 0

    monkeypatch.setattr(module, "start", start)
    return seen


def test_options_add_to_what_the_file_says(
    started: list[tuple[Any, Acceptance]], monkeypatch: pytest.MonkeyPatch
) -> None:
    prefixes = [parse_prefix(f"192.0.{n}.0/24") for n in range(4)]
    said = Acceptance((prefixes[0],), (prefixes[1],), default_route=True)
    monkeypatch.setattr(module, "load_client_config", lambda _: said)
    words = ["--accept-routes", "192.0.2.0/24", "--accept-dns", "192.0.3.0/24"]
    assert main(["--foreground", *words, "wg0"]) == 0
    accepts = Acceptance((prefixes[0], prefixes[2]), (prefixes[1], prefixes[3]), default_route=True)
    ((arguments, taken),) = started
    assert (arguments.interface, arguments.foreground, taken) == ("wg0", True, accepts)


def test_what_is_wrong_with_the_file_is_said_before_anything_is_done(
    started: list[tuple[Any, Acceptance]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def wrong(_: str) -> Acceptance:
        msg = "wg0.toml: no"
        raise UsageError(msg)

    monkeypatch.setattr(module, "load_client_config", wrong)
    assert main(["wg0"]) == 2
    assert capsys.readouterr().err == "wg-dynamic-client: wg0.toml: no\n"
    assert started == []
