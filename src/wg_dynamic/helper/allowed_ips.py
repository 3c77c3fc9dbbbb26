"""The hub's allowed IPs: which are ours, which changes may be made. The helper's own view.

A change that the network process asks for is made only if the prefix is one address inside a
pool, the peer exists, and no other peer holds it or has it reserved; it is taken off only if the
ledger says that we put it there. The interface is read anew before addresses are added, so what an
administrator gives to a peer is safe but for the moment between that reading and the change.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from wg_dynamic.address import Prefix
from wg_dynamic.helper.pools import holds
from wg_dynamic.leases.pool import Pool
from wg_dynamic.privsep.ledger import ALLOWED_IP, Entry, Ledger, LedgerError
from wg_dynamic.privsep.requests import Change, PeerInfo, Refusal
from wg_dynamic.system.clock import Clock
from wg_dynamic.wireguard.control import WireGuardControl, WireGuardError, WireGuardGoneError
from wg_dynamic.wireguard.device import AllowedIPChange

MAX_READ_SHARE = 20.0
"""A reading that took t seconds is good for this many times t: milliseconds on a small hub, ten
seconds with 60,000 peers."""


class AllowedIPs:
    """The allowed IPs of one interface, split into the administrator's and ours."""

    def __init__(
        self,
        wireguard: WireGuardControl,
        ledger: Ledger,
        pools: Sequence[Pool],
        clock: Clock,
        reserved: Mapping[Prefix, bytes] = MappingProxyType({}),
    ) -> None:
        """`reserved`: whose the addresses are that an administrator has reserved for one peer."""
        self._reserved = reserved
        self._wireguard = wireguard
        self._clock = clock
        self._read_at = float("-inf")
        self._fresh_time = 0.0
        self._ledger = ledger
        self._pools = pools
        self._peers: set[bytes] = set()
        self._owner: dict[Prefix, bytes] = {}
        """Every allowed IP inside a pool, and its peer, as last read or changed."""
        self._wide: list[tuple[Prefix, bytes]] = []
        """Those of more than one address."""

    def read(self) -> list[PeerInfo]:
        """Dump the interface anew, and strike from the ledger what is not there any more.

        Raises as WireGuardControl.device.
        """
        begin = self._clock.now()
        device = self._wireguard.device()
        self._read_at = self._clock.now()
        self._fresh_time = MAX_READ_SHARE * (self._read_at - begin)
        self._peers = {peer.public_key for peer in device.peers}
        self._owner = {}
        self._wide = []
        infos = []
        for peer in device.peers:
            fixed: list[Prefix] = []
            leased: list[Prefix] = []
            for prefix in peer.allowed_ips:
                if holds(self._pools, prefix):
                    self._owner[prefix] = peer.public_key
                    if not prefix.is_host:
                        self._wide.append((prefix, peer.public_key))
                ours = Entry(ALLOWED_IP, prefix, peer.public_key) in self._ledger
                (leased if ours else fixed).append(prefix)
            infos.append(PeerInfo(peer.public_key, tuple(fixed), tuple(leased)))
        gone = [
            entry
            for entry in self._ledger.entries(ALLOWED_IP)
            if self._holder(entry) != entry.public_key
        ]
        self._ledger.remove(*gone)
        return infos

    def _holder(self, entry: Entry) -> bytes | None:
        if holds(self._pools, entry.prefix):
            return self._owner.get(entry.prefix)
        # Leased from a pool that this server no longer has: still ours to take off.
        return entry.public_key if entry.public_key in self._peers else None

    def change(self, changes: Sequence[Change]) -> list[Refusal]:
        """Make the changes that may be made; say which were not, and why.

        Nothing is added that cannot be looked up, or written down, before; what is to be taken
        off is taken off all the same.

        Raises as WireGuardControl.change_allowed_ips; the ledger then names too much rather than
        too little, and the next `read` puts it right.
        """
        obstacle = ""
        if any(change.add for change in changes) and self._is_stale():
            obstacle = self._read_again()
        refusals: list[Refusal] = []
        wanted: dict[int, Change] = {}
        last: dict[Entry, bool] = {}
        """Whether what the message says last of an entry is to add it."""
        for index, change in enumerate(changes):
            reason = (change.add and obstacle) or self._refusal(change)
            if reason:
                refusals.append(Refusal(index, reason))
            elif self._is_needed(change, last):
                wanted[index] = change
                last[_entry(change)] = change.add
                self._note(change)
        refusals += self._write_down(wanted)
        if wanted:
            self._wireguard.change_allowed_ips(
                [AllowedIPChange(one.public_key, one.prefix, one.add) for one in wanted.values()]
            )
            self._ledger.remove(*[entry for entry, added in last.items() if not added])
        return refusals

    def _read_again(self) -> str:
        """Read; why that could not be done, "" if it could."""
        try:
            self.read()
        except WireGuardGoneError:
            raise
        except WireGuardError as error:
            return str(error)
        return ""

    def _write_down(self, wanted: dict[int, Change]) -> list[Refusal]:
        """Put the additions into the ledger; if it cannot take them, drop and refuse them all."""
        additions = {index: change for index, change in wanted.items() if change.add}
        try:
            self._ledger.add(*map(_entry, additions.values()))
        except LedgerError as error:
            for index, change in additions.items():
                del wanted[index]
                if self._owner.get(change.prefix) == change.public_key:
                    del self._owner[change.prefix]
            return [Refusal(index, str(error)) for index in additions]
        return []

    def _is_stale(self) -> bool:
        """Whether an administrator may have changed what we would build upon.

        Our own reading decides, however seldom the network process asks for one. It is repeated
        before addresses are added, unless that would take more than a twentieth of our time.
        """
        return self._clock.now() - self._read_at > self._fresh_time

    def _is_needed(self, change: Change, before: Mapping[Entry, bool]) -> bool:
        """Whether it changes anything, after what the same message changes `before` it."""
        if change.add:
            return change.prefix not in self._owner
        entry = _entry(change)
        return before.get(entry, entry in self._ledger)

    def _note(self, change: Change) -> None:
        if change.add:
            self._owner[change.prefix] = change.public_key
        else:
            self._owner.pop(change.prefix, None)

    def _refusal(self, change: Change) -> str:
        if not change.add:
            return ""  # what is not in the ledger is simply not there to be taken off
        if not holds(self._pools, change.prefix):
            return f"{change.prefix} is in no pool"
        if change.public_key not in self._peers:
            return "no such peer"
        if self._reserved.get(change.prefix, change.public_key) != change.public_key:
            return f"{change.prefix} is reserved for another peer"
        return self._conflict(change)

    def _conflict(self, change: Change) -> str:
        owner = self._owner.get(change.prefix)
        if owner is not None and owner != change.public_key:
            return f"{change.prefix} is in another peer's allowed IPs"
        for prefix, owner in self._wide:
            if owner != change.public_key and prefix.covers(change.prefix):
                return f"{change.prefix} is inside {prefix} of another peer"
        return ""


def _entry(change: Change | AllowedIPChange) -> Entry:
    return Entry(ALLOWED_IP, change.prefix, change.public_key)
