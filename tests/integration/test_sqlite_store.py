"""SqliteStore on real files: foreign, damaged, locked or forbidden ones too."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from tests.contract.lease_store import LeaseStoreContract, a_lease
from tests.fakes.clock import FakeClock
from tools.processes import environment
from wg_dynamic.leases.lease import Lease
from wg_dynamic.store.base import StoreError, StoreSchemaError
from wg_dynamic.store.sqlite import APPLICATION_ID, MIGRATIONS, SqliteStore
from wg_dynamic.system.privileges import FALLBACK_ID

OPEN = """
import sys
from pathlib import Path
from wg_dynamic.store.base import StoreError
from wg_dynamic.store.sqlite import SqliteStore
from wg_dynamic.system.privileges import Account, drop_privileges
if int(sys.argv[2]):
    drop_privileges(Account(int(sys.argv[2]), int(sys.argv[2])))
try:
    SqliteStore(Path(sys.argv[1])).close()
except StoreError as error:
    print(type(error).__name__, error)
else:
    print("opened")
"""

LEASES = [a_lease(f"192.0.2.{n}", ends_at=2000.0 + n) for n in range(1, 100)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "wg0.sqlite"


class TestSqliteStoreOnDisk(LeaseStoreContract):
    @pytest.fixture
    def store(self, path: Path) -> Iterator[SqliteStore]:
        store = SqliteStore(path)
        yield store
        store.close()


def fill(path: Path, leases: list[Lease] = LEASES) -> None:
    store = SqliteStore(path)
    store.commit(leases, FakeClock().moment())
    store.close()


def load(path: Path) -> list[Lease]:
    store = SqliteStore(path)
    try:
        return store.load(FakeClock().moment())
    finally:
        store.close()


def open_elsewhere(path: Path, uid: int = 0) -> str:
    """What another process says that tries to open the database."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(path), str(uid)],
        env=environment(),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_reopening_keeps_everything(path: Path) -> None:
    fill(path)
    assert load(path) == LEASES


def test_opening_and_closing_changes_nothing(path: Path) -> None:
    fill(path)
    before = path.read_bytes()
    for _ in range(3):
        SqliteStore(path).close()
    assert load(path) == LEASES
    assert len(path.read_bytes()) == len(before)


def test_leases_survive_reboots_in_the_file(path: Path) -> None:
    clock = FakeClock()
    store = SqliteStore(path)
    store.commit([a_lease(ends_at=clock.now() + 3600)], clock.moment())
    store.close()
    clock.reboot(after=600)
    store = SqliteStore(path)
    assert [lease.ends_at - clock.now() for lease in store.load(clock.moment())] == [3000]
    store.close()


def test_a_file_is_known_as_ours_by_its_header_even_if_all_else_is_in_the_wal(path: Path) -> None:
    store = SqliteStore(path)
    store.commit(LEASES, FakeClock().moment())
    with path.open("rb") as file:
        assert int.from_bytes(file.read(72)[68:], "big") == APPLICATION_ID
    crashed = path.parent / "crashed.sqlite"
    for end in ("", "-wal"):
        shutil.copy(f"{path}{end}", f"{crashed}{end}")
    store.close()
    assert load(crashed) == LEASES


def test_an_empty_file_becomes_a_database(path: Path) -> None:
    path.touch()
    fill(path)
    assert load(path) == LEASES


@pytest.mark.parametrize("name", ["with space.sqlite", "100%?mode=memory#x.sqlite", "ä.sqlite"])
def test_any_name_will_do(tmp_path: Path, name: str) -> None:
    fill(tmp_path / name)
    assert load(tmp_path / name) == LEASES
    assert (tmp_path / name).stat().st_size > 0


