"""Reservations by a command, with files in a temporary directory."""

import io
import json
import sys
from pathlib import Path

import pytest

from tests.fakes.netlink import FakeInterfaces
from wg_dynamic.address import format_address, parse_prefix
from wg_dynamic.cli.command import reserve
from wg_dynamic.cli.command.main import main
from wg_dynamic.cli.status import FAILED, OK, UNQUALIFIED, USAGE
from wg_dynamic.helper.config import file as file_module
from wg_dynamic.helper.config.file import MAX_SIZE, load_config
from wg_dynamic.netlink.control import Address
from wg_dynamic.wireguard.key import format_key

ALICE, BOB = bytes([1]) * 32, bytes([2]) * 32
OWN = f"""\
addresses_per_peer = 2
[[pool]]
network = "10.44.0.0/24"
[[pool]]
network = "fd00:44::/64"
[[peer]]
name = "Laptop"
public_key = "{format_key(ALICE)}"
"""


def machine() -> FakeInterfaces:
    interfaces = FakeInterfaces()
    link = interfaces.add_link("wg0")
    interfaces.set_address(Address(link.ifindex, parse_prefix("10.44.0.1/24")))
    return interfaces


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(file_module, "CONFIG_ROOT", tmp_path)
    monkeypatch.setattr(file_module, "_refuse_foreign", lambda *_: None)
    monkeypatch.setattr(reserve, "require_root", lambda _: None)
    monkeypatch.setattr(reserve, "index_of", lambda _: 7)
    monkeypatch.setattr(reserve, "tell_server", lambda *_: ["told"])
    monkeypatch.setattr(reserve, "interfaces_of_machine", machine)
    (tmp_path / "wg0.toml").write_text(OWN)
    return tmp_path


def reserved() -> dict[str, list[str]]:
    config = load_config(None, "wg0")
    return {
        format_key(one.public_key): [format_address(each) for each in one.addresses]
        for one in config.reservations
    }


def test_addresses_are_reserved_one_after_the_other_and_given_up(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lease", "reserve", "laptop", "10.44.0.7", "--lease-time", "7d"]) == OK
    assert main(["lease", "reserve", "laptop", "10.44.0.7", "fd00:44::7"]) == OK
    assert main(["lease", "reserve", format_key(BOB), "10.44.0.8"]) == OK
    assert reserved() == {
        format_key(ALICE): ["10.44.0.7", "fd00:44::7"],
        format_key(BOB): ["10.44.0.8"],
    }
    text = (files / "wg0.peers.toml").read_text()
    assert 'name = "Laptop"' in text
    assert 'lease_time = "7d"' in text
    assert (files / "wg0.toml").read_text() == OWN
    shown = capsys.readouterr()
    assert "1 address of wg0 reserved; 1 reserved already" in shown.out
    assert shown.err.count("told") == 3
    assert main(["lease", "unreserve", "LAPTOP"]) == OK
    assert reserved() == {format_key(BOB): ["10.44.0.8"]}
    assert "10.44.0.7, fd00:44::7 no longer reserved" in capsys.readouterr().out
    assert main(["lease", "unreserve", "laptop"]) == FAILED


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (["tablet", "10.44.0.7"], USAGE, "no peer is named 'tablet' in"),
        (["laptop", "10.45.0.7"], USAGE, "10.45.0.7 is in no pool"),
        (["laptop", "10.44.0.7", "10.44.0.8", "10.44.0.9"], USAGE, "3 IPv4 addresses"),
        (["laptop", "10.44.0.1"], UNQUALIFIED, "10.44.0.1 is an address of this machine"),
    ],
)
def test_what_the_server_would_not_take_changes_nothing(
    words: list[str],
    status: int,
    expected: str,
    files: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["lease", "reserve", *words]) == status
    assert expected in capsys.readouterr().err
    assert not (files / "wg0.peers.toml").exists()


def test_what_is_the_administrator_s_stays_so(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = f'[[reservation]]\npublic_key = "{format_key(ALICE)}"\naddresses = ["10.44.0.7"]\n'
    (files / "wg0.toml").write_text(OWN + more)
    assert main(["lease", "reserve", "laptop", "10.44.0.7"]) == OK, "it is"
    assert main(["lease", "reserve", "laptop", "10.44.0.8"]) == USAGE
    assert main(["lease", "reserve", format_key(BOB), "10.44.0.7"]) == USAGE
    told = capsys.readouterr().err
    assert "no command changes: add the addresses there" in told
    assert "10.44.0.7 is reserved in" in told
    assert reserved() == {format_key(ALICE): ["10.44.0.7"]}


def test_an_export_is_imported_whole_or_not_at_all(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"address": "10.44.0.7", "public_key": format_key(ALICE), "name": None},
        {"address": "fd00:44::8", "public_key": format_key(BOB), "name": "desk"},
        {"address": "10.44.0.8", "public_key": format_key(BOB), "name": "desk"},
    ]
    monkeypatch.setattr(reserve, "ask", lambda *_: iter(rows))
    assert main(["lease", "export", "--format", "csv"]) == OK
    text = capsys.readouterr().out
    path = files / "leases"
    path.write_text(text + f"10.99.0.9,{format_key(BOB)}\n")
    assert main(["lease", "import", str(path)]) == USAGE
    assert reserved() == {}
    assert main(["lease", "export"]) == OK
    again = capsys.readouterr().out
    assert json.loads(again) == rows
    for data in (text, again):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data.encode())))
        assert main(["lease", "import", "-"]) == OK
    assert reserved() == {
        format_key(ALICE): ["10.44.0.7"],
        format_key(BOB): ["fd00:44::8", "10.44.0.8"],
    }
    assert 'name = "desk"' in (files / "wg0.peers.toml").read_text()
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "3 addresses of wg0 reserved"
    assert out[1] == "0 addresses of wg0 reserved; 3 reserved already"


@pytest.mark.parametrize(("data", "expected"), [(b"\xff", "byte 0 is no UTF-8"), (b"x", "line 1")])
def test_a_file_that_is_no_export_is_told(
    data: bytes, expected: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "x").write_bytes(data)
    assert main(["lease", "import", str(files / "x")]) == USAGE
    assert expected in capsys.readouterr().err
    large = files / "large"
    large.write_bytes(b" " * (MAX_SIZE + 1))
    assert main(["lease", "import", str(large)]) == USAGE
    assert main(["lease", "import", str(files / "none")]) == FAILED


def test_a_time_that_is_none_is_told(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del files
    with pytest.raises(SystemExit):
        main(["lease", "reserve", "laptop", "10.44.0.7", "--lease-time", "soon"])
    assert "'soon', expected" in capsys.readouterr().err
