"""The system calls that a network process may make: a filter that the kernel runs (seccomp(2)).

A list of what is allowed, by name, with conditions on arguments where a call can do more than we
need; docs/decisions/0011 says why it is written by hand. Everything else fails:

- EPERM, not a signal: what a C library or an interpreter that is not ours to choose tries beside
  its work costs that attempt and no daemon. For an attacker it is the same.
- ENOSYS for calls that are new since 2019 (those have the same numbers everywhere), so that the
  library falls back to the old call, whose arguments can be looked at: clone3 to clone.
- The process is killed when it calls by another machine's convention.

The filter is classic BPF: the kernel hands it `struct seccomp_data`, and it cannot follow pointers.
"""

import ctypes
import os
import struct
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from wg_dynamic.privsep.system_calls import ARCHITECTURES, NUMBERS
from wg_dynamic.record import dataclass
from wg_dynamic.system.libc import prctl

_PR_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2

# linux/seccomp.h, linux/bpf_common.h
ALLOW: Final = 0x7FFF0000
ERRNO: Final = 0x00050000
KILL: Final = 0x80000000
_LOAD: Final = 0x20
_AND: Final = 0x54
_EQUAL: Final = 0x15
_AT_LEAST: Final = 0x35
_RETURN: Final = 0x06
_NUMBER_AT: Final = 0
_ARCHITECTURE_AT: Final = 4
_ARGUMENTS_AT: Final = 16

NEW_CALLS: Final = 424
"""pidfd_send_signal, Linux 5.1: the first of those numbered alike on all machines."""
EPERM: Final = 1
ENOSYS: Final = 38
"""asm-generic/errno-base.h, errno.h"""


@dataclass(frozen=True, slots=True)
class Word:
    """A condition: half of an argument, of which some bits have a certain value."""

    argument: int
    mask: int
    value: int
    high: bool = False


Rule = tuple[tuple[Word, ...], ...]
"""Alternatives, in each of which all conditions hold; none at all: always allowed."""

_FULL: Final = 0xFFFFFFFF


def _one_of(argument: int, *values: int) -> Rule:
    return tuple((Word(argument, _FULL, value),) for value in values)


def _null(argument: int) -> tuple[Word, Word]:
    return Word(argument, _FULL, 0), Word(argument, _FULL, 0, high=True)


_NOT_EXECUTABLE: Final = ((Word(2, 4, 0),),)  # PROT_EXEC: no code but what is there
_NO_FAST_OPEN: Final = 0x20000000  # MSG_FASTOPEN: connects, on a listener that was shut down
_FCNTLS: Final = (0, 1, 2, 3, 4, 5, 6, 7, 1030)
"""F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_SETLKW, F_DUPFD_CLOEXEC."""
_IOCTLS: Final = (0x5421, 0x5450, 0x5451)
"""FIONBIO, FIONCLEX, FIOCLEX."""


def _common(pid: int) -> dict[str, Rule]:
    """What both network processes need. The socket calls first: they are most."""
    rules: dict[str, Rule] = {
        "sendto": ((Word(3, _NO_FAST_OPEN, 0), *_null(4)),),
        "sendmsg": ((Word(2, _NO_FAST_OPEN, 0),),),
        "setsockopt": (
            (Word(1, _FULL, 6), Word(2, _FULL, 1)),  # TCP_NODELAY
            (Word(1, _FULL, 1), Word(2, _FULL, 13)),  # SO_LINGER: server/door.py
        ),
        "mmap": _NOT_EXECUTABLE,
        "mprotect": _NOT_EXECUTABLE,
        "fcntl": _one_of(1, *_FCNTLS),
        "ioctl": _one_of(1, *_IOCTLS),
        "tgkill": _one_of(0, pid),  # raise(3), abort(3)
        "prlimit64": ((Word(0, _FULL, 0), *_null(2)),),  # getrlimit(3)
    }
    for name in (
        *("recvfrom", "recvmsg", "read", "write", "futex", "poll", "select", "pselect6", "ppoll"),
        *("getsockopt", "getsockname", "getpeername", "shutdown", "close", "dup"),
        *("fstat", "lseek", "stat", "lstat", "newfstatat", "statx", "access", "faccessat"),
        *("readlink", "readlinkat", "getcwd", "uname"),
        *("munmap", "mremap", "brk", "madvise"),
        *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall"),
        *("getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid"),
        *("clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time"),
        *("getrandom", "getrusage", "sched_yield", "sched_getaffinity"),
        *("set_robust_list", "rseq", "exit", "exit_group"),
    ):
        rules[name] = ()
    return rules