def test_a_name_that_is_no_text_will_do(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.sqlite"))
    fill(path)
    assert load(path) == LEASES


# --- what is not ours ---------------------------------------------------------------------------


def test_a_database_of_the_first_version_is_brought_up_to_date(path: Path) -> None:
    scripts = files("wg_dynamic.store") / "migrations"
    with sqlite3.connect(path) as plain:
        plain.executescript((scripts / MIGRATIONS[0]).read_text("ascii"))
        plain.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        plain.execute("PRAGMA user_version = 1")
        plain.execute("INSERT INTO boots VALUES (1, '1', 1000.0, 1700000000.0)")
        row = (LEASES[0].address, LEASES[0].public_key, 3600.0, 4000.0, 1, 1)
        plain.execute("INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?)", row)
    plain.close()
    store = SqliteStore(path)
    (memory,) = store.load(FakeClock().moment())
    store.close()
    assert memory == Lease(row[1], row[0], 3600.0, 4000.0, ended=True)
    with sqlite3.connect(path) as plain:
        assert plain.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


def test_a_newer_version_is_refused_and_named(path: Path) -> None:
    fill(path)
    newer = len(MIGRATIONS) + 6
    with sqlite3.connect(path) as plain:
        plain.execute(f"PRAGMA user_version = {newer}")
    plain.close()
    with pytest.raises(StoreSchemaError, match=f"version {newer}, expected at most") as caught:
        SqliteStore(path)
    assert "newer wg-dynamic" in str(caught.value)
    with sqlite3.connect(path) as plain:
        assert plain.execute("PRAGMA user_version").fetchone() == (newer,)
        assert plain.execute("SELECT count(*) FROM leases").fetchone() == (len(LEASES),)
    plain.close()


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_another_programs_database_is_refused_and_left_as_it_is(
    tmp_path: Path, path: Path, journal: str
) -> None:
    """Also one that its program left with work to be recovered."""
    foreign = tmp_path / "foreign.sqlite"
    db = sqlite3.connect(foreign, isolation_level=None)
    db.execute(f"PRAGMA journal_mode = {journal}")
    db.execute("CREATE TABLE bookmarks (url TEXT)")
    db.execute("INSERT INTO bookmarks VALUES ('https://www.wireguard.com/')")
    for file in tmp_path.glob("foreign.sqlite*"):  # in the middle of it, as after a crash
        shutil.copy(file, str(file).replace("foreign", "wg0"))
    db.close()
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    assert (Path(f"{path}-wal") in before) is (journal == "WAL")
    with pytest.raises(StoreSchemaError, match="another program"):
        SqliteStore(path)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "content", [b"x", b"[Interface]\nPrivateKey = secret\n" * 999, bytes(8192)]
)
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(
    path: Path, content: bytes
) -> None:
    path.write_bytes(content)
    with pytest.raises(
        StoreError, match=r"cannot open the lease database|another program"
    ) as caught:
        SqliteStore(path)
    assert "PrivateKey" not in str(caught.value)
    assert path.read_bytes() == content


# --- damage -------------------------------------------------------------------------------------


def test_a_truncated_database_is_refused_wherever_it_ends(path: Path) -> None:
    """Never are some of the leases taken for all of them."""
    fill(path, [a_lease(f"2001:db8::{n:x}", ends_at=2000.0 + n) for n in range(1, 1000)])
    whole = path.read_bytes()
    for size in [100, 1000, *range(4096, len(whole), 4096)]:
        path.write_bytes(whole[:size])
        with pytest.raises(StoreError, match=r"cannot (open|read) the lease database"):
            load(path)
    path.write_bytes(whole)
    assert len(load(path)) == 999


def test_damage_inside_never_ends_in_another_error(path: Path) -> None:
    fill(path)
    whole = path.read_bytes()
    for at in range(100, len(whole), 509):
        path.write_bytes(whole[:at] + bytes(byte ^ 0xFF for byte in whole[at : at + 40]))
        with path.open("ab") as file:
            file.write(whole[at + 40 :])
        try:
            load(path)
        except StoreError:
            continue


def test_a_lease_of_an_unknown_boot_is_damage(path: Path) -> None:
    fill(path)
    with sqlite3.connect(path) as plain:
        plain.execute("DELETE FROM boots")
    plain.close()
    with pytest.raises(
        StoreError, match="malformed; a lease is of the unknown boot 1; restore it from a backup"
    ):
        load(path)


# --- who may not --------------------------------------------------------------------------------


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that other users reach."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_file_that_only_root_may_read_is_refused_to_the_service_user(public: Path) -> None:
    path = public / "wg0.sqlite"
    fill(path)
    path.chmod(0o600)
    said = open_elsewhere(path, FALLBACK_ID)
    assert said.startswith("StoreError cannot open the lease database")
    assert "service user may write" in said


