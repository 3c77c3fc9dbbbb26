"""Run a command as root on a kernel of its own, with WireGuard, on any machine with QEMU.

    python -m tools.guest --kernel 6.1 -- .venv/bin/python -m pytest -m netns tests/netns
    python -m tools.guest --kernel newest --systemd --package udev -- systemctl status
    python -m tools.guest --prepare

The guest is a Debian kernel under QEMU's own emulation of a processor: neither KVM nor an image
of a disk is needed. The machine's root file system is the guest's, read-only below an overlay
in memory: every file is there under the same path, and what the command writes is gone afterwards,
but below the directories that --rw names. --package adds packages of Debian that the machine does
not have, for the guest alone (tools/guest_packages.py). The guest has no network but `lo`.

The command's output is passed on while it runs, stdout and stderr apart, and its exit status is
that of this program. It arrives by a line that the guest's init writes when the command has ended,
so a guest that panics, hangs or is killed cannot pass: the status is 125 then, or 124 when the time
is up, and the guest's console is shown.

The command's environment is HOME, LANG, PATH, all of WG_DYNAMIC_*, what --env names, and
WG_DYNAMIC_GUEST, the name of the kernel. Needs root and the packages qemu-system-x86 and kmod; the
kernels come with apt and are not installed (tools/guest_kernels.py). docs/decisions/0007 says why
all this is as it is.
"""

import argparse
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools import guest_boot, guest_kernels, guest_packages
from tools.guest_boot import Job
from tools.guest_kernels import KernelError
from tools.guest_machine import PORTS, qemu, uml
from tools.processes import exit_on_term

__all__ = ["DIED", "TIMED_OUT", "Outcome", "Progress", "environment", "main", "watch"]

TIMED_OUT: Final = 124  # as timeout(1) has it
DIED: Final = 125

_START_TIME: Final = 180.0
"""Seconds until the command runs; it takes four on a quiet machine, with systemd twenty."""
_END_TIME: Final = 10.0
"""Seconds to power off once the command has ended."""
_ESCAPE: Final = re.compile(r"\x1b(\[[0-9;]*)?.")
"""What makes colours on a terminal."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a guest ended."""

    status: int
    """The command's exit status, TIMED_OUT or DIED."""
    failure: str = ""
    """What became of the guest, if it is not the command that ended."""


