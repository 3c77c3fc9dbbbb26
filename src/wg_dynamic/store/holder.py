"""Who holds a lock on a file, as the kernel tells everybody (/proc/locks, proc_locks(5))."""

import os
from collections.abc import Iterable
from pathlib import Path

LOCKS = Path("/proc/locks")
_FIELDS = 8
"""`1: POSIX  ADVISORY  WRITE 11753 fe:00:2146347 1073741826 1073742335`"""


def lock_holder(path: Path) -> str:
    """`NAME, PID n`: a process that has locked the file; "" when that cannot be known.

    Some file systems show other device numbers to stat(2) than to /proc/locks.
    """
    try:
        there = path.stat()
        lines = LOCKS.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return ""
    device = f"{os.major(there.st_dev):02x}:{os.minor(there.st_dev):02x}:{there.st_ino}"
    pid = find_pid(lines, device)
    if not pid:
        return ""
    try:
        name = Path(f"/proc/{pid}/comm").read_text("utf-8", errors="replace").strip()
    except OSError:
        name = "a process"
    return f"{name}, PID {pid}"


def find_pid(lines: Iterable[str], device: str) -> int:
    """The process with a lock on `MAJOR:MINOR:INODE`, as /proc/locks names it; 0 for none.

    Not our own locks; and 0 is also what stands there for a process outside our PID namespace.
    """
    for line in lines:
        words = line.split()
        if len(words) == _FIELDS and words[5] == device and words[4].isdecimal():
            pid = int(words[4])
            if pid not in (0, os.getpid()):
                return pid
    return 0
