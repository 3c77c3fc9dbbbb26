"""What a guest starts from: its initramfs, with the modules, scripts and settings in it."""

import lzma
import os
import shlex
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tools.guest_files import File, project_files, with_parents
from tools.guest_kernels import Kernel, KernelError

__all__ = ["Job", "archive", "initramfs", "module_order", "scripts"]

_TOOLS: Final = Path(__file__).parent
_MODULES: Final = ("virtio_pci", "virtio_console", "virtio_rng", "9pnet_virtio", "9p", "overlay")
"""What is needed to reach the machine's files; all else is loaded from there."""

_9P: Final = "trans=virtio,version=9p2000.L,msize=512000"
_DIRECTORY: Final = 0o040755
_FILE: Final = 0o100644
_PROGRAM: Final = 0o100755
_LINK: Final = 0o120777
_END: Final = "TRAILER!!!"


@dataclass(frozen=True, slots=True)
class Job:
    """What a guest is started for."""

    command: Sequence[str]
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    """All of its environment: nothing else is added."""
    shares: Sequence[Path] = ()
    """Directories in which the guest writes to the machine's files."""
    systemd: bool = False
    """Whether systemd is PID 1 and the command one of its units."""
    packages: Sequence[Path] = ()
    """Archives to unpack over the machine's files (tools/guest_packages.py)."""


def scripts(job: Job, kernel: Kernel | None) -> dict[str, bytes]:
    """The files by which a guest knows its job; without a kernel package, for User Mode Linux."""
    return {
        "init": (_TOOLS / "guest_init.sh").read_bytes(),
        "run": (_TOOLS / "guest_run.sh").read_bytes(),
        "settings": _settings(job, kernel).encode(),
        "command": _command(job).encode(),
    }


def initramfs(job: Job, kernel: Kernel, busybox: Path) -> bytes:
    """The archive that QEMU hands to the kernel; its first program is guest_init.sh."""
    order = module_order((kernel.modules / "modules.dep").read_text(), _MODULES)
    files = [
        File("bin", _DIRECTORY),
        File("bin/busybox", _PROGRAM, busybox.read_bytes()),
        File("bin/sh", _LINK, b"busybox"),
        File("init", _PROGRAM, b"#!/bin/sh\nexec /guest/init\n"),
        File("guest", _DIRECTORY),
        File("guest/modules", _DIRECTORY),
        File(
            "guest/modules/order", _FILE, "".join(f"{Path(each).stem}\n" for each in order).encode()
        ),
    ]
    for path in order:
        name = f"guest/modules/{Path(path).stem}"
        files.append(File(name, _FILE, _module(kernel.modules / path)))
    for name, content in scripts(job, kernel).items():
        files.append(File(f"guest/{name}", _PROGRAM, content))
    files += with_parents(project_files(), "hot")
    return archive(files)


def module_order(dependencies: str, names: Iterable[str]) -> list[str]:
    """The files to load for these modules, each after those that it needs.

    Args:
        dependencies: the text of modules.dep: each line has all that a module needs, nearest first.
        names: modules; one that is built into the kernel is not listed and needs no loading.
    """
    needed: dict[str, list[str]] = {}
    for line in dependencies.splitlines():
        path, _, others = line.partition(":")
        needed[_module_name(path)] = [*reversed(others.split()), path]
    order: dict[str, None] = {}
    for name in names:
        order.update(dict.fromkeys(needed.get(_module_name(name), ())))
    return list(order)


def archive(files: Iterable[File]) -> bytes:
    """Files in the format of an initramfs, all of them root's.

    It is cpio's "newc" (Documentation/driver-api/early-userspace/buffer-format.rst of the kernel).
    """
    written = bytearray()
    for number, file in enumerate([*files, File(_END, 0)], start=1):
        name = os.fsencode(file.path) + b"\0"
        links, size = 2 if stat.S_ISDIR(file.mode) else 1, len(file.content)
        fields = (number, file.mode, 0, 0, links, file.modified, size, 0, 0, 0, 0, len(name), 0)
        header = b"070701" + b"".join(b"%08X" % value for value in fields) + name
        for part in (header, file.content):
            written += part + bytes(-(len(written) + len(part)) % 4)
    return bytes(written)


def _settings(job: Job, kernel: Kernel | None) -> str:
    """Shell lines; the scripts say which they use."""
    values = {
        "release": kernel.release if kernel else "",
        "modules": str(kernel.modules) if kernel else "",
        "systemd": "yes" if job.systemd else "",
    }
    lines = [f"{name}={shlex.quote(value)}" for name, value in values.items()]
    lines += [
        "mount_machine() {",
        f'mount -t 9p -o ro,{_9P},cache=loose,access=any machine "$1"',
        "}",
    ]
    lines += ["unpack_packages() {", ":"]
    lines += [f"tar -xf {shlex.quote(f'.{archive}')}" for archive in job.packages]
    lines += ["}", "mount_shares() {", ":"]
    for number, directory in enumerate(job.shares):
        place = shlex.quote(f".{directory}")
        lines.append(f"mkdir -p {place}")
        if kernel:
            lines.append(f"mount -t 9p -o {_9P},access=user share{number} {place}")
        else:
            lines.append(f"mount -t hostfs -o {shlex.quote(str(directory))} hostfs {place}")
    return "\n".join([*lines, "}", ""])


def _command(job: Job) -> str:
    exports = [f"export {name}={shlex.quote(value)}" for name, value in job.environment.items()]
    entered = f"cd {shlex.quote(str(job.directory))} && exec {shlex.join(job.command)}"
    return "\n".join([*exports, entered, ""])


def _module_name(path: str) -> str:
    return Path(path).name.partition(".ko")[0].replace("-", "_")


def _module(path: Path) -> bytes:
    content = path.read_bytes()
    match path.suffix:
        case ".ko":
            return content
        case ".xz":
            return lzma.decompress(content)
        case suffix:
            msg = f"{path.name}: got a module compressed as {suffix}, expected .xz or none"
            raise KernelError(msg)
