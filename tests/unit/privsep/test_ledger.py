"""What we set, written down first: also after a kill, on a full disk, in a damaged file."""

import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from wg_dynamic.address import parse_prefix
from wg_dynamic.privsep import ledger as module
from wg_dynamic.privsep.ledger import (
    ADDRESS,
    ALLOWED_IP,
    DNS,
    ROUTE,
    SYSCTL,
    Entry,
    Ledger,
    LedgerError,
    Setting,
    parse_entry,
    read_entries,
)

KEY = bytes(range(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    ledger = Ledger(path)
    yield ledger
    ledger.close()


def address(text: str = "10.0.0.1/32") -> Entry:
    return Entry(ADDRESS, parse_prefix(text))


def allowed_ip(text: str = "10.0.0.1/32", key: bytes = KEY) -> Entry:
    return Entry(ALLOWED_IP, parse_prefix(text), key)


def reopened(path: Path) -> list[Entry]:
    """What the next helper finds; it ends without a word."""
    ledger = Ledger(path)
    ledger.close()
    return [entry for kind in (ROUTE, ADDRESS, ALLOWED_IP) for entry in ledger.entries(kind)]


# --- entries -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (address("10.0.0.1/32"), "address 10.0.0.1/32"),
        (Entry(ROUTE, parse_prefix("fd00::/64")), "route fd00::/64"),
        (allowed_ip("fd00::1/128"), f"allowed-ip fd00::1/128 {KEY.hex()}"),
    ],
)
def test_an_entry_is_one_line_and_read_back(entry: Entry, line: str) -> None:
    assert entry.line() == line
    assert parse_entry(line) == entry


@pytest.mark.parametrize(
    "line",
    [
        "",
        "address",
        "address ",
        "address x",
        "address 10.0.0.1",
        "address 10.0.0.1/32 ",
        "address  10.0.0.1/32",
        "address 10.0.0.1/032",
        "address 10.0.0.1/33",
        "Address 10.0.0.1/32",
        "file 10.0.0.1/32",
        "address fd00:0::1/128",
        f"address 10.0.0.1/32 {KEY.hex()}",
        "allowed-ip 10.0.0.1/32",
        f"allowed-ip 10.0.0.1/32 {KEY.hex()[:-2]}",
        f"allowed-ip 10.0.0.1/32 {KEY.hex().upper()}",
        f"allowed-ip 10.0.0.1/32 {KEY.hex()[:32]} {KEY.hex()[32:]}",
        f"allowed-ip 10.0.0.1/32 {KEY.hex()}\r",
    ],
)
def test_any_other_line_is_no_entry(line: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_entry(line)


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        (Setting(DNS, ("resolvconf", "tun.wg0")), "dns resolvconf tun.wg0"),
        (Setting(SYSCTL, ("net.ipv4.x", "0", "1")), "sysctl net.ipv4.x 0 1"),
    ],
)
def test_a_setting_is_one_line_and_read_back(setting: Setting, line: str) -> None:
    assert setting.line() == line
    assert parse_entry(line) == setting


@pytest.mark.parametrize(
    "setting",
    [
        Setting(DNS, ()),
        Setting(DNS, ("",)),
        Setting(DNS, ("two words",)),
        Setting(DNS, ("line\n+ dns x",)),
        Setting(DNS, ("caf\u00e9",)),
        Setting(ADDRESS, ("10.0.0.1/32",)),
        Setting("file", ("x",)),
    ],
)
def test_a_setting_that_could_not_be_read_back_is_not_written(
    ledger: Ledger, path: Path, setting: Setting
) -> None:
    with pytest.raises(ValueError, match="expected a kind of setting"):
        ledger.add(address(), setting)
    assert path.read_text() == ""
    assert len(ledger) == 0


