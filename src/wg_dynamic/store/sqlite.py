"""The LeaseStore on SQLite: WAL, synchronous=FULL, so that a commit that returned is on disk.

The database is locked exclusively while it is open: a second server that is pointed at it is
refused instead of leasing the same addresses twice.

After a full disk, a failed write or a failed sync, SQLite has undone the transaction, and the next
one writes and syncs the same places again: the connection stays of use. A file that was removed or
replaced by another is something else: what is written to it then is on disk, and lost all the same.
That is looked for before each commit (StoreLostError).
"""

import math
import os
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from wg_dynamic.address import IPV4_SIZE, IPV6_SIZE, format_address
from wg_dynamic.leases.lease import Lease
from wg_dynamic.leases.terms import MAX_LEASE_TIME
from wg_dynamic.store.base import (
    Moment,
    StoreConflictError,
    StoreError,
    StoreLostError,
    StoreSchemaError,
    restored_end,
)
from wg_dynamic.store.holder import lock_holder

APPLICATION_ID = 0x77676479
"""'wgdy', in the file's header (PRAGMA application_id): tells our files from others'."""
MIGRATIONS = ("0001_leases.sql", "0002_declined.sql")
"""Applied in order; PRAGMA user_version counts those that were."""
_SCRIPTS = tuple(
    files("wg_dynamic.store").joinpath("migrations", name).read_text("ascii") for name in MIGRATIONS
)
"""Read at import: the process that opens the database may no longer read its own program then."""

_WRITABLE = "expected a file that the service user may write, on a disk that works"
_ADVICE = {
    sqlite3.SQLITE_CORRUPT: "restore it from a backup, or move it away to begin anew",
    sqlite3.SQLITE_NOTADB: "restore it from a backup, or move it away to begin anew",
    sqlite3.SQLITE_CANTOPEN: "expected a file in a directory that the service user may write in",
    sqlite3.SQLITE_READONLY: _WRITABLE,
    sqlite3.SQLITE_IOERR: _WRITABLE,
    sqlite3.SQLITE_FULL: "make room",
}
"""What a person can do, by SQLite's primary result code."""
_PRIMARY = 0xFF
"""The part of a result code that _ADVICE knows; the rest says more exactly what happened."""
_KEY_SIZE = 32
_NO_FILE = (-1, -1)
"""Stands for a file that is no longer open: equal to none."""

_PUT = """
INSERT INTO leases (address, public_key, lease_time, ends_at, boot, ended, declined)
VALUES {rows}
ON CONFLICT (address) DO UPDATE SET public_key = excluded.public_key,
    lease_time = excluded.lease_time, ends_at = excluded.ends_at, boot = excluded.boot,
    ended = excluded.ended, declined = excluded.declined
WHERE leases.ended = 1 OR leases.public_key = excluded.public_key
"""
_ROW = "(?, ?, ?, ?, ?, ?, ?)"
_PUT_ROWS = tuple((count, _PUT.format(rows=", ".join([_ROW] * count))) for count in (64, 8, 1))
"""How many rows, and the statement: SQLite works through all of one statement without Python's
lock, which it would have to wait for after each row else."""
_FORGET = "DELETE FROM leases WHERE address = ? AND ended = 1"
_PUT_BOOT = """
INSERT INTO boots (boot_id, now, wall) VALUES (?, ?, ?)
ON CONFLICT (boot_id) DO UPDATE SET now = excluded.now, wall = excluded.wall
RETURNING id
"""


class _DamageError(ValueError):
    """A row that no commit of ours has written."""


