"""What happens to leases, as others are told of it; its JSON form is docs/events.md's. Pure."""

from binascii import b2a_base64
from math import isinf
from typing import Final

from wg_dynamic.address import Prefix, format_address
from wg_dynamic.record import dataclass

GRANTED: Final = "granted"
"""A peer got an address that it did not hold; it is in the allowed IPs."""
RENEWED: Final = "renewed"
"""A peer keeps an address for longer."""
EXPIRED: Final = "expired"
"""The time of a lease was over, and its address has left the allowed IPs."""
RELEASED: Final = "released"
"""Its holder gave it back, or took another address for it."""
DECLINED: Final = "declined"
"""Its holder cannot use it; nobody gets it for a while."""
RECLAIMED: Final = "reclaimed"
"""The server took back what the configuration lets its holder have no longer."""
REVOKED: Final = "revoked"
"""An administrator ended it."""
REFUSED: Final = "refused"
"""A request got nothing, or less than it asked for."""

KINDS: Final = (GRANTED, RENEWED, EXPIRED, RELEASED, DECLINED, RECLAIMED, REVOKED, REFUSED)
BEGINNINGS: Final = frozenset({GRANTED, RENEWED})
"""After these the peer holds the address."""
ENDINGS: Final = frozenset({EXPIRED, RELEASED, DECLINED, RECLAIMED, REVOKED})
"""After these it does not, and the address is out of the allowed IPs."""


@dataclass(frozen=True, slots=True)
class LeaseEvent:
    """One thing that happened to a lease: it is on disk and in force, or taken off, already."""

    kind: str
    """One of KINDS."""
    at: float
    """Unix time in seconds."""
    public_key: bytes
    """Whose lease it is or was, or who was refused."""
    address: bytes | None = None
    """4 or 16 packed bytes; None for a request that was refused."""
    network: Prefix | None = None
    """The on-link network of the address."""
    lease_time: float | None = None
    """Seconds from `at` on, infinity for a lease without end; None when it is over."""
    name: str | None = None
    """The peer's, where it has one."""
    reason: str = ""
    """Why, where the kind does not say: of a refusal the name of its errno, in lower case."""


def event_line(event: LeaseEvent, interface: str) -> str:
    """The event as one line of JSON, without the line's end; only what is known is in it."""
    parts = [
        f'{{"event":"{event.kind}","time":{event.at:.3f},"interface":{quote(interface)}',
        f'"public_key":"{b2a_base64(event.public_key, newline=False).decode("ascii")}"',
    ]
    if event.name is not None:
        parts.append(f'"name":{quote(event.name)}')
    if event.address is not None:
        parts.append(f'"address":"{format_address(event.address)}"')
    if event.network is not None:
        parts.append(f'"network":"{event.network}"')
    if event.lease_time is not None:
        time = '"infinite"' if isinf(event.lease_time) else f"{event.lease_time:.0f}"
        parts.append(f'"lease_time":{time}')
    if event.reason:
        parts.append(f'"reason":{quote(event.reason)}')
    return ",".join(parts) + "}"


def quote(text: str) -> str:
    """The text as JSON (RFC 8259 section 7), in ASCII.

    `json` does the same; it is not imported where an event is all that is to be written.
    """
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_quoted(character) for character in text) + '"'


def _quoted(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isascii() and character.isprintable():
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
