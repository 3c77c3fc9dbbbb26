"""A default route through the tunnel, as wg-quick makes one: mark, table, rules, firewall.

WireGuard's own packets carry a mark. A rule sends what has not that mark to a table that holds the
default route alone, and a rule before it lets the main table answer with everything that it has
except its own default routes. So nothing of another's is changed, the tunnel does not swallow
itself, and the local network stays reachable.

Set in the order sysctl, firewall, mark, route, rules, and undone in the reverse: at no step does
traffic lead into a tunnel whose own packets would follow. All of it is in the ledger first. The
route itself goes with the lease (IPv4: with its preferred source; IPv6: it expires).

Where wg-quick, or whoever, has a default route over the interface already, that one is left alone;
what it cannot know, the leased addresses, is guarded all the same.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from wg_dynamic.address import Prefix, host_prefix, is_link_local
from wg_dynamic.errors import WgDynamicError
from wg_dynamic.helper.firewall import Firewall, Guard, Run, undo_table
from wg_dynamic.netlink.control import (
    FOREVER,
    ROUTE_PROTOCOL,
    RT_SCOPE_LINK,
    RT_TABLE_LOCAL,
    RT_TABLE_MAIN,
    RTN_UNICAST,
    InterfaceControl,
    Link,
    Route,
    Rule,
)
from wg_dynamic.privsep.ledger import (
    FIREWALL,
    FWMARK,
    RULE,
    SYSCTL,
    TABLE_ROUTE,
    Ledger,
    Setting,
)
from wg_dynamic.record import dataclass
from wg_dynamic.system.log import logger
from wg_dynamic.system.sysctl import Sysctl
from wg_dynamic.system.tools import run_tool
from wg_dynamic.wireguard.control import WireGuardControl

_LOG = logger(__name__)

FIRST_NUMBER: Final = 51820
"""Mark and table, or the next that is free: where wg-quick begins too."""
NUMBERS: Final = 10_000
"""How many are tried."""
MAIN_PRIORITY: Final = 32766
"""Of the rule that leads to the main table, where nobody has changed it."""
SRC_VALID_MARK: Final = "net.ipv4.conf.all.src_valid_mark"
"""Without it a strict rp_filter drops what comes back to WireGuard's own marked packets."""
_DEFAULTS: Final = {True: Prefix(bytes(4), 0), False: Prefix(bytes(16), 0)}
_WORDS: Final = {True: "ipv4", False: "ipv6"}


class DefaultRouteError(WgDynamicError):
    """The default route cannot be set; says why."""


@dataclass(frozen=True, slots=True)
class Default:
    """A default route of one family that the policy has taken."""

    source: bytes
    """The leased address that it is for."""
    valid_time: int = FOREVER
    """Seconds that the lease has left."""

    @property
    def is_ipv4(self) -> bool:
        """Its family."""
        return host_prefix(self.source).is_ipv4


