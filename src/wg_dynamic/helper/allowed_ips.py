"""The hub's allowed IPs: which are ours, which changes may be made. The helper's own view.

A change that the network process asks for is made only if the prefix is one address inside a
pool, the peer exists, and no other peer holds it or has it reserved; it is taken off only if the
ledger says that we put it there. The interface is read anew before addresses are added, so what an
administrator gives to a peer is safe but for the moment between that reading and the change.

An interface that was made anew may have been given allowed IPs that were ours (SaveConfig): the
record (helper/record.py) tells. And an administrator may say that those of another server are to
be ours (--adopt). Neither is anything that the network process could ask for.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from wg_dynamic.address import Prefix, is_link_local
from wg_dynamic.helper.pools import holds
from wg_dynamic.helper.record import Record
from wg_dynamic.leases.pool import Pool
from wg_dynamic.privsep.ledger import ALLOWED_IP, Entry, Ledger, LedgerError
from wg_dynamic.privsep.requests import MAX_REASON, Change, PeerInfo, Refusal
from wg_dynamic.record import replace
from wg_dynamic.system.clock import Clock
from wg_dynamic.wireguard.control import WireGuardControl, WireGuardError, WireGuardGoneError
from wg_dynamic.wireguard.device import AllowedIPChange
from wg_dynamic.wireguard.key import peer_label

MAX_READ_SHARE = 20.0
"""A reading that took t seconds is good for this many times t: milliseconds on a small hub, ten
seconds with 60,000 peers."""
MAX_OF_PEER = 64
"""Leased addresses that one peer may have, of both families: far above what is ever leased to it.
It bounds what a network process that was taken over can make us hold."""
MAX_LEASED = 1 << 20
"""The same, of all peers."""


class AllowedIPs:
    """The allowed IPs of one interface, split into the administrator's and ours."""

    def __init__(
        self,
        wireguard: WireGuardControl,
        ledger: Ledger,
        record: Record,
        pools: Sequence[Pool],
        clock: Clock,
        *,
        reserved: Mapping[Prefix, bytes] = MappingProxyType({}),
    ) -> None:
        """`reserved`: whose the addresses are that an administrator has reserved for one peer."""
        self._reserved = reserved
        self._wireguard = wireguard
        self._clock = clock
        self._read_at = float("-inf")
        self._fresh_time = 0.0
        self._ledger = ledger
        self._record = record
        self._pools = pools
        self._of_peer: Counter[bytes] = Counter()
        """How many entries of the ledger each peer has."""
        self.own: frozenset[bytes] = frozenset()
        """The hub's own addresses, as last looked up: who had one could speak for the hub."""
        self._adoptable: set[Entry] = set()
        """Allowed IPs of others that are to be ours as soon as there is a lease for each."""
        self._peers: set[bytes] = set()
        self._owner: dict[Prefix, bytes] = {}
        """Every allowed IP inside a pool, and its peer, as last read or changed."""
        self._wide: list[tuple[Prefix, bytes]] = []
        """Those of more than one address."""

    def begin(self, *, adopt: bool) -> list[Entry]:
        """Look at the interface for the first time; which allowed IPs turned out to be ours.

        Raises as `read`, and LedgerError.

        Args:
            adopt: what stands inside the pools now may become ours, peer by peer and address by
                address, by a change that adds what the peer has already.
        """
        infos = self.read()
        fixed = {
            Entry(ALLOWED_IP, prefix, info.public_key)
            for info in infos
            for prefix in info.fixed
            if prefix.is_host and not is_link_local(prefix.packed)
        }
        ours: list[Entry] = []
        if self._record.is_new:
            ours = [entry for entry in fixed if entry in self._record]
            self._ledger.add(*ours)
            self._of_peer.update(entry.public_key for entry in ours)
            self._record.begin({*fixed, *self._ledger.entries(ALLOWED_IP)})
        self._record.add(self._ledger.entries(ALLOWED_IP), self._ledger)  # if it was lost, say
        if adopt:
            inside = {entry for entry in fixed if holds(self._pools, entry.prefix)}
            self._adoptable = inside.difference(ours)
        return ours

    def change_terms(self, pools: Sequence[Pool], reserved: Mapping[Prefix, bytes]) -> None:
        """Judge by these from now on; before anything is added the interface is read anew.

        What was leased from other pools stays ours to take off.
        """
        self._pools = pools
        self._reserved = reserved
        self._read_at = float("-inf")

    @property
    def adopts(self) -> bool:
        """Whether the network process may still adopt allowed IPs."""
        return bool(self._adoptable)

    def end_adoption(self) -> None:
        """What was not adopted by now stays the administrator's."""
        self._adoptable.clear()

    def read(self) -> list[PeerInfo]:
        """Dump the interface anew, and strike from the ledger what is not there any more.

        Raises as WireGuardControl.device.
        """
        self._record.sync()
        begin = self._clock.now()
        device = self._wireguard.device()
        self._read_at = self._clock.now()
        self._fresh_time = MAX_READ_SHARE * (self._read_at - begin)
        self._peers = {peer.public_key for peer in device.peers}
        self._owner = {}
        self._wide = []
        infos = []
        given: list[Entry] = []
        for peer in device.peers:
            fixed: list[Prefix] = []
            leased: list[Prefix] = []
            for prefix in peer.allowed_ips:
                if holds(self._pools, prefix):
                    self._owner[prefix] = peer.public_key
                    if not prefix.is_host:
                        self._wide.append((prefix, peer.public_key))
                entry = Entry(ALLOWED_IP, prefix, peer.public_key)
                ours = entry in self._ledger
                (leased if ours else fixed).append(prefix)
                if not ours and entry in self._record:
                    given.append(entry)
            infos.append(PeerInfo(peer.public_key, tuple(fixed), tuple(leased)))
        gone = [
            entry
            for entry in self._ledger.entries(ALLOWED_IP)
            if self._holder(entry) != entry.public_key
        ]
        self._ledger.remove(*gone)
        if not self._record.is_new:  # else it is not known yet whose they are: see `begin`
            self._record.forget(given)
        self._of_peer = Counter(entry.public_key for entry in self._ledger.entries(ALLOWED_IP))
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
        adopted: dict[int, Change] = {}
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
            elif change.add and _entry(change) in self._adoptable:
                adopted[index] = change
        refusals += self._write_down(wanted, adopted)
        self._adoptable.difference_update(map(_entry, adopted.values()))
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
            return str(error)[:MAX_REASON]
        return ""

    def _write_down(self, wanted: dict[int, Change], adopted: dict[int, Change]) -> list[Refusal]:
        """Put what is added or adopted into the record, then the ledger.

        If one of them cannot take it, drop and refuse all of it.
        """
        additions = {index: change for index, change in wanted.items() if change.add}
        entries = [_entry(change) for change in (*adopted.values(), *additions.values())]
        try:
            if entries:
                self._record.add(entries, self._ledger)
                self._ledger.add(*entries)
        except LedgerError as error:
            refused = sorted([*adopted, *additions])
            adopted.clear()
            for index, change in additions.items():
                del wanted[index]
                if self._owner.get(change.prefix) == change.public_key:
                    self._note(replace(change, add=False))
            return [Refusal(index, str(error)[:MAX_REASON]) for index in refused]
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
        self._of_peer[change.public_key] += 1 if change.add else -1
        if change.add:
            self._owner[change.prefix] = change.public_key
        else:
            self._owner.pop(change.prefix, None)

    def _refusal(self, change: Change) -> str:
        if not change.add:
            return ""  # what is not in the ledger is simply not there to be taken off
        if not holds(self._pools, change.prefix):
            return f"{change.prefix} is in no pool"
        if change.prefix.packed in self.own:
            return f"{change.prefix} is an address of the hub"
        if change.public_key not in self._peers:
            return "no such peer"
        if self._reserved.get(change.prefix, change.public_key) != change.public_key:
            return f"{change.prefix} is reserved for another peer"
        return self._conflict(change)

    def _conflict(self, change: Change) -> str:
        owner = self._owner.get(change.prefix)
        if owner == change.public_key:
            return ""
        return self._in_the_way(change, owner) or self._too_many(change)

    def _in_the_way(self, change: Change, owner: bytes | None) -> str:
        if owner is not None:
            return f"it is in the allowed IPs of {peer_label(owner)}"
        for prefix, other in self._wide:
            if other != change.public_key and prefix.covers(change.prefix):
                return f"it is inside {prefix} of {peer_label(other)}"
        return ""

    def _too_many(self, change: Change) -> str:
        of_peer, of_all = self._of_peer[change.public_key], len(self._ledger)
        return "too many leased addresses" if of_peer >= MAX_OF_PEER or of_all >= MAX_LEASED else ""


def _entry(change: Change | AllowedIPChange) -> Entry:
    return Entry(ALLOWED_IP, change.prefix, change.public_key)
