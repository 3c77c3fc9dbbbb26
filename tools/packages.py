"""Debian packages unpacked in a cache, for tests that must not install them.

    lower = unpacked("openresolv")
    lower / "usr/sbin/resolvconf"

apt fetches them, checked as always, from wherever this machine's sources say; the scripts of a
package are not run. Files below /bin, /lib and /sbin lie below /usr, where Debian 12 has them.
"""

import fcntl
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Final

__all__ = ["PackageError", "unpacked"]

_MERGED: Final = ("bin", "lib", "sbin")


class PackageError(Exception):
    """A package could not be fetched."""


def unpacked(package: str) -> Path:
    """The directory with its files, fetched if it is not there yet."""
    base = os.environ.get("XDG_CACHE_HOME") or f"{os.environ.get('HOME', '/root')}/.cache"
    cache = Path(base) / "wg-dynamic" / "unpacked"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two at once would fetch the same
        directory = cache / package
        if not directory.exists():
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                files = Path(scratch) / "files"
                _run(["dpkg-deb", "-x", str(_fetch(package, Path(scratch))), str(files)])
                merge(files)
                files.rename(directory)
    return directory


def merge(files: Path) -> None:
    """Move what lies below /bin, /lib and /sbin to where it is on a merged system."""
    for name in _MERGED:
        source = files / name
        if source.is_dir():
            (files / "usr").mkdir(exist_ok=True)
            _run(["cp", "-a", f"{source}/.", str(files / "usr" / name)])
            _run(["rm", "-r", str(source)])


def _fetch(package: str, directory: Path) -> Path:
    command = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package]
    try:
        _run(command, directory)
    except PackageError:  # no lists yet
        _run(["apt-get", "-qq", "update"])
        _run(command, directory)
    (file,) = directory.glob("*.deb")
    return file


def _run(command: list[str], cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        msg = f"{' '.join(command)} ended with {done.returncode}\n{done.stderr}"
        raise PackageError(msg)
