"""The LeaseStore on SQLite: WAL, synchronous=FULL, so that a commit that returned is on disk.

The database is locked exclusively while it is open: a second server that is pointed at it is
refused instead of leasing the same addresses twice.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from wg_dynamic.leases.lease import Lease
from wg_dynamic.store.base import (
    Moment,
    StoreConflictError,
    StoreError,
    StoreSchemaError,
    restored_end,
)

APPLICATION_ID = 0x77676479
"""'wgdy', in the file's header (PRAGMA application_id): tells our files from others'."""
MIGRATIONS = ("0001_leases.sql",)
"""Applied in order; PRAGMA user_version counts those that were."""
_SCRIPTS = tuple(
    files("wg_dynamic.store").joinpath("migrations", name).read_text("ascii") for name in MIGRATIONS
)
"""Read at import: the process that opens the database may no longer read its own program then."""

_PUT = """
INSERT INTO leases (address, public_key, lease_time, ends_at, boot, ended)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (address) DO UPDATE SET public_key = excluded.public_key,
    lease_time = excluded.lease_time, ends_at = excluded.ends_at, boot = excluded.boot,
    ended = excluded.ended
WHERE leases.ended = 1 OR leases.public_key = excluded.public_key
"""
_PUT_BOOT = """
INSERT INTO boots (boot_id, now, wall) VALUES (?, ?, ?)
ON CONFLICT (boot_id) DO UPDATE SET now = excluded.now, wall = excluded.wall
RETURNING id
"""


class SqliteStore:
    """One database file. Use it from one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open or make the database and bring its schema up to date.

        Raises:
            StoreSchemaError: the file is a newer version's, or is no database of leases.
            StoreError: it cannot be opened, or another process has it open.
        """
        self._path = path
        with self._errors("open"):
            self._refuse_others()
            # One caller at a time is the caller's promise; which thread it is may change.
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            with self._errors("open"):
                self._prepare()
        except BaseException:
            self._db.close()
            raise

    def load(self, moment: Moment) -> list[Lease]:
        """See LeaseStore."""
        with self._errors("read"):
            rows = self._db.execute("SELECT id, now, wall, boot_id FROM boots ORDER BY id")
            boots = {number: Moment(*rest) for number, *rest in rows}
            leases = []
            for address, key, lease_time, ends_at, boot, ended in self._db.execute(
                "SELECT address, public_key, lease_time, ends_at, boot, ended FROM leases"
            ):
                if boot not in boots:
                    msg = f"a lease is of boot {boot}, which is malformed"
                    raise sqlite3.DatabaseError(msg)
                last = next(reversed(boots.values()))
                restored = restored_end(ends_at, boots[boot], last, moment)
                leases.append(Lease(key, address, lease_time, restored, bool(ended)))
        leases.sort(key=lambda lease: lease.ends_at)
        return leases

    def commit(self, leases: Sequence[Lease], moment: Moment) -> None:
        """See LeaseStore."""
        with self._errors("write"), self._transaction():
            (boot,) = self._db.execute(
                _PUT_BOOT, (moment.boot_id, moment.now, moment.wall)
            ).fetchone()
            done = self._db.executemany(
                _PUT,
                [
                    (
                        lease.address,
                        lease.public_key,
                        lease.lease_time,
                        lease.ends_at,
                        boot,
                        int(lease.ended),
                    )
                    for lease in leases
                ],
            ).rowcount
            if done != len(leases):
                msg = f"{len(leases) - done} of {len(leases)} addresses are held by another peer"
                raise StoreConflictError(msg)

    def check(self) -> list[str]:
        """What is wrong with the file, by SQLite's own check; [] when nothing is."""
        with self._errors("check"):
            rows = [row[0] for row in self._db.execute("PRAGMA integrity_check")]
        return [] if rows == ["ok"] else rows

    def close(self) -> None:
        """See LeaseStore."""
        self._db.close()

    def _refuse_others(self) -> None:
        """Look at the file's header alone, before SQLite recovers or checkpoints anything in it."""
        try:
            if self._path.stat().st_size == 0:
                return
        except FileNotFoundError:
            return
        except OSError as error:
            msg = f"unable to open: {error.strerror}"
            raise sqlite3.OperationalError(msg) from error
        uri = f"file:{quote(os.fsencode(self._path))}?mode=ro&immutable=1"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as header:
            (application,) = header.execute("PRAGMA application_id").fetchone()
        if application != APPLICATION_ID:
            msg = (
                f"{self._path} is a database of another program, expected one of wg-dynamic: "
                "give another path"
            )
            raise StoreSchemaError(msg)

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

    @contextmanager
    def _errors(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, ValueError) as error:
            text = str(error)
            if isinstance(error, ValueError):  # a message that quotes the damage, or worse
                text = "malformed beyond words"
            if "locked" in text:
                text += "; another wg-dynamic-server has it open: give each its own --database"
            elif "not a database" in text or "malformed" in text:
                text += "; restore it from a backup, or move it away to begin anew"
            elif "unable to open" in text:
                text += "; expected a file in a directory that the service user may write in"
            elif "readonly" in text or "I/O" in text:
                text += "; expected a file that the service user may write, on a disk that works"
            msg = f"cannot {verb} the lease database {self._path}: {text}"
            raise StoreError(msg) from error
