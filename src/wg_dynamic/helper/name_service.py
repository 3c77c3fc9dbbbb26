"""Name servers and search domains of one interface: set, changed, and undone exactly.

As wg-quick does it, they are for everything while they are set (`resolvconf -x`). What somebody
else set for the interface, wg-quick's `DNS =` say, stays, and ours are not set then. Nothing here
has a lifetime: the ledger names the resolver and the record, and whoever finds it undoes them, also
when the interface is gone.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

from wg_dynamic.address import format_address
from wg_dynamic.errors import WgDynamicError
from wg_dynamic.helper.resolver import Resolver, find_resolver, resolver_named
from wg_dynamic.leases.pool import is_leasable
from wg_dynamic.netlink.control import Link
from wg_dynamic.privsep.ledger import DNS, Ledger, Setting
from wg_dynamic.system.log import logger
from wg_dynamic.system.tools import ToolError

_LOG = logger(__name__)

MAX_NAMES: Final = 16
"""Servers, and search domains: as in docs/protocol.md 3.3, checked here once more."""
MAX_DOMAIN_LENGTH: Final = 253
_DOMAIN: Final = re.compile(
    r"(?!-)[a-z0-9-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9-]{1,63}(?<!-))*", re.ASCII
)
"""docs/protocol.md 4.2: labels of letters, digits and inner hyphens, in lower case here."""


def server_texts(servers: Sequence[bytes]) -> tuple[str, ...]:
    """Name servers as the tools are given them.

    Raises ValueError for what is no address that a server elsewhere could have.
    """
    if len(servers) > MAX_NAMES:
        msg = f"{len(servers)} name servers, expected at most {MAX_NAMES}"
        raise ValueError(msg)
    texts = dict.fromkeys(map(format_address, servers))
    for packed in servers:
        if not is_leasable(packed):
            msg = f"name server {format_address(packed)}, expected an address beyond this machine"
            raise ValueError(msg)
    return tuple(texts)


def search_texts(domains: Sequence[str]) -> tuple[str, ...]:
    """Search domains as the tools are given them, in lower case. Raises ValueError."""
    if len(domains) > MAX_NAMES:
        msg = f"{len(domains)} search domains, expected at most {MAX_NAMES}"
        raise ValueError(msg)
    texts = {domain.lower(): domain for domain in domains}
    for text, domain in texts.items():
        # The Kelvin sign, for one, becomes an ASCII letter in lower case.
        if not domain.isascii() or len(text) > MAX_DOMAIN_LENGTH or not _DOMAIN.fullmatch(text):
            msg = f"search domain {text[:40]!r}, expected a domain name"
            raise ValueError(msg)
    return tuple(texts)


class NameService:
    """Name servers and search domains that we have set for one interface."""

    def __init__(
        self,
        link: Link,
        ledger: Ledger,
        *,
        find: Callable[[], Resolver] = find_resolver,
        named: Callable[[str], Resolver] = resolver_named,
    ) -> None:
        self._link = link
        self._ledger = ledger
        self._find = find
        self._named = named
        self._in_force: tuple[tuple[str, ...], tuple[str, ...]] | None = None
        """What we know to be set; unknown after a restart."""
        self._said = ""

    def apply(self, servers: Sequence[bytes], search: Sequence[str]) -> str:
        """Let these be in force, or none; why they are not, '' when they are.

        Search domains without a server are not set: the servers of a resolver that takes ours for
        everything would be none. A reason is also said in the log, once. When setting fails,
        nothing of ours is set; what is refused before that leaves things as they are.
        """
        if not servers:
            self.undo()
            return self._say("search domains come without a name server" if search else "")
        try:
            wanted = server_texts(servers), search_texts(search)
        except ValueError as error:
            return self._say(str(error))
        if wanted == self._in_force:
            return self._say("")
        try:
            reason = self._set(wanted)
        except WgDynamicError as error:  # the ledger's, or nobody can be told
            reason = str(error)
        if not reason:
            self._in_force = wanted
        return self._say(reason)

    def undo(self) -> None:
        """Take back what the ledger names; what cannot be taken back stays named."""
        self._in_force = None
        undo_name_service(self._ledger, self._named)

    def _set(self, wanted: tuple[tuple[str, ...], tuple[str, ...]]) -> str:
        resolver = self._find()
        record = resolver.record(self._link)
        setting = Setting(DNS, (resolver.name, record))
        if setting not in self._ledger and resolver.has(record):
            return (
                f"{resolver.name} has name servers for {self._link.name} that somebody else set"
                " (DNS = in wg-quick's file?): they stay"
            )
        for other in self._ledger.settings(DNS):
            if other != setting:  # the machine has another resolver now
                _undo(other, self._ledger, self._named)
        self._in_force = None
        self._ledger.add(setting)
        try:
            resolver.set(record, *wanted)
        except ToolError:
            _undo(setting, self._ledger, self._named)
            raise
        return ""

    def _say(self, reason: str) -> str:
        if reason and reason != self._said:
            _LOG.warning("%s: name servers are not set: %s", self._link.name, reason)
        self._said = reason
        return reason


def undo_name_service(ledger: Ledger, named: Callable[[str], Resolver] = resolver_named) -> None:
    """Take back what a ledger names, be the interface there or not."""
    for setting in ledger.settings(DNS):
        _undo(setting, ledger, named)


def _undo(setting: Setting, ledger: Ledger, named: Callable[[str], Resolver]) -> None:
    try:
        name, record = setting.words
        named(name).remove(record)
    except (ValueError, WgDynamicError) as error:
        _LOG.error("cannot undo the name servers (%s): %s", setting.line(), error)
    else:
        ledger.remove(setting)
