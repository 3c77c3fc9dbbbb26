import fcntl
import os
import select
from pathlib import Path

import pytest

from wg_dynamic.errors import ConfigError, UsageError
from wg_dynamic.helper.config import file as file_module
from wg_dynamic.helper.config import peers as module
from wg_dynamic.helper.config.entries import Entry
from wg_dynamic.helper.config.file import load_config
from wg_dynamic.helper.config.peers import PeersFile

KEYS = [f"{letter * 43}=" for letter in "AEI"]


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(file_module, "CONFIG_ROOT", tmp_path / "etc")
    monkeypatch.setattr(file_module, "_refuse_foreign", lambda *_: None)
    return tmp_path / "etc"


def is_laptop(entry: Entry) -> bool:
    return entry.values.get("name") == "laptop"


def test_what_is_added_is_what_the_server_reads(etc: Path) -> None:
    with PeersFile("wg0") as file:
        file.add("peer", {"name": "laptop", "public_key": KEYS[0]})
        values = {"name": "nas", "public_key": KEYS[1], "addresses": ["10.0.0.7"]}
        file.add("reservation", values)
        assert [entry.kind for entry in file.entries()] == ["peer", "reservation"]
    config = load_config(None, "wg0")
    assert config.peer_names == ("laptop",)
    assert config.names == ("nas",)
    path = etc / "wg0.peers.toml"
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.read_text().startswith("# Peers and reservations that the command wg-dynamic has")


def test_entries_are_noted_and_removed(etc: Path) -> None:
    with PeersFile("wg0") as file:
        file.add("peer", {"name": "laptop", "public_key": KEYS[0]}, "being added")
        file.add("peer", {"name": "phone", "public_key": KEYS[1]})
    with PeersFile("wg0") as file:
        assert [entry.note for entry in file.entries()] == ["being added", ""]
        file.note(is_laptop, "")
        assert [entry.note for entry in file.entries()] == ["", ""]
        assert file.remove(is_laptop) == 1
        assert file.remove(is_laptop) == 0
    assert load_config(None, "wg0").peer_names == ("phone",)
    assert "laptop" not in (etc / "wg0.peers.toml").read_text()


def test_nothing_is_written_where_nothing_changes(etc: Path) -> None:
    with PeersFile("wg0") as file:
        assert file.entries() == []
        assert file.remove(is_laptop) == 0
    assert os.listdir(etc) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[peer]\n", "not understood as TOML"),
        ("[[peer]]\nname = 7\n", "expected text in quotes"),
        ("[[peer]]\ncolour = 7\n", "unknown key 'colour'"),
        ("lease_time = 60\n", "unknown key 'lease_time'"),
    ],
)
def test_a_file_that_a_server_would_refuse_is_left_alone(
    etc: Path, text: str, expected: str
) -> None:
    etc.mkdir()
    path = etc / "wg0.peers.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=expected), PeersFile("wg0"):
        raise AssertionError
    assert path.read_text() == text
    with pytest.raises(UsageError, match=expected):
        load_config(None, "wg0")


def test_what_the_server_would_refuse_is_not_written(etc: Path) -> None:
    with PeersFile("wg0") as file, pytest.raises(UsageError, match="public key"):
        file.add("peer", {"name": "laptop", "public_key": "no key"})
    assert os.listdir(etc) == []


@pytest.mark.parametrize("name", ["", ".", "..", "a/b"])
def test_what_is_no_interface_has_no_file(name: str) -> None:
    with pytest.raises(UsageError, match="expected a name as in wg0"):
        PeersFile(name)


def test_commands_take_turns(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_PAUSE", 0.0)
    monkeypatch.setattr(module, "LOCK_TRIES", 3)
    with PeersFile("wg0"), pytest.raises(ConfigError, match="another command"), PeersFile("wg0"):
        raise AssertionError
    holder = os.open(etc, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    waits = iter([fcntl.LOCK_EX, fcntl.LOCK_UN])
    monkeypatch.setattr(select, "select", lambda *_: fcntl.flock(holder, next(waits)))
    with PeersFile("wg0") as file:
        assert file.entries() == []
    os.close(holder)
