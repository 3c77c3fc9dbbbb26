"""Landlock: what a process may open, bind and connect, by rules that it lays on itself.

docs.kernel.org/userspace-api/landlock.html. Not in the C library, so by system call numbers, which
are the same on all machines for calls that new. What is handled and not allowed is refused with
EACCES (of signals and abstract sockets: EPERM), also what a later call would open by another way:
what executes, what has the rights of a device.
"""

import os
import struct
from collections.abc import Sequence
from typing import Final

from wg_dynamic.system.libc import system_call

Name = str | os.PathLike[str]
"""Of a file or directory."""

_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_RULESET_VERSION: Final = 1
_PATH_BENEATH: Final = 1

# linux/landlock.h: rights to files, by their bit.
_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_READ_DIR: Final = 1 << 3
_REMOVE_DIR: Final = 1 << 4
_REMOVE_FILE: Final = 1 << 5
_MAKE_DIR: Final = 1 << 7
_MAKE_REG: Final = 1 << 8
_TRUNCATE: Final = 1 << 14
_FILE_BITS: Final = {1: 13, 2: 14, 3: 15, 5: 16}
"""How many rights to files there are from a version of the interface on."""
TCP_FROM: Final = 4
"""The version from which on binding and connecting TCP sockets is handled."""
SCOPE_FROM: Final = 6
"""From which on: signals, and sockets by names that are no files."""
_TCP: Final = 0b11
_SCOPES: Final = 0b11

_WORK: Final = _WRITE_FILE | _READ_FILE | _READ_DIR | _REMOVE_FILE | _MAKE_REG | _TRUNCATE
"""What a database needs of its directory."""
_SCRATCH: Final = _WORK | _MAKE_DIR | _REMOVE_DIR


def version() -> int:
    """Of the kernel's interface. Raises OSError: ENOSYS or EOPNOTSUPP without Landlock."""
    return system_call(_CREATE_RULESET, None, 0, _RULESET_VERSION)


def restrict(
    *,
    work: Sequence[Name] = (),
    scratch: Sequence[Name] = (),
    readable: Sequence[Name] = (),
    up_to: int = SCOPE_FROM,
) -> int:
    """Refuse ourselves, and every child, for ever, what is not named here.

    Needs no_new_privs, and is for a process of one thread: others would stay free.

    Args:
        work: directories below which files may be made, read, written and removed.
        scratch: those below which directories may be made, too.
        readable: files that may be read. What of all these is not there is passed over.
        up_to: the newest version to make use of.

    Returns:
        The version that was made use of: before TCP_FROM it knows no network, before SCOPE_FROM
        no signals.

    Raises:
        OSError: the kernel has no Landlock, or does not let us use it.
    """
    known = min(version(), up_to)
    rights = (1 << max(bits for since, bits in _FILE_BITS.items() if since <= known)) - 1
    words = [rights]
    if known >= TCP_FROM:
        words.append(_TCP)
    if known >= SCOPE_FROM:
        words.append(_SCOPES)
    attributes = struct.pack(f"={len(words)}Q", *words)
    ruleset = system_call(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for paths, allowed in ((work, _WORK), (scratch, _SCRATCH), (readable, _READ_FILE)):
            for path in paths:
                _allow(ruleset, path, allowed & rights)
        system_call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return known


def _allow(ruleset: int, path: Name, rights: int) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not there, or not ours to enter: then it cannot be opened later either
    try:
        system_call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, beneath), 0)
    finally:
        os.close(beneath)
