"""What an administrator is told of a server: how it stands, and its leases, as JSON.

docs/command.md describes the fields. Nothing here waits, and nothing takes long: of the leases
there may be a million, so they come one after the other, and who asks for the next one says when.
"""

import json
from collections.abc import Iterable, Iterator
from math import isinf

from wg_dynamic import __version__
from wg_dynamic.address import Prefix, format_address
from wg_dynamic.admin.protocol import HELD, QUARANTINED, REMEMBERED, Request
from wg_dynamic.leases.event import quote
from wg_dynamic.leases.lease import Lease
from wg_dynamic.protocol import ErrorCode
from wg_dynamic.server.engine import Engine
from wg_dynamic.server.identity import PeerTable
from wg_dynamic.system.clock import Clock
from wg_dynamic.wireguard.key import format_key, parse_key


class Answers:
    """Reads the engine's leases, in its own task's pauses."""

    def __init__(
        self, engine: Engine, peers: PeerTable, clock: Clock, *, interface: str, database: str
    ) -> None:
        self._engine = engine
        self._peers = peers
        self._clock = clock
        self._interface = interface
        self._database = database
        self._started_at = clock.now()

    def status(
        self, *, connections: int, subscribers: int, troubles: Iterable[tuple[float, str]]
    ) -> bytes:
        """How the server stands.

        Args:
            connections: of clients.
            subscribers: those of them that are told of changes.
            troubles: (Unix time, text) of the last warnings.
        """
        table = self._engine.table
        value = {
            "role": "server",
            "interface": self._interface,
            "version": __version__,
            "up_for": round(self._clock.now() - self._started_at, 1),
            "pools": list(self._pools()),
            "leases": {HELD: len(table), "remembered_or_quarantined": table.remembered},
            "peers": self._peers.count,
            "connections": connections,
            "subscribers": subscribers,
            "events": dict(self._engine.events.counts),
            "requests": [
                {"command": command, "outcome": ErrorCode(code).name.lower(), "count": count}
                for (command, code), count in sorted(self._engine.events.outcomes.items())
            ],
            "times": self._engine.timings.told(),
            "store": {"path": self._database, "works": self._engine.store_works},
            "troubles": [{"time": round(time, 3), "text": text} for time, text in troubles],
        }
        return json.dumps(value).encode("ascii")

    def _pools(self) -> Iterator[dict[str, object]]:
        table = self._engine.table
        for pool, allocator, held in zip(
            self._engine.rules.terms.pools, table.allocators, table.held_in, strict=True
        ):
            yield {
                "network": str(pool.pool.network),
                "size": allocator.space.size,
                "held": held,
                "free": allocator.free_count,
                "lease_time": pool.lease_time or self._engine.rules.terms.lease_time,
            }

    def leases(self, request: Request) -> Iterator[bytes | None]:
        """Each lease that the request means; None for each that it does not: looking costs, too."""
        now, wall = self._clock.now(), self._clock.wall()
        key = _key(request.peer)
        for lease in self._candidates(request, key):
            if lease is not None and self._is_meant(lease, request, key, now):
                yield self.row(lease, now, wall)
            else:
                yield None

    def _candidates(self, request: Request, key: bytes | None) -> Iterator[Lease | None]:
        table = self._engine.table
        if request.address is not None:
            yield table.get(request.address)
        elif key is not None:
            yield from table.of_peer(key)
        else:
            for address in table.addresses():
                yield table.get(address)  # None: it was freed meanwhile

    def _is_meant(self, lease: Lease, request: Request, key: bytes | None, now: float) -> bool:
        if request.peer is not None and lease.public_key != key:
            name = self._engine.events.name_of(lease.public_key)
            if key is not None or name != request.peer:
                return False
        if request.pool is not None and not request.pool.covers(_host(lease.address)):
            return False
        return request.state in (None, state_of(lease, now))

    def row(self, lease: Lease, now: float, wall: float) -> bytes:
        """One lease; by hand, as this is most of the work. `now`, `wall`: of one moment."""
        name = self._engine.events.name_of(lease.public_key)
        reserved = lease.address in self._engine.rules.reserved(
            lease.public_key, len(lease.address)
        )
        left = lease.ends_at - now
        ends = "null" if isinf(left) else f"{wall + left:.0f}"
        span = '"infinite"' if isinf(lease.lease_time) else f"{lease.lease_time:.0f}"
        fields = [
            f'"address": "{format_address(lease.address)}"',
            f'"public_key": "{format_key(lease.public_key)}"',
            f'"name": {"null" if name is None else quote(name)}',
            f'"state": "{state_of(lease, now)}"',
            f'"lease_time": {span}',
            f'"ends_at": {ends}',
            f'"ends_in": {"null" if isinf(left) else f"{left:.0f}"}',
            f'"reserved": {"true" if reserved else "false"}',
            f'"peer_present": {"true" if self._peers.is_present(lease.public_key) else "false"}',
        ]
        return f"{{{', '.join(fields)}}}".encode("ascii")


def state_of(lease: Lease, now: float) -> str:
    """HELD, REMEMBERED or QUARANTINED."""
    if not lease.ended:
        return HELD
    return QUARANTINED if lease.is_in_quarantine(now) else REMEMBERED


def _key(peer: str | None) -> bytes | None:
    """The public key that a text is; None for a name."""
    try:
        return None if peer is None else parse_key(peer)
    except ValueError:
        return None


def _host(address: bytes) -> Prefix:
    return Prefix(address, len(address) * 8)