class DefaultRoute:
    """The default route of one interface, as it stands in the kernel."""

    def __init__(
        self,
        link: Link,
        interfaces: InterfaceControl,
        wireguard: WireGuardControl,
        ledger: Ledger,
        *,
        run: Run = run_tool,
        sysctl: Sysctl | None = None,
    ) -> None:
        self._link = link
        self._interfaces = interfaces
        self._wireguard = wireguard
        self._ledger = ledger
        self._run = run
        self._sysctl = sysctl or Sysctl()
        self._firewall = Firewall(link, ledger, run)
        self._said = ""

    def apply(self, addresses: Sequence[bytes], wanted: Sequence[Default]) -> str:
        """Let these default routes be in force, and none else of ours; why not, '' if they are.

        `addresses` are all leased ones: they are guarded wherever a default route leads over the
        interface, whoever made it. They and the server peer's allowed IPs have to be set before.
        When something fails, all is undone; the reason is also said in the log, once. Calling it
        again with the same puts back what others have taken away meanwhile (`wg syncconf` the
        mark, `nft flush ruleset` the table, another wg-quick's `down` a rule).
        """
        try:
            foreign = self._foreign()
            ours = [each for each in wanted if each.is_ipv4 not in foreign]
            if ours:
                self._set(ours, addresses, foreign)
            else:
                self._guard_only(addresses, foreign)
        except (IndexError, TypeError, ValueError, WgDynamicError) as error:  # a strange ledger
            self.undo()
            if str(error) != self._said:
                what = "default route is not set" if wanted else "leased addresses are not guarded"
                _LOG.error("%s: the %s: %s", self._link.name, what, error)
            self._said = str(error)
        else:
            self._said = ""
        return self._said

    def undo(self) -> None:
        """Undo everything that the ledger names; what cannot be undone stays named."""
        undo_default_route(
            self._link.ifindex,
            self._interfaces,
            self._ledger,
            wireguard=self._wireguard,
            run=self._run,
            sysctl=self._sysctl,
        )

    def stands(self) -> bool:
        """Whether all that the ledger names is there still; so too where that cannot be seen.

        Nobody tells when another takes it off. Without the mark, WireGuard's own packets follow
        the default route into the tunnel, and no renewal comes through.
        """
        try:
            rules = {_parse_rule(setting) for setting in self._ledger.settings(RULE)}
            marks = {rule.fwmark for rule in rules if rule.fwmark}
            if rules and not (
                marks == {self._wireguard.device().fwmark}
                and rules <= set(self._interfaces.rules())
            ):
                return False
            return self._firewall.stands()
        except (IndexError, TypeError, ValueError, WgDynamicError):
            return True  # what is strange, or cannot be read, is told when it is set or undone

    # --- what is there --------------------------------------------------------------------------

    def _foreign(self) -> frozenset[bool]:
        """The families (by whether it is IPv4) in which another has a default route over it."""
        return frozenset(
            route.prefix.is_ipv4
            for route in self._interfaces.routes(self._link.ifindex)
            if route.prefix.length == 0
            and route.kind == RTN_UNICAST
            and _table_route(route.prefix.is_ipv4, route.table) not in self._ledger
        )

    def _numbers(self) -> tuple[int, int]:
        """Mark and table: those of the ledger, the administrator's mark, or free ones."""
        present = self._wireguard.device().fwmark
        marks = [int(setting.words[0]) for setting in self._ledger.settings(FWMARK)]
        mark = present or next(iter(marks), 0)
        tables = [int(setting.words[1]) for setting in self._ledger.settings(TABLE_ROUTE)]
        if mark and tables:
            return mark, tables[0]
        taken = {route.table for route in self._interfaces.routes()}
        taken |= {RT_TABLE_LOCAL, RT_TABLE_MAIN, 0, 253}
        for rule in self._interfaces.rules():
            taken |= {rule.table, rule.fwmark}
        for number in (mark or FIRST_NUMBER, *range(FIRST_NUMBER, FIRST_NUMBER + NUMBERS)):
            if number not in taken:
                return mark or number, number
        msg = f"no routing table from {FIRST_NUMBER} on is free"
        raise DefaultRouteError(msg)

    def _priority(self, ipv4: bool) -> int:
        """Of the rule for the mark; the one before it is for the main table.

        The highest two that are free before the main table's own rule, so that an administrator's
        rules, which usually have lower numbers, are asked first.
        """
        rules = [rule for rule in self._interfaces.rules() if rule.ipv4 == ipv4]
        main = [r.priority for r in rules if r.table == RT_TABLE_MAIN and _is_plain(r)]
        taken = {rule.priority for rule in rules}
        for priority in range(min(main, default=MAIN_PRIORITY) - 1, 1, -1):
            if not {priority, priority - 1} & taken:
                return priority
        msg = "no two priorities are free before the rule of the main table"
        raise DefaultRouteError(msg)

    # --- setting --------------------------------------------------------------------------------

    def _guard_only(self, addresses: Sequence[bytes], foreign: frozenset[bool]) -> None:
        """Undo the routes that are ours, and see to the leased addresses of another's."""
        guards = _guards(addresses, foreign, frozenset(), 0)
        if not guards:
            self.undo()
            return
        kinds = (RULE, TABLE_ROUTE, FWMARK, SYSCTL)
        self._undo(setting for kind in kinds for setting in self._ledger.settings(kind))
        self._firewall.apply(guards)

    def _set(
        self, defaults: Sequence[Default], leased: Sequence[bytes], foreign: frozenset[bool]
    ) -> None:
        mark, table = self._numbers()
        families = frozenset(default.is_ipv4 for default in defaults)
        rules = [rule for ipv4 in sorted(families) for rule in self._rules(ipv4, mark, table)]
        keep = [_rule_setting(rule) for rule in rules]
        keep += [_table_route(ipv4, table) for ipv4 in sorted(families)]
        fresh_routes = [setting for setting in keep if setting not in self._ledger]
        for kind in (RULE, TABLE_ROUTE):  # of a family that has none any more, or of another mark
            self._undo(each for each in self._ledger.settings(kind) if each not in keep)
        if True in families:
            self._set_sysctl()
        self._firewall.apply(_guards([*leased, *self._static()], foreign, families, mark))
        self._set_mark(mark)
        self._ledger.add(*keep)
        for default in defaults:
            self._set_route(default, table, fresh_routes)
        for rule in rules:
            self._interfaces.add_rule(rule)

    def _static(self) -> list[bytes]:
        """The other addresses of the interface; wg-quick guards them as well."""
        there = [a.prefix.packed for a in self._interfaces.addresses(self._link.ifindex)]
        return [packed for packed in there if not is_link_local(packed)]

    def _rules(self, ipv4: bool, mark: int, table: int) -> tuple[Rule, Rule]:
        """Ours, at the priorities that they have already."""
        for setting in self._ledger.settings(RULE):
            rule = _parse_rule(setting)
            if (rule.ipv4, rule.fwmark, rule.table) == (ipv4, mark, table):
                priority = rule.priority
                break
        else:
            priority = self._priority(ipv4)
        # The one for the main table first: until it is there, the other would take everything.
        return (
            Rule(ipv4, priority - 1, RT_TABLE_MAIN, suppress_prefix_length=0),
            Rule(ipv4, priority, table, fwmark=mark, inverted=True),
        )

    def _set_sysctl(self) -> None:
        before = self._sysctl.read(SRC_VALID_MARK)
        if before == "1":
            return
        self._ledger.add(Setting(SYSCTL, (SRC_VALID_MARK, before)))
        self._sysctl.write(SRC_VALID_MARK, "1")

    def _set_mark(self, mark: int) -> None:
        ours = Setting(FWMARK, (str(mark),))
        self._ledger.remove(*(e for e in self._ledger.settings(FWMARK) if e != ours))
        if self._wireguard.device().fwmark != mark:
            self._ledger.add(ours)
            self._wireguard.set_fwmark(mark)

    def _set_route(self, default: Default, table: int, fresh: Sequence[Setting]) -> None:
        ipv4 = default.is_ipv4
        expires = None if ipv4 or default.valid_time == FOREVER else default.valid_time
        route = Route(
            _DEFAULTS[ipv4],
            self._link.ifindex,
            table=table,
            scope=RT_SCOPE_LINK if ipv4 else 0,
            preferred_source=default.source if ipv4 else None,
            expires_time=expires,
        )
        if _table_route(ipv4, table) not in fresh:
            self._interfaces.replace_route(route)
        elif not self._interfaces.add_route(route):
            msg = f"somebody else has just taken routing table {table}"
            raise DefaultRouteError(msg)

    def _undo(self, settings: Iterable[Setting]) -> None:
        undo = _Undo(
            self._link.ifindex,
            self._interfaces,
            self._ledger,
            self._wireguard,
            self._run,
            self._sysctl,
        )
        for setting in list(settings):
            undo.one(setting)


