"""The administration socket: made by root, for root and one group, served by the network process.

It lies in a directory of its own, `/run/wg-dynamic/admin/nCOOKIE-IFINDEX`, root's, and the group's
to enter: so nobody else reaches it, however a system treats the permissions of a socket itself. The
directories of the ledger and of `--stop` stay root's alone.
"""

import contextlib
import grp
import os
import socket
from pathlib import Path
from typing import Final

from wg_dynamic.errors import ConfigError
from wg_dynamic.system.runtime import make_own_directory

DEFAULT_GROUP: Final = "wg-dynamic-admin"
"""The group that packages make (sysusers.d); where there is none, the socket is root's alone."""
BACKLOG: Final = 16
"""Connections that may wait to be accepted."""
_ROOT: Final = 0


def admin_group(name: str | None) -> int:
    """The ID of the group named, or of the default one; 0 for root alone. Raises ConfigError."""
    try:
        return grp.getgrnam(name or DEFAULT_GROUP).gr_gid
    except KeyError:
        if name is None:
            return _ROOT
        msg = f"admin_group: no group {name!r} on this machine, expected one: groupadd {name}"
        raise ConfigError(msg) from None


class AdminSocket:
    """The listening socket and its place, from the start of a server to its end."""

    def __init__(self, path: Path, group: int) -> None:
        """Make it; what a killed server left is replaced. Raises ConfigError."""
        self._path = path
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._make(path, group)
            self.listener.listen(BACKLOG)
        except OSError as error:
            self.listener.close()
            msg = f"cannot make the administration socket {path}: {error.strerror}"
            raise ConfigError(msg) from error
        except BaseException:
            self.listener.close()
            raise
        self.listener.setblocking(False)

    def _make(self, path: Path, group: int) -> None:
        directory = path.parent
        make_own_directory(directory.parent, 0o755)
        make_own_directory(directory, 0o700)
        if group != _ROOT:  # what is on the way to it may be seen by all, whatever our umask was
            for one in (directory.parent, directory.parent.parent):
                one.chmod(0o755)
        directory.chmod(0o700)  # closed, until it is the right group's
        os.chown(directory, -1, group)
        directory.chmod(0o700 if group == _ROOT else 0o750)
        path.unlink(missing_ok=True)
        old = os.umask(0o177)
        try:
            self.listener.bind(str(path))
        finally:
            os.umask(old)
        os.chown(path, -1, group)
        path.chmod(0o600 if group == _ROOT else 0o660)

    def close(self) -> None:
        """Remove it. Calling it twice is fine."""
        self.listener.close()
        with contextlib.suppress(OSError):  # gone already, or something else lies there
            self._path.unlink(missing_ok=True)
            self._path.parent.rmdir()
