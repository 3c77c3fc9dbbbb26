"""Errors of the protocol: what goes on the wire as a number, and what is raised.

- ProtocolError (abstract)
    - LocalProtocolError: our own side tried to send what the protocol does not allow
    - RemoteProtocolError: the other side broke a rule; `code` and `text` say which

The connections turn a RemoteProtocolError into an event; only the codec's functions raise it.
"""

from enum import IntEnum
from typing import Final

from wg_dynamic.errors import WgDynamicError


class ErrorCode(IntEnum):
    """Values of `errno=` (docs/protocol.md section 7). 0 to 3 are version 1's own."""

    SUCCESS = 0
    INVALID_REQUEST = 1
    UNSUPPORTED_PROTOCOL = 2
    UNAVAILABLE = 3
    EXHAUSTED = 4
    RATE_LIMITED = 5
    NOT_PERMITTED = 6
    STORE_DOWN = 7
    UNKNOWN_COMMAND = 8
    NOT_UNDERSTOOD = 9
    INTERNAL_ERROR = 10
    QUOTA_EXCEEDED = 11
    BUSY = 12

    @property
    def text(self) -> str:
        """The text sent as `errmsg=` when the server has nothing more precise to say."""
        return _TEXTS[self]

    @property
    def in_version_1(self) -> "ErrorCode":
        """The code of version 1 (0 to 3) that comes nearest (docs/protocol.md section 7)."""
        return _IN_VERSION_1.get(self, self)

    @property
    def ends_connection(self) -> bool:
        """Whether a server that finds this fault in a message closes after its answer.

        docs/protocol.md section 7: faults of form, of version and of pipelining do.
        """
        return self not in (ErrorCode.UNKNOWN_COMMAND, ErrorCode.NOT_UNDERSTOOD)


_TEXTS: Final = {
    ErrorCode.SUCCESS: "Success",
    ErrorCode.INVALID_REQUEST: "Invalid request",
    ErrorCode.UNSUPPORTED_PROTOCOL: "Unsupported protocol",
    ErrorCode.UNAVAILABLE: "Chosen IP(s) unavailable",
    ErrorCode.EXHAUSTED: "No free address left",
    ErrorCode.RATE_LIMITED: "Too many requests",
    ErrorCode.NOT_PERMITTED: "Not permitted",
    ErrorCode.STORE_DOWN: "Lease store unavailable",
    ErrorCode.UNKNOWN_COMMAND: "Unknown command",
    ErrorCode.NOT_UNDERSTOOD: "Critical name not understood",
    ErrorCode.INTERNAL_ERROR: "Internal server error",
    ErrorCode.QUOTA_EXCEEDED: "Too many addresses for one peer",
    ErrorCode.BUSY: "Server busy",
}

_IN_VERSION_1: Final = {
    ErrorCode.EXHAUSTED: ErrorCode.UNAVAILABLE,
    ErrorCode.RATE_LIMITED: ErrorCode.UNAVAILABLE,
    ErrorCode.NOT_PERMITTED: ErrorCode.UNAVAILABLE,
    ErrorCode.STORE_DOWN: ErrorCode.UNAVAILABLE,
    ErrorCode.UNKNOWN_COMMAND: ErrorCode.UNSUPPORTED_PROTOCOL,
    ErrorCode.NOT_UNDERSTOOD: ErrorCode.INVALID_REQUEST,
    ErrorCode.INTERNAL_ERROR: ErrorCode.UNAVAILABLE,
    ErrorCode.QUOTA_EXCEEDED: ErrorCode.UNAVAILABLE,
    ErrorCode.BUSY: ErrorCode.UNAVAILABLE,
}


def error_code(number: int) -> ErrorCode | int:
    """The ErrorCode of that number, or the plain number when this table does not have it."""
    return ErrorCode(number) if number in _TEXTS else number


def error_text(number: int) -> str:
    """The text for people of any `errno=`."""
    code = error_code(number)
    return code.text if isinstance(code, ErrorCode) else f"Error {number}"


class ProtocolError(WgDynamicError):
    """A rule of docs/protocol.md was broken. Abstract: raise Local or Remote."""

    def __init__(self, *args: object) -> None:
        if type(self) is ProtocolError:
            msg = "ProtocolError is abstract, raise LocalProtocolError or RemoteProtocolError"
            raise TypeError(msg)
        super().__init__(*args)


class LocalProtocolError(ProtocolError):
    """Our own side asked for something the protocol does not allow: a bug of ours."""


class RemoteProtocolError(ProtocolError):
    """The other side sent something the protocol does not allow."""

    def __init__(
        self, code: int, text: str, *, command: str | None = None, request_id: int | None = None
    ) -> None:
        """What was wrong.

        Args:
            code: the `errno=` that says so, an ErrorCode when known.
            text: got and expected, for people.
            command: command of the faulty message if it was one of version 2, else None.
            request_id: its `id=`, if that could be read.
        """
        super().__init__(code, text)
        self.code = error_code(code)
        self.text = text
        self.command = command
        self.request_id = request_id

    def __str__(self) -> str:
        """The number and the text."""
        return f"errno {int(self.code)}: {self.text}"
