"""The verbs, with an interface and files in memory or a temporary directory."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.wireguard import FakeWireGuard
from wg_dynamic.address import parse_prefix
from wg_dynamic.cli.command import keys, peer, quick_conf
from wg_dynamic.cli.command.keys import KeyPair
from wg_dynamic.cli.command.main import main
from wg_dynamic.helper.config import file as file_module
from wg_dynamic.wireguard.control import WireGuardControl
from wg_dynamic.wireguard.device import Peer
from wg_dynamic.wireguard.key import format_key

ALICE, BOB, HUB = bytes([1]) * 32, bytes([2]) * 32, bytes([9]) * 32


class World:
    def __init__(self, top: Path) -> None:
        self.top = top
        self.wireguard = FakeWireGuard(
            Peer(BOB, (parse_prefix("fe80::2/128"), parse_prefix("10.44.0.7/32"))), public_key=HUB
        )
        self.opened: list[str] = []
        self.told: list[tuple[str, int]] = []

    @contextmanager
    def control(self, interface: str) -> Iterator[tuple[WireGuardControl, int]]:
        self.opened.append(interface)
        yield self.wireguard, 7

    def tell_server(self, interface: str, ifindex: int) -> list[str]:
        self.told.append((interface, ifindex))
        return ["told"]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setattr(file_module, "CONFIG_ROOT", tmp_path / "etc")
    monkeypatch.setattr(file_module, "_refuse_foreign", lambda *_: None)
    monkeypatch.setattr(quick_conf, "DIRECTORY", tmp_path)
    monkeypatch.setattr(peer, "require_root", lambda _: None)
    monkeypatch.setattr(peer, "control_of", made.control)
    monkeypatch.setattr(peer, "tell_server", made.tell_server)
    monkeypatch.setattr(keys, "make_pair", lambda: KeyPair("SECRET=", ALICE))
    return made


def test_a_peer_comes_is_listed_and_goes(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["peer", "add", "laptop", "--interface", "wg1"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("# laptop\n[Interface]\n")
    assert "wg-dynamic peer: added laptop to wg1" in shown.err
    assert main(["peer", "list", "--interface", "wg1"]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert lines[1].split()[:2] == ["laptop", format_key(ALICE)]
    assert lines[2].split()[:2] == ["-", format_key(BOB)]
    assert main(["peer", "remove", "laptop", "--interface", "wg1"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "removed peer laptop from wg1\n"
    assert shown.err == "wg-dynamic peer: told\n"
    assert world.told == [("wg1", 7)] * 2
    assert set(world.wireguard.peers) == {BOB}
    assert world.opened == ["wg1"] * 3


def test_who_removes_a_peer_hears_what_becomes_of_what_it_had(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    (world.top / "wg0.conf").write_text(f"[Peer]\nPublicKey={format_key(BOB)}\n")
    (world.top / "etc").mkdir()
    (world.top / "etc" / "wg0.toml").write_text(
        f'[[peer]]\nname = "desk"\npublic_key = "{format_key(BOB)}"\n'
    )
    assert main(["peer", "remove", "desk"]) == 0
    lines = capsys.readouterr().err.split("\n")
    assert "it has fe80::2/128, 10.44.0.7/32 no more" in lines[0]
    assert f"{world.top / 'wg0.conf'}, line 2, has it still" in lines[1]
    assert "wg0.toml names it, too" in lines[2]


def test_programs_get_json(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["peer", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["interface"] == "wg0"
    assert [one["addresses"] for one in listed["peers"]] == [["10.44.0.7"]]
    for present in (True, False):
        if not present:  # in the file alone
            (world.top / "wg0.conf").write_text(f"[Peer]\nPublicKey={format_key(BOB)}\n")
        assert main(["peer", "remove", format_key(BOB), "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {
            "public_key": format_key(BOB),
            "was_on_interface": present,
            "allowed_ips": ["fe80::2/128", "10.44.0.7/32"] if present else [],
            "was_saved": False,
            "still_in_line": None if present else 2,
            "entries_removed": 0,
        }


def test_without_a_good_file_peers_are_listed_without_names(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    (world.top / "etc").mkdir()
    (world.top / "etc" / "wg0.toml").write_text("[[peer]\n")
    assert main(["peer", "list"]) == 0
    shown = capsys.readouterr()
    assert format_key(BOB) in shown.out
    assert "without names: " in shown.err
    assert main(["peer", "add", "laptop"]) == 2
    assert world.told == []
    assert set(world.wireguard.peers) == {BOB}


def test_a_name_that_steers_a_terminal_is_shown_as_text() -> None:
    assert peer.escaped_lines("a\x1b[2J\nb\n") == "a\\x1b[2J\nb\n"


def test_what_an_earlier_command_left_is_told(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["peer", "add", "laptop"]) == 0
    path = world.top / "etc" / "wg0.peers.toml"
    path.write_text(path.read_text().replace("[[peer]]", "[[peer]] # being added"))
    capsys.readouterr()
    assert main(["peer", "add", "laptop"]) == 0
    assert "which an earlier command did not finish" in capsys.readouterr().err


def test_nobody_but_root_is_served(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for words in (["add", "x"], ["remove", "x"], ["list"]):
        assert main(["peer", *words]) == 4
        assert "expected root" in capsys.readouterr().err
