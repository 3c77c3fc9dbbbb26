"""The directory of the lease database: made for the service account where it is missing."""

import os
import stat
from pathlib import Path

from wg_dynamic.errors import ConfigError
from wg_dynamic.system.ownership import refuse_foreign
from wg_dynamic.system.privileges import Account

_PRIVATE = 0o700


def prepare_state_directory(database: Path, root: Path, account: Account) -> None:
    """Make the database's directory, mode 0700, owned by the account, if it does not exist.

    One that exists is an administrator's business and left as it is, as long as nobody but root and
    the account can put another database there; but for `root`, our own, which is given to the
    account (it may have been another's at an earlier start) and closed to others.

    Raises:
        ConfigError: it cannot be made, something else lies there, or others can write there.
    """
    directory = database.parent
    try:
        if directory == root:
            root.mkdir(mode=_PRIVATE, exist_ok=True)
        elif not directory.exists():
            directory.mkdir(mode=_PRIVATE)
        else:
            refuse_foreign(directory, directory.stat(), users=[account.uid], groups=[account.gid])
            return
        # Only the directory itself, never what lies in it: the account could have put links there.
        # By a descriptor that reads nothing, and its name in /proc: fchown(2) takes no such one,
        # and to read what is another account's needs a capability that a unit need not give us.
        descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            place = f"/proc/self/fd/{descriptor}"
            if stat.S_IMODE(os.fstat(descriptor).st_mode) != _PRIVATE:
                os.chown(place, os.geteuid(), -1)  # only its owner may close it
                os.chmod(place, _PRIVATE)
            os.chown(place, account.uid, account.gid)
        finally:
            os.close(descriptor)
        _sync(directory.parent)
    except OSError as error:
        msg = f"cannot prepare {directory} for the lease database: {error.strerror}"
        raise ConfigError(msg) from error


def _sync(directory: Path) -> None:
    """Put a directory's entries on the disk: SQLite does it for its files, not for their parent."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
