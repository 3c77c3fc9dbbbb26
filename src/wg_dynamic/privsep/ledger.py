"""What the helper has set in the kernel, written down before it is set.

Only what stands here is ever taken off again: that is how an administrator's allowed IPs,
addresses and routes stay as they were, also after a kill between any two steps. The file lies in
the runtime directory of its interface, belongs to root, and is gone after a reboot, as is
everything that it names.

One line an event, `+ KIND WORDS` or `- KIND WORDS`; a line without its end was never acted upon.
A line that cannot be read stays, behind a `? `, and is said in the log: what it named is still set.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from wg_dynamic.address import Prefix, parse_prefix
from wg_dynamic.errors import WgDynamicError
from wg_dynamic.privsep.requests import KEY_SIZE
from wg_dynamic.record import dataclass
from wg_dynamic.system.log import logger

_LOG = logger(__name__)

SPARE_LINES = 1000
"""Lines struck out, beside as many as there are entries, before the file is made anew: it lies in
memory, and a peer may come and go as often as it likes."""

ALLOWED_IP = "allowed-ip"
ADDRESS = "address"
ROUTE = "route"
"""Kinds of Entry."""
DNS = "dns"
FIREWALL = "firewall"
FWMARK = "fwmark"
MTU = "mtu"
RULE = "rule"
SYSCTL = "sysctl"
TABLE_ROUTE = "table-route"
"""Kinds of Setting; the module that makes them says what their words are."""


class LedgerError(WgDynamicError):
    """The ledger cannot be read or written; nothing may be set then.

    What was set may be taken off: a line too many does no harm, one too few would.
    """


class Entry(NamedTuple):
    """One thing that we set.

    A tuple, for a hub looks up a dozen of them for each lease, and hashes them each time.
    """

    kind: str
    """ALLOWED_IP, ADDRESS or ROUTE."""
    prefix: Prefix
    public_key: bytes = b""
    """Whose allowed IP it is; empty for the other kinds."""

    def line(self) -> str:
        """The entry as it stands in the file."""
        return _line(self)


@lru_cache(maxsize=1024)
def _line(entry: Entry) -> str:
    """Remembered for a moment: an allowed IP is written into two ledgers."""
    words = [entry.kind, str(entry.prefix)]
    if entry.public_key:
        words.append(entry.public_key.hex())
    return " ".join(words)


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that we set and that no prefix names."""

    kind: str
    """DNS, FIREWALL, FWMARK, MTU, RULE, SYSCTL or TABLE_ROUTE."""
    words: tuple[str, ...]
    """What it is, and what it was before: printable ASCII without blanks."""

    def line(self) -> str:
        """The setting as it stands in the file. Raises ValueError for what would not be read."""
        if self.kind not in _SETTINGS or not self.words or not all(map(_is_word, self.words)):
            msg = f"{self.kind!r} {self.words!r}, expected a kind of setting and words for it"
            raise ValueError(msg)
        return " ".join([self.kind, *self.words])


_SETTINGS = frozenset({DNS, FIREWALL, FWMARK, MTU, RULE, SYSCTL, TABLE_ROUTE})


def _is_word(text: str) -> bool:
    return text != "" and all("!" <= character <= "~" for character in text)


def parse_entry(line: str) -> Entry | Setting:
    """Read `Entry.line` or `Setting.line` back. Raises ValueError."""
    kind, prefix, *key = line.split(" ")
    if kind in _SETTINGS:
        setting = Setting(kind, (prefix, *key))
        setting.line()  # raises
        return setting
    entry = Entry(kind, parse_prefix(prefix), bytes.fromhex("".join(key)))
    size = KEY_SIZE if kind == ALLOWED_IP else 0
    known = kind in (ALLOWED_IP, ADDRESS, ROUTE)
    if not known or len(entry.public_key) != size or entry.line() != line:
        msg = f"{line!r} is no entry of a ledger"
        raise ValueError(msg)
    return entry


