"""What clients are told besides their addresses: routes, name servers, search domains, MTU. Pure.

An administrator says it at three levels: for all, for a pool, for a peer. `combined` is the one
place that knows how they go together (wg-dynamic.toml(5), "Pushed configuration"):

- a route goes with a lease of its family. Those of all levels add up, for each lease those of its
  own pool; an empty list takes away what the levels above it say. Where two levels name one
  network, the metric is that of the more specific level.
- each of the other settings is the one of the most specific level that names it; of two pools the
  one that is first in the file.
"""

from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

from wg_dynamic.address import IPV4_SIZE, IPV6_SIZE, Prefix
from wg_dynamic.record import dataclass

MAX_ROUTES: Final = 256
"""Routes of one level: as many as a message has (protocol.md 3.3)."""
MAX_TOLD_ROUTES: Final = 4096
"""Routes that one client can be told, all levels together: as many as a reply has (6.5)."""
MAX_DNS_SERVERS: Final = 8
MAX_DNS_SEARCH: Final = 16
MAX_DOMAIN_LENGTH: Final = 253
MAX_METRIC: Final = (1 << 32) - 1
MIN_MTU: Final = 1280
"""Below it the kernel takes IPv6 off an interface; clients obey no less (protocol.md 10.2)."""
MAX_MTU: Final = 65535

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class PushedRoute:
    """A network that is reached through the tunnel."""

    network: Prefix
    metric: int | None = None
    """None: the client's choice."""


@dataclass(frozen=True, slots=True)
class Push:
    """What one level says; None where it says nothing."""

    routes: tuple[PushedRoute, ...] | None = None
    """Empty: none, whatever the levels above say."""
    servers: tuple[bytes, ...] | None = None
    """Name servers, packed addresses; empty: none."""
    search: tuple[str, ...] | None = None
    """Search domains, in lower case; empty: none."""
    mtu: int | None = None


SILENT: Final = Push()
"""A level that says nothing."""


@dataclass(frozen=True, slots=True)
class PoolPush:
    """The level of one pool, for a client with a lease of it."""

    size: int
    """Bytes of its addresses."""
    push: Push


def combined(server: Push, pools: Sequence[PoolPush], peer: Push = SILENT) -> Push:
    """What a client is told.

    Args:
        server: the level for all.
        pools: those that the client has leases of, in the file's order, each once.
        peer: the client's own level.
    """
    levels = (peer, *[pool.push for pool in pools], server)
    return Push(
        routes=tuple(
            route
            for size in (IPV4_SIZE, IPV6_SIZE)
            for route in _routes(size, server, [p.push for p in pools if p.size == size], peer)
        ),
        servers=_first(level.servers for level in levels),
        search=_first(level.search for level in levels),
        mtu=_first(level.mtu for level in levels),
    )


def _routes(size: int, server: Push, pools: Sequence[Push], peer: Push) -> Iterable[PushedRoute]:
    """The routes of one family, for leases of these pools of it."""
    if not pools or peer.routes == ():
        return ()
    said = [server.routes] if any(pool.routes != () for pool in pools) else []
    said += [*[pool.routes for pool in reversed(pools)], peer.routes]
    found: dict[Prefix, PushedRoute] = {}
    for routes in said:
        found.update((one.network, one) for one in routes or ())
    return [route for network, route in found.items() if len(network.packed) == size]


def _first(values: Iterable[_Value | None]) -> _Value | None:
    return next((value for value in values if value is not None), None)