def undo_default_route(
    ifindex: int,
    interfaces: InterfaceControl,
    ledger: Ledger,
    *,
    wireguard: WireGuardControl | None = None,
    run: Run = run_tool,
    sysctl: Sysctl | None = None,
) -> None:
    """Undo what a ledger names, in the reverse order; what cannot be undone stays named.

    Without `wireguard` the interface is gone, and its mark with it.
    """
    undo = _Undo(ifindex, interfaces, ledger, wireguard, run, sysctl or Sysctl())
    for kind in (RULE, TABLE_ROUTE, FWMARK, FIREWALL, SYSCTL):
        for setting in reversed(ledger.settings(kind)):
            undo.one(setting)


@dataclass(frozen=True, slots=True)
class _Undo:
    """Takes back one setting at a time."""

    ifindex: int
    interfaces: InterfaceControl
    ledger: Ledger
    wireguard: WireGuardControl | None
    run: Run
    sysctl: Sysctl

    def one(self, setting: Setting) -> None:
        """Take it back and strike it out, or say why it stays."""
        try:
            if setting.kind == RULE:
                self.interfaces.remove_rule(_parse_rule(setting))
            elif setting.kind == TABLE_ROUTE:
                self._route(*setting.words)
            elif setting.kind == FWMARK:
                self._mark(int(setting.words[0]))
            elif setting.kind == FIREWALL:
                undo_table(setting, self.ledger, self.run)
            else:
                self._variable(*setting.words)
        except (TypeError, ValueError, WgDynamicError) as error:
            _LOG.error("cannot undo the default route (%s): %s", setting.line(), error)
        else:
            self.ledger.remove(setting)

    def _route(self, family: str, table: str) -> None:
        prefix = _DEFAULTS[_is_ipv4(family)]
        self.interfaces.remove_route(Route(prefix, self.ifindex, table=int(table)))

    def _mark(self, mark: int) -> None:
        """Only ours: whoever has set another has the say."""
        if self.wireguard is not None and self.wireguard.device().fwmark == mark:
            self.wireguard.set_fwmark(0)

    def _variable(self, name: str, before: str) -> None:
        """Not while another default route of this kind needs it; it then stays as it is."""
        if name != SRC_VALID_MARK:
            msg = f"variable {name!r}, expected {SRC_VALID_MARK}"
            raise ValueError(msg)
        needed = any(
            rule.ipv4 and rule.inverted and rule.fwmark for rule in self.interfaces.rules()
        )
        if not needed and self.sysctl.read(name) == "1":
            self.sysctl.write(name, before)


