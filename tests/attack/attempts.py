"""What somebody would try who has taken a network process over, by system calls alone.

Each attempt returns when it succeeded and raises OSError when it was denied. All of them succeed
for a process that has nothing but an account of its own, so each wall can be seen to hold.
"""

import contextlib
import ctypes
import mmap
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

_MSG_FASTOPEN = 0x20000000
_PTRACE_ATTACH = 16
_PTRACE_DETACH = 17
_CLONE_NEWUSER = 0x10000000
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Targets:
    """What is there to be attacked, outside."""

    port: int
    """A TCP port of ::1, where somebody listens."""
    unix: str
    """A stream socket in the file system that everybody may connect to (as D-Bus's)."""
    abstract: str
    """A datagram socket by an abstract name."""
    readable: str
    """A file that everybody may read."""
    writable: str
    """A directory that everybody may write in."""
    victim: int
    """A process of the same account."""
    listener: int
    """The descriptor of a listening socket that was inherited."""
    accepted: int
    """The same of a connection."""


class Intruder:
    """Tries one thing after the other."""

    def __init__(self, targets: Targets) -> None:
        self.targets = targets
        self.outside = ("::1", targets.port)

    def connect(self) -> None:
        with socket.socket(socket.AF_INET6) as sock:
            sock.connect(self.outside)

    def listen(self) -> None:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::", 0))

    def send_datagram(self) -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x", self.outside)

    def reuse_accepted(self) -> None:
        """connect(2) with AF_UNSPEC makes a connected TCP socket as good as new."""
        with socket.socket(fileno=os.dup(self.targets.accepted)) as sock:
            _call("connect", sock.fileno(), ctypes.create_string_buffer(28), 28)
            sock.connect(self.outside)

    def reuse_listener(self) -> None:
        """A listener that was shut down is a new socket, too; TCP Fast Open connects by sending."""
        with socket.socket(fileno=os.dup(self.targets.listener)) as sock:
            with contextlib.suppress(OSError):  # of one that is connecting: undone all the same
                sock.shutdown(socket.SHUT_RDWR)
            sock.sendto(b"x", _MSG_FASTOPEN, self.outside)

    def connect_unix(self) -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(self.targets.unix)

    def send_abstract(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x", f"\0{self.targets.abstract}")

    def read_file(self) -> None:
        Path(self.targets.readable).read_bytes()

    def make_file(self) -> None:
        path = Path(self.targets.writable, f"planted-{os.getpid()}")
        path.write_text("x")
        path.unlink()

    def read_memory(self) -> None:
        Path(f"/proc/{self.targets.victim}/mem").open("rb").close()

    def trace(self) -> None:
        _call("ptrace", _PTRACE_ATTACH, self.targets.victim, None, None)
        os.waitpid(self.targets.victim, 0)
        _call("ptrace", _PTRACE_DETACH, self.targets.victim, None, None)

    def signal(self) -> None:
        os.kill(self.targets.victim, 0)

    def fork(self) -> None:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)

    def make_code(self) -> None:
        everything = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        mmap.mmap(-1, 4096, prot=everything).close()

    def enter_namespace(self) -> None:
        _call("unshare", _CLONE_NEWUSER)


ATTEMPTS: Mapping[str, Callable[[Intruder], None]] = {
    "connect out": Intruder.connect,
    "listen": Intruder.listen,
    "send a datagram": Intruder.send_datagram,
    "connect by an accepted socket": Intruder.reuse_accepted,
    "connect by the listener": Intruder.reuse_listener,
    "connect to a Unix socket": Intruder.connect_unix,
    "send to an abstract socket": Intruder.send_abstract,
    "read a file": Intruder.read_file,
    "make a file": Intruder.make_file,
    "read another's memory": Intruder.read_memory,
    "trace another": Intruder.trace,
    "signal another": Intruder.signal,
    "fork": Intruder.fork,
    "make code": Intruder.make_code,
    "become root of a namespace": Intruder.enter_namespace,
}
"""By name, in this order: some change the process."""


def _call(name: str, *arguments: object) -> None:
    """A function of the C library, whatever ours make of it."""
    if getattr(_LIBC, name)(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def try_all(targets: Targets) -> dict[str, str]:
    """By name: "done", or how it was denied."""
    outcome = {}
    for name, attempt in ATTEMPTS.items():
        try:
            attempt(Intruder(targets))
            outcome[name] = "done"
        except OSError as error:
            outcome[name] = os.strerror(error.errno or 0)
    return outcome


def execution() -> str:
    """The last attempt: returns only if it is denied. `sh` says "executed"."""
    try:
        os.execv("/bin/sh", ["sh", "-c", "echo executed"])  # noqa: S606 - the attempt
    except OSError as error:
        return os.strerror(error.errno or 0)
