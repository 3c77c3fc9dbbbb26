"""Which capabilities a process keeps (capabilities(7)): permitted, effective, and bounding set."""

import errno
import struct
from collections.abc import Collection
from ctypes import create_string_buffer
from typing import Final

from wg_dynamic.system import libc

# linux/capability.h
CHOWN: Final = 0
DAC_READ_SEARCH: Final = 2
KILL: Final = 5
SETGID: Final = 6
SETUID: Final = 7
SETPCAP: Final = 8
NET_BIND_SERVICE: Final = 10
NET_ADMIN: Final = 12
SYS_ADMIN: Final = 21

_VERSION_3: Final = 0x20080522
_NUMBERS: Final = 64
"""What the kernel's interface has room for."""

# linux/prctl.h
_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_PR_SET_SECUREBITS: Final = 28
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

_SECUREBITS: Final = 0b11101011
"""linux/securebits.h: root is nobody special at exec (NOROOT), nothing is raised to ambient, and
neither that nor KEEP_CAPS and NO_SETUID_FIXUP, which stay off, can be changed (_LOCKED)."""


def limit(
    held: Collection[int], bounding: Collection[int], permitted: Collection[int] = ()
) -> None:
    """Give up all capabilities but `held`, and for what is executed all but `bounding`.

    `permitted`: kept besides, without effect as they stand. Those that we do not have are not
    gained. Raises OSError: EPERM without SETPCAP where there is something to take out of the
    bounding set; the rest is done all the same.
    """
    try:
        limit_bounding(bounding)
    finally:
        hold(held, permitted)


def hold(held: Collection[int], permitted: Collection[int] = ()) -> None:
    """Give up all effective ones but `held`, permitted ones but those and `permitted`. OSError."""
    # Two sets of three words: effective, permitted, inheritable; the low 32 numbers first.
    header = struct.pack("=Ii", _VERSION_3, 0)
    data = create_string_buffer(24)
    libc.capget(header, data)
    now = struct.unpack("=6I", data.raw)
    effective, kept = (
        sum(1 << number for number in numbers) & (now[1] | now[4] << 32)
        for numbers in (set(held), {*held, *permitted})
    )
    low, high = 0xFFFFFFFF, 32
    words = (effective & low, kept & low, 0, effective >> high, kept >> high, 0)
    libc.capset(header, struct.pack("=6I", *words))
    try:
        libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    except OSError as error:
        if error.errno != errno.EINVAL:  # before Linux 4.3 there are none
            raise


def lock_securebits() -> None:
    """Let no exec and no change of user give anything back, for ever. Raises OSError."""
    libc.prctl(_PR_SET_SECUREBITS, _SECUREBITS)


def limit_bounding(kept: Collection[int]) -> None:
    """Give up all but `kept` for what is executed. Raises OSError: EPERM without SETPCAP."""
    refused: OSError | None = None
    for number in range(_NUMBERS):
        try:
            if libc.prctl(_PR_CAPBSET_READ, number) and number not in kept:
                libc.prctl(_PR_CAPBSET_DROP, number)
        except OSError as error:
            if error.errno == errno.EINVAL:  # more than this kernel knows
                break
            refused = error
    if refused is not None:
        raise refused