class SqliteStore:
    """One database file. Use it from one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open or make the database and bring its schema up to date.

        Raises:
            StoreSchemaError: the file is a newer version's, or is no database of leases.
            StoreError: it cannot be opened, or another process has it open.
        """
        self._path = path
        self._open()

    def _open(self) -> None:
        with self._errors("open"):
            close_to_others(self._path)
            refuse_others(self._path)
            # One caller at a time is the caller's promise; which thread it is may change.
            self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            with self._errors("open"):
                self._prepare()
        except BaseException:
            self._db.close()
            raise
        self._files = self._stat()
        """The files that are open, as they stood in their directory then."""

    def load(self, moment: Moment) -> list[Lease]:
        """See LeaseStore."""
        return sorted(self.read(moment), key=lambda lease: lease.ends_at)

    def read(self, moment: Moment) -> Iterator[Lease]:
        """See LeaseStore."""
        with self._errors("read"):
            rows = self._db.execute("SELECT id, now, wall, boot_id FROM boots ORDER BY id")
            boots = {number: Moment(*rest) for number, *rest in rows}
            last = next(reversed(boots.values()), moment)
            for address, key, lease_time, ends_at, boot, ended, declined in self._db.execute(
                "SELECT address, public_key, lease_time, ends_at, boot, ended, declined FROM leases"
            ):
                wrong = row_problem(address, key, lease_time, ends_at, ended)
                if boot not in boots:
                    wrong = f"a lease is of the unknown boot {boot}"
                if wrong:
                    raise _DamageError(wrong)
                restored = restored_end(ends_at, boots[boot], last, moment)
                yield Lease(key, address, lease_time, restored, bool(ended), bool(declined))

    def commit(
        self, leases: Sequence[Lease], moment: Moment, forgotten: Sequence[bytes] = ()
    ) -> None:
        """See LeaseStore."""
        self.look()
        with self._errors("write"), self._transaction():
            (boot,) = self._db.execute(
                _PUT_BOOT, (moment.boot_id, moment.now, moment.wall)
            ).fetchone()
            done = self._put(leases, boot)
            if done != len(leases):
                msg = f"{len(leases) - done} of {len(leases)} addresses are held by another peer"
                raise StoreConflictError(msg)
            if forgotten:
                self._db.executemany(_FORGET, [(address,) for address in forgotten])

    def _put(self, leases: Sequence[Lease], boot: int) -> int:
        """How many rows could be written; the others are held by another peer."""
        done = at = 0
        for count, statement in _PUT_ROWS:
            while len(leases) - at >= count:
                rows = leases[at : at + count]
                at += count
                values = [
                    value
                    for one in rows
                    for value in (
                        one.address,
                        one.public_key,
                        one.lease_time,
                        one.ends_at,
                        boot,
                        int(one.ended),
                        int(one.declined),
                    )
                ]
                done += self._db.execute(statement, values).rowcount
        return done

    def check(self) -> list[str]:
        """What is wrong with the file, by SQLite's own check; [] when nothing is."""
        with self._errors("check"):
            rows = [row[0] for row in self._db.execute("PRAGMA integrity_check")]
        return [] if rows == ["ok"] else rows

    def look(self) -> None:
        """See LeaseStore."""
        there = self._stat()
        if there == self._files:
            return
        database, log = (old == new for old, new in zip(self._files, there, strict=True))
        if database and not log:
            what = "its -wal file was removed under the running server"
        elif there[0] is None:
            what = "it was removed under the running server"
        else:
            what = "another file was put in its place under the running server"
        msg = f"cannot write the lease database {self._path}: {what}"
        raise StoreLostError(msg)

    def rebuild(self, leases: Sequence[Lease], moment: Moment) -> None:
        """See LeaseStore."""
        there = self._stat()
        if there != self._files:
            self._open_again(there[0])
        self.commit(leases, moment)

    def close(self) -> None:
        """See LeaseStore."""
        self._db.close()

    def _stat(self) -> list[tuple[int, int] | None]:
        """Which files stand at the paths of the database and of its log."""
        found: list[tuple[int, int] | None] = []
        for path in (self._path, Path(f"{self._path}-wal")):
            try:
                there = path.stat()
            except OSError:
                found.append(None)
            else:
                found.append((there.st_dev, there.st_ino))
        return found

    def _open_again(self, there: tuple[int, int] | None) -> None:
        """Open the file that is ours, or a new one where none stands. Raises StoreLostError.

        Until that can be done the old one stays open: it may be put back.
        """
        if there is None:
            self._make_file()
        elif there != self._files[0]:
            msg = (
                f"cannot write the lease database {self._path}: another file stands in its place;"
                " move it away to have the leases written anew, or restart the server to use it"
            )
            raise StoreLostError(msg)
        self._db.close()  # what its log still has goes into it, wherever it is now
        self._files = [there, _NO_FILE]
        try:
            self._open()
        except StoreError as error:
            if there is None:
                self._path.unlink(missing_ok=True)  # made just now, by ourselves
            raise StoreLostError(str(error)) from error

    def _make_file(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            os.close(os.open(self._path, flags, 0o600))
        except OSError as error:
            msg = f"cannot make the lease database {self._path} anew: {error.strerror}"
            raise StoreLostError(msg) from error

    def _prepare(self) -> None:
        self._db.execute("PRAGMA busy_timeout = 0")
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            msg = (
                f"{self._path} has version {version}, expected at most {len(MIGRATIONS)}: "
                "it was written by a newer wg-dynamic; install that one, or give another path"
            )
            raise StoreSchemaError(msg)
        self._db.execute("PRAGMA synchronous = FULL")
        # What a statement of many rows needs to undo itself goes into a file in /tmp else, which a
        # network process may not open.
        self._db.execute("PRAGMA temp_store = MEMORY")
        if version == 0:
            # Before there is a WAL: the header of the file itself says whose it is, from the start.
            self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self._db.execute("PRAGMA journal_mode = WAL")
        with self._transaction():  # also takes the exclusive lock, kept until close
            for number in range(version, len(MIGRATIONS)):
                self._migrate(number)
                self._db.execute(f"PRAGMA user_version = {number + 1}")

    def _migrate(self, number: int) -> None:
        statement = ""
        for line in _SCRIPTS[number].splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                self._db.execute(statement)
                statement = ""

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # a full disk may have rolled back already
                self._db.execute("ROLLBACK")
            raise

    def _errors(self, verb: str) -> AbstractContextManager[None]:
        return store_errors(verb, self._path)


@contextmanager
def store_errors(verb: str, path: Path) -> Iterator[None]:
    """Turn SQLite's errors into StoreErrors that say what a person can do."""
    try:
        yield
    except (sqlite3.Error, ValueError) as error:
        text = str(error)
        code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
        if isinstance(error, _DamageError):
            text, code = f"malformed; {error}", sqlite3.SQLITE_CORRUPT
        elif isinstance(error, ValueError):  # a message that quotes the damage, or worse
            text, code = "malformed beyond words", sqlite3.SQLITE_CORRUPT
        advice = _ADVICE.get(code, "")
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            holder = lock_holder(path)
            who = f"another process ({holder})" if holder else "another process"
            advice = f"{who} has it open: give each server its own --database"
        msg = f"cannot {verb} the lease database {path}: {text}{advice and '; '}{advice}"
        raise StoreError(msg) from error


def close_to_others(path: Path) -> None:
    """Let nobody but the account read or write the files of a database, whoever made them.

    By their names: closing any descriptor of a file would give SQLite's locks on it up.
    """
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-journal")):
        with suppress(OSError):  # not there, or refused in a moment
            status = name.stat()
            if status.st_uid == os.geteuid() and status.st_mode & 0o077:
                name.chmod(0o600)


def refuse_others(path: Path) -> None:
    """Look at the file's header alone, before SQLite recovers or checkpoints anything in it.

    Raises:
        StoreSchemaError: it is another program's. sqlite3.Error: it is no database.
    """
    try:
        if path.stat().st_size == 0:
            return
    except FileNotFoundError:
        return
    except OSError as error:
        msg = f"unable to open: {error.strerror}"
        raise sqlite3.OperationalError(msg) from error
    uri = f"file:{quote(os.fsencode(path))}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as header:
        # A power cut in the middle of a checkpoint leaves a file shorter than its first page
        # says; the WAL mends it, but is not looked at here. So that this is no error:
        header.execute("PRAGMA writable_schema = ON")
        try:
            (application,) = header.execute("PRAGMA application_id").fetchone()
        except sqlite3.DatabaseError:
            if any(path.read_bytes()):
                raise
            return  # a power cut while it was made: the journal beside it mends that
    if application != APPLICATION_ID:
        msg = (
            f"{path} is a database of another program, expected one of wg-dynamic: "
            "give another path"
        )
        raise StoreSchemaError(msg)


def row_problem(
    address: object, public_key: object, lease_time: object, ends_at: object, ended: object
) -> str:
    """What is wrong with a row of leases; "" for nothing. Damage does not keep to the schema."""
    if not isinstance(address, bytes) or len(address) not in (IPV4_SIZE, IPV6_SIZE):
        return f"the address {address!r} has not 4 or 16 bytes"
    if not isinstance(public_key, bytes) or len(public_key) != _KEY_SIZE:
        return f"the public key of {format_address(address)} has not 32 bytes"
    for what, value, low, high in (
        ("lease time", lease_time, 0.0, MAX_LEASE_TIME),
        ("end", ends_at, -sys.float_info.max, sys.float_info.max),
    ):
        if not isinstance(value, float) or math.isnan(value):
            return f"the {what} of {format_address(address)} is no number"
        if not (low <= value <= high or value == math.inf):
            return f"the {what} of {format_address(address)} cannot be {value:g}"
    return "" if ended in (0, 1) else f"{format_address(address)} is neither held nor ended"
