"""The nftables rules beside a default route through the tunnel, in a table of our own.

They are those of wg-quick: what comes for one of our addresses by another interface than the tunnel
is dropped, unless this machine sent it (CVE-2019-14899), and the mark of WireGuard's own packets is
put on the replies to them, so that src_valid_mark lets those in.

One table for each family, `wg-dynamic-NAME`; where another has that name, `wg-dynamic-NAME-INDEX`.
A table is made, changed and removed as a whole, in one transaction.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from wg_dynamic.address import format_address
from wg_dynamic.errors import WgDynamicError
from wg_dynamic.netlink.control import Link
from wg_dynamic.privsep.ledger import FIREWALL, Ledger, Setting
from wg_dynamic.record import dataclass
from wg_dynamic.system.tools import ToolError, ToolMissingError, ToolResult, run_tool

FAMILIES: Final = {True: "ip", False: "ip6"}
"""nft's words, by whether it is IPv4."""
PREFIX: Final = "wg-dynamic-"
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.-]{1,15}")
"""What stands in a table's name as it is; an interface may be called nearly anything."""
_TABLE: Final = re.compile(r"wg-dynamic-[A-Za-z0-9_.-]{1,40}")

Run = Callable[..., ToolResult]
"""`system.tools.run_tool`, or a test's."""


class FirewallError(WgDynamicError):
    """The rules cannot be set; says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Guard:
    """What one family is to have."""

    addresses: tuple[bytes, ...]
    """What comes for these by another interface is dropped."""
    fwmark: int = 0
    """WireGuard's own packets have it; 0: somebody else sees to them."""


class Firewall:
    """Our tables for one interface."""

    def __init__(self, link: Link, ledger: Ledger, run: Run = run_tool) -> None:
        self._link = link
        self._ledger = ledger
        self._run = run

    def apply(self, guards: Mapping[bool, Guard]) -> None:
        """Let these tables be there, by whether they are IPv4's, and no other of ours.

        Raises:
            FirewallError: there is no nft, or no name left for a table.
            ToolError: nft refuses; what was there before is there still.
            LedgerError
        """
        keep = {self._set(FAMILIES[ipv4], guard) for ipv4, guard in guards.items()}
        for setting in self._ledger.settings(FIREWALL):
            if setting not in keep and _is_ours(setting):
                undo_table(setting, self._ledger, self._run)

    def stands(self) -> bool:
        """Whether the tables that the ledger names are there. Raises FirewallError, ToolError."""
        named = {tuple(each.words) for each in self._ledger.settings(FIREWALL)}
        return not named or named <= _tables(self._run)

    def _set(self, family: str, guard: Guard) -> Setting:
        named = self._ledger.settings(FIREWALL)
        ours = [each for each in named if _is_ours(each) and each.words[0] == family]
        if ours:
            setting = ours[0]
            self._nft(_fresh(setting) + self._table(setting, guard))
            return setting
        setting = Setting(FIREWALL, (family, self._free_name(family)))
        self._ledger.add(setting)
        created = f"create table {' '.join(setting.words)}\n"
        try:
            self._nft(created + self._table(setting, guard))
        except ToolError:
            undo_table(setting, self._ledger, self._run)
            raise
        return setting

    def _free_name(self, family: str) -> str:
        there = _tables(self._run)
        name = self._link.name
        plain = name if _PLAIN.fullmatch(name) else "interface"
        for table in (PREFIX + plain, f"{PREFIX}{plain}-{self._link.ifindex}"):
            if (family, table) not in there:
                return table
        msg = f"nftables has a table {family} {table} that is not ours: remove or rename it"
        raise FirewallError(msg)

    def _table(self, setting: Setting, guard: Guard) -> str:
        family, table = setting.words
        lines = [f"table {family} {table} {{", "chain preraw {"]
        lines.append("type filter hook prerouting priority -300; policy accept;")
        # By index: a name would have to be quoted, and may change.
        lines += [
            f"iif != {self._link.ifindex} {family} daddr {format_address(address)}"
            " fib saddr type != local drop"
            for address in guard.addresses
        ]
        lines.append("}")
        if guard.fwmark:
            lines += [
                "chain premangle {",
                "type filter hook prerouting priority -150; policy accept;",
                "meta l4proto udp meta mark set ct mark",
                "}",
                "chain postmangle {",
                "type filter hook postrouting priority -150; policy accept;",
                f"meta l4proto udp meta mark {guard.fwmark} ct mark set meta mark",
                "}",
            ]
        return "\n".join([*lines, "}", ""])

    def _nft(self, text: str) -> None:
        try:
            self._run("nft", "-f", "-", text=text).check()
        except ToolMissingError as error:
            raise _no_nft(error) from error


def undo_table(setting: Setting, ledger: Ledger, run: Run = run_tool) -> None:
    """Remove a table that the ledger names, and strike it out. Raises ToolError, ValueError."""
    if not _is_ours(setting):
        msg = f"{setting.line()!r}, expected a table of ours"
        raise ValueError(msg)
    family, table = setting.words
    if (family, table) in _tables(run):
        run("nft", "-f", "-", text=_fresh(setting)).check()
    ledger.remove(setting)


def _is_ours(setting: Setting) -> bool:
    """Whether it can be a table that we have made: a ledger may be damaged."""
    family, *names = setting.words
    return family in FAMILIES.values() and len(names) == 1 and bool(_TABLE.fullmatch(names[0]))


def _fresh(setting: Setting) -> str:
    """Lines after which the table is not there, whether it was or not."""
    family, table = setting.words
    return f"table {family} {table}\ndelete table {family} {table}\n"


def _tables(run: Run) -> set[tuple[str, str]]:
    """Family and name of all tables. Raises FirewallError, ToolError."""
    try:
        listed = run("nft", "list", "tables").check().splitlines()
    except ToolMissingError as error:
        raise _no_nft(error) from error
    words = [line.split() for line in listed]
    return {(line[1], line[2]) for line in words if len(line) == 3 and line[0] == "table"}  # noqa: PLR2004 - `table FAMILY NAME`


def _no_nft(error: ToolMissingError) -> FirewallError:
    return FirewallError(f"{error}: install nftables, which guards the addresses of the tunnel")
