"""A directory for targets that read files: in memory where there is one, gone at the end."""

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import Final

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a directory of our own there


def make_scratch() -> Path:
    """A new directory that nobody else may enter."""
    directory = tempfile.mkdtemp(
        prefix="wg-dynamic-fuzz-", dir=_MEMORY if _MEMORY.is_dir() else None
    )
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return Path(directory)
