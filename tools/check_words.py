"""Fail when a file names a place that means nothing to who reads the repository elsewhere.

Those are hosts of package registries (whoever installs has their own mirrors; see
docs/decisions/0001-how-we-record-and-lock.md) and directories of machines that we work on.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tools import repository

# In two halves each, so that this file passes its own check.
WORDS: Final = tuple(
    "".join(halves)
    for halves in [
        ("/wo", "rk/"),
        ("/opt/", "pypi"),
        ("/opt/", "wheels"),
        ("kernel-", "lab"),
        ("pypi", ".org"),
        ("python", "hosted.org"),
        ("deb.", "debian.org"),
        ("ftp.", "debian.org"),
        ("security.", "debian.org"),
        ("snapshot.", "debian.org"),
        ("registry.", "npmjs"),
        ("crates", ".io"),
        ("proxy.", "golang.org"),
        ("index.", "docker.io"),
    ]
)


def complaints(name: Path, content: str) -> Iterator[str]:
    """One line for every line of `content` with a forbidden word."""
    for number, line in enumerate(content.splitlines(), start=1):
        for word in WORDS:
            if word in line.lower():
                yield f"{name}:{number}: names {word!r}, which means nothing elsewhere"


def main() -> int:
    """Check the whole repository."""
    found = [
        complaint
        for name in repository.files()
        for complaint in complaints(name, repository.text(repository.ROOT / name) or "")
    ]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
