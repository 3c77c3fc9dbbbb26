"""What the two processes of wg-dynamic-watch say to each other, a datagram each.

The process that reads what a server says has no privileges: it asks for a connection to the server,
and passes events on. The other one, which may start hooks as other users, takes no more than that.
"""

import json
import socket
from typing import Any, Final

CONNECT: Final = b"C"
"""Asks for a connection to the server. The answer: CONNECT with it, or NO and the reason."""
NO: Final = b"N"
EVENT: Final = b"E"
"""An event, as one JSON object."""
MAX_DATAGRAM: Final = 8192
"""Bytes: an event has a name, a reason and some addresses."""
_KEYS: Final = {
    "event": str,
    "time": (int, float),
    "interface": str,
    "public_key": str,
    "name": str,
    "address": str,
    "network": str,
    "lease_time": (int, float, str),
    "reason": str,
    "lost": int,
}
"""docs/events.md, and how many events were lost before this one."""


def pair() -> tuple[socket.socket, socket.socket]:
    """The two ends."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def event_datagram(event: dict[str, Any]) -> bytes:
    """What is sent for one."""
    return EVENT + json.dumps(event).encode("ascii")


def read_event(datagram: bytes) -> dict[str, Any] | None:
    """The event in a datagram: known keys, printable values. None when there is none."""
    if not datagram.startswith(EVENT) or len(datagram) > MAX_DATAGRAM:
        return None
    try:
        value = json.loads(datagram[1:].decode("ascii"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("event"), str):
        return None
    return {
        key: one
        for key, one in value.items()
        if key in _KEYS
        and isinstance(one, _KEYS[key])  # type: ignore[arg-type]
        and (not isinstance(one, str) or one.isprintable())
    }
