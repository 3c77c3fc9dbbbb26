"""The ledger: what an earlier helper, or a torn write, left in the runtime directory.

- Any file is read, or LedgerError; a line that cannot be read stays.
- Reading writes the file anew, and what was written reads back the same, to the byte.
"""

from collections.abc import Iterator
from pathlib import Path

from fuzz.scratch import make_scratch
from wg_dynamic.address import parse_prefix
from wg_dynamic.privsep.ledger import ADDRESS, ALLOWED_IP, ROUTE, Entry, Ledger

MAX_SIZE = 2048
PARSERS = ("privsep.ledger",)

_PATH = make_scratch() / "ledger"
_ENTRIES = (
    Entry(ALLOWED_IP, parse_prefix("10.0.0.1/32"), b"\x0b" * 32),
    Entry(ALLOWED_IP, parse_prefix("fd00::1/128"), b"\x0c" * 32),
    Entry(ADDRESS, parse_prefix("10.0.0.2/24")),
    Entry(ROUTE, parse_prefix("fd00::/64")),
)


def seeds() -> Iterator[bytes]:
    """Files as a helper writes them, whole, cut and damaged."""
    lines = [f"+ {entry.line()}\n" for entry in _ENTRIES]
    lines += [f"- {entry.line()}\n" for entry in _ENTRIES[::2]]
    lines.append("? + something else\n")
    whole = "".join(lines).encode()
    yield from (whole, whole[:-5], whole[5:], whole[::-1], b"")


def words() -> Iterator[bytes]:
    """Beginnings, kinds, prefixes."""
    yield from (b"+ ", b"- ", b"? ", b"\n", b" ", b"\r", b"\0", b"\xff")
    yield from (f"+ {entry.line()}\n".encode() for entry in _ENTRIES)
    yield from (f"- {entry.line()}\n".encode() for entry in _ENTRIES)
    yield from (
        b"/0",
        b"/32",
        b"/128",
        b"/33",
        b"::",
        b"::ffff:10.0.0.1",
        b"FD00::1",
        b"0x1",
        b"%1",
    )


def check(data: bytes) -> None:
    """Start with this file, and start again."""
    _PATH.write_bytes(data)
    first = _state(_PATH)
    assert _state(_PATH) == first


def _state(path: Path) -> tuple[int, list[str], bytes]:
    ledger = Ledger(path)
    try:
        return len(ledger), ledger.damaged, path.read_bytes()
    finally:
        ledger.close()
