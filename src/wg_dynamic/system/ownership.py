"""Whose a directory or file is: what root makes or opens may not be anybody else's to exchange."""

import os
import stat
from collections.abc import Collection
from pathlib import Path

from wg_dynamic.errors import ConfigError


def refuse_foreign(
    path: Path,
    status: os.stat_result,
    *,
    users: Collection[int] = (),
    groups: Collection[int] = (),
) -> None:
    """Raise ConfigError when others than root, `users` and `groups` can write there."""
    if status.st_uid not in {0, os.geteuid(), *users}:
        msg = f"{path} belongs to user {status.st_uid}, expected root: move it away, or chown it"
        raise ConfigError(msg)
    writers = stat.S_IWOTH | (0 if status.st_gid in groups else stat.S_IWGRP)
    if status.st_mode & writers:
        msg = f"{path} may be written by others, expected not: chmod go-w {path}"
        raise ConfigError(msg)


def check_directory(path: Path) -> None:
    """Raise ConfigError unless it is a directory, and no link, that is root's alone to write in.

    Raises OSError when it is not there.
    """
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        msg = f"{path} is no directory, expected one of root: move it away"
        raise ConfigError(msg)
    refuse_foreign(path, status)


def open_log(path: Path) -> int:
    """A descriptor that appends to a file, made where it is missing, or to a device.

    Raises:
        ConfigError: others could make us write elsewhere by it.
        OSError: it cannot be opened.
    """
    # O_NONBLOCK: a FIFO keeps nobody waiting.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o600)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISCHR(status.st_mode):
            if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
                msg = f"{path} is no file of one name, expected one, or none yet"
                raise ConfigError(msg)
            refuse_foreign(path, status, groups=(status.st_gid,))
        os.set_blocking(descriptor, True)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
