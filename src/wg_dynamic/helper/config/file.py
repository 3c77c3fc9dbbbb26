"""The configuration file on disk: nobody but root may have a say in what root does.

So neither the file, nor a directory on the way to it, symbolic links followed one by one, may be
written by anybody else.
"""

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wg_dynamic.errors import UsageError
from wg_dynamic.helper.policy import DEFAULT_ACCEPTANCE, Acceptance

if TYPE_CHECKING:
    from wg_dynamic.helper.config.document import ServerConfig

CONFIG_ROOT: Final = Path("/etc/wg-dynamic")
MAX_SIZE: Final = 16 << 20
"""Bytes; 65,536 reservations take about 12 million."""
_CHUNK: Final = 1 << 20
"""Bytes of one read, each of which takes as much memory however small the file is."""
_MAX_LINKS: Final = 40
"""Symbolic links on one way, as in the kernel (path_resolution(7))."""


def default_path(interface: str) -> Path | None:
    """Where the configuration of an interface is looked for; None when it cannot have one."""
    return None if "/" in interface else CONFIG_ROOT / f"{interface}.toml"


def peers_path(interface: str) -> Path | None:
    """Where commands keep the peers and reservations that they add (helper/config/peers.py)."""
    return None if "/" in interface else CONFIG_ROOT / f"{interface}.peers.toml"


def find_config(path: Path | None, interface: str) -> Path | None:
    """The file to read: `path`, or the interface's own if there is one."""
    chosen = path or default_path(interface)
    if chosen is None or (path is None and not os.path.lexists(chosen)):
        return None
    return chosen


def load_config(path: Path | None, interface: str) -> "ServerConfig":
    """Read `path`, which then has to exist; without one, the interface's own file if it exists.

    The peers and reservations that commands have added, in the file of `peers_path`, go with it.

    Raises:
        UsageError: it cannot be read, others may write to it, or what it says is wrong.
    """
    # A client without a file has no use for a parser of TOML.
    from wg_dynamic.helper.config.document import parse_peers, with_peers  # noqa: PLC0415

    config = load_own_config(path, interface)
    peers = peers_path(interface)
    if peers is None or not os.path.lexists(peers):
        return config
    return with_peers(config, parse_peers(read_safely(peers), str(peers)))


def load_own_config(path: Path | None, interface: str) -> "ServerConfig":
    """As `load_config`, without what commands have added. Raises UsageError likewise."""
    from wg_dynamic.helper.config.document import ServerConfig, parse_config  # noqa: PLC0415

    chosen = find_config(path, interface)
    return parse_config(read_safely(chosen), str(chosen)) if chosen else ServerConfig()


def load_client_config(interface: str) -> Acceptance:
    """What the interface's own file says of a client, if it exists. Raises UsageError likewise."""
    chosen = find_config(None, interface)
    if chosen is None:
        return DEFAULT_ACCEPTANCE
    from wg_dynamic.helper.config.client import parse_client_config  # noqa: PLC0415

    return parse_client_config(read_safely(chosen), str(chosen))


def read_safely(path: Path) -> str:
    """The text of a file that nobody but root can change. Raises UsageError."""
    data = read_bytes_safely(path)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        msg = f"{path}: line {line} is not UTF-8, expected TOML"
        raise UsageError(msg) from error


def read_bytes_safely(path: Path) -> bytes:
    """As `read_safely`, whatever the bytes are. Raises UsageError."""
    try:
        data = _read(path)
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}"
        raise UsageError(msg) from error
    if len(data) > MAX_SIZE:
        msg = f"{path}: more than {MAX_SIZE} bytes, expected at most as many"
        raise UsageError(msg)
    return data


def _read(path: Path) -> bytes:
    real = _follow(path)
    # O_NONBLOCK: a FIFO keeps nobody waiting.
    descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            msg = f"{path}: is no regular file, expected one"
            raise UsageError(msg)
        _refuse_foreign(f"{path}: ", real, status)
        pieces = []
        left = MAX_SIZE + 1
        while left and (piece := os.read(descriptor, min(left, _CHUNK))):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)
    finally:
        os.close(descriptor)


def _follow(path: Path) -> Path:
    """Where the path leads, each directory on the way checked. Raises UsageError, OSError."""
    here = Path("/")
    _refuse_foreign(f"{path}: {here}, on the way to it, ", here, here.stat())
    ahead = list(reversed((Path.cwd() / path).parts[1:]))
    links = 0
    while ahead:
        part = ahead.pop()
        if part == "..":
            here = here.parent
            continue
        there = here / part
        status = there.lstat()
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > _MAX_LINKS:
                msg = f"{path}: more than {_MAX_LINKS} symbolic links on the way"
                raise UsageError(msg)
            target = there.readlink()
            here = Path("/") if target.is_absolute() else here
            ahead += reversed(target.parts[1:] if target.is_absolute() else target.parts)
        else:
            here = there
            if ahead:
                _refuse_foreign(f"{path}: {here}, on the way to it, ", here, status)
    return here


def _refuse_foreign(label: str, there: Path, status: os.stat_result) -> None:
    """Raise UsageError when others than root may write there."""
    if status.st_uid not in (0, os.geteuid()):
        msg = f"{label}belongs to user {status.st_uid}, expected root,"
        msg += f" since it steers a root process: chown root {there}"
        raise UsageError(msg)
    # In a sticky directory such as /tmp others cannot move what root has put there.
    sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not sticky:
        msg = f"{label}may be written by others than root, expected not,"
        msg += f" since it steers a root process: chmod go-w {there}"
        raise UsageError(msg)