class Ledger:
    """The entries in force, and the file that remembers them."""

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        """Read what an earlier helper left, and begin a compact file.

        `durable`: it lies on a disk and is to survive a power cut, up to the last `sync`.

        Raises:
            LedgerError: it cannot be read or written.
        """
        self._path = path
        self._durable = durable
        self._unsynced = False
        self._entries: dict[Entry | Setting, None] = {}
        self._file: int | None = None
        self._size = 0
        """Bytes of whole lines in the file."""
        self._lines = 0
        self._unwritten: dict[Entry | Setting, None] = {}
        """Taken off, and named by the file still: the line that strikes them out waits for room."""
        self.damaged: list[str] = []
        """Lines that could not be read, as they were: left alone, for a person to look at."""
        try:
            self._load()
            self._rewrite()
        except OSError as error:
            msg = f"cannot open the ledger {path}: {error.strerror}"
            raise LedgerError(msg) from error

    def __contains__(self, entry: Entry | Setting) -> bool:
        """Whether we set this."""
        return entry in self._entries

    def __len__(self) -> int:
        """How many things we have set."""
        return len(self._entries)

    def entries(self, kind: str) -> list[Entry]:
        """What we set of one kind, in the order it was set."""
        return [e for e in self._entries if e.kind == kind and isinstance(e, Entry)]

    def settings(self, kind: str) -> list[Setting]:
        """As `entries`, for the kinds of Setting."""
        return [e for e in self._entries if e.kind == kind and isinstance(e, Setting)]

    def add(self, *entries: Entry | Setting) -> None:
        """Write the entries down; only then may they be set.

        Raises:
            LedgerError: they could not be written; none of them may be set.
            ValueError: one could not be read back.
        """
        fresh = [entry for entry in dict.fromkeys(entries) if entry not in self._entries]
        named = [entry for entry in fresh if entry in self._unwritten]
        missing = [entry for entry in fresh if entry not in self._unwritten]
        if missing:
            self._append([f"+ {entry.line()}" for entry in missing])
        for entry in named:
            self._unwritten.pop(entry)
        self._entries.update(dict.fromkeys(fresh))

    def remove(self, *entries: Entry | Setting) -> None:
        """Strike the entries out, after they were taken off.

        What cannot be written for want of room is said in the log and written later, by any call:
        a ledger that names too much is put right by the next start.
        """
        gone = [entry for entry in dict.fromkeys(entries) if entry in self._entries]
        for entry in gone:
            del self._entries[entry]
        failed = bool(self._unwritten)
        self._unwritten.update(dict.fromkeys(gone))
        if not self._unwritten:
            return
        try:
            self._strike_out()
        except LedgerError as error:
            if not failed:
                _LOG.error("%s: what was taken off will be struck out later", error)
            return
        if failed:
            _LOG.warning("the ledger %s can be written again", self._path)
        spare = SPARE_LINES if self._entries else 0
        if self._lines > 2 * len(self._entries) + len(self.damaged) + spare:
            with contextlib.suppress(OSError):  # no room for a second file: the first one serves
                self._rewrite()

    def sync(self) -> None:
        """Let what was written so far survive a power cut; costs nothing when that is so already.

        Raises:
            LedgerError: the disk does not take it.
        """
        if self._durable and self._unsynced and self._file is not None:
            with self._errors():
                os.fdatasync(self._file)
            self._unsynced = False

    def rewrite(self) -> None:
        """Begin a compact file, which says what is so now, also after a power cut if `durable`.

        Raises:
            LedgerError: there is no room for it; the present file stays.
        """
        with self._errors():
            self._rewrite()

    def close(self) -> None:
        """Close the file. Calling it twice is fine."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _strike_out(self) -> None:
        """Write what waits to be written. Raises LedgerError."""
        if self._file is not None and not self._entries and not self.damaged:
            with self._errors():
                os.ftruncate(self._file, 0)  # needs no room
            self._size = self._lines = 0
            self._unsynced = True
        else:
            self._append([f"- {entry.line()}" for entry in self._unwritten])
        self._unwritten = {}

    def _append(self, lines: list[str]) -> None:
        if self._file is None:
            msg = f"the ledger {self._path} is closed"
            raise LedgerError(msg)
        data = _text(lines)
        with self._errors():
            try:
                _write(self._file, data)
            except OSError:
                os.ftruncate(self._file, self._size)  # half a line would spoil the next one
                raise
        self._size += len(data)
        self._lines += len(lines)
        self._unsynced = True

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            msg = f"cannot write the ledger {self._path}: {error.strerror}"
            raise LedgerError(msg) from error

    def _load(self) -> None:
        self._entries, damaged = _read(self._path)
        for line in damaged:
            self.damaged.append(line.removeprefix("? "))
            _LOG.warning("%s: %r cannot be read: look what it set", self._path, line)

    def _rewrite(self) -> None:
        """Let a compact file take the place of the present one, which stays if that fails."""
        draft = self._path.with_name(f"{self._path.name}.new")
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        lines = [f"? {line}" for line in self.damaged]
        lines += [f"+ {entry.line()}" for entry in self._entries]
        data = _text(lines)
        descriptor = os.open(draft, flags, 0o600)
        try:
            _write(descriptor, data)
            if self._durable:  # else a power cut could leave an empty file by that name
                os.fdatasync(descriptor)
            draft.replace(self._path)
            if self._durable:
                _sync_directory(self._path.parent)
        except OSError:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                draft.unlink()
            raise
        self.close()
        self._unwritten = {}
        self._file, self._size, self._lines = descriptor, len(data), len(lines)
        self._unsynced = False


def read_entries(path: Path) -> list[Entry | Setting]:
    """What a ledger has now, beside the helper that writes it; nothing when there is no file.

    Raises:
        LedgerError: it cannot be read.
    """
    try:
        return [*_read(path)[0]]
    except OSError as error:
        msg = f"cannot read the ledger {path}: {error.strerror}"
        raise LedgerError(msg) from error


def _read(path: Path) -> tuple[dict[Entry | Setting, None], list[str]]:
    """The entries in force, and the lines that are none."""
    entries: dict[Entry | Setting, None] = {}
    damaged: list[str] = []
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return entries, damaged
    with open(descriptor, encoding="ascii", errors="backslashreplace", newline="\n") as file:
        lines = file.read().split("\n")
    for line in lines[:-1]:
        sign, _, words = line.partition(" ")
        try:
            entry = parse_entry(words)
        except ValueError:
            sign = "?"
        if sign == "+":
            entries[entry] = None
        elif sign == "-":
            entries.pop(entry, None)
        else:
            damaged.append(line)
    return entries, damaged


def _text(lines: Iterable[str]) -> bytes:
    return "".join([f"{line}\n" for line in lines]).encode("ascii")


def _write(descriptor: int, data: bytes) -> None:
    """All of it; a full disk takes a part first and says so at the next try."""
    while data:
        data = data[os.write(descriptor, data) :]


def _sync_directory(path: Path) -> None:
    """Let the names in it survive a power cut too."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