def client_rules(pid: int) -> dict[str, Rule]:
    """Of the client: no file can be opened, no process or thread started."""
    return _common(pid)


def server_rules(pid: int) -> dict[str, Rule]:
    """Of the server: connections to accept, SQLite's files, and a thread for it."""
    rules: dict[str, Rule] = {
        **_common(pid),
        "clone": ((Word(0, 0x10000, 0x10000),),),  # CLONE_THREAD
        "socketpair": _one_of(0, 1),  # AF_UNIX: the event loop wakes itself
    }
    for name in (
        *("epoll_wait", "epoll_pwait", "epoll_ctl", "epoll_create1", "accept", "accept4", "listen"),
        *("openat", "open", "unlink", "unlinkat", "pread64", "pwrite64", "readv", "writev"),
        *(
            "chmod",
            "fchmodat",
            "fsync",
            "fdatasync",
            "ftruncate",
            "fallocate",
            "fchmod",
            "fchown",
            "getdents64",
        ),
    ):
        rules[name] = ()
    return rules


def check_rules(pid: int) -> dict[str, Rule]:
    """Of the check of a database: a private copy, in a directory made for it."""
    rules = server_rules(pid)
    for name in (
        *("mkdir", "mkdirat", "rmdir", "copy_file_range", "sendfile", "fadvise64"),
        *("statfs", "fstatfs"),
    ):
        rules[name] = ()
    return rules


def assemble(rules: Mapping[str, Rule], machine: str) -> list[tuple[int, int, int, int]]:
    """The filter: instructions as (code, jump if true, jump if false, operand).

    Raises:
        KeyError: no numbers are known for the machine, or for a name.
    """
    architecture, column = ARCHITECTURES[machine]
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    for name, alternatives in rules.items():
        number = NUMBERS[name][column]
        if number is not None:
            body = _body(alternatives)
            program += [(_EQUAL, 0, len(body), number), *body]
    return [
        *program,
        (_AT_LEAST, 0, 1, NEW_CALLS),
        (_RETURN, 0, 0, ERRNO | ENOSYS),
        (_RETURN, 0, 0, ERRNO | EPERM),
    ]


def _body(alternatives: Rule) -> list[tuple[int, int, int, int]]:
    """What is done for one call: allow it when an alternative holds."""
    if not alternatives:
        return [(_RETURN, 0, 0, ALLOW)]
    body: list[tuple[int, int, int, int]] = []
    for words in alternatives:
        for index, word in enumerate(words):
            rest = 3 * (len(words) - index - 1) + 1  # to behind this alternative's ALLOW
            at = _ARGUMENTS_AT + 8 * word.argument + 4 * word.high  # little-endian
            body += [(_LOAD, 0, 0, at), (_AND, 0, 0, word.mask), (_EQUAL, 0, rest, word.value)]
        body.append((_RETURN, 0, 0, ALLOW))
    return [*body, (_RETURN, 0, 0, ERRNO | EPERM)]


def allowed_calls(rules: Iterable[str], machine: str) -> list[str]:
    """Which of the calls there are on a machine. Raises KeyError."""
    _, column = ARCHITECTURES[machine]
    return sorted(name for name in rules if NUMBERS[name][column] is not None)


def this_machine() -> str:
    """As ARCHITECTURES knows it; one of 32 bits on a kernel of 64 is none of them."""
    return os.uname().machine if sys.maxsize > 1 << 32 else f"{os.uname().machine} with 32 bits"


def install(program: Sequence[tuple[int, int, int, int]]) -> None:
    """Put a filter into force, for ever, for this thread and what it starts.

    Needs no_new_privs. Raises OSError: EINVAL where the kernel has no filters.
    """
    code = b"".join([struct.pack("=HBBI", *instruction) for instruction in program])
    body = ctypes.create_string_buffer(code, len(code))
    head = ctypes.create_string_buffer(  # struct sock_fprog
        struct.pack("@HP", len(program), ctypes.addressof(body))
    )
    prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(head))
