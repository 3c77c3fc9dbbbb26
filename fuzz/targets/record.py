"""The record on disk: its mark, and the pairs that were ever ours.

- Any two files are read, or LedgerError; the interface is new unless the mark is its own.
- When it has begun, it is known, and holds no pair that the interface does not have.
"""

from collections.abc import Iterator
from pathlib import Path

from fuzz.scratch import make_scratch
from fuzz.targets import ledger
from wg_dynamic.helper.record import Record
from wg_dynamic.privsep.ledger import ALLOWED_IP, Entry, parse_entry

MAX_SIZE = 2048
PARSERS = ("helper.record", "privsep.ledger")

_ROOT = make_scratch() / "record"
_DATABASE = Path("/db")
_INTERFACE = "boot/1/2"
_MARK = f"{_INTERFACE}\n".encode()
words = ledger.words


def seeds() -> Iterator[bytes]:
    """The mark, a NUL byte, the pairs."""
    for mark in (_MARK, b"another\n", b""):
        yield from (mark + b"\0" + pairs for pairs in ledger.seeds())


def check(data: bytes) -> None:
    """Start with these files, begin, and start again."""
    mark, _, pairs = data.partition(b"\0")
    _ROOT.mkdir(mode=0o700, exist_ok=True)
    (_ROOT / "db.seen").write_bytes(mark)
    (_ROOT / "db.allowed-ips").write_bytes(pairs)
    record = Record(_DATABASE, _INTERFACE, _ROOT)
    try:
        assert record.is_new == (mark != _MARK)
        there = _some_of(pairs)
        before = len(record)
        record.begin(there)
        assert len(record) <= before
        assert all(entry in there for entry in _some_of(pairs) if entry in record)
    finally:
        record.close()
    again = Record(_DATABASE, _INTERFACE, _ROOT)
    try:
        assert not again.is_new
        assert all((entry in again) == (entry in record) for entry in there)
    finally:
        again.close()


def _some_of(pairs: bytes) -> set[Entry]:
    """What the interface has: every other pair that the file names."""
    found: set[Entry] = set()
    for line in pairs.split(b"\n")[::2]:
        try:
            entry = parse_entry(line[2:].decode("ascii"))
        except ValueError:
            continue
        if isinstance(entry, Entry) and entry.kind == ALLOWED_IP:
            found.add(entry)
    return found
