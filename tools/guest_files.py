"""Files that a guest gets in memory, above the machine's: those that tests open most.

Each opening of a file over 9p costs three round trips between the guest and QEMU, about a
millisecond each under emulation, and a start of Python opens hundreds of files. What is in
memory costs a tenth of it. It is only a shortcut: what is not here comes over 9p as ever.
"""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["File", "libraries", "project_files", "with_parents"]


class File(NamedTuple):
    """A file, directory or symbolic link for an archive."""

    path: str
    mode: int
    content: bytes = b""
    """Where it leads to, for a symbolic link."""
    modified: int = 0
    """Seconds since the epoch. Python takes a compiled file only if the source's time is right."""


_REPOSITORY: Final = Path(__file__).parents[1]
_PROGRAMS: Final = (
    *("bash", "cat", "env", "id", "ip", "mkdir", "mount", "nft", "nsenter", "ping", "setpriv"),
    *("sh", "sleep", "true", "unshare", "wg"),
)
_LARGEST: Final = 8 << 20
"""Bytes of a file that is still worth a place in memory: an interpreter is."""
_LEFT_OUT: Final = frozenset(
    [
        *("config-3.11-x86_64-linux-gnu", "distutils", "ensurepip", "idlelib", "lib2to3"),
        *("pydoc_data", "test", "tkinter", "turtledemo", "dist-packages"),
        *("grimp", "hatchling", "importlinter", "mypy", "mypyc", "pip", "pkg_resources", "rich"),
        *("setuptools", "codespell_lib", "ast_serialize", "librt", "click", "lexers", ".git"),
    ]
)
"""Directories that no test in a guest imports from."""
_ASK_PYTHON: Final = (
    "import os, sys, sysconfig\n"
    "print(sysconfig.get_path('stdlib'))\n"
    "print(sysconfig.get_path('purelib'))\n"
    "print(os.path.realpath(sys.executable))\n"
)


def project_files() -> list[Path]:
    """The checkout's own code, its interpreter with what is installed there, and the tools used."""
    found = [path for name in ("src", "tests", "tools") for path in _below(_REPOSITORY / name)]
    programs = [Path(each) for name in _PROGRAMS if (each := shutil.which(name))]
    python = _REPOSITORY / ".venv/bin/python"
    if python.exists():
        stdlib, packages, program = _output([str(python), "-Ic", _ASK_PYTHON]).split("\n")[:3]
        found += [*_below(Path(stdlib)), *_below(Path(packages))]
        programs.append(Path(program))
    for program_path in programs:
        found += [program_path, *libraries(_output(["ldd", str(program_path)]))]
    return found


def libraries(printed: str) -> list[Path]:
    """The files that ldd(1) names."""
    words = [word for line in printed.splitlines() for word in line.split()]
    return [Path(word) for word in words if word.startswith("/")]


def with_parents(paths: Iterable[Path], below: str) -> Iterator[File]:
    """Each file with its mode and content, after the directories that it lies in, once.

    A symbolic link on the way, as /bin is one, is followed first, so that no layer turns it into a
    directory; a link to a file comes along with that file. What is not a file, or too large to be
    worth it, is passed over.

    Args:
        paths: absolute.
        below: where they shall lie in the archive, such as "hot".
    """
    seen: set[Path] = set()
    for path in paths:
        place = path.parent.resolve() / path.name
        for each in dict.fromkeys([place, place.resolve()]):
            if each in seen or not each.is_file() or each.stat().st_size > _LARGEST:
                continue
            for directory in reversed(each.parents):
                if directory not in seen:
                    seen.add(directory)
                    name = f"{below}{directory}".rstrip("/")
                    yield File(name, directory.stat().st_mode)
            seen.add(each)
            status = each.lstat()
            link = stat.S_ISLNK(status.st_mode)
            content = os.readlink(each).encode() if link else each.read_bytes()
            yield File(f"{below}{each}", status.st_mode, content, int(status.st_mtime))


def _below(directory: Path) -> Iterator[Path]:
    for root, directories, files in os.walk(directory):
        directories[:] = sorted(set(directories) - _LEFT_OUT)
        yield from (Path(root) / name for name in sorted(files))


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
