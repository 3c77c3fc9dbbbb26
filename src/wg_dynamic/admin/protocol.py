"""What is said on the administration socket: JSON, a line each way (docs/decisions/0015). Pure.

A request is one line: `{"request": "leases", "pool": "10.44.0.0/24"}`. It is answered by any number
of `{"row": …}`, and by one last line: `{"done": {…}}`, or `{"error": "…", "text": "…"}`. Who asks
sends the next one then.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from wg_dynamic.address import Prefix, format_address, parse_address, parse_prefix
from wg_dynamic.errors import WgDynamicError
from wg_dynamic.record import dataclass

MAX_REQUEST: Final = 4096
"""Bytes of a request, its line's end not counted."""
MAX_ANSWER: Final = 1 << 20
"""Bytes of a line of an answer that whoever asks takes: 256 pools take a tenth of it."""
MAX_PEER: Final = 256
"""Characters of the name of a peer."""
MAX_LAST: Final = 1000
"""Events that are kept, and can be asked for."""

STATUS: Final = "status"
LEASES: Final = "leases"
EVENTS: Final = "events"
REVOKE: Final = "revoke"
RELEASE: Final = "release"
VERBS: Final = (STATUS, LEASES, EVENTS, REVOKE, RELEASE)

HELD: Final = "held"
"""The lease has not ended."""
REMEMBERED: Final = "remembered"
"""It has; the address is kept for its peer as long as there is room."""
QUARANTINED: Final = "quarantined"
"""It was declined or revoked; nobody gets the address for a while."""
STATES: Final = (HELD, REMEMBERED, QUARANTINED)

INVALID: Final = "invalid"
"""The request is none."""
BUSY: Final = "busy"
"""There are too many connections."""
TOO_MANY: Final = "too-many"
"""Too many leases were changed in the last minute."""
STORE_DOWN: Final = "store-down"
"""The lease database takes no commit; nothing has changed."""


class AdminError(WgDynamicError):
    """What came is no request, or no answer, or an answer that says no."""

    def __init__(self, text: str, code: str = INVALID) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Request:
    """One request; what is None, or empty, does not narrow it."""

    verb: str
    """One of VERBS."""
    peer: str | None = None
    """A public key as `wg` prints it, or a name."""
    address: bytes | None = None
    pool: Prefix | None = None
    state: str | None = None
    """One of STATES."""
    last: int = 0
    """Of events: how many of those that were are told first."""
    follow: bool = False
    """Whether those that come are told."""


def encode_request(request: Request) -> bytes:
    """The line that asks for it."""
    fields: dict[str, object] = {"request": request.verb}
    if request.peer is not None:
        fields["peer"] = request.peer
    if request.address is not None:
        fields["address"] = format_address(request.address)
    if request.pool is not None:
        fields["pool"] = str(request.pool)
    if request.state is not None:
        fields["state"] = request.state
    if request.last:
        fields["last"] = request.last
    if request.follow:
        fields["follow"] = True
    return json.dumps(fields).encode("ascii") + b"\n"


def decode_request(line: bytes) -> Request:
    """The request of a line, without the line's end. Raises AdminError."""
    fields = decode_object(line)
    verb = fields.pop("request", None)
    if verb not in VERBS:
        msg = f"expected a request out of {', '.join(VERBS)}"
        raise AdminError(msg)
    taken = {}
    for name, value in fields.items():
        if name not in _FIELDS or name not in _MEANT_FOR[verb]:
            msg = (
                f"a field that {verb} does not take, expected any of {', '.join(_MEANT_FOR[verb])}"
            )
            raise AdminError(msg)
        taken[name] = _FIELDS[name](value)
    if verb in (REVOKE, RELEASE) and not taken:
        msg = f"{verb} of nothing, expected an address or a peer"
        raise AdminError(msg)
    return Request(verb, **taken)


def decode_object(line: bytes) -> dict[str, Any]:
    """The JSON object that a line is. Raises AdminError."""
    try:
        # As text: of bytes json would find out the encoding, and load others than UTF-8 from files
        # that the network process does not reach.
        value = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        msg = "a line that is no JSON, expected an object"
        raise AdminError(msg) from error
    if not isinstance(value, dict):
        msg = "a line of another kind, expected a JSON object"
        raise AdminError(msg)
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_PEER:
        msg = f"peer: expected text of at most {MAX_PEER} characters"
        raise AdminError(msg)
    return value


def _address(value: object) -> bytes:
    try:
        return parse_address(value if isinstance(value, str) else "")
    except ValueError as error:
        msg = "address: expected one as in 10.44.0.7"
        raise AdminError(msg) from error


def _pool(value: object) -> Prefix:
    try:
        return parse_prefix(value if isinstance(value, str) else "")
    except ValueError as error:
        msg = "pool: expected a network as in 10.44.0.0/24"
        raise AdminError(msg) from error


def _state(value: object) -> str:
    if value not in STATES:
        msg = f"state: expected any of {', '.join(STATES)}"
        raise AdminError(msg)
    return str(value)


def _last(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_LAST:
        msg = f"last: expected 0 to {MAX_LAST}"
        raise AdminError(msg)
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        msg = "follow: expected true or false"
        raise AdminError(msg)
    return value


_FIELDS: Final[Mapping[str, Callable[[object], Any]]] = {
    "peer": _text,
    "address": _address,
    "pool": _pool,
    "state": _state,
    "last": _last,
    "follow": _flag,
}
_MEANT_FOR: Final[Mapping[str, tuple[str, ...]]] = {
    STATUS: (),
    LEASES: ("peer", "address", "pool", "state"),
    EVENTS: ("last", "follow"),
    REVOKE: ("address", "peer"),
    RELEASE: ("address", "peer"),
}
