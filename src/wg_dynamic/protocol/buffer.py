"""Cut the byte stream of one connection into messages (docs/protocol.md 3.1 to 3.3).

A fault is found at the first byte that makes it one, whatever pieces the network delivers; so
nothing that comes later, and no other way of cutting the stream, changes the outcome.
"""

from typing import Final, NoReturn

from wg_dynamic.protocol.errors import ErrorCode, RemoteProtocolError
from wg_dynamic.protocol.schema import MAX_LINE_SIZE, MAX_MESSAGE_SIZE


class MessageBuffer:
    """Bytes in, whole messages out.

    It holds what was received and not yet taken: take all messages before receiving more, and
    it never holds more than MAX_MESSAGE_SIZE plus one read.
    """

    __slots__ = ("_data", "_failure", "_line", "_start", "_whole")

    def __init__(self) -> None:
        self._whole = b""  # a message that came alone and at once, as most do
        self._data = bytearray()
        self._start = 0  # where the message begins that next_message will return
        self._line = 0  # where its first line begins that is not yet known to be whole
        self._failure: RemoteProtocolError | None = None

    @property
    def pending(self) -> int:
        """Bytes received and not yet taken as part of a message."""
        return len(self._data) - self._start + len(self._whole)

    def receive_data(self, data: bytes) -> None:
        """Append what the network delivered. After a failure, data is dropped."""
        if self._failure is None:
            if len(self._data) == self._start and not self._whole and _is_one_message(data):
                self._whole = data
                return
            if self._start:
                del self._data[: self._start]
                self._line -= self._start
                self._start = 0
            self._data += self._whole
            self._data += data
            self._whole = b""

    def next_message(self) -> bytes | None:
        r"""Return the next whole message with its blank line, or None until more bytes arrive.

        An empty line where a message should begin is returned as the message b"\n".

        Raises:
            RemoteProtocolError: a line or message is too long or has a NUL byte; the buffer
                stays failed and raises the same again.
        """
        if self._failure is not None:
            raise self._failure
        if self._whole:
            message, self._whole = self._whole, b""
            return message
        while True:
            end = min(self._line + MAX_LINE_SIZE, self._start + MAX_MESSAGE_SIZE, len(self._data))
            newline = self._data.find(b"\n", self._line, end)
            nul = self._data.find(b"\0", self._line, newline if newline >= 0 else end)
            if nul >= 0:
                self._fail("NUL byte, expected text")
            if newline < 0:
                self._check_limits(end)
                return None
            blank = newline == self._line
            self._line = newline + 1
            if blank:
                return self._take()

    def _take(self) -> bytes:
        message = bytes(self._data[self._start : self._line])
        self._start = self._line
        return message

    def _check_limits(self, end: int) -> None:
        """Fail if what there is, up to `end`, cannot become a message any more."""
        if end - self._line >= MAX_LINE_SIZE:
            self._fail(f"line longer than {MAX_LINE_SIZE} bytes, the newline included")
        if end - self._start >= MAX_MESSAGE_SIZE:
            self._fail(f"message longer than {MAX_MESSAGE_SIZE} bytes")

    def _fail(self, text: str) -> NoReturn:
        self._failure = RemoteProtocolError(ErrorCode.INVALID_REQUEST, text)
        self._data.clear()
        self._start = self._line = 0
        raise self._failure


def _is_one_message(data: bytes) -> bool:
    """Whether it is one whole message without any fault that this module looks for."""
    return (
        len(data) <= MAX_LINE_SIZE  # so no line is longer
        and 0 < data.find(_END) == len(data) - len(_END)  # its first blank line is its end
        and not data.startswith(b"\n")
        and b"\0" not in data
    )


_END: Final = b"\n\n"
