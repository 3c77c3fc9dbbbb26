"""The server peer's allowed IPs: widened by the networks of a lease, and taken back."""

from collections.abc import Sequence

from wg_dynamic.address import Prefix
from wg_dynamic.privsep.ledger import ALLOWED_IP, Entry, Ledger
from wg_dynamic.wireguard.control import WireGuardControl
from wg_dynamic.wireguard.device import AllowedIPChange


class Widening:
    """Of one interface."""

    def __init__(self, wireguard: WireGuardControl, ledger: Ledger) -> None:
        self._wireguard = wireguard
        self._ledger = ledger

    def prefixes(self) -> frozenset[Prefix]:
        """The allowed IPs that are ours."""
        return frozenset(entry.prefix for entry in self._ledger.entries(ALLOWED_IP))

    def apply(self, networks: Sequence[Prefix], server_key: bytes) -> set[Entry]:
        """Let the peer have these, and return what of it is ours.

        What an allowed IP of the administrator covers needs nothing. One of ours does not count as
        that: it may go before this one does. Raises WireGuardError, LedgerError.
        """
        held = {
            prefix
            for peer in self._wireguard.device().peers
            if peer.public_key == server_key
            for prefix in peer.allowed_ips
        }
        ours, missing = set(), []
        for network in networks:
            entry = Entry(ALLOWED_IP, network, server_key)
            if network in held and entry in self._ledger:
                ours.add(entry)
            elif not any(
                prefix.covers(network)
                for prefix in held
                if Entry(ALLOWED_IP, prefix, server_key) not in self._ledger
            ):
                ours.add(entry)
                missing.append(entry)
        if missing:
            self._ledger.add(*missing)
            self._wireguard.change_allowed_ips(
                [AllowedIPChange(server_key, entry.prefix, add=True) for entry in missing]
            )
        return ours

    def undo(self, entries: Sequence[Entry]) -> None:
        """Take these of ours off, in one message. Raises WireGuardError."""
        if entries:
            self._wireguard.change_allowed_ips(
                [AllowedIPChange(entry.public_key, entry.prefix, add=False) for entry in entries]
            )
