"""`/etc/wireguard/INTERFACE.conf` on the disk, read and written as a whole."""

from pathlib import Path
from typing import Final

from wg_dynamic.errors import UsageError
from wg_dynamic.helper.config.file import read_bytes_safely
from wg_dynamic.system.replacing import replace_file

DIRECTORY: Final = Path("/etc/wireguard")
"""Where wg-quick looks."""
_MODE: Final = 0o600


class QuickConf:
    """The file of one interface. Of its bytes those that are no UTF-8 stay, too."""

    def __init__(self, interface: str, directory: Path | None = None) -> None:
        self.path = (directory or DIRECTORY) / f"{interface}.conf"

    @property
    def exists(self) -> bool:
        """Whether there is one."""
        return self.path.exists()

    def read(self) -> str:
        """Its text; '' where there is none.

        Raises UsageError: it cannot be read, or others than root may write to it: wg-quick runs
        commands out of it.
        """
        if not self.exists:
            return ""
        return read_bytes_safely(self.path).decode("utf-8", "surrogateescape")

    def replace(self, old: str, new: str) -> None:
        """Put `new` in the place of `old`, at one stroke, owner and mode kept.

        Raises:
            UsageError: it is not `old` any more: somebody edits it.
            OSError: it cannot be written; it stays as it was.
        """
        if self.read() != old:
            msg = f"{self.path} was changed by somebody else at this moment: nothing was written,"
            msg += " try again"
            raise UsageError(msg)
        replace_file(self.path, new.encode("utf-8", "surrogateescape"), _MODE)
