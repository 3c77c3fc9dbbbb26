"""Debian packages that a guest has beside what the machine has: nothing is installed.

    layers = find(["udev", "systemd-resolved"])

They are what `apt-get install` would bring to this machine, packages that those need in another
version than the machine has included. Of two that may not be installed together, as are
systemd-resolved and resolvconf, the later one's files win. Each is fetched with apt, as the kernels
are, and kept in the cache as an archive, which the guest's init unpacks over the machine's files.
No script of a package is run: accounts come by sysusers.d, links and settings are for the test to
make.
"""

import re
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tools.guest_kernels import Apt, KernelError, locked_cache, run

__all__ = ["find", "merge", "merged", "planned"]

_PLANNED: Final = re.compile(r"^Inst (\S+) (?:\[[^]]*\] )?\((\S+) .*\[(\w+)\]\)", re.M)
_MERGED: Final = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
"""Symbolic links to directories of the same name below /usr, on every Debian 12."""


def find(packages: Sequence[str]) -> list[Path]:
    """The archives to unpack for these packages, fetched if the cache does not have them yet."""
    if not packages:
        return []
    with locked_cache() as kernels:
        cache = kernels.parent / "packages"
        cache.mkdir(exist_ok=True)
        apt = Apt(kernels / "apt")
        return [
            _archive(apt, cache, *each)
            for each in dict.fromkeys(p for name in packages for p in planned(_plan(apt, name)))
        ]


def _plan(apt: Apt, package: str) -> str:
    """Each on its own: what may not be installed together can lie in one guest."""
    try:
        return apt.installation([package])
    except KernelError:  # no lists yet
        apt.update()
        return apt.installation([package])


def planned(text: str) -> list[tuple[str, str, str]]:
    """Name, version and architecture of what `apt-get --simulate install` would unpack."""
    return _PLANNED.findall(text)


def merged(name: str) -> str:
    """Where a package's file lies on a machine whose /bin, /lib and /sbin are links into /usr."""
    path = name.removeprefix(".").lstrip("/")
    return f"usr/{path}" if path.split("/")[0] in _MERGED else path


def _archive(apt: Apt, cache: Path, name: str, version: str, architecture: str) -> Path:
    archive = cache / f"{name}_{version.replace(':', '%3a')}_{architecture}.tar"
    if not archive.exists():
        print(f"guest: fetching {name} {version}", file=sys.stderr)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            package = apt.download(f"{name}:{architecture}={version}", Path(scratch))
            files = Path(scratch) / "files.tar"
            run(["sh", "-c", 'dpkg-deb --fsys-tarfile "$1" >"$2"', "sh", str(package), str(files)])
            made = Path(scratch) / "merged.tar"
            merge(files, made)
            made.rename(archive)
    return archive


def merge(source: Path, target: Path) -> None:
    """Copy an archive without its directories' names that are links on the machine."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for member in old:
            member.name = merged(member.name)
            if member.islnk():
                member.linkname = merged(member.linkname)
            if member.name and not (member.isdir() and member.name == "usr"):
                new.addfile(member, old.extractfile(member) if member.isreg() else None)
