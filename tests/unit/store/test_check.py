"""The check of files that a server has left, whole and damaged."""

import sqlite3
from pathlib import Path

import pytest

from tests.contract.lease_store import a_lease
from tests.fakes.clock import FakeClock
from wg_dynamic.store import check as module
from wg_dynamic.store.base import StoreError, StoreSchemaError
from wg_dynamic.store.check import check_database, copy_database
from wg_dynamic.store.sqlite import MIGRATIONS, SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed database with a lease and a memory."""
    made = tmp_path / "wg0.sqlite"
    store = SqliteStore(made)
    store.commit([a_lease(), a_lease("2001:db8::7", ended=True)], FakeClock().moment())
    store.close()
    return made


def damage(path: Path, *statements: str) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA ignore_check_constraints = 1")
    for statement in statements:
        db.execute(statement)
    db.close()


def test_a_whole_one_is_summed_up(path: Path) -> None:
    summary, problems = check_database(path)
    assert problems == []
    assert f"version {len(MIGRATIONS)}, 1 leases held, 1 remembered, last commit " in summary


def test_one_that_is_open_elsewhere_is_checked_and_left_as_it_is(path: Path) -> None:
    store = SqliteStore(path)
    store.commit([a_lease("192.0.2.8")], FakeClock().moment())  # in the -wal alone
    before = {each: each.read_bytes() for each in path.parent.iterdir()}
    summary, problems = check_database(path)
    assert ("2 leases held" in summary, problems) == (True, [])
    assert {each: each.read_bytes() for each in path.parent.iterdir()} == before
    store.close()


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE leases SET address = x'0102' WHERE ended = 0", "has not 4 or 16 bytes"),
        ("UPDATE leases SET public_key = x'01' WHERE ended = 0", "192.0.2.7 has not 32 bytes"),
        ("UPDATE leases SET boot = 99 WHERE ended = 0", "192.0.2.7 is of the unknown boot 99"),
        ("UPDATE leases SET ended = 5 WHERE ended = 0", "192.0.2.7 is neither held nor ended"),
        (
            "UPDATE leases SET lease_time = 1e12 WHERE ended = 0",
            "lease time of 192.0.2.7 cannot be 1e+12",
        ),
        (
            "UPDATE leases SET lease_time = -5 WHERE ended = 0",
            "lease time of 192.0.2.7 cannot be -5",
        ),
        ("UPDATE leases SET ends_at = -9e999 WHERE ended = 0", "end of 192.0.2.7 cannot be -inf"),
        ("UPDATE boots SET boot_id = ''", "boot 1 has no identity"),
        ("UPDATE boots SET now = -1", "boot 1 has no time of its last commit"),
    ],
)
def test_what_no_server_has_written_is_found(path: Path, statement: str, problem: str) -> None:
    damage(path, statement)
    _, problems = check_database(path)
    assert any(problem in each for each in problems), problems


def test_times_without_end_are_fine(path: Path) -> None:
    damage(path, "UPDATE leases SET lease_time = 9e999, ends_at = 9e999, ended = 0")
    assert check_database(path)[1] == []


def test_an_impossible_last_commit_is_no_crash(path: Path) -> None:
    damage(path, "UPDATE boots SET wall = 1e300")
    assert "at the impossible time 1e+300" in check_database(path)[0]


def test_overwritten_pages_are_found(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xaa" * (len(whole) - 4096))
    summary, problems = check_database(path)
    assert problems or "unreadable" in summary


def test_a_file_that_is_no_database_is_a_problem(path: Path) -> None:
    path.write_text("Dear diary, " * 400)
    summary, problems = check_database(path)
    assert summary == f"{path}: unreadable"
    assert "not a database; restore it from a backup" in problems[0]


def test_an_empty_one_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "empty.sqlite"
    path.touch()
    assert check_database(path) == (f"{path}: empty, the next start begins it", [])


def test_others_are_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        check_database(tmp_path / "missing.sqlite")
    damage(path, f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(StoreSchemaError, match="newer wg-dynamic"):
        check_database(path)
    damage(path, "PRAGMA application_id = 7")
    with pytest.raises(StoreSchemaError, match="another program"):
        check_database(path)


def test_a_log_that_is_begun_anew_during_the_copy_makes_another_copy(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = [b"1", b"2", b"2", b"2"]
    Path(f"{path}-wal").touch()
    monkeypatch.setattr(module, "_header", lambda _: headers.pop(0))
    copy_database(path, tmp_path / "copy.sqlite")
    assert headers == []
    monkeypatch.setattr(module, "_header", lambda _: object())
    with pytest.raises(StoreError, match="written too fast; stop the server first"):
        copy_database(path, tmp_path / "copy.sqlite")


def test_a_copy_goes_where_there_is_room(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        def __init__(self, place: str) -> None:
            self.free = 0 if place != "/var/tmp" else 1 << 40  # noqa: S108 - a name, no file

    monkeypatch.setattr("shutil.disk_usage", Usage)
    assert module._place_for(path) == "/var/tmp"  # noqa: S108 - as above
    monkeypatch.setattr(Usage, "__init__", lambda self, _: setattr(self, "free", 0))
    assert module._place_for(path) is None
