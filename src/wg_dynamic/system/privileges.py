"""Who the network process is: an account of its own, or a fixed number without a name."""

import os
import pwd
import resource
from collections.abc import Callable

from wg_dynamic.errors import ConfigError, PrivilegeError
from wg_dynamic.record import dataclass
from wg_dynamic.system import capabilities, libc

ACCOUNT = "wg-dynamic"
"""The account that packages make (sysusers.d)."""
FALLBACK_ID = 60970
"""Used where there is no such account: in a range that neither Debian Policy 9.2.2 nor systemd
(Users, Groups, UIDs and GIDs on systemd Systems) gives to anybody by itself."""
_CLONE_NEWNET = 0x40000000
"""linux/sched.h"""
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_PR_GET_NO_NEW_PRIVS = 39
"""linux/prctl.h"""
HELPER = frozenset(
    {
        capabilities.NET_ADMIN,  # WireGuard, addresses, routes, rules
        capabilities.NET_BIND_SERVICE,  # port 970
        capabilities.KILL,  # a network process that does not end
        capabilities.CHOWN,  # the database's directory
        capabilities.DAC_READ_SEARCH,  # a checkout, or a database, below another's directory
    }
)
"""What the helper holds."""
STARTED = HELPER | {
    capabilities.SYS_ADMIN,  # to leave the network namespace; all of it goes before a byte comes
    capabilities.SETUID,
    capabilities.SETGID,
    capabilities.SETPCAP,
}
"""What a program may have that the helper executes: the network process, until it has dropped."""


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


def limit_helper() -> list[str]:
    """Keep what the helper needs; returns what we were not let do, in words.

    What the helper executes begins with STARTED: nobody but the network process does, to drop all.
    Under no_new_privs (systemd's NoNewPrivileges=) root gains nothing at exec that it has not in
    its permitted set (security/commoncap.c): STARTED stays there, without effect in the helper.
    """
    lacks: list[str] = []
    permitted = STARTED if libc.prctl(_PR_GET_NO_NEW_PRIVS) else ()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # WireGuard's answers carry the private key
    _try(
        "a small capability bounding set",
        lambda: capabilities.limit(HELPER, STARTED, permitted),
        lacks,
    )
    return lacks


def drop_privileges(account: Account) -> list[str]:
    """Become the account for good: no set-user-ID program gives anything back either.

    Before that, move into a network namespace where there is nothing: sockets that were opened
    outside go on, one that is opened here leads nowhere.

    Returns:
        What the kernel, or who started us, does not let us do, in words: it is more than one wall.

    Raises:
        PrivilegeError: we cannot, or root could be regained. What was dropped until then stays so.
    """
    lacks: list[str] = []
    _try("an empty network namespace", lambda: libc.unshare(_CLONE_NEWNET), lacks)
    _try("an empty capability bounding set", lambda: capabilities.limit_bounding(()), lacks)
    _try("locked securebits", capabilities.lock_securebits, lacks)
    try:
        os.setgroups([])
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)
        capabilities.hold(())
    except OSError as error:
        msg = f"cannot become user {account.uid}, group {account.gid}: {error.strerror}"
        raise PrivilegeError(msg) from error
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1)
        libc.prctl(_PR_SET_DUMPABLE, 0)  # not to be traced by others of this account
    except OSError as error:
        msg = f"cannot set no_new_privs: {error.strerror}"
        raise PrivilegeError(msg) from error
    try:
        os.setresuid(0, 0, 0)
    except PermissionError:
        return lacks
    msg = "root can be regained after dropping it"
    raise PrivilegeError(msg)


def _try(what: str, step: Callable[[], None], lacks: list[str]) -> None:
    try:
        step()
    except OSError as error:
        lacks.append(f"{what} ({error.strerror})")


def raise_file_limit() -> int:
    """Raise RLIMIT_NOFILE to the hard limit; how many descriptors that allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
