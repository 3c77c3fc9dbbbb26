"""The few calls of the C library that Python 3.11 has no function for."""

import ctypes
import os
from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True)


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
