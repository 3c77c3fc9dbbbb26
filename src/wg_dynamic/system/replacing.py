"""Put a new file in the place of an old one: whoever looks, whenever, sees one of both."""

import os
import stat
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, data: bytes, mode: int) -> None:
    """Write `data` beside `path` and rename it to there; on the disk when this returns.

    A file that is there passes its owner and mode on; a symbolic link stays, and what it leads to
    is replaced. Two that replace one file must take turns. After a kill a file `.NAME.new` may be
    left, which the next one removes.

    Args:
        path: where the file is to be; its directory exists.
        data: all of its content.
        mode: of a file that is new.

    Raises:
        OSError: it cannot be written; the old one is there still.
    """
    real = Path(os.path.realpath(path))
    draft = real.with_name(f".{real.name}.new")
    with suppress(FileNotFoundError):
        draft.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(draft, flags, 0o600)
        try:
            _write_all(descriptor, data)
            _be_like(descriptor, real, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        draft.replace(real)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
    sync_directory(real.parent)


def sync_directory(directory: Path) -> None:
    """Put the directory's entries on the disk. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _be_like(descriptor: int, path: Path, mode: int) -> None:
    try:
        status = path.stat()
    except FileNotFoundError:
        os.fchmod(descriptor, mode)
        return
    mine = os.fstat(descriptor)
    if (mine.st_uid, mine.st_gid) != (status.st_uid, status.st_gid):
        os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
