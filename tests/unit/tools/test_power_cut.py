"""The model of a disk keeps what was synced, and may lose the rest."""

import random
import struct
from pathlib import Path

import pytest

from tools.power_cut import SECTOR, Disk, Record, read_log, write_out

CREATE = Record("C", 7, 0, "/d/f", b"")
DRAWS = 60


def sync(path: str, inode: int = 7) -> list[Record]:
    return [Record("B", inode, 0, path, b""), Record("E", inode, 0, path, b"")]


def write(data: bytes, offset: int = 0) -> Record:
    return Record("W", 7, offset, "/d/f", data)


def left(*records: Record) -> list[dict[str, bytes | None]]:
    """What may be left, many times."""
    disk = Disk("/d")
    for record in records:
        disk.apply(record)
    chance = random.Random(1)  # noqa: S311 - what is left
    return [disk.left(chance) for _ in range(DRAWS)]


def test_a_synced_file_in_a_synced_directory_stays() -> None:
    all_left = left(CREATE, write(b"safe"), *sync("/d/f"), *sync("/d", 1))
    assert all_left == [{"/d": None, "/d/f": b"safe"}] * DRAWS


def test_a_file_may_be_missing_while_its_directory_is_not_synced() -> None:
    all_left = left(CREATE, write(b"safe"), *sync("/d/f"))
    assert {frozenset(files) for files in all_left} == {
        frozenset({"/d"}),
        frozenset({"/d", "/d/f"}),
    }


def test_what_was_written_after_the_sync_began_is_there_or_not() -> None:
    begin, end = sync("/d/f")
    records = [CREATE, *sync("/d", 1), write(b"old"), begin, write(b"new"), end]
    assert {files["/d/f"] for files in left(*records)} == {b"old", b"new"}


def test_each_sector_of_an_unsynced_write_is_there_or_not() -> None:
    records = [CREATE, *sync("/d", 1), write(b"a" * 3 * SECTOR), *sync("/d/f")]
    torn = left(*records, write(b"b" * 2 * SECTOR, SECTOR))
    halves = {(files["/d/f"] or b"")[SECTOR::SECTOR] for files in torn}
    assert halves == {b"aa", b"ab", b"ba", b"bb"}
    assert all((files["/d/f"] or b"")[:SECTOR] == b"a" * SECTOR for files in torn)


def test_a_truncation_is_undone_or_not() -> None:
    shorter = Record("T", 7, 2, "/d/f", b"")
    records = [CREATE, *sync("/d", 1), write(b"abc"), *sync("/d/f"), shorter]
    assert {files["/d/f"] for files in left(*records)} == {b"abc", b"ab"}


def test_a_removed_file_may_come_back_and_a_renamed_one_has_one_name() -> None:
    made = [CREATE, *sync("/d", 1)]
    removed = left(*made, Record("U", 0, 0, "/d/f", b""))
    assert {len(files) for files in removed} == {1, 2}
    renamed = left(*made, Record("R", 0, 0, "/d/f", b"/d/g"))
    assert {tuple(files) for files in renamed} == {("/d", "/d/f"), ("/d", "/d/g")}


def test_nothing_is_left_in_a_directory_that_is_not_there() -> None:
    records = [
        Record("D", 0, 0, "/d/sub", b""),
        Record("C", 7, 0, "/d/sub/f", b""),
        *sync("/d/sub", 2),
    ]
    assert {tuple(files) for files in left(*records)} == {("/d",), ("/d", "/d/sub", "/d/sub/f")}


def test_sockets_are_no_files() -> None:
    assert left(Record("!", 0, 0, "fe80::1", b"errno=0\n\n")) == [{"/d": None}] * DRAWS


def test_what_is_left_is_written_out(tmp_path: Path) -> None:
    write_out({"/d": None, "/d/sub": None, "/d/sub/f": b"x"}, "/d", tmp_path)
    assert (tmp_path / "sub" / "f").read_bytes() == b"x"


def test_a_log_is_read_and_a_cut_one_refused() -> None:
    raw = struct.pack("=c7xQQII", b"W", 7, 9, 4, 3) + b"/d/f" + b"abc"
    assert list(read_log(raw * 2)) == [write(b"abc", 9)] * 2
    with pytest.raises(ValueError, match="ends inside"):
        list(read_log(raw + raw[:10]))
