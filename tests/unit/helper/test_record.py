"""What was ever ours: what is found again, and what is forgotten when."""

import os
from pathlib import Path

import pytest

from wg_dynamic.address import parse_prefix
from wg_dynamic.errors import ConfigError
from wg_dynamic.helper import record as module
from wg_dynamic.helper.record import Record
from wg_dynamic.privsep.ledger import ALLOWED_IP, Entry, Ledger, LedgerError

ALICE, BOB = (bytes([n]) * 32 for n in (1, 2))
DATABASE = Path("/var/lib/wg-dynamic/100%/wg0.sqlite")


def pair(number: int = 7, key: bytes = ALICE) -> Entry:
    return Entry(ALLOWED_IP, parse_prefix(f"10.44.{number >> 8}.{number & 255}"), key)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "run")


def test_a_pair_is_known_to_the_next_one_of_the_same_database(root: Path, ledger: Ledger) -> None:
    first = Record(DATABASE, "boot n1-1", root)
    first.add([pair(), pair(8)], ledger)
    first.close()
    first.close()
    second = Record(DATABASE, "boot n1-2", root)
    assert pair() in second
    assert pair(key=BOB) not in second
    assert len(second) == 2
    assert len(Record(Path("/elsewhere/wg0.sqlite"), "boot n1-2", root)) == 0


def test_another_server_with_the_same_database_is_refused(root: Path) -> None:
    record = Record(DATABASE, "boot n1-1", root)
    with pytest.raises(ConfigError, match="another wg-dynamic-server has it open"):
        Record(DATABASE, "boot n2-1", root)
    record.close()
    Record(DATABASE, "boot n2-1", root)


def test_whatever_stopped_the_start_it_is_not_open_afterwards(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module, "Ledger", {}.__getitem__)
        with pytest.raises(TypeError):
            Record(DATABASE, "boot n1-1", root)
    Record(DATABASE, "boot n1-1", root).close()


@pytest.mark.parametrize("interface", ["boot2 n1-1", "boot n2-1", "boot n1-11", "boot n1-"])
def test_an_interface_is_new_once_after_it_was_made(
    root: Path, ledger: Ledger, interface: str
) -> None:
    record = Record(DATABASE, "boot n1-1", root)
    assert record.is_new
    record.begin(())
    record.add([pair(7), pair(8)], ledger)
    record.close()
    record = Record(DATABASE, "boot n1-1", root)
    assert not record.is_new
    record.close()
    for _ in range(2):  # killed before `begin` was through: once more
        record = Record(DATABASE, interface, root)
        assert record.is_new
        record.close()
    record = Record(DATABASE, interface, root)
    record.begin({pair(8)})
    assert not record.is_new
    record.close()
    record = Record(DATABASE, interface, root)
    assert not record.is_new
    assert pair(7) not in record, "the interface was made without it"
    assert pair(8) in record


def test_of_what_stands_no_more_the_oldest_is_forgotten_first(
    root: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PAST", 8)
    record = Record(DATABASE, "boot n1-1", root)
    ledger.add(pair(0), pair(1))
    record.add([pair(number) for number in range(10)], ledger)
    assert len(record) == 10
    record.add([pair(10)], ledger)
    assert [number for number in range(11) if pair(number) not in record] == [2, 3]


def test_root_alone_has_to_do_with_it(root: Path) -> None:
    Record(DATABASE, "boot n1-1", root)
    assert root.stat().st_mode & 0o777 == 0o700
    names = {path.name for path in root.iterdir()}
    stem = "var%2Flib%2Fwg-dynamic%2F100%25%2Fwg0.sqlite"
    assert names == {f"{stem}.seen", f"{stem}.allowed-ips"}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in root.iterdir())


@pytest.mark.parametrize("kind", ["another's", "a file"])
def test_a_directory_that_is_not_ours_is_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind == "another's":
        root.mkdir()
        if os.geteuid() == 0:
            os.chown(root, 60970, -1)
        monkeypatch.setattr(os, "geteuid", lambda: 60971)
    else:
        root.touch()
    with pytest.raises(ConfigError, match=r"expected root|File exists"):
        Record(DATABASE, "boot n1-1", root)


def test_a_place_that_cannot_be_written_is_told(root: Path) -> None:
    with pytest.raises(ConfigError, match="cannot keep a record of what is leased in"):
        Record(DATABASE, "boot n1-1", root / "missing")
    with pytest.raises(ConfigError, match="File name too long"):
        Record(Path("/" + "d" * 256), "boot n1-1", root)


def test_a_ledger_that_cannot_be_opened_leaves_nothing_locked(root: Path) -> None:
    record = Record(DATABASE, "boot n1-1", root)
    record.close()
    (path,) = root.glob("*.allowed-ips")
    path.unlink()
    path.mkdir()
    for _ in range(2):
        with pytest.raises(LedgerError, match="cannot open the ledger"):
            Record(DATABASE, "boot n1-1", root)


def test_a_disk_that_does_not_take_the_mark_is_told(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Record(DATABASE, "boot n1-1", root)

    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", fail)
    with pytest.raises(LedgerError, match="No space left"):
        record.begin(())
    assert record.is_new


def test_what_could_not_be_struck_out_keeps_the_interface_new(
    root: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Record(DATABASE, "boot n1-1", root)
    record.begin(())
    record.add([pair(7), pair(8)], ledger)
    record.close()
    record = Record(DATABASE, "boot n1-2", root)

    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        with pytest.raises(LedgerError, match="No space left"):
            record.begin({pair(8)})
    record.close()
    record = Record(DATABASE, "boot n1-2", root)
    assert record.is_new, "what it still names would count as ours otherwise"
    record.begin({pair(8)})
    assert pair(7) not in record


def test_without_room_the_reason_is_short(
    root: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the path of the database is: many refusals have to fit into a message."""
    record = Record(Path("/" + "d" * 200), "boot n1-1", root)

    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(LedgerError) as caught:
        record.add([pair()], ledger)
    assert str(caught.value) == (
        "cannot write the record of what is leased: No space left on device"
    )
    assert pair() not in record