def test_a_file_that_the_service_user_may_only_read_is_refused(public: Path) -> None:
    path = public / "wg0.sqlite"
    fill(path)
    path.chmod(0o644)
    said = open_elsewhere(path, FALLBACK_ID)
    assert said.startswith("StoreError cannot open the lease database")
    assert "service user may write" in said


def test_a_directory_that_the_service_user_may_not_write_is_refused(public: Path) -> None:
    said = open_elsewhere(public / "wg0.sqlite", FALLBACK_ID)
    assert said.startswith("StoreError cannot open the lease database")
    assert "in a directory that the service user may write in" in said


def test_a_directory_that_the_service_user_may_not_enter_is_refused(public: Path) -> None:
    (public / "closed").mkdir(mode=0o700)
    said = open_elsewhere(public / "closed" / "wg0.sqlite", FALLBACK_ID)
    assert said.startswith("StoreError cannot open the lease database")
    assert "Permission denied" in said


def test_the_service_user_may_have_one_in_its_own_directory(public: Path) -> None:
    directory = public / "own"
    directory.mkdir(mode=0o700)
    os.chown(directory, FALLBACK_ID, FALLBACK_ID)
    assert open_elsewhere(directory / "wg0.sqlite", FALLBACK_ID) == "opened"
    assert (directory / "wg0.sqlite").stat().st_mode & 0o777 == 0o600


def test_a_directory_in_place_of_the_file_is_refused(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StoreError, match="expected a file that"):
        SqliteStore(path)


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="expected a file in a directory"):
        SqliteStore(tmp_path / "missing" / "wg0.sqlite")


def test_a_pipe_in_place_of_the_file_is_refused(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(StoreError, match="cannot open the lease database"):
        SqliteStore(path)


# --- two at once --------------------------------------------------------------------------------


def test_a_second_process_is_refused_while_the_first_has_it_open(path: Path) -> None:
    store = SqliteStore(path)
    said = open_elsewhere(path)
    assert said.startswith("StoreError cannot open")
    assert f", PID {os.getpid()}) has it open" in said
    store.commit(LEASES, FakeClock().moment())  # the first one does not suffer
    assert f", PID {os.getpid()}) has it open" in open_elsewhere(path)
    assert store.load(FakeClock().moment()) == LEASES
    store.close()
    assert open_elsewhere(path) == "opened"


def test_a_second_store_in_one_process_is_refused_and_takes_no_lock_away(path: Path) -> None:
    store = SqliteStore(path)
    with pytest.raises(StoreError, match="another process has it open"):
        SqliteStore(path)
    assert f", PID {os.getpid()}) has it open" in open_elsewhere(path)
    store.close()


def test_a_power_cut_in_a_checkpoint_leaves_a_database_that_opens(
    path: Path, tmp_path: Path
) -> None:
    """The first page was written back and says how long the file will be; the rest was not."""
    clock = FakeClock()
    store = SqliteStore(path)
    lease = Lease(bytes(32), bytes([192, 0, 2, 7]), 3600.0, clock.now() + 3600.0)
    store.commit([lease], clock.moment())
    cut = tmp_path / "cut"
    cut.mkdir()
    for file in path.parent.glob(f"{path.name}*"):
        shutil.copy(file, cut)
    store.close()
    pages = 28  # fileformat2 section 1.3.9: size of the file in pages, big-endian
    content = bytearray((cut / path.name).read_bytes())
    content[pages : pages + 4] = (1000).to_bytes(4, "big")
    (cut / path.name).write_bytes(content)
    again = SqliteStore(cut / path.name)
    assert again.load(clock.moment()) == [lease]
    assert again.check() == []
    again.close()


def test_files_that_others_could_read_or_write_are_closed_to_them(path: Path) -> None:
    fill(path)
    path.chmod(0o666)
    wal = Path(f"{path}-wal")
    wal.touch()
    wal.chmod(0o644)
    store = SqliteStore(path)
    store.commit(LEASES, FakeClock().moment())
    assert {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()} == {
        path.name: 0o600,
        wal.name: 0o600,
    }
    store.close()