@pytest.mark.parametrize("line", ["dns", "dns ", "dns  x", "dns x ", "dns x\ty", "rule x\r"])
def test_a_line_that_is_no_setting_is_none(line: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_entry(line)


def test_settings_are_named_like_entries_and_apart_from_them(ledger: Ledger, path: Path) -> None:
    first, second = Setting(DNS, ("resolved", "7")), Setting(SYSCTL, ("net.ipv4.x", "0", "1"))
    ledger.add(first, address(), second)
    assert ledger.settings(DNS) == [first]
    assert ledger.settings(ADDRESS) == []
    assert ledger.entries(DNS) == []
    ledger.remove(second)
    ledger.close()
    again = Ledger(path)
    assert (again.settings(DNS), again.settings(SYSCTL)) == ([first], [])
    assert again.entries(ADDRESS) == [address()]
    again.close()


# --- in force ----------------------------------------------------------------------------------


def test_a_new_ledger_names_nothing_and_is_roots_alone(ledger: Ledger, path: Path) -> None:
    assert len(ledger) == 0
    assert address() not in ledger
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_size == 0


def test_what_was_added_is_named_until_it_is_removed(ledger: Ledger) -> None:
    ledger.add(address(), allowed_ip())
    assert address() in ledger
    assert len(ledger) == 2
    ledger.remove(address())
    assert address() not in ledger
    assert allowed_ip() in ledger


def test_entries_come_in_the_order_they_were_set(ledger: Ledger) -> None:
    ledger.add(address("10.0.0.2/32"), allowed_ip(), address("10.0.0.1/32"))
    assert ledger.entries(ADDRESS) == [address("10.0.0.2/32"), address("10.0.0.1/32")]
    assert ledger.entries(ALLOWED_IP) == [allowed_ip()]
    assert ledger.entries(ROUTE) == []


def test_the_same_twice_is_once(ledger: Ledger, path: Path) -> None:
    ledger.add(address(), address())
    ledger.add(address())
    assert path.read_text() == "+ address 10.0.0.1/32\n"
    ledger.add(allowed_ip())
    ledger.remove(address(), address())  # as a network process may ask for it
    ledger.remove(address())
    assert ledger.entries(ALLOWED_IP) == [allowed_ip()]
    assert reopened(path) == [allowed_ip()]


def test_another_peers_allowed_ip_is_another_entry(ledger: Ledger) -> None:
    ledger.add(allowed_ip(key=KEY))
    assert allowed_ip(key=bytes(32)) not in ledger


# --- the file ----------------------------------------------------------------------------------


def test_what_was_set_is_in_the_file_before_add_returns(ledger: Ledger, path: Path) -> None:
    ledger.add(address())
    assert reopened(path) == [address()]


def test_the_next_helper_finds_what_the_last_one_left(ledger: Ledger, path: Path) -> None:
    ledger.add(address("10.0.0.1/32"), address("10.0.0.2/32"), allowed_ip())
    ledger.remove(address("10.0.0.1/32"))
    assert reopened(path) == [address("10.0.0.2/32"), allowed_ip()]
    lines = path.read_text().splitlines()
    assert lines == [f"+ {address('10.0.0.2/32').line()}", f"+ {allowed_ip().line()}"]


def test_an_empty_ledger_is_an_empty_file(ledger: Ledger, path: Path) -> None:
    ledger.add(address(), allowed_ip())
    ledger.remove(address(), allowed_ip())
    assert path.read_bytes() == b""
    ledger.add(address())
    assert reopened(path) == [address()]


def test_half_a_line_at_the_end_was_never_acted_upon(path: Path) -> None:
    path.write_text("+ address 10.0.0.1/32\n+ address 10.0.0.2/32")
    assert reopened(path) == [address("10.0.0.1/32")]
    path.write_text("+ address 10.0.0.1/32\n- address 10.0.0.1/32")
    assert reopened(path) == [address("10.0.0.1/32")]


def test_a_draft_that_a_dead_helper_left_is_no_ledger(path: Path) -> None:
    draft = path.with_name("ledger.new")
    draft.write_text("+ address 10.0.0.9/32\n")
    path.write_text("+ address 10.0.0.1/32\n")
    assert reopened(path) == [address("10.0.0.1/32")]
    assert not draft.exists()


def test_links_are_not_followed(path: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    path.symlink_to(precious)
    with pytest.raises(LedgerError, match="cannot open the ledger"):
        Ledger(path)
    path.unlink()
    path.with_name("ledger.new").symlink_to(precious)
    ledger = Ledger(path)
    ledger.add(address("192.0.2.7/32"))
    ledger.close()
    assert precious.read_text() == "precious"


@pytest.mark.parametrize("name", ["ledger", "ledger.new"])
def test_something_else_in_the_way_is_said(path: Path, name: str) -> None:
    path.with_name(name).mkdir()
    with pytest.raises(LedgerError, match="cannot open the ledger"):
        Ledger(path)


def test_the_file_stays_small_however_many_come_and_go(
    ledger: Ledger, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SPARE_LINES", 10)
    ledger.add(allowed_ip())
    longest = 0
    for n in range(200):
        ledger.add(address(f"10.0.0.{n}/32"))
        ledger.remove(address(f"10.0.0.{n}/32"))
        longest = max(longest, path.read_text().count("\n"))
    assert longest <= 2 + 10 + 2
    assert reopened(path) == [allowed_ip()]


def test_a_closed_ledger_takes_nothing_in(ledger: Ledger) -> None:
    ledger.add(address())
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError, match="is closed"):
        ledger.add(allowed_ip())
    ledger.remove(address())  # said in the log only
    assert allowed_ip() not in ledger
    ledger.add(address())  # nothing new: the file names it still


# --- damage ------------------------------------------------------------------------------------

DAMAGED = ["x address 10.0.0.1/32", "+ address 10.0.0.x/32", "", "?", "garbage \\ line", "-"]


@pytest.mark.parametrize("line", DAMAGED)
def test_a_damaged_line_is_said_and_kept_and_changes_nothing(
    path: Path, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text(f"+ address 10.0.0.1/32\n{line}\n+ address 10.0.0.2/32\n")
    for _ in range(3):  # each helper that starts says it again
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            ledger = Ledger(path)
        assert ledger.entries(ADDRESS) == [address("10.0.0.1/32"), address("10.0.0.2/32")]
        assert ledger.damaged == [line]
        assert "cannot be read: look what it set" in caplog.text
        ledger.close()
    ledger = Ledger(path)
    ledger.remove(address("10.0.0.1/32"), address("10.0.0.2/32"))
    ledger.close()
    assert path.read_text() == f"? {line}\n"


def test_a_damaged_line_of_any_bytes_becomes_text(path: Path) -> None:
    path.write_bytes(b"+ address 10.0.0.\xff/32\n\0\x80\r\n")
    first = Ledger(path)
    first.close()
    second = Ledger(path)
    second.close()
    assert first.damaged == second.damaged == ["+ address 10.0.0.\\xff/32", "\0\\x80\r"]


# --- no room -----------------------------------------------------------------------------------


class FullDisk:
    """os.write on a disk with room for so many bytes."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._write = os.write

    def __call__(self, descriptor: int, data: bytes) -> int:
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._write(descriptor, data[: self.room])
        self.room -= written
        return written


@pytest.mark.parametrize("room", [0, 1, 10, 21])
def test_what_could_not_be_written_may_not_be_set(
    ledger: Ledger, path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    ledger.add(address("10.0.0.1/32"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", FullDisk(room))
        with pytest.raises(LedgerError, match="No space left"):
            ledger.add(address("10.0.0.2/32"), address("10.0.0.3/32"))
    assert address("10.0.0.2/32") not in ledger
    ledger.add(address("10.0.0.4/32"))  # on a line of its own
    assert reopened(path) == [address("10.0.0.1/32"), address("10.0.0.4/32")]


def test_what_could_not_be_struck_out_is_struck_out_when_there_is_room(
    ledger: Ledger, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.add(address("10.0.0.1/32"), address("10.0.0.2/32"), allowed_ip())
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", FullDisk(5))
        ledger.remove(address("10.0.0.1/32"))
        ledger.remove(allowed_ip())
        ledger.remove()
    assert ledger.entries(ADDRESS) == [address("10.0.0.2/32")], "what is off is off"
    assert "- " not in path.read_text(), "a line too many, never one too few"
    assert caplog.text.count("No space left on device: what was taken off") == 1
    ledger.remove()
    assert reopened(path) == [address("10.0.0.2/32")]
    assert caplog.text.count("can be written again") == 1


def test_what_the_file_names_still_is_set_again_without_room(
    ledger: Ledger, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.add(address(), allowed_ip())
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", FullDisk(5))
        ledger.remove(address())
        ledger.add(address())
        with pytest.raises(LedgerError, match="No space left"):
            ledger.add(address(), address("10.0.0.9/32"))
        assert address("10.0.0.9/32") not in ledger
    ledger.remove()
    assert address() in ledger
    assert set(reopened(path)) == {address(), allowed_ip()}


def test_the_last_line_is_struck_out_without_room(
    ledger: Ledger, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.add(address())
    monkeypatch.setattr(os, "write", FullDisk(0))
    ledger.remove(address())
    assert path.stat().st_size == 0


def test_without_room_for_a_compact_file_the_old_one_serves(
    ledger: Ledger, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SPARE_LINES", 0)
    ledger.add(address("10.0.0.1/32"))
    ledger.add(address("10.0.0.2/32"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", FullDisk(len("- address 10.0.0.2/32\n") + 3))
        ledger.remove(address("10.0.0.2/32"))
    assert not path.with_name("ledger.new").exists()
    ledger.add(address("10.0.0.3/32"))
    assert reopened(path) == [address("10.0.0.1/32"), address("10.0.0.3/32")]


def test_without_room_at_the_start_nothing_is_lost(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text("+ address 10.0.0.1/32\n")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", FullDisk(7))
        with pytest.raises(LedgerError, match="No space left"):
            Ledger(path)
    assert reopened(path) == [address("10.0.0.1/32")]


# --- on a disk ---------------------------------------------------------------------------------


def test_a_durable_one_is_synced_when_it_is_told_and_there_is_something(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    ledger = Ledger(path, durable=True)
    assert len(synced) == 1, "before the new file took the place of the old one"
    ledger.sync()
    assert len(synced) == 1
    ledger.add(address())
    ledger.sync()
    ledger.sync()
    assert len(synced) == 2
    ledger.add(address("10.0.0.2/32"))
    ledger.close()
    ledger.sync()
    assert len(synced) == 2


def test_one_in_memory_is_never_synced(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fdatasync", lambda _: pytest.fail("synced"))
    ledger.add(address())
    ledger.sync()


def test_a_disk_that_fails_a_sync_is_told_and_asked_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(path, durable=True)
    ledger.add(address())

    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", fail)
    for _ in range(2):
        with pytest.raises(LedgerError, match="Input/output error"):
            ledger.sync()


# --- beside the helper -------------------------------------------------------------------------


def test_others_read_what_is_in_force_and_change_nothing(ledger: Ledger, path: Path) -> None:
    ledger.add(address("10.0.0.1/32"), allowed_ip("10.0.0.0/24"))
    ledger.remove(address("10.0.0.1/32"))
    with path.open("ab") as file:
        file.write(b"nonsense\n+ address 10.0.0.7/32")  # the last line is still being written
    before = path.read_bytes()
    assert read_entries(path) == [allowed_ip("10.0.0.0/24")]
    assert path.read_bytes() == before


def test_others_find_nothing_where_there_is_no_ledger(path: Path) -> None:
    assert read_entries(path) == []
    path.mkdir()
    with pytest.raises(LedgerError, match="cannot read the ledger"):
        read_entries(path)
