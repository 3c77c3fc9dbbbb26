"""Debian's kernels, fetched with apt and unpacked in a cache: nothing is installed.

    kernel = find("6.1")  # fetched if it is not there yet
    kernel.image, kernel.modules

`6.1` is the kernel of Debian 12, `newest` the newest that the archive has for this release of
Debian, backports included. Where to fetch from is the machine's setting: its own sources of Debian
are read and the backports taken from the same mirror. apt works on lists of its own below the
cache, so the machine's are not touched, and checks signatures as always.

The full flavour is taken, as servers run it, and because the cloud flavour has no 9p.
"""

import contextlib
import fcntl
import lzma
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = [
    "NAMES",
    "Apt",
    "Kernel",
    "KernelError",
    "busybox",
    "find",
    "locked_cache",
    "prepare",
    "run",
]

NAMES: Final = ("6.1", "newest")

_META_PACKAGE: Final = "linux-image-amd64"
_BUSYBOX_PACKAGE: Final = "busybox-static"
_TARGET: Final = "$(RELEASE) $(COMPONENT) $(REPO_URI)"
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_ELF_MAGIC: Final = b"\x7fELF"


class KernelError(Exception):
    """A kernel could not be fetched or is not what a guest needs."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """An unpacked kernel package."""

    release: str
    """As `uname -r` prints it."""
    image: Path
    """What QEMU boots: the ELF file where it could be unpacked, else the package's vmlinuz."""
    modules: Path
    """Its modules, as /lib/modules/RELEASE is to be, with modules.dep."""


def cache_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Where kernels are kept; the same for all checkouts of a user."""
    base = environment.get("XDG_CACHE_HOME") or f"{environment.get('HOME', '/root')}/.cache"
    return Path(base) / "wg-dynamic" / "kernels"


def find(name: str) -> Kernel:
    """The kernel of this name, fetched if the cache has none; `prepare` looks for a newer one."""
    with locked_cache() as cache:
        if not (cache / name).exists():
            _fetch_kernels(cache, [name])
        return _read(cache / name)


def busybox() -> Path:
    """A busybox that needs no library, for the time before the root file system is there."""
    with locked_cache() as cache:
        program = cache / _BUSYBOX_PACKAGE / "bin/busybox"
        if not program.exists():
            apt = Apt(cache / "apt")
            apt.update()
            _unpack(apt, _BUSYBOX_PACKAGE, cache / _BUSYBOX_PACKAGE)
        return program


def prepare() -> list[Kernel]:
    """Fetch what all guests need, and newer kernels if there are any."""
    with locked_cache() as cache:
        _fetch_kernels(cache, NAMES)
        kernels = [_read(cache / name) for name in NAMES]
    busybox()
    return kernels


def debian_sources(targets: Iterable[str], codename: str) -> str:
    """The lines for apt: the machine's own suites of this release, and its backports.

    Args:
        targets: what apt fetches on this machine, each as "SUITE COMPONENT URI".
        codename: the release, such as bookworm.
    """
    found: dict[str, str] = {}
    for target in targets:
        suite, component, uri = target.split(maxsplit=2)
        if component == "main" and suite.partition("-")[0] == codename:
            found.setdefault(suite, uri)
    if codename not in found:
        msg = f"apt has no source of Debian {codename} on this machine"
        raise KernelError(msg)
    found.setdefault(f"{codename}-backports", found[codename])
    return "".join(f"deb {uri} {suite} main\n" for suite, uri in found.items())


def image_packages(records: str) -> list[tuple[str, str]]:
    """What `apt-cache show` of the meta package says: each version, and the image it asks for."""
    found = []
    for record in records.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in record.splitlines() if ": " in line)
        package = fields.get("Depends", "").split(" ")[0]
        if package.startswith("linux-image-"):
            found.append((fields["Version"], package))
    return found


def choose(images: Iterable[tuple[str, str]], name: str) -> str:
    """The package that a name of a kernel means, of those that `image_packages` has found."""
    newest: tuple[str, str] | None = None
    for version, package in images:
        wanted = name == "newest" or version.startswith(f"{name}.")
        if wanted and (newest is None or _is_newer(version, newest[0])):
            newest = version, package
    if newest is None:
        msg = f"no {_META_PACKAGE} {name} in the archive of this machine's Debian"
        raise KernelError(msg)
    return newest[1]


def vmlinux(image: bytes) -> bytes | None:
    """The ELF file inside a vmlinuz, or None when it cannot be unpacked here.

    Unpacking it takes QEMU's emulated processor several seconds of each start. The fields are
    those of the kernel's Documentation/arch/x86/boot.rst.
    """
    sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    payload = image[start : start + length - 4]  # without its size, which stands at the end
    with contextlib.suppress(KernelError, lzma.LZMAError):
        content = _unzstd(payload) if payload.startswith(_ZSTD_MAGIC) else lzma.decompress(payload)
        return content if content.startswith(_ELF_MAGIC) else None
    return None


class Apt:
    """apt with sources and lists of its own below `directory`."""

    def __init__(self, directory: Path) -> None:
        self._sources = directory / "sources.list"
        for name in ("lists/partial", "cache/archives/partial"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        settings = {
            "Dir::Etc::SourceList": self._sources,
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::Lists": directory / "lists",
            "Dir::Cache": directory / "cache",
            "APT::Sandbox::User": "root",  # the cache may be where user _apt cannot go
        }
        self._options = [
            word for key, value in settings.items() for word in ("-o", f"{key}={value}")
        ]

    def update(self) -> None:
        """Fetch the lists. A suite that is not to be had is passed over: others may do."""
        targets = run(["apt-get", "indextargets", "--format", _TARGET, "Created-By: Packages"])
        self._sources.write_text(debian_sources(targets.splitlines(), _codename()))
        with contextlib.suppress(KernelError):
            self._run("apt-get", "-qq", "update")

    def images(self) -> list[tuple[str, str]]:
        """All versions of the kernel's meta package, and the image package of each."""
        return image_packages(self._run("apt-cache", "show", _META_PACKAGE))

    def download(self, package: str, directory: Path) -> Path:
        """Fetch a package, checked against the archive's signature."""
        self._run("apt-get", "-qq", "download", package, cwd=directory)
        (file,) = directory.glob("*.deb")
        return file

    def installation(self, packages: Sequence[str]) -> str:
        """What `apt-get --simulate install` says that it would do on this machine."""
        quiet = ("--simulate", "--no-install-recommends")
        return self._run("apt-get", "-qq", *quiet, "install", *packages)

    def _run(self, program: str, *arguments: str, cwd: Path | None = None) -> str:
        return run([program, *self._options, *arguments], cwd)


