"""Where the files of this repository are, for the checks beside this module."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]

_SHOWN: Final = frozenset({".ci", ".github"})
_MADE: Final = frozenset({"__pycache__", "build", "dist", "htmlcov"})


def files(root: Path = ROOT) -> Iterator[Path]:
    """The files below `root`, relative to it, sorted, without what tools leave behind.

    Does not ask git: the checks also hold in an exported tree.
    """
    for directory, names, found in os.walk(root):
        names[:] = sorted(
            name
            for name in names
            if name not in _MADE and (not name.startswith(".") or name in _SHOWN)
        )
        for name in sorted(found):
            if not name.startswith(".coverage") and name != ".bootstrap.lock":
                yield (Path(directory) / name).relative_to(root)


def text(path: Path) -> str | None:
    """The content of a file, or None when it is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None
