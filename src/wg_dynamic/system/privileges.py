"""Who the network process is: an account of its own, or a fixed number without a name."""

import ctypes
import os
import pwd
import resource

from wg_dynamic.errors import ConfigError, PrivilegeError
from wg_dynamic.record import dataclass

ACCOUNT = "wg-dynamic"
"""The account that packages make (sysusers.d)."""
FALLBACK_ID = 60970
"""Used where there is no such account: in a range that neither Debian Policy 9.2.2 nor systemd
(Users, Groups, UIDs and GIDs on systemd Systems) gives to anybody by itself."""
_PR_SET_NO_NEW_PRIVS = 38
"""linux/prctl.h"""


@dataclass(frozen=True)
class Account:
    """Numbers to run as."""

    uid: int
    gid: int


def service_account(name: str | None) -> Account:
    """The account named, or the default one. Raises ConfigError."""
    try:
        entry = pwd.getpwnam(name or ACCOUNT)
    except KeyError:
        if name is None:
            return Account(FALLBACK_ID, FALLBACK_ID)
        msg = f"no account {name!r} on this machine: make it, or leave --user out"
        raise ConfigError(msg) from None
    if entry.pw_uid == 0 or entry.pw_gid == 0:
        msg = f"account {entry.pw_name!r} is root or of its group, expected one without privileges"
        raise ConfigError(msg)
    return Account(entry.pw_uid, entry.pw_gid)


def require_root(program: str) -> None:
    """Raise PrivilegeError unless we are root."""
    if os.geteuid() != 0:
        msg = (
            f"{program} runs as user {os.geteuid()}, expected root: it changes addresses and routes"
        )
        raise PrivilegeError(msg)


def drop_privileges(account: Account) -> None:
    """Become the account for good: no set-user-ID program gives anything back either.

    Raises:
        PrivilegeError: we cannot, or root could be regained. What was dropped until then stays so.
    """
    try:
        os.setgroups([])
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)
    except OSError as error:
        msg = f"cannot become user {account.uid}, group {account.gid}: {error.strerror}"
        raise PrivilegeError(msg) from error
    os.umask(0o077)
    if ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        msg = "cannot set no_new_privs"
        raise PrivilegeError(msg)
    try:
        os.setresuid(0, 0, 0)
    except PermissionError:
        return
    msg = "root can be regained after dropping it"
    raise PrivilegeError(msg)


def raise_file_limit() -> int:
    """Raise RLIMIT_NOFILE to the hard limit; how many descriptors that allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
