"""What the client has set for its lease, and how it is undone: the order of it all.

Everything is written into the ledger first. Addresses carry the lease's end as a kernel lifetime,
and routes hang on them (helper/tunnel_routes.py): what is forgotten here, after a kill say, goes by
itself. Allowed IPs (helper/widening.py) and the MTU (helper/link_mtu.py) do not: the ledger of the
next start, or of `--stop`, undoes them.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

from wg_dynamic.address import Prefix
from wg_dynamic.errors import WgDynamicError
from wg_dynamic.helper.judgement import Taken
from wg_dynamic.helper.kept_routes import KeptRoutes
from wg_dynamic.helper.link_mtu import LinkMtu
from wg_dynamic.helper.qualify import SERVER_PREFIX
from wg_dynamic.helper.tunnel_routes import TunnelRoutes
from wg_dynamic.helper.widening import Widening
from wg_dynamic.netlink.control import (
    FOREVER,
    ROUTE_PROTOCOL,
    Address,
    InterfaceControl,
    Link,
)
from wg_dynamic.privsep.ledger import ADDRESS, ALLOWED_IP, MTU, ROUTE, Entry, Ledger
from wg_dynamic.privsep.requests import AddressSetting, Refused
from wg_dynamic.system.log import logger
from wg_dynamic.wireguard.control import WireGuardControl

_LOG = logger(__name__)


class Further(Protocol):
    """Something more that a lease may bring; has a ledger of its own kinds.

    What lives outside the interface: a default route, then name servers (helper/further.py). Set
    after addresses and routes, in their order, with every lease; undone before them, in the
    reverse order. What is refused is called as in helper/judgement.py.
    """

    def apply(self, taken: Taken) -> tuple[Refused, ...]:
        """Let exactly this be so; what could not be set, and why. Raises nothing."""

    def stands(self) -> bool:
        """Whether what was set is there still, as far as looking is cheap. Raises nothing."""

    def undo(self, *, gone: bool = False) -> None:
        """Undo what was set, also by a helper that was killed. Raises nothing.

        `gone`: the interface is, and what hung on it.
        """


class AppliedLease:
    """The lease of one interface as it stands in the kernel."""

    def __init__(
        self,
        link: Link,
        interfaces: InterfaceControl,
        wireguard: WireGuardControl,
        ledger: Ledger,
        further: Sequence[Further] = (),
    ) -> None:
        self._further = further
        self._link = link
        self._interfaces = interfaces
        self._ledger = ledger
        self._widening = Widening(wireguard, ledger)
        self._routes = TunnelRoutes(link.ifindex, interfaces, ledger)
        self._mtu = LinkMtu(link.ifindex, interfaces, ledger)
        self._kept = KeptRoutes(link.ifindex, interfaces)
        self._timed: set[Prefix] = set()
        """Addresses that we have given an end."""

    def addresses(self) -> list[Prefix]:
        """The leased addresses that the ledger has."""
        return [entry.prefix for entry in self._ledger.entries(ADDRESS)]

    def widened(self) -> frozenset[Prefix]:
        """The allowed IPs of the server peer that are ours."""
        return self._widening.prefixes()

    def mtu(self) -> int:
        """The interface's MTU as it is without a lease. Raises NetlinkError."""
        return self._mtu.found()

    def apply(self, taken: Taken, server_key: bytes) -> tuple[Refused, ...]:
        """Set or refresh this, then undo what is ours and not part of it.

        Returns:
            what of it could not be set, besides.

        Raises:
            NetlinkError, WireGuardError: the kernel refused; what was set until then is in the
                ledger and goes with the next `apply` or `undo`.
        """
        if taken.mtu:
            self._mtu.apply(taken.mtu)
        keep = self._widening.apply(taken.networks(), server_key)
        keep |= self._set_addresses(taken.addresses)
        keep |= self._routes.apply(taken)
        self._kept.look()
        refused = [one for each in self._further for one in each.apply(taken)]
        self._undo([entry for entry in self._ours() if entry not in keep])
        if not taken.mtu:
            self._try("the MTU", self._mtu.put_back)
        return tuple(refused)

    def stands(self) -> bool:
        """Whether what lies outside the interface is there still."""
        return all(each.stands() for each in self._further)

    def undo(self) -> None:
        """Undo everything that the lease set, what depends on other things before those."""
        for each in reversed(self._further):
            each.undo()
        self._undo(self._ours())
        self._try("the MTU", self._mtu.put_back)

    def strike_out_missing(self) -> bool:
        """Forget the addresses and routes that are gone from the kernel; whether there were any.

        The kernel drops them with the link, an administrator by hand. What comes to stand there
        later is not ours.
        """
        addresses = {a.prefix for a in self._interfaces.addresses(self._link.ifindex)}
        routes = {
            route.prefix
            for route in self._interfaces.routes(self._link.ifindex)
            if route.protocol == ROUTE_PROTOCOL
        }
        missing = [
            entry
            for kind, there in ((ADDRESS, addresses), (ROUTE, routes))
            for entry in self._ledger.entries(kind)
            if entry.prefix not in there
        ]
        self._ledger.remove(*missing)
        self._kept.put_back()
        self._kept.look()
        return any(entry.prefix != SERVER_PREFIX for entry in missing)

    def look_at_others(self) -> None:
        """Somebody else has made a route over the interface. Raises NetlinkError."""
        self._kept.look()

    def add_server_route(self) -> None:
        """Add the way to fe80:: where it is missing. Raises NetlinkError, LedgerError."""
        self._routes.add_server_route()

    def undo_all(self) -> None:
        """Undo what the lease set, and the way to the server."""
        self.undo()
        self._undo(self._ledger.entries(ROUTE))

    def forget(self) -> None:
        """The interface is gone, and everything on it; what lay outside it is not."""
        for each in reversed(self._further):
            each.undo(gone=True)
        for kind in (ALLOWED_IP, ADDRESS, ROUTE):
            self._ledger.remove(*self._ledger.entries(kind))
        self._ledger.remove(*self._ledger.settings(MTU))

    def _ours(self) -> list[Entry]:
        """In the order in which it is undone: routes, addresses, allowed IPs."""
        return [
            entry
            for kind in (ROUTE, ADDRESS, ALLOWED_IP)
            for entry in self._ledger.entries(kind)
            if entry.prefix != SERVER_PREFIX
        ]

    def _set_addresses(self, settings: Iterable[AddressSetting]) -> set[Entry]:
        self._leave_taken_over()
        there = {a.prefix.packed for a in self._interfaces.addresses(self._link.ifindex)}
        kept = set()
        for setting in settings:
            entry = Entry(ADDRESS, setting.address)
            if entry not in self._ledger and setting.address.packed in there:
                continue  # an administrator's: it stays as it is
            self._ledger.add(entry)
            kept.add(entry)
            self._interfaces.set_address(
                Address(
                    self._link.ifindex,
                    setting.address,
                    valid_time=setting.valid_time,
                    preferred_time=setting.preferred_time,
                )
            )
            if setting.valid_time != FOREVER:
                self._timed.add(setting.address)
            else:
                self._timed.discard(setting.address)
        return kept

    def _leave_taken_over(self) -> None:
        """What had an end and has none any more is somebody else's now (`ip address replace`)."""
        for address in self._interfaces.addresses(self._link.ifindex):
            if address.valid_time == FOREVER and address.prefix in self._timed:
                self._timed.discard(address.prefix)
                self._ledger.remove(Entry(ADDRESS, address.prefix))

    def _undo(self, entries: Sequence[Entry]) -> None:
        with_addresses = any(entry.kind == ADDRESS for entry in entries)
        if with_addresses:
            self._try("a look at others' addresses", self._leave_taken_over)
            self._try("a look at others' routes", self._kept.look)
        for entry in entries:
            if entry not in self._ledger:
                continue
            what = f"{entry.kind} {entry.prefix}"
            if entry.kind != ALLOWED_IP and self._try(what, partial(self._undo_one, entry)):
                self._ledger.remove(entry)
        if with_addresses:
            self._try("the end of others' routes", self._kept.put_back)
        allowed = [entry for entry in entries if entry.kind == ALLOWED_IP]
        listed = ", ".join(str(entry.prefix) for entry in allowed)
        if self._try(f"allowed IPs {listed}", partial(self._widening.undo, allowed)):
            self._ledger.remove(*allowed)

    def _undo_one(self, entry: Entry) -> None:
        if entry.kind == ROUTE:
            self._routes.undo(entry)
        else:
            self._interfaces.remove_address(self._link.ifindex, entry.prefix)

    def _try(self, what: str, undo: Callable[[], None]) -> bool:
        """Undo something; whether it could be."""
        try:
            undo()
        except WgDynamicError as error:
            _LOG.error("cannot undo %s: %s", what, error)
            return False
        return True
