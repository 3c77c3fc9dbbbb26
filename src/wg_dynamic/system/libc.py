"""The few calls of the C library that Python 3.11 has no function for."""

import ctypes
import errno
import os
from typing import Any

SOCKADDR_IN6_SIZE = 28
_LIBC = ctypes.CDLL(None, use_errno=True)
_SWIFT = ctypes.PyDLL(None, use_errno=True)
"""The same, keeping Python's lock: for calls that do not wait."""


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def prctl(option: int, *arguments: int) -> int:
    """See its manual page. Raises OSError."""
    words = [ctypes.c_ulong(word) for word in (*arguments, 0, 0, 0, 0)[:4]]
    return _checked(_LIBC.prctl(ctypes.c_int(option), *words))


def unshare(flags: int) -> None:
    """See its manual page. Raises OSError."""
    _checked(_LIBC.unshare(ctypes.c_int(flags)))


def system_call(number: int, *arguments: Any) -> int:
    """Call syscall(2), for calls without a function of their own. Raises OSError.

    Args:
        number: of the call.
        arguments: numbers, or bytes, buffers and None for a pointer.
    """
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    return _checked(_LIBC.syscall(ctypes.c_long(number), *words))


def capget(header: Any, data: Any) -> None:
    """See its manual page. Raises OSError."""
    _checked(_LIBC.capget(header, data))


def capset(header: Any, data: Any) -> None:
    """See its manual page. Raises OSError."""
    _checked(_LIBC.capset(header, data))


class Acceptor:
    """accept4(2) on one listening socket that does not block."""

    def __init__(self, descriptor: int) -> None:
        self._call = _SWIFT.accept4
        self._address = ctypes.create_string_buffer(SOCKADDR_IN6_SIZE)
        self._size = ctypes.c_uint32()
        self._arguments = (
            ctypes.c_int(descriptor),
            self._address,
            ctypes.byref(self._size),
            ctypes.c_int(os.O_NONBLOCK | os.O_CLOEXEC),  # SOCK_NONBLOCK, SOCK_CLOEXEC are these
        )

    def accept(self) -> tuple[int, bytes] | None:
        """The next connection and its struct sockaddr_in6; None when there is none. Raises OSError.

        The connection does not block.
        """
        while True:
            self._size.value = SOCKADDR_IN6_SIZE
            result: int = self._call(*self._arguments)
            if result >= 0:
                return result, self._address.raw
            number = ctypes.get_errno()
            if number == errno.EAGAIN:
                return None
            if number not in (errno.EINTR, errno.ECONNABORTED):
                raise OSError(number, os.strerror(number))
