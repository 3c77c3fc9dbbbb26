"""`/etc/wg-dynamic/INTERFACE.peers.toml`: peers and reservations that commands have added.

The administrator's own file, INTERFACE.toml, is never written by a command. This one is, as text,
so that comments and keys that people put there stay. A server reads both.
"""

import fcntl
import os
import select
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from wg_dynamic.errors import ConfigError, UsageError
from wg_dynamic.helper.config.document import ServerConfig, parse_peers
from wg_dynamic.helper.config.entries import (
    Entry,
    Value,
    read_entries,
    with_entries,
    with_entry,
    with_note,
    without_entries,
)
from wg_dynamic.helper.config.file import peers_path, read_safely
from wg_dynamic.system.replacing import replace_file

LOCK_TRIES: Final = 200
LOCK_PAUSE: Final = 0.05
"""Seconds between two tries for the lock: ten in all, as commands are done in far less."""
_MODE: Final = 0o644
"""Public keys and names are no secrets; tools that show names may read them."""
_TOP: Final = """\
# Peers and reservations that the command wg-dynamic has added. The server reads this file beside
# {interface}.toml. It may be edited: comments, order and further keys stay as they are.
"""


class PeersFile:
    """The file of one interface, while its lock is held: `with PeersFile("wg0") as file`.

    The lock is one for all interfaces, on the directory: it is kept for moments.
    """

    def __init__(self, interface: str) -> None:
        """Raises UsageError for a name that no interface has."""
        path = peers_path(interface)
        if path is None or not interface or interface in (".", ".."):
            msg = f"interface {interface!r}, expected a name as in wg0"
            raise UsageError(msg)
        self.path = path
        self._interface = interface
        self._lock: int | None = None
        self._text = ""

    def __enter__(self) -> Self:
        """Take the lock and read the file, if there is one.

        Raises:
            UsageError: the file is not understood, or others may write to it.
            ConfigError: another command has the lock.
            OSError: the directory cannot be made or opened.
        """
        self.path.parent.mkdir(mode=0o755, exist_ok=True)
        self._lock = _take_lock(self.path.parent)
        try:
            if os.path.lexists(self.path):
                self._text = read_safely(self.path)
                parse_peers(self._text, str(self.path))
                read_entries(self._text, str(self.path))
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the lock back."""
        self._release()

    def entries(self) -> list[Entry]:
        """What is in the file."""
        return read_entries(self._text, str(self.path))

    def add(self, kind: str, values: Mapping[str, Value], note: str = "") -> None:
        """Write one more entry at the end, `note` as a comment behind its header.

        Raises:
            UsageError: the server would not take the file with it; it stays as it is.
            OSError: it cannot be written; likewise.
        """
        top = self._text or _TOP.format(interface=self._interface)
        self._replace(with_entry(top, str(self.path), kind, values, note))

    def replace_all(
        self,
        kind: str,
        unwanted: Callable[[Entry], bool],
        new: Sequence[Mapping[str, Value]],
        check: Callable[[ServerConfig], None],
    ) -> None:
        """Take entries out and write others at the end, all of it or nothing.

        `check` judges what the file says then, and raises if that cannot be. Raises as `add`.
        """
        top = self._text or _TOP.format(interface=self._interface)
        text = without_entries(top, str(self.path), unwanted)
        text = with_entries(text, str(self.path), kind, new)
        check(parse_peers(text, str(self.path)))
        self._replace(text)

    def remove(self, unwanted: Callable[[Entry], bool]) -> int:
        """Take entries out; how many. Raises as `add`."""
        count = sum(map(unwanted, self.entries()))
        if count:
            self._replace(without_entries(self._text, str(self.path), unwanted))
        return count

    def note(self, wanted: Callable[[Entry], bool], note: str) -> None:
        """Write another note, or none, behind the headers of entries. Raises as `add`."""
        self._replace(with_note(self._text, str(self.path), wanted, note))

    def _replace(self, text: str) -> None:
        parse_peers(text, str(self.path))
        replace_file(self.path, text.encode(), _MODE)
        self._text = text

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _take_lock(directory: Path) -> int:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for _ in range(LOCK_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                select.select([], [], [], LOCK_PAUSE)
            else:
                return descriptor
        seconds = LOCK_TRIES * LOCK_PAUSE
        msg = f"another command has been changing {directory} for {seconds:g} s: wait for its end,"
        msg += f" or see what it waits for: fuser -v {directory}"
        raise ConfigError(msg)
    except BaseException:
        os.close(descriptor)
        raise
