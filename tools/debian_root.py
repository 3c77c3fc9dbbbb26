"""A clean Debian 12 in a directory, for tests that install a package into it.

    with fresh_root(Path("/tmp/x")) as root:
        root.run("apt-get", "install", "-y", "./wg-dynamic.deb")

debootstrap makes it once and it is kept in the cache, with the packages that were fetched; where
from is the machine's own setting. Commands run in a mount namespace of their own, so nothing stays
mounted, whatever ends them.
"""

import contextlib
import fcntl
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

CODENAME: Final = "bookworm"
VARIANT: Final = "minbase"
ARCHIVES: Final = "var/cache/apt/archives"
_TARGET: Final = "$(RELEASE) $(COMPONENT) $(REPO_URI)"
_MACHINE: Final = ("/etc/resolv.conf", "/etc/hosts", "/etc/apt/apt.conf.d")
"""What of the machine's own says how the archive is reached."""
_SETTINGS: Final = {
    # Of wireguard-tools', a kernel: tests run on the machine's own.
    "etc/apt/apt.conf.d/90test": 'APT::Install-Recommends "false";\n',
    "etc/dpkg/dpkg.cfg.d/90test": "force-unsafe-io\nno-debsig\n",  # it need not last
}

# $1: the root, $2: where fetched packages are kept; then the command.
_ENTER: Final = f"""
set -e
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount --bind "$2" "$1/{ARCHIVES}"
root=$1
shift 2
exec chroot "$root" "$@"
"""


class RootError(Exception):
    """A root could not be made, or a command in it failed."""


class Root:
    """A directory with a Debian."""

    def __init__(self, path: Path, archives: Path) -> None:
        self.path = path
        self._archives = archives

    def run(self, *command: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a command in it, with the machine's network. Raises RootError."""
        entered = ["unshare", "--mount", "sh", "-c", _ENTER, "enter", str(self.path)]
        return _run([*entered, str(self._archives), *command], check=check)


@contextlib.contextmanager
def fresh_root(directory: Path) -> Iterator[Root]:
    """A copy of the clean one, at `directory`, which is removed afterwards."""
    cache = _cache()
    base = _base(cache)
    try:
        _run(["cp", "-a", "--reflink=auto", str(base), str(directory)])
        for name, text in _SETTINGS.items():
            (directory / name).write_text(text)
        yield Root(directory, cache / "archives")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def sources(targets: Sequence[str]) -> str:
    """The machine's own sources of this release, for the root's apt. Raises RootError.

    `targets` is what apt fetches on this machine, each as "SUITE COMPONENT URI".
    """
    found: dict[str, str] = {}
    for target in targets:
        suite, component, uri = target.split(maxsplit=2)
        known = suite in (CODENAME, f"{CODENAME}-security", f"{CODENAME}-updates")
        if component == "main" and known:
            found.setdefault(suite, uri)
    if CODENAME not in found:
        msg = f"apt has no source of Debian {CODENAME} on this machine"
        raise RootError(msg)
    return "".join(f"deb {uri} {suite} main\n" for suite, uri in found.items())


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or f"{os.environ.get('HOME', '/root')}/.cache"
    cache = Path(base) / "wg-dynamic" / "debian"
    (cache / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    return cache


def _base(cache: Path) -> Path:
    """The clean one, made if it is not there yet."""
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        base = cache / f"{CODENAME}-{VARIANT}"
        if not base.exists():
            draft = cache / "draft"
            shutil.rmtree(draft, ignore_errors=True)
            _make(draft)
            draft.rename(base)
    return base


def _make(directory: Path) -> None:
    listed = _run(["apt-get", "indextargets", "--format", _TARGET, "Created-By: Packages"]).stdout
    text = sources(listed.splitlines())
    mirror = text.split()[1]
    _run(["debootstrap", f"--variant={VARIANT}", CODENAME, str(directory), mirror])
    (directory / "etc/apt/sources.list").write_text(text)
    for name in _MACHINE:
        source, target = Path(name), directory / name[1:]
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy(source, target)


def _run(command: Sequence[str], *, check: bool = True) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
        check=False,
    )
    if check and done.returncode != 0:
        said = f"{done.stdout[-2000:]}{done.stderr[-4000:]}"
        msg = f"{shlex.join(command)} ended with {done.returncode}\n{said}"
        raise RootError(msg)
    return done
