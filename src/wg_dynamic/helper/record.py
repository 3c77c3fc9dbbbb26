"""What was ever ours among the allowed IPs, kept across reboots: the record.

The ledger in /run says what stands now. It is gone after a reboot, and so, usually, is what it
named; but `wg-quick save`, or SaveConfig = true, writes leased allowed IPs into wg0.conf, from
where they come back as if an administrator had given them. So each pair of address and public key
is written into the record too, before it is set, and stays there after it was taken off. When the
interface has been made anew since the last look, what the record names and the interface has is
ours again, and the rest is forgotten: the file that the interface was made from does not have it.

The directory belongs to root alone, unlike that of the database (docs/decisions/0008).
"""

import fcntl
import os
from collections.abc import Collection, Iterable
from pathlib import Path

from wg_dynamic.errors import ConfigError
from wg_dynamic.privsep.ledger import ALLOWED_IP, Entry, Ledger, LedgerError
from wg_dynamic.system.log import logger
from wg_dynamic.system.ownership import check_directory

_LOG = logger(__name__)

RECORD_ROOT = Path("/var/lib/wg-dynamic-ledger")
MAX_PAST = 1 << 15
"""Pairs kept that do not stand any more. The oldest are forgotten first: on a hub that is up for
years, with more peers than addresses, there would be no end to them."""
MAX_MARK = 200
"""Bytes of a mark that are read."""


class Record:
    """The pairs that one server's database has ever led to, and for which interface it looked."""

    def __init__(self, database: Path, interface: str, root: Path = RECORD_ROOT) -> None:
        """Open the record that belongs to a database, or make it.

        `interface` names the interface as it is now, and never another one, nor the next one of
        that name: boot, namespace and index.

        Raises:
            ConfigError: it cannot be opened, or another server has it open.
            LedgerError: it cannot be read or written.
        """
        name = str(database).lstrip("/").replace("%", "%25").replace("/", "%2F")
        self._mark = f"{interface}\n".encode("ascii")
        self._file = -1
        self._sync_failed = False
        try:
            root.mkdir(mode=0o700, exist_ok=True)
            check_directory(root)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._file = os.open(root / f"{name}.seen", flags, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._pairs = Ledger(root / f"{name}.allowed-ips", durable=True)
            self.is_new = os.pread(self._file, MAX_MARK, 0) != self._mark
            """Whether the interface was made since `begin` was last called for this record."""
        except BlockingIOError as error:
            self._close_file()
            msg = f"cannot use {database}: another wg-dynamic-server has it open: give each its own"
            msg += " --database"
            raise ConfigError(msg) from error
        except OSError as error:
            self._close_file()
            msg = f"cannot keep a record of what is leased in {root}: {error.strerror}"
            raise ConfigError(msg) from error
        except BaseException:  # whatever it was: the lock is not kept
            self._close_file()
            raise

    def __contains__(self, entry: Entry) -> bool:
        """Whether the pair was ever ours, as far as is known."""
        return entry in self._pairs

    def __len__(self) -> int:
        """How many pairs are known."""
        return len(self._pairs)

    def begin(self, there: Collection[Entry]) -> None:
        """Forget the pairs that an interface made anew does not have; from now on it is known.

        Call it when those that it has are in the ledger. Raises LedgerError.
        """
        self._pairs.remove(*[e for e in self._pairs.entries(ALLOWED_IP) if e not in there])
        self._pairs.rewrite()  # before the mark: what is struck out may be waiting for room
        try:
            os.pwrite(self._file, self._mark, 0)
            os.ftruncate(self._file, len(self._mark))
            os.fsync(self._file)
        except OSError as error:
            msg = f"cannot write the record of what is leased: {error.strerror}"
            raise LedgerError(msg) from error
        self.is_new = False

    def add(self, entries: Iterable[Entry], standing: Ledger) -> None:
        """Write pairs down before they are set; what is not `standing` makes room for them.

        Raises:
            LedgerError: they could not be written; none of them may be set.
        """
        try:
            self._pairs.add(*entries)
        except LedgerError as error:  # its path may be long, and this is the reason of refusals
            cause = error.__cause__
            text = cause.strerror if isinstance(cause, OSError) else str(error)
            msg = f"cannot write the record of what is leased: {text}"
            raise LedgerError(msg) from error
        past = len(self._pairs) - len(standing)
        if past > MAX_PAST:
            gone = [e for e in self._pairs.entries(ALLOWED_IP) if e not in standing]
            self._pairs.remove(*gone[: past - MAX_PAST + MAX_PAST // 8])

    def forget(self, entries: Iterable[Entry]) -> None:
        """An administrator gave these, while the interface stood: never ours again by themselves.

        What cannot be written for want of room is written by a later call.
        """
        self._pairs.remove(*entries)

    def sync(self) -> None:
        """Let what was written survive a power cut.

        A disk that does not take it is told once, and asked again: nothing has to wait for it.
        """
        try:
            self._pairs.sync()
        except LedgerError as error:
            if not self._sync_failed:
                _LOG.error("%s: a power cut could lose what was leased of late", error)
            self._sync_failed = True
        else:
            self._sync_failed = False

    def close(self) -> None:
        """Give it back. Calling it twice is fine."""
        if self._file >= 0:
            self._pairs.close()
            self._close_file()

    def _close_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
