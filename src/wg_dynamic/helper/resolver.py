"""Who manages /etc/resolv.conf here, and how it is told the name servers of one interface.

Two do it, as with wg-quick: systemd-resolved (by resolvectl) and resolvconf (openresolv, Debian's).
Which of them is in use is read off the machine: a tool that is merely installed counts for nothing
when programs read a file that it does not write.
"""

import os
import re
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from wg_dynamic.errors import WgDynamicError
from wg_dynamic.netlink.control import Link
from wg_dynamic.system.tools import ToolResult, find_tool, run_tool

RESOLV_CONF: Final = Path("/etc/resolv.conf")
_RESOLVED_RUN: Final = "/run/systemd/resolve/"
_RESOLVED_STATIC: Final = ("/usr/lib/systemd/resolv.conf", "/lib/systemd/resolv.conf")
"""What /etc/resolv.conf links to when it is systemd-resolved's (systemd-resolved.service(8))."""
_RESOLVED_STUB: Final = "127.0.0.53"
_DEBIAN_MARK: Final = Path("/lib/resolvconf/list-records")
"""Debian's own resolvconf has it, openresolv has not."""
_DEBIAN_FILE: Final = "/run/resolvconf/resolv.conf"
_INTERFACE_ORDER: Final = Path("/etc/resolvconf/interface-order")

_RECORD: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_=+.-]{0,40}")
"""Names that wg-quick takes for an interface, and no leading dash or dot."""
_ORDER_LINE: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)\*")

Run = Callable[..., ToolResult]
"""`system.tools.run_tool`, or a test's."""


class NoResolverError(WgDynamicError):
    """Nobody here can be told name servers; says why, and what to do."""


class Resolver(Protocol):
    """One that takes name servers per interface. Its calls raise ToolError."""

    @property
    def name(self) -> str:
        """Its word in the ledger."""

    def record(self, link: Link) -> str:
        """Under what it keeps those of an interface. Raises NoResolverError."""

    def has(self, record: str) -> bool:
        """Whether anything is set there, by whomever."""

    def set(self, record: str, servers: Sequence[str], search: Sequence[str]) -> None:
        """Use these servers for everything while the record is there; replaces what is set."""

    def remove(self, record: str) -> None:
        """Take the record away; no error when it is gone, with the interface say."""


class Resolvconf:
    """resolvconf(8): a record for each interface, out of which it makes the file."""

    name = "resolvconf"

    def __init__(self, run: Run = run_tool, interface_order: Path = _INTERFACE_ORDER) -> None:
        self._run = run
        self._interface_order = interface_order

    def record(self, link: Link) -> str:
        """wg-quick's name for it: `tun.wg0` where interface-order begins with `tun*`."""
        record = f"{self._prefix()}{link.name}"
        if not _RECORD.fullmatch(record):
            msg = f"resolvconf takes no interface {link.name!r}, expected letters, digits and _=+.-"
            raise NoResolverError(msg)
        return record

    def has(self, record: str) -> bool:
        """See Resolver."""
        listed = self._run("resolvconf", "-l", record).output.splitlines()
        return f"# resolv.conf from {record}" in listed

    def set(self, record: str, servers: Sequence[str], search: Sequence[str]) -> None:
        """See Resolver."""
        lines = [f"nameserver {server}\n" for server in servers]
        if search:
            lines.append(f"search {' '.join(search)}\n")
        self._run("resolvconf", "-a", record, "-m", "0", "-x", text="".join(lines)).check()

    def remove(self, record: str) -> None:
        """See Resolver."""
        self._run("resolvconf", "-d", record, "-f").check()

    def _prefix(self) -> str:
        """Of Debian's resolvconf, for the order in which records count."""
        try:
            lines = self._interface_order.read_text("utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        for line in lines:
            found = _ORDER_LINE.fullmatch(line.strip())
            if found:
                return f"{found[1]}."
        return ""


class Resolved:
    """systemd-resolved, by resolvectl(1); its record is the interface's index."""

    name = "resolved"

    def __init__(self, run: Run = run_tool) -> None:
        self._run = run

    def record(self, link: Link) -> str:
        """An index: no name that would have to be quoted, and the same after a renaming."""
        return str(link.ifindex)

    def has(self, record: str) -> bool:
        """See Resolver."""
        for verb in ("dns", "domain"):
            output = self._run("resolvectl", verb, record).check()
            if output.partition("):")[2].strip():  # Link 7 (wg0): 192.0.2.1
                return True
        return False

    def set(self, record: str, servers: Sequence[str], search: Sequence[str]) -> None:
        """See Resolver. `~.` is what systemd's own resolvconf makes of `-x`."""
        self._run("resolvectl", "dns", record, *servers).check()
        self._run("resolvectl", "domain", record, *search, "~.").check()

    def remove(self, record: str) -> None:
        """See Resolver."""
        result = self._run("resolvectl", "revert", record)
        if result.status != 0 and _exists(int(record)):
            result.check()


def find_resolver(run: Run = run_tool, resolv_conf: Path = RESOLV_CONF) -> Resolver:
    """The one that is in use on this machine. Raises NoResolverError."""
    resolvconf = find_tool("resolvconf")
    is_resolveds = resolvconf and os.path.basename(os.path.realpath(resolvconf)) == "resolvectl"
    if is_resolveds or _is_resolveds_file(resolv_conf):
        if find_tool("resolvectl"):
            return Resolved(run)
        msg = f"{resolv_conf} is systemd-resolved's, and there is no resolvectl to tell it"
        raise NoResolverError(msg)
    if resolvconf is None:
        msg = (
            f"nobody takes name servers per interface here: {resolv_conf} is not systemd-resolved's"
        )
        msg += ", and there is no resolvconf; install one of the two (openresolv, systemd-resolved)"
        raise NoResolverError(msg)
    if _DEBIAN_MARK.exists() and os.path.realpath(resolv_conf) != _DEBIAN_FILE:
        msg = f"resolvconf does not write {resolv_conf}, which is no link to {_DEBIAN_FILE}"
        msg += ": make it one (dpkg-reconfigure resolvconf)"
        raise NoResolverError(msg)
    return Resolvconf(run)


def resolver_named(name: str, run: Run = run_tool) -> Resolver:
    """The one of that word in the ledger. Raises ValueError."""
    for kind in (Resolvconf, Resolved):
        if kind.name == name:
            return kind(run)
    msg = f"resolver {name!r}, expected {Resolvconf.name} or {Resolved.name}"
    raise ValueError(msg)


def _is_resolveds_file(resolv_conf: Path) -> bool:
    target = os.path.realpath(resolv_conf)
    if target.startswith(_RESOLVED_RUN) or target in _RESOLVED_STATIC:
        return True
    try:
        lines = resolv_conf.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return False
    words = [line.split() for line in lines]
    return any(line[:2] == ["nameserver", _RESOLVED_STUB] for line in words)


def _exists(ifindex: int) -> bool:
    try:
        socket.if_indextoname(ifindex)
    except OSError:
        return False
    return True
