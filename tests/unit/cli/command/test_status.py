"""`wg-dynamic status`; with real daemons: tests/netns/test_command.py."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wg_dynamic.admin.client import NotRunningError
from wg_dynamic.admin.protocol import Request
from wg_dynamic.cli.command import status as module
from wg_dynamic.cli.command.main import main
from wg_dynamic.cli.status import FAILED, NO_LEASE, NOT_PERMITTED, NOT_RUNNING, OK, UNQUALIFIED

SERVER: dict[str, Any] = {
    "role": "server",
    "interface": "wg0",
    "version": "1",
    "up_for": 90.0,
    "leases": {"held": 127, "remembered_or_quarantined": 1},
    "peers": 3,
    "connections": 2,
    "subscribers": 1,
    "store": {"path": "/x", "works": True},
    "pools": [{"network": "10.44.0.0/24", "size": 254, "held": 127}],
    "troubles": [{"time": 1.0, "text": "\x1b[2J"}],
}
CLIENT: dict[str, Any] = {
    "interface": "wg1",
    "pid": 7,
    "state": "bound",
    "up": True,
    "link_local": "fe80::7/128",
    "server": {"address": "fe80::", "public_key": None, "version": 2},
    "lease": [{"address": "10.44.0.7/32", "network": None, "valid_for": 90.0}],
    "refused": [],
    "next_in": 5.0,
    "error": "\x1b[2J",
    "set": {"routes": ["10.20.0.0/16"], "not_taken": ["0.0.0.0/0: not asked for"]},
}


class World:
    """wg0 has a server, wg1 a client, as long as they run."""

    def __init__(self) -> None:
        self.servers: dict[int, list[dict[str, Any]]] = {1: [SERVER]}
        self.clients: dict[int, str | PermissionError] = {2: json.dumps(CLIENT)}

    def index(self, name: str) -> int:
        return {"wg0": 1, "wg1": 2, "eth0": 3}[name]

    def ask(self, interface: str, request: Request) -> Iterator[dict[str, Any]]:
        assert request == Request("status")
        rows = self.servers.get(self.index(interface))
        if rows is None:
            msg = "no wg-dynamic-server runs here"
            raise NotRunningError(msg)
        yield from rows

    def ask_client(self, path: Path) -> str | None:
        answer = self.clients.get(int(path.name))
        if isinstance(answer, PermissionError):
            raise answer
        return answer


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(module, "ask", made.ask)
    monkeypatch.setattr(module, "ask_status", made.ask_client)
    monkeypatch.setattr(module, "index_of", made.index)
    monkeypatch.setattr(module, "control_path", lambda index, _: Path(str(index)))
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(3, "eth0"), (1, "wg0"), (2, "wg1")])
    return made


def test_a_server_has_a_bar_for_each_pool(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    del world
    assert main(["status", "wg0"]) == OK
    out = capsys.readouterr().out
    assert "[##########..........]  50%  127 of 254 held" in out
    assert "up 1min 30s" in out
    assert "warning: \\x1b[2J" in out
    assert main(["status", "wg0", "--json"]) == OK
    assert json.loads(capsys.readouterr().out) == SERVER


def test_a_client_tells_lease_and_routes_and_what_it_did_not_take(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "wg1"]) == OK
    out = capsys.readouterr().out
    for line in (
        "  state: has a lease\n",
        "address: 10.44.0.7/32\n  time left: 1 minute, 30 seconds\n",
        "  routes: 10.20.0.0/16\n",
        "not taken: 0.0.0.0/0: not asked for\n",
        "  last error: \\x1b[2J\n",
    ):
        assert line in out
    assert main(["status", "wg1", "--json"]) == OK
    assert json.loads(capsys.readouterr().out) == {"role": "client", **CLIENT}
    world.clients[2] = json.dumps({**CLIENT, "lease": []})
    assert main(["status", "wg1"]) == NO_LEASE


def test_without_an_interface_every_daemon_is_shown_that_may_be_asked(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status"]) == OK
    out = capsys.readouterr().out
    assert out.index("interface: wg0\n") < out.index("\n\ninterface: wg1\n")
    assert main(["status", "--json"]) == OK
    assert [one["role"] for one in json.loads(capsys.readouterr().out)] == ["server", "client"]
    world.clients[2] = PermissionError()
    world.servers.clear()
    assert main(["status", "--json"]) == OK
    assert json.loads(capsys.readouterr().out) == []
    assert main(["status"]) == NOT_RUNNING
    assert main(["status", "wg1"]) == NOT_PERMITTED
    assert "only root may ask a client" in capsys.readouterr().err


def test_no_daemon_has_a_status_of_its_own(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    del world
    assert main(["status", "eth0"]) == NOT_RUNNING
    assert "eth0: no wg-dynamic-server or wg-dynamic-client runs here" in capsys.readouterr().err


@pytest.mark.parametrize("rows", [[{"role": "server", "store": 7}], [{"role": "x"}], [], [{}, {}]])
def test_a_status_that_is_none_is_told(
    rows: list[dict[str, Any]], world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.servers[1] = rows
    assert main(["status", "wg0"]) == FAILED
    assert "makes no sense" in capsys.readouterr().err


def test_an_interface_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "no-such-one"]) == UNQUALIFIED
    assert "no interface 'no-such-one' here" in capsys.readouterr().err
