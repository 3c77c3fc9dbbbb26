"""The runtime directory of one interface: lock, PID, ledger, control socket.

Two network namespaces may each have a wg0, so the name cannot be the key: it is the namespace and
the interface's index. The namespace is named by its cookie (SO_NETNS_COOKIE, Linux 5.14), which
unlike the inode number is never used again before the next boot (docs/decisions/0006).
"""

import contextlib
import fcntl
import os
import socket
from pathlib import Path

from wg_dynamic.errors import ConfigError, PrivilegeError
from wg_dynamic.system.ownership import check_directory

RUNTIME_ROOT = Path("/run/wg-dynamic")
_SO_NETNS_COOKIE = 71
"""asm-generic/socket.h"""
_ATTEMPTS = 1000
"""How often daemons that end may remove the directory before a newcomer takes it for a fault."""


def namespace_key() -> str:
    """What names the current network namespace on this machine until it reboots."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as any_socket:
        try:
            cookie = any_socket.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)
        except OSError:  # before Linux 5.14
            return f"i{Path('/proc/self/ns/net').stat().st_ino}"
    return f"n{int.from_bytes(cookie, 'little')}"


def control_path(ifindex: int, role: str, root: Path | None = None) -> Path:
    """Where a daemon's control socket is if it runs; nothing is made."""
    return (root or RUNTIME_ROOT) / f"{namespace_key()}-{ifindex}" / f"{role}-control"


def admin_path(ifindex: int, root: Path | None = None) -> Path:
    """Where a server's administration socket is if it runs (helper/admin_socket.py)."""
    return (root or RUNTIME_ROOT) / "admin" / f"{namespace_key()}-{ifindex}" / "socket"


class RuntimeDirectory:
    """`/run/wg-dynamic/NAMESPACE-IFINDEX/`, mode 0700, locked while a daemon has it."""

    def __init__(self, ifindex: int, root: Path = RUNTIME_ROOT, role: str = "") -> None:
        """Make the directory if it is missing.

        `role` tells a client's ledger and control socket from a server's; the lock is one for all.

        Raises:
            PrivilegeError: not root.
            ConfigError: something else is in the way.
        """
        self.root = root
        self._prefix = f"{role}-" if role else ""
        self.path = root / f"{namespace_key()}-{ifindex}"
        self._lock: int | None = None
        try:
            for path, mode in ((root, 0o755), (self.path, 0o700)):
                make_own_directory(path, mode)
        except PermissionError as error:
            msg = f"cannot make {self.path}: {error.strerror}; run as root"
            raise PrivilegeError(msg) from error
        except OSError as error:
            msg = f"cannot make {self.path}: {error.strerror}"
            raise ConfigError(msg) from error

    @property
    def ledger(self) -> Path:
        """What the helper has set (privsep/ledger.py)."""
        return self.path / f"{self._prefix}ledger"

    @property
    def control(self) -> Path:
        """The Unix socket on which the daemon takes `--stop`."""
        return self.path / f"{self._prefix}control"

    def lock(self, who: str) -> bool:
        """Take the lock and write `who` and our PID into it; False when another daemon has it."""
        while True:
            descriptor = self._open_lock()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_current(descriptor):
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, f"{os.getpid()} {who}\n".encode())
                    self._lock = descriptor
                    return True
            except BlockingIOError:
                if self._is_current(descriptor):
                    return False
            finally:
                if self._lock != descriptor:
                    os.close(descriptor)
            # A daemon that ended removed the file between our two looks: lock the new one.

    def _open_lock(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        for _ in range(_ATTEMPTS):
            _make_directory(self.path, 0o700)
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile, as above
                return os.open(self.path / "lock", flags, 0o600)
        msg = f"cannot make {self.path / 'lock'}: its directory is removed again and again"
        raise ConfigError(msg)

    def _is_current(self, descriptor: int) -> bool:
        """Whether the open lock file is the one that a newcomer would open."""
        try:
            there = os.stat(self.path / "lock", follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(os.fstat(descriptor), there)

    def take(self, who: str) -> None:
        """`lock`, or ConfigError that names the daemon that has it."""
        if not self.lock(who):
            msg = f"{self.holder()} runs on this interface already: stop it first"
            raise ConfigError(msg)

    def holder(self) -> str:
        """Who wrote the lock last: `NAME (PID n)`."""
        try:
            pid, _, who = (self.path / "lock").read_text("ascii").strip().partition(" ")
        except (OSError, UnicodeDecodeError):
            pid, who = "", ""
        return f"{who or 'another daemon'} (PID {pid or 'unknown'})"

    def release(self) -> None:
        """Give the lock back and remove what is empty of meaning then."""
        if self._lock is None:
            return
        os.ftruncate(self._lock, 0)  # our PID may be another's soon
        self.control.unlink(missing_ok=True)
        if self.ledger.exists() and self.ledger.stat().st_size == 0:
            self.ledger.unlink()
        if not self.ledger.exists():
            (self.path / "lock").unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # something else lies there: leave it
                self.path.rmdir()
        os.close(self._lock)
        self._lock = None


def make_own_directory(path: Path, mode: int) -> None:
    """Make it, or see that nobody else can change what is there. A daemon that ends removes it.

    Raises ConfigError when others can, or something else lies there; OSError.
    """
    for _ in range(_ATTEMPTS):
        _make_directory(path, mode)
        with contextlib.suppress(FileNotFoundError):
            check_directory(path)
            return
    msg = f"cannot make {path}: it is removed again and again"
    raise ConfigError(msg)


def _make_directory(path: Path, mode: int) -> None:
    """Not `exist_ok`, which looks again at what is there: it may be removed in between."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode)
