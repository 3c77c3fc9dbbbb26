"""Kernel variables below /proc/sys, those of our network namespace."""

from pathlib import Path
from typing import Final

from wg_dynamic.errors import WgDynamicError

PROC_SYS: Final = Path("/proc/sys")


class SysctlError(WgDynamicError):
    """A variable cannot be read or set."""


class Sysctl:
    """sysctl(8), by files; names have dots."""

    def __init__(self, root: Path = PROC_SYS) -> None:
        self._root = root

    def read(self, name: str) -> str:
        """The value, without the end of the line. Raises SysctlError."""
        try:
            return self._path(name).read_text("ascii", errors="replace").strip()
        except OSError as error:
            msg = f"cannot read {name}: {error.strerror}"
            raise SysctlError(msg) from error

    def write(self, name: str, value: str) -> None:
        """Set it. Raises SysctlError."""
        try:
            self._path(name).write_text(f"{value}\n", "ascii")
        except OSError as error:
            msg = f"cannot set {name} to {value}: {error.strerror}"
            raise SysctlError(msg) from error

    def _path(self, name: str) -> Path:
        return self._root.joinpath(*name.split("."))