def _fetch_kernels(cache: Path, names: Iterable[str]) -> None:
    apt = Apt(cache / "apt")
    apt.update()
    images = apt.images()
    for name in names:
        package = choose(images, name)
        directory = cache / package
        if not directory.exists():
            print(f"guest: fetching {package}", file=sys.stderr)
            _unpack(apt, package, directory)
        link = cache / f"{name}.new"
        link.unlink(missing_ok=True)
        link.symlink_to(directory.name)
        link.replace(cache / name)


def _is_newer(version: str, other: str) -> bool:
    command = ["dpkg", "--compare-versions", version, "gt", other]
    return subprocess.run(command, check=False).returncode == 0


def _unpack(apt: Apt, package: str, directory: Path) -> None:
    """Put the files of a package into `directory`, which is there whole or not at all."""
    with tempfile.TemporaryDirectory(dir=directory.parent) as scratch:
        files = Path(scratch) / "files"
        run(["dpkg-deb", "-x", str(apt.download(package, Path(scratch))), str(files)])
        for modules in _module_directories(files):
            run(["/sbin/depmod", "-b", str(modules.parents[2]), modules.name])
            _unpack_image(files / f"boot/vmlinuz-{modules.name}")
        files.rename(directory)


def _unpack_image(image: Path) -> None:
    content = vmlinux(image.read_bytes())
    if content is not None:
        image.with_name("vmlinux").write_bytes(content)


def _module_directories(files: Path) -> list[Path]:
    return [*files.glob("lib/modules/*"), *files.glob("usr/lib/modules/*")]


def _read(link: Path) -> Kernel:
    directory = link.resolve()
    (modules,) = _module_directories(directory)
    unpacked = directory / "boot/vmlinux"
    image = unpacked if unpacked.exists() else directory / f"boot/vmlinuz-{modules.name}"
    return Kernel(modules.name, image, modules)


def _codename() -> str:
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    msg = "/etc/os-release names no release: is this Debian?"
    raise KernelError(msg)


@contextlib.contextmanager
def locked_cache() -> Iterator[Path]:
    """The cache of kernels, for us alone: two at once would fetch the same."""
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield cache


def _unzstd(content: bytes) -> bytes:
    if shutil.which("zstd") is None:
        msg = "zstd is not there"
        raise KernelError(msg)
    done = subprocess.run(["zstd", "-dqc"], input=content, capture_output=True, check=False)
    return done.stdout


def run(command: list[str], cwd: Path | None = None) -> str:
    """Run a command and return what it printed; KernelError when it cannot be run or fails."""
    if shutil.which(command[0]) is None:
        msg = f"{command[0]} is not there"
        raise KernelError(msg)
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        msg = f"{' '.join(command)} ended with {done.returncode}\n{done.stderr}"
        raise KernelError(msg)
    return done.stdout
