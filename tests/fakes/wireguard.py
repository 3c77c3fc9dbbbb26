"""A WireGuard interface in memory, with WireGuard's semantics (tests/contract keeps it honest)."""

from collections.abc import Sequence
from dataclasses import replace

from wg_dynamic.address import Prefix
from wg_dynamic.wireguard.batch import plan
from wg_dynamic.wireguard.control import WireGuardGoneError, check_fwmark, check_peer
from wg_dynamic.wireguard.device import AllowedIPChange, Device, Peer


class FakeWireGuard:
    """Implements WireGuardControl; tests play the administrator with the other methods."""

    def __init__(self, *peers: Peer, public_key: bytes | None = None) -> None:
        self.public_key = public_key
        self.fwmark = 0
        self._peers: dict[bytes, Peer] = {}
        self._allowed_ips: dict[bytes, dict[Prefix, None]] = {}
        self._owners: dict[Prefix, bytes] = {}
        self.preshared_keys: dict[bytes, bytes] = {}
        """Of the peers that have one."""
        self.error: Exception | None = None
        """Raised by every call of the interface until it is None again."""
        self.gone = False
        self.closed = False
        self.dumps = 0
        """How often `device` was called."""
        self.calls: list[tuple[AllowedIPChange, ...]] = []
        """What `change_allowed_ips` was called with."""
        for peer in peers:
            self.put_peer(peer)

    # WireGuardControl

    def device(self) -> Device:
        self._check()
        self.dumps += 1
        return Device(self.public_key, 51820, self.fwmark, tuple(self.peers.values()))

    def change_allowed_ips(self, changes: Sequence[AllowedIPChange]) -> None:
        plan(changes)  # refuses what no backend would take
        self._check()
        self.calls.append(tuple(changes))
        for change in changes:
            prefix = change.prefix.network()
            if change.public_key not in self._peers:
                continue
            if change.add:
                self._give(change.public_key, prefix)
            elif self._owners.get(prefix) == change.public_key:
                self._take(prefix)

    def add_peer(self, peer: Peer, preshared_key: bytes | None = None) -> None:
        check_peer(peer, preshared_key)
        self._check()
        old = self._peers.get(peer.public_key, Peer(peer.public_key))
        self._peers[peer.public_key] = replace(
            old,
            endpoint=peer.endpoint or old.endpoint,
            persistent_keepalive=peer.persistent_keepalive or old.persistent_keepalive,
        )
        self._allowed_ips.setdefault(peer.public_key, {})
        for prefix in peer.allowed_ips:
            self._give(peer.public_key, prefix.network())
        if preshared_key is not None:
            self.preshared_keys[peer.public_key] = preshared_key

    def remove_peer(self, public_key: bytes) -> None:
        check_peer(Peer(public_key), None)
        self._check()
        self._drop(public_key)

    def set_fwmark(self, fwmark: int) -> None:
        check_fwmark(fwmark)
        self._check()
        self.fwmark = fwmark

    def close(self) -> None:
        self.closed = True

    # The administrator

    @property
    def peers(self) -> dict[bytes, Peer]:
        """The peers as they are now."""
        return {
            public_key: replace(peer, allowed_ips=tuple(self._allowed_ips[public_key]))
            for public_key, peer in self._peers.items()
        }

    def put_peer(self, peer: Peer) -> None:
        """Add a peer, or replace it; as with `wg set`, its allowed IPs leave other peers."""
        self._drop(peer.public_key)
        self._peers[peer.public_key] = peer
        self._allowed_ips[peer.public_key] = {}
        for prefix in peer.allowed_ips:
            self._give(peer.public_key, prefix.network())

    def has_peer(self, public_key: bytes) -> bool:
        return public_key in self._peers

    def allowed_ips(self, public_key: bytes) -> set[str]:
        """As `wg show` prints them."""
        return {str(prefix) for prefix in self._allowed_ips[public_key]}

    def owner(self, prefix: Prefix) -> bytes | None:
        """The peer that holds exactly this prefix."""
        return self._owners.get(prefix)

    def _drop(self, public_key: bytes) -> None:
        self._peers.pop(public_key, None)
        self.preshared_keys.pop(public_key, None)
        for prefix in self._allowed_ips.pop(public_key, ()):
            del self._owners[prefix]

    def _give(self, public_key: bytes, prefix: Prefix) -> None:
        if self._owners.get(prefix) != public_key:
            self._take(prefix)
            self._owners[prefix] = public_key
            self._allowed_ips[public_key][prefix] = None

    def _take(self, prefix: Prefix) -> None:
        owner = self._owners.pop(prefix, None)
        if owner is not None:
            del self._allowed_ips[owner][prefix]

    def _check(self) -> None:
        if self.closed:
            msg = "call of a closed control, expected none after close"
            raise AssertionError(msg)
        if self.error is not None:
            raise self.error
        if self.gone:
            msg = "the interface is gone"
            raise WireGuardGoneError(msg)
