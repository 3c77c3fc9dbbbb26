"""Who is behind a source address: the peer that has it as an exact /128 (protocol.md section 2).

WireGuard drops a packet whose source is not in the sender's allowed IPs, so the full 128 bits of
the source address name the peer. A peer that owns it by a wider prefix only is nobody: others
could sit below the same prefix.
"""

from collections.abc import Iterable, Iterator, Sequence, Set

from wg_dynamic.address import Prefix, host_prefix, is_link_local
from wg_dynamic.leases.pool import Pool
from wg_dynamic.privsep.requests import PeerInfo


class PeerTable:
    """The peers as last read from the interface."""

    def __init__(self, pools: Sequence[Pool]) -> None:
        self._pools = tuple(pool.network for pool in pools)
        self._owners: dict[bytes, bytes] = {}
        self._keys: frozenset[bytes] = frozenset()
        self._fenced: dict[bytes, bytes] = {}
        """Addresses in a pool that an administrator gave to a peer, and to which."""
        self._fences: dict[Prefix, bytes] = {}
        """The same, for prefixes of more than one address."""
        self._fence_lengths: frozenset[tuple[int, int]] = frozenset()
        """(bytes of the address, prefix length) of all fences: what has to be looked up."""

    def change_pools(self, pools: Sequence[Pool]) -> None:
        """Let these be the pools; which allowed IPs fence them is known after an `update`."""
        self._pools = tuple(pool.network for pool in pools)

    def update(self, infos: Iterable[PeerInfo]) -> None:
        """Take over a new reading, whole."""
        owners: dict[bytes, bytes] = {}
        fenced: dict[bytes, bytes] = {}
        fences: dict[Prefix, bytes] = {}
        keys = set()
        for info in infos:
            keys.add(info.public_key)
            for prefix in info.fixed:
                if prefix.is_host and is_link_local(prefix.packed):
                    owners[prefix.packed] = info.public_key
                elif any(pool.covers(prefix) for pool in self._pools):
                    if prefix.is_host:
                        fenced[prefix.packed] = info.public_key
                    else:
                        fences[prefix.network()] = info.public_key
        self._owners, self._fenced, self._fences = owners, fenced, fences
        self._fence_lengths = frozenset((len(one.packed), one.length) for one in fences)
        self._keys = frozenset(keys)

    def owner(self, source: bytes) -> bytes | None:
        """The public key behind a full source address; None when it is nobody's."""
        return self._owners.get(source)  # only link-local ones are in it

    def sources(self) -> Set[bytes]:
        """All addresses that have an owner, as of the last reading."""
        return self._owners.keys()

    @property
    def count(self) -> int:
        """How many peers the interface has."""
        return len(self._keys)

    def is_present(self, public_key: bytes) -> bool:
        """Whether the interface has this peer."""
        return public_key in self._keys

    def fences(self) -> Iterator[tuple[Prefix, bytes]]:
        """Every static allowed IP inside the pools, and whose it is."""
        yield from self._fences.items()
        yield from ((host_prefix(address), key) for address, key in self._fenced.items())

    def is_open(self, address: bytes, public_key: bytes) -> bool:
        """Whether no other peer has the address as a static allowed IP inside the pools.

        A shorter prefix that covers a whole pool (an exit node's 0.0.0.0/0) fences nothing. The
        peer's own may be leased to it like any other; it stays in force when the lease has ended.
        """
        if self._fenced.get(address, public_key) != public_key:
            return False
        return all(
            self._fences.get(Prefix(address, length).network(), public_key) == public_key
            for size, length in self._fence_lengths
            if size == len(address)
        )
