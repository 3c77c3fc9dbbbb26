"""What the client has set for its lease: allowed IPs, addresses, routes; and how it is undone.

Everything is written into the ledger first. Addresses carry the lease's end as a kernel lifetime,
IPv4 routes hang on their address, IPv6 routes expire: what is forgotten here, after a kill say,
goes by itself. Allowed IPs do not: the ledger of the next start takes them off.
"""

import logging
from collections.abc import Iterable

from wg_dynamic.address import Prefix
from wg_dynamic.errors import WgDynamicError
from wg_dynamic.helper.qualify import SERVER_PREFIX
from wg_dynamic.netlink.control import (
    FOREVER,
    ROUTE_PROTOCOL,
    RT_SCOPE_LINK,
    RT_TABLE_MAIN,
    RTN_UNICAST,
    Address,
    InterfaceControl,
    Link,
    Route,
)
from wg_dynamic.privsep.ledger import ADDRESS, ALLOWED_IP, ROUTE, Entry, Ledger
from wg_dynamic.privsep.requests import AddressSetting
from wg_dynamic.wireguard.control import WireGuardControl
from wg_dynamic.wireguard.device import AllowedIPChange

_LOG = logging.getLogger(__name__)


class AppliedLease:
    """The lease of one interface as it stands in the kernel."""

    def __init__(
        self,
        link: Link,
        interfaces: InterfaceControl,
        wireguard: WireGuardControl,
        ledger: Ledger,
    ) -> None:
        self._link = link
        self._interfaces = interfaces
        self._wireguard = wireguard
        self._ledger = ledger

    def addresses(self) -> list[Prefix]:
        """The leased addresses that the ledger has."""
        return [entry.prefix for entry in self._ledger.entries(ADDRESS)]

    def widened(self) -> frozenset[Prefix]:
        """The allowed IPs of the server peer that are ours."""
        return frozenset(entry.prefix for entry in self._ledger.entries(ALLOWED_IP))

    def apply(self, settings: Iterable[AddressSetting], server_key: bytes) -> None:
        """Set or refresh these, then undo what is ours and not among them.

        Raises:
            NetlinkError, WireGuardError: the kernel refused; what was set until then is in the
                ledger and goes with the next `apply` or `undo`.
        """
        keep: set[Entry] = set()
        for setting in settings:
            keep |= self._set_one(setting, server_key)
        self._undo([entry for entry in self._ours() if entry not in keep])

    def undo(self) -> None:
        """Undo everything that the lease set."""
        self._undo(self._ours())

    def strike_out_missing(self) -> bool:
        """Forget the addresses and routes that are gone from the kernel; whether there were any.

        The kernel drops them with the link, an administrator by hand. What comes to stand there
        later is not ours.
        """
        addresses = [a.prefix for a in self._interfaces.addresses(self._link.ifindex)]
        routes = [
            route.prefix
            for route in self._interfaces.routes(self._link.ifindex)
            if route.protocol == ROUTE_PROTOCOL
        ]
        missing = [
            entry
            for kind, there in ((ADDRESS, addresses), (ROUTE, routes))
            for entry in self._ledger.entries(kind)
            if entry.prefix not in there
        ]
        self._ledger.remove(*missing)
        return any(entry.prefix != SERVER_PREFIX for entry in missing)

    def add_server_route(self) -> None:
        """Add the way to fe80:: where no route over the interface leads there. NetlinkError.

        Beside those that other interfaces have to the same prefix: the scope id picks the right
        one at each connection.
        """
        for route in self._interfaces.routes(self._link.ifindex):
            if (
                route.kind == RTN_UNICAST
                and route.table == RT_TABLE_MAIN
                and route.prefix.length > 0
                and route.prefix.covers(SERVER_PREFIX)
            ):
                return
        self._ledger.add(Entry(ROUTE, SERVER_PREFIX))
        self._interfaces.add_route(Route(SERVER_PREFIX, self._link.ifindex), append=True)

    def undo_all(self) -> None:
        """Undo what the lease set, and the way to the server."""
        self.undo()
        self._undo(self._ledger.entries(ROUTE))

    def forget(self) -> None:
        """The interface is gone, and everything on it."""
        for kind in (ALLOWED_IP, ADDRESS, ROUTE):
            self._ledger.remove(*self._ledger.entries(kind))

    def _ours(self) -> list[Entry]:
        """In the order in which it is undone: routes, addresses, allowed IPs."""
        return [
            entry
            for kind in (ROUTE, ADDRESS, ALLOWED_IP)
            for entry in self._ledger.entries(kind)
            if entry.prefix != SERVER_PREFIX
        ]

    def _set_one(self, setting: AddressSetting, server_key: bytes) -> set[Entry]:
        network = setting.network
        entries = set()
        if not network.is_host:
            entries |= self._widen(network, server_key)
        entries |= self._set_address(setting)
        if not network.is_host:
            entries |= self._set_route(setting)
        return entries

    def _widen(self, network: Prefix, server_key: bytes) -> set[Entry]:
        """Let the server peer send from, and be sent to, the leased network."""
        entry = Entry(ALLOWED_IP, network, server_key)
        device = self._wireguard.device()
        for peer in device.peers:
            if peer.public_key != server_key:
                continue
            if network in peer.allowed_ips and entry in self._ledger:
                return {entry}
            if any(prefix.covers(network) for prefix in peer.allowed_ips):
                return set()  # the administrator has seen to it
        self._ledger.add(entry)
        self._wireguard.change_allowed_ips([AllowedIPChange(server_key, network, add=True)])
        return {entry}

    def _set_address(self, setting: AddressSetting) -> set[Entry]:
        entry = Entry(ADDRESS, setting.address)
        there = [a.prefix for a in self._interfaces.addresses(self._link.ifindex)]
        if entry not in self._ledger and any(
            prefix.packed == setting.address.packed for prefix in there
        ):
            return set()  # an administrator's: it stays as it is
        self._ledger.add(entry)
        self._interfaces.set_address(
            Address(
                self._link.ifindex,
                setting.address,
                valid_time=setting.valid_time,
                preferred_time=setting.preferred_time,
            )
        )
        return {entry}

    def _set_route(self, setting: AddressSetting) -> set[Entry]:
        entry = Entry(ROUTE, setting.network)
        route = self._route(setting.network, setting)
        there = [
            one
            for one in self._interfaces.routes(self._link.ifindex)
            if one.prefix == setting.network
            and one.kind == RTN_UNICAST
            and one.table == RT_TABLE_MAIN
        ]
        if entry in self._ledger:
            self._interfaces.replace_route(route)
            return {entry}
        if there:
            return set()  # an administrator's, wg-quick's for an allowed IP say
        self._ledger.add(entry)
        self._interfaces.add_route(route)
        return {entry}

    def _route(self, network: Prefix, setting: AddressSetting | None = None) -> Route:
        if network.is_ipv4:
            source = setting.address.packed if setting else None
            return Route(network, self._link.ifindex, scope=RT_SCOPE_LINK, preferred_source=source)
        expires = setting is not None and setting.valid_time != FOREVER
        return Route(
            network,
            self._link.ifindex,
            expires_time=setting.valid_time if setting and expires else None,
        )

    def _undo(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            try:
                self._undo_one(entry)
            except WgDynamicError as error:
                _LOG.error("cannot undo %s %s: %s", entry.kind, entry.prefix, error)
            else:
                self._ledger.remove(entry)

    def _undo_one(self, entry: Entry) -> None:
        if entry.kind == ROUTE:
            self._interfaces.remove_route(self._route(entry.prefix))
        elif entry.kind == ADDRESS:
            self._interfaces.remove_address(self._link.ifindex, entry.prefix)
        else:
            change = AllowedIPChange(entry.public_key, entry.prefix, add=False)
            self._wireguard.change_allowed_ips([change])