class Progress:
    """What the guest reported on its status port: "started", and at the end "ended STATUS"."""

    def __init__(self) -> None:
        self.started_at: float | None = None
        self.ended_at: float | None = None
        self.status: int | None = None
        self._text = b""

    def take(self, data: bytes, now: float) -> None:
        """Read more of what it reported."""
        self._text += data
        *lines, self._text = self._text.split(b"\n")
        for line in lines:
            match line.split():
                case [b"started"] if self.started_at is None:
                    self.started_at = now
                case [b"ended", status] if self.started_at is not None and status.isdigit():
                    self.ended_at, self.status = now, int(status)
                case _:
                    pass  # not of guest_run.sh: proves nothing

    def deadline(self, began_at: float, timeout: float) -> float:
        """When to wait no longer."""
        if self.ended_at is not None:
            return self.ended_at + _END_TIME
        if self.started_at is not None:
            return self.started_at + timeout
        return began_at + _START_TIME

    def outcome(self, *, alive: bool) -> Outcome:
        """How the guest ended, now that it is gone or, if `alive`, nothing came in time."""
        if self.status is not None:
            return Outcome(self.status)
        stage = "while the command ran" if self.started_at is not None else "before the command ran"
        if alive:
            return Outcome(TIMED_OUT, f"the time was up {stage}")
        return Outcome(DIED, f"the guest died {stage}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the arguments, run the guest, and show its console if it failed."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not options.command and not options.prepare:
        parser.error("a command is needed, or --prepare")
    signal.signal(signal.SIGTERM, exit_on_term)
    try:
        if options.prepare:
            for each in guest_kernels.prepare():
                print(f"guest: {each.release} is ready", file=sys.stderr)
        return _run(options) if options.command else 0
    except (KernelError, FileNotFoundError) as error:
        print(f"guest: {error}", file=sys.stderr)
        return DIED
    except BrokenPipeError:  # who reads our output has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def environment(
    named: Sequence[str], kernel: str, ours: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The command's environment; `named` are the arguments of --env."""
    passed_on = {name: value for name, value in ours.items() if name.startswith("WG_DYNAMIC_")}
    for each in named:
        name, given, value = each.partition("=")
        if given or name in ours:
            passed_on[name] = value if given else ours[name]
    return {
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        **passed_on,
        "WG_DYNAMIC_GUEST": kernel,
    }


def watch(
    ports: Mapping[str, socket.socket],
    timeout: float,
    write: Callable[[str, bytes], None],
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Pass the guest's output on until it is gone, and say how it ended.

    Args:
        ports: our end of each port.
        timeout: seconds that the command may run.
        write: takes what came in on port "out" or "err".
        clock: gives the time.
    """
    progress, began_at = Progress(), clock()
    with selectors.DefaultSelector() as selector:
        for name, port in ports.items():
            selector.register(port, selectors.EVENT_READ, name)
        while selector.get_map():
            left = progress.deadline(began_at, timeout) - clock()
            ready = selector.select(left) if left > 0 else []
            if not ready:
                return progress.outcome(alive=True)
            for key, _ in ready:
                data = os.read(key.fd, 65536)
                if not data:
                    selector.unregister(key.fd)
                elif key.data == "status":
                    progress.take(data, clock())
                else:
                    write(key.data, data)
    return progress.outcome(alive=False)


def _run(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="wg-dynamic-guest-") as name:
        began_at = time.monotonic()
        outcome = _boot(options, Path(name))
        if outcome.failure or options.verbose:
            text = (Path(name) / "console").read_text(errors="replace")
            for line in filter(str.strip, _ESCAPE.sub("", text).splitlines()):
                print(f"console: {line}", file=sys.stderr)
            print(f"guest: {time.monotonic() - began_at:.1f} s in all", file=sys.stderr)
    if outcome.failure:
        print(f"guest: {options.uml or options.kernel}: {outcome.failure}", file=sys.stderr)
    return outcome.status


def _boot(options: argparse.Namespace, directory: Path) -> Outcome:
    shares = [path.resolve() for path in options.rw]
    for share in shares:
        share.mkdir(parents=True, exist_ok=True)
    kernel = str(options.uml.name if options.uml else options.kernel)
    job = Job(
        options.command,
        Path.cwd(),
        environment(options.env, kernel),
        shares,
        systemd=options.systemd,
        packages=guest_packages.find(options.package),
    )
    ours, theirs = {}, {}
    for name in PORTS:
        ours[name], theirs[name] = socket.socketpair()
    try:
        machine = _machine(options, job, directory, {n: end.fileno() for n, end in theirs.items()})
        with (directory / "console").open("ab") as console:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *machine],  # it ends with us
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                pass_fds=[end.fileno() for end in theirs.values()],
                start_new_session=True,
            )
        try:
            for end in theirs.values():
                end.close()
            return watch(ours, options.timeout, _write)
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # not waited for yet: the number is its own
            process.wait()
    finally:
        for end in (*ours.values(), *theirs.values()):
            end.close()


def _machine(
    options: argparse.Namespace, job: Job, directory: Path, ports: Mapping[str, int]
) -> list[str]:
    """Write what the guest starts from into `directory`, and return what starts it."""
    if options.uml:
        for name, content in guest_boot.scripts(job, None).items():
            (directory / name).write_bytes(content)
            (directory / name).chmod(0o755)
        return uml(options.uml.resolve(), directory, ports, memory=options.memory)
    kernel = guest_kernels.find(options.kernel)
    archive = directory / "initramfs"
    archive.write_bytes(guest_boot.initramfs(job, kernel, guest_kernels.busybox()))
    console = directory / "console"
    return qemu(kernel.image, archive, console, ports, job.shares, memory=options.memory)


def _write(name: str, data: bytes) -> None:
    stream = sys.stdout if name == "out" else sys.stderr
    stream.buffer.write(data)
    stream.buffer.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.guest",
        description="Run a command as root on a kernel of its own, with WireGuard.",
    )
    add = parser.add_argument
    add("--prepare", action="store_true", help="fetch the kernels, newer ones if there are any")
    add("--kernel", choices=guest_kernels.NAMES, default="6.1", help="Debian's kernel (6.1)")
    add("--uml", type=Path, metavar="FILE", help="a kernel of User Mode Linux instead")
    add("--systemd", action="store_true", help="systemd is PID 1, the command one of its units")
    add(
        "--timeout",
        type=float,
        default=600,
        metavar="S",
        help="seconds that the command may run (600)",
    )
    add("--memory", type=int, default=1536, metavar="MB", help="the guest's memory (1536)")
    add("--env", action="append", default=[], metavar="NAME[=VALUE]", help="pass on a variable")
    add("--rw", type=Path, action="append", default=[], metavar="DIR", help="may be written to")
    add("--package", action="append", default=[], metavar="NAME", help="of Debian, for the guest")
    add("-v", "--verbose", action="store_true", help="show the console and the time always")
    add("command", nargs="*", metavar="COMMAND", help="after --")
    return parser


if __name__ == "__main__":
    sys.exit(main())