def _guards(
    addresses: Iterable[bytes], foreign: frozenset[bool], ours: frozenset[bool], mark: int
) -> dict[bool, Guard]:
    """What each family that has a default route is to have."""
    guards = {}
    found = tuple(dict.fromkeys(addresses))
    for ipv4 in sorted(foreign | ours):
        mine = tuple(packed for packed in found if host_prefix(packed).is_ipv4 == ipv4)
        if mine or ipv4 in ours:
            guards[ipv4] = Guard(mine, mark if ipv4 in ours else 0)
    return guards


def _is_plain(rule: Rule) -> bool:
    selects = rule.other or rule.fwmark or rule.suppress_prefix_length is not None
    return not selects and rule.protocol != ROUTE_PROTOCOL


def _table_route(ipv4: bool, table: int) -> Setting:
    return Setting(TABLE_ROUTE, (_WORDS[ipv4], str(table)))


def _rule_setting(rule: Rule) -> Setting:
    """`rule ipv4 32765 51820 51820`: family, priority, table, and the mark or 0."""
    numbers = (rule.priority, rule.table, rule.fwmark)
    return Setting(RULE, (_WORDS[rule.ipv4], *map(str, numbers)))


def _parse_rule(setting: Setting) -> Rule:
    """Read `_rule_setting` back. Raises ValueError, TypeError."""
    family, *numbers = setting.words
    priority, table, mark = map(int, numbers)
    ipv4 = _is_ipv4(family)
    if mark:
        return Rule(ipv4, priority, table, fwmark=mark, inverted=True)
    return Rule(ipv4, priority, table, suppress_prefix_length=0)


def _is_ipv4(word: str) -> bool:
    for ipv4, known in _WORDS.items():
        if word == known:
            return ipv4
    msg = f"family {word!r}, expected ipv4 or ipv6"
    raise ValueError(msg)
