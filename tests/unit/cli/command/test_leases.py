"""`wg-dynamic status`, `leases`, `lease`, `events`, `reload`; with a server: tests/netns."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.admin.client import NotRunningError
from wg_dynamic.admin.protocol import Request
from wg_dynamic.cli.command import leases as module
from wg_dynamic.cli.command.main import main
from wg_dynamic.cli.status import FAILED, NOT_RUNNING, OK, UNQUALIFIED, USAGE
from wg_dynamic.privsep.requests import Reloaded

ROW = {
    "address": "10.44.0.7",
    "public_key": "AAAA=",
    "name": "\x1b[2Jlaptop",
    "state": "held",
    "ends_in": 3725,
}


class Server:
    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.rows: list[dict[str, Any]] = [ROW]
        self.runs = True

    def ask(self, interface: str, request: Request) -> Iterator[dict[str, Any]]:
        assert interface == "wg0"
        self.asked.append(request)
        if not self.runs:
            msg = "no wg-dynamic-server runs here"
            raise NotRunningError(msg)
        yield from self.rows


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setattr(module, "ask", made.ask)
    return made


def test_leases_are_listed_as_a_table_that_steers_no_terminal(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["leases", "--peer", "laptop", "--pool", "10.44.0.0/24"]) == OK
    assert server.asked == [Request("leases", "laptop", None, parse_prefix("10.44.0.0/24"), "held")]
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["ADDRESS", "NAME", "PUBLIC", "KEY", "STATE", "ENDS", "IN"]
    assert row.split() == ["10.44.0.7", "\\x1b[2Jlaptop", "AAAA=", "held", "1h", "2min"]


def test_json_has_all_that_the_server_says(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["leases", "--json", "--state", "all"]) == OK
    assert json.loads(capsys.readouterr().out) == [ROW]
    assert server.asked[0].state is None


@pytest.mark.parametrize(
    ("verb", "request_"), [("show", "leases"), ("revoke", "revoke"), ("release", "release")]
)
def test_one_lease_is_shown_or_ended(
    verb: str, request_: str, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lease", verb, "10.44.0.7"]) == OK
    assert server.asked == [Request(request_, address=parse_address("10.44.0.7"))]
    server.rows = []
    assert main(["lease", verb, "10.44.0.7"]) == FAILED
    assert "no such lease" in capsys.readouterr().err


def test_no_server_is_told(server: Server) -> None:
    server.runs = False
    assert main(["leases"]) == UNQUALIFIED


def test_all_leases_of_a_peer_end_by_its_key_or_by_a_name_that_is_one_peer_s(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    assert main(["lease", "revoke", "--peer", key]) == OK
    server.rows = [{**ROW, "public_key": key}]
    assert main(["lease", "release", "10.44.0.7", "--peer", "laptop"]) == OK
    assert server.asked == [
        Request("revoke", key),
        Request("leases", "laptop"),
        Request("release", key, parse_address("10.44.0.7")),
    ]
    server.rows.append({**ROW, "public_key": "other"})
    assert main(["lease", "revoke", "--peer", "laptop"]) == USAGE
    server.rows = []
    assert main(["lease", "revoke", "--peer", "laptop"]) == USAGE
    assert main(["lease", "revoke"]) == USAGE
    told = capsys.readouterr().err
    assert "2 peers named 'laptop' have leases" in told
    assert "no such name has one" in told
    assert "expected the address of a lease, or --peer" in told


def test_leases_are_watched_until_somebody_has_seen_enough(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def enough(_: float) -> None:
        if len(server.asked) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", enough)
    assert main(["leases", "--json", "--watch", "0.5"]) == 130
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [[ROW]] * 2


def test_events_are_lines_of_json(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events", "--last", "3", "--follow"]) == OK
    assert server.asked == [Request("events", last=3, follow=True)]
    assert json.loads(capsys.readouterr().out) == ROW
    assert main(["events", "--last", "1001"]) == FAILED


@pytest.mark.parametrize("words", [["lease", "show", "x"], ["leases", "--pool", "x"]])
def test_what_is_no_address_is_told(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "expected a" in capsys.readouterr().err


def test_an_interface_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leases", "no-such-one"]) == UNQUALIFIED
    assert "no interface 'no-such-one' here" in capsys.readouterr().err


def test_a_reload_says_what_is_different_or_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers: list[Reloaded | None] = [Reloaded(True, "pool x added"), Reloaded(False, "bad"), None]
    monkeypatch.setattr(module, "require_root", lambda _: None)
    monkeypatch.setattr(module, "index_of", lambda _: 1)
    monkeypatch.setattr(module, "ask_reload", lambda _: answers.pop(0))
    assert [main(["reload"]) for _ in range(3)] == [OK, FAILED, NOT_RUNNING]
    shown = capsys.readouterr()
    assert shown.out == "pool x added\n"
    assert "bad" in shown.err
