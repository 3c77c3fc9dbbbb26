"""What may be left of a directory after a power cut, from a record of what was done to it. Pure.

The record is tests/crash/recorder.c's. The disk that is modelled keeps what fsync or fdatasync had
returned for, and nothing more for sure: of everything later, each sector of 512 bytes is there or
not, whatever the order; and so is each directory entry that was made, renamed or removed since its
directory was synced. Real disks and file systems are kinder; none may be relied upon to be.
"""

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Final, NamedTuple

SECTOR: Final = 512
_HEADER: Final = struct.Struct("=c7xQQII")


class Record(NamedTuple):
    """One thing that was done. `op` as in recorder.c."""

    op: str
    inode: int
    offset: int
    path: str
    data: bytes


def read_log(raw: bytes) -> Iterator[Record]:
    """The records of a log, in order. Raises ValueError when it does not end with one."""
    at = 0
    while at < len(raw):
        if at + _HEADER.size > len(raw):
            msg = "the log ends inside a record"
            raise ValueError(msg)
        op, inode, offset, path_size, data_size = _HEADER.unpack_from(raw, at)
        path_at = at + _HEADER.size
        data_at = path_at + path_size
        at = data_at + data_size
        path = raw[path_at:data_at].decode()
        yield Record(op.decode("ascii"), inode, offset, path, raw[data_at:at])


@dataclass(slots=True)
class _File:
    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    """(offset, data), or (length, None) for a truncation."""
    syncing: int = 0
    """How many of `pending` the sync that is under way covers."""


@dataclass(slots=True)
class _Directory:
    durable: dict[str, int] = field(default_factory=dict)
    """Path -> key of a file, or 0 for a directory."""
    pending: list[dict[str, int | None]] = field(default_factory=list)
    """Changes, each atomic: path -> key; None when it goes."""
    syncing: int = 0


class Disk:
    """The files below one directory, and which of their bytes are safe."""

    def __init__(self, root: str) -> None:
        self._directories = {root: _Directory()}
        self._files: list[_File] = [_File()]
        """The first is none: its number says directory."""
        self._of_inode: dict[int, int] = {}
        self._there: dict[str, int] = {}
        """What a process sees."""

    def apply(self, record: Record) -> None:
        """Take one record; those of sockets are passed over."""
        match record.op:
            case "C":
                self._files.append(_File())
                self._of_inode[record.inode] = len(self._files) - 1
                self._change({record.path: len(self._files) - 1})
            case "W":
                self._file(record).pending.append((record.offset, record.data))
            case "T":
                self._file(record).pending.append((record.offset, None))
            case "U":
                self._change({record.path: None})
            case "R":
                self._change({record.path: None, record.data.decode(): self._there[record.path]})
            case "D":
                self._directories[record.path] = _Directory()
                self._change({record.path: 0})
            case "B":
                synced = self._synced(record)
                synced.syncing = len(synced.pending)
            case "E":
                self._end_sync(record)
            case _:
                pass

    def left(self, chance: random.Random) -> dict[str, bytes | None]:
        """Files by path, None for a directory, as they may be after a power cut now."""
        keep = chance.choice((0.0, 0.1, 0.5, 0.9, 1.0))  # extremes are likely, too
        found: dict[str, bytes | None] = {}
        for path in sorted(self._directories, key=len):  # a parent before what is in it
            if found and path not in found:
                continue
            directory = self._directories[path]
            entries = dict(directory.durable)
            for change in directory.pending:
                if chance.random() < keep:
                    _update(entries, change)
            found.setdefault(path, None)
            for name, key in entries.items():
                found[name] = bytes(_torn(self._files[key], chance, keep)) if key else None
        return found

    def _synced(self, record: Record) -> _File | _Directory:
        return self._directories.get(record.path) or self._file(record)

    def _end_sync(self, record: Record) -> None:
        synced = self._synced(record)
        if isinstance(synced, _File):
            for offset, data in synced.pending[: synced.syncing]:
                _put(synced.durable, offset, data)
        else:
            for change in synced.pending[: synced.syncing]:
                _update(synced.durable, change)
        del synced.pending[: synced.syncing]
        synced.syncing = 0

    def _file(self, record: Record) -> _File:
        return self._files[self._of_inode[record.inode]]

    def _change(self, change: dict[str, int | None]) -> None:
        (parent,) = {str(PurePath(path).parent) for path in change}  # none moves elsewhere
        _update(self._there, change)
        self._directories[parent].pending.append(change)


def write_out(left: dict[str, bytes | None], root: str, place: Path) -> None:
    """Make `place` what `root` was."""
    for path, content in left.items():
        target = place / PurePath(path).relative_to(root)
        if content is None:
            target.mkdir(exist_ok=True)
        else:
            target.write_bytes(content)


def _update(entries: dict[str, int], change: dict[str, int | None]) -> None:
    for path, key in change.items():
        if key is None:
            entries.pop(path, None)
        else:
            entries[path] = key


def _put(content: bytearray, offset: int, data: bytes | None) -> None:
    end = offset if data is None else offset + len(data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if data is None:
        del content[offset:]
    else:
        content[offset:end] = data


def _torn(file: _File, chance: random.Random, keep: float) -> bytearray:
    content = bytearray(file.durable)
    for offset, data in file.pending:
        if data is None:
            if chance.random() < keep:
                _put(content, offset, None)
            continue
        at = 0
        while at < len(data):
            size = min(SECTOR - (offset + at) % SECTOR, len(data) - at)
            if chance.random() < keep:
                _put(content, offset + at, data[at : at + size])
            at += size
    return content
