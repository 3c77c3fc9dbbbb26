"""Look a lease database over, beside a running server or without one, and change nothing in it.

The server keeps its database locked, and opening a file recovers or checkpoints what it finds. So
a private copy is looked at: of the file and then of its -wal, which holds everything that the file
may lack or have half of by then. Unless SQLite has begun the -wal anew meanwhile: its header shows
that, and the copy is made again.
"""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from wg_dynamic.address import format_address
from wg_dynamic.store.base import StoreError, StoreSchemaError
from wg_dynamic.store.sqlite import MIGRATIONS, refuse_others, row_problem, store_errors

COPY_TRIES = 20
"""A -wal is begun anew every thousand pages: twice during one copy is rare, this often is not."""
_WAL_HEADER = 32
"""Bytes; its salts differ each time (https://www.sqlite.org/fileformat2.html, 4.1)."""
PLACES = (None, "/var/tmp")  # noqa: S108 - mkdtemp makes a private directory there
"""Where a copy may go; None: $TMPDIR or /tmp."""


def check_database(path: Path) -> tuple[str, list[str]]:
    """Check a database; a summary of it and what is wrong.

    Raises:
        StoreSchemaError: it is a newer version's, or no database of leases.
        StoreError: it is not there, or cannot be read or copied.
    """
    with tempfile.TemporaryDirectory(prefix="wg-dynamic-check-", dir=_place_for(path)) as name:
        copy = Path(name) / "copy.sqlite"
        copy_database(path, copy)
        try:
            with store_errors("check", path):
                refuse_others(path)
                with closing(sqlite3.connect(copy, isolation_level=None)) as db:
                    return _look_over(db, path)
        except StoreSchemaError:
            raise
        except StoreError as error:
            return f"{path}: unreadable", [str(error)]


def copy_database(path: Path, copy: Path) -> None:
    """Copy the database and its -wal as they were at one moment. Raises StoreError."""
    log = Path(f"{path}-wal")
    try:
        for _ in range(COPY_TRIES):
            before = _header(log)
            shutil.copyfile(path, copy)
            if before:
                shutil.copyfile(log, f"{copy}-wal")
            if _header(log) == before:
                return
    except OSError as error:
        msg = f"cannot copy the lease database {path} to check it: {error.strerror}"
        raise StoreError(msg) from error
    msg = f"cannot copy the lease database {path}: it is written too fast; stop the server first"
    raise StoreError(msg)


def _header(log: Path) -> bytes:
    try:
        with log.open("rb") as file:
            return file.read(_WAL_HEADER)
    except FileNotFoundError:
        return b""


def _place_for(path: Path) -> str | None:
    """The first directory with room for a copy; the first one if none has."""
    try:
        size = path.stat().st_size * 2
    except OSError:
        return None
    for place in PLACES:
        if shutil.disk_usage(place or tempfile.gettempdir()).free > size:
            return place
    return None


def _look_over(db: sqlite3.Connection, path: Path) -> tuple[str, list[str]]:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        msg = (
            f"{path} has version {version}, expected at most {len(MIGRATIONS)}: "
            "it was written by a newer wg-dynamic; check it with that one"
        )
        raise StoreSchemaError(msg)
    problems = [row[0] for row in db.execute("PRAGMA integrity_check") if row[0] != "ok"]
    if version == 0:
        return f"{path}: empty, the next start begins it", problems
    boots = {row[0] for row in db.execute("SELECT id FROM boots")}
    problems += _wrong_leases(db, boots) + _wrong_boots(db)
    counts = dict(db.execute("SELECT ended, count(*) FROM leases GROUP BY ended").fetchall())
    wall = db.execute("SELECT wall FROM boots ORDER BY id DESC LIMIT 1").fetchone()
    summary = (
        f"{path}: version {version}, {counts.get(0, 0)} leases held, {counts.get(1, 0)} remembered,"
        f" last commit {_date(wall[0]) if wall else 'never'}"
    )
    return summary, problems


def _wrong_leases(db: sqlite3.Connection, boots: set[object]) -> list[str]:
    problems = []
    seen: set[object] = set()
    for address, key, lease_time, ends_at, boot, ended in db.execute(
        "SELECT address, public_key, lease_time, ends_at, boot, ended FROM leases"
    ):
        wrong = row_problem(address, key, lease_time, ends_at, ended)
        if not wrong and boot not in boots:
            wrong = f"the lease of {format_address(address)} is of the unknown boot {boot}"
        if not wrong and address in seen:
            wrong = f"{format_address(address)} stands there twice"
        seen.add(address)
        if wrong:
            problems.append(wrong)
    return problems


def _wrong_boots(db: sqlite3.Connection) -> list[str]:
    return list(_boot_problems(db.execute("SELECT id, boot_id, now, wall FROM boots")))


def _boot_problems(rows: sqlite3.Cursor) -> Iterator[str]:
    for number, boot_id, now, wall in rows:
        if not isinstance(boot_id, str) or not boot_id:
            yield f"boot {number} has no identity"
        elif not isinstance(now, float) or not isinstance(wall, float) or now < 0:
            yield f"boot {number} has no time of its last commit"


def _date(wall: float) -> str:
    try:
        return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError, TypeError):
        return f"at the impossible time {wall!r}"
