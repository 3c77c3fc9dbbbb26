"""The pools of a server as the machine sees them: where they come from, and their routes. Pure."""

from collections.abc import Iterable, Sequence

from wg_dynamic.address import Prefix, is_link_local
from wg_dynamic.errors import ConfigError
from wg_dynamic.leases.pool import Pool, check_pools, parse_pool
from wg_dynamic.netlink.control import (
    ROUTE_PROTOCOL,
    RT_SCOPE_LINK,
    RT_TABLE_LOCAL,
    RT_TABLE_MAIN,
    RTN_UNICAST,
    Address,
    Link,
    Route,
)


def choose_pools(texts: Sequence[str], link: Link, routes: Iterable[Route]) -> tuple[Pool, ...]:
    """The pools asked for; without any, the on-link routes of the interface. Raises ConfigError."""
    if not texts:
        texts = [str(route.prefix) for route in routes if _is_on_link(route, link)]
        if not texts:
            msg = f"no pool: {link.name} has no on-link route to lease from either"
            msg += "; give one, as in --pool 10.44.0.0/24 --pool fd00:44::/64"
            raise ConfigError(msg)
    try:
        pools = tuple(parse_pool(text) for text in dict.fromkeys(texts))
        check_pools(pools)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return pools


def _is_on_link(route: Route, link: Link) -> bool:
    return (
        route.ifindex == link.ifindex
        and route.kind == RTN_UNICAST
        and route.table == RT_TABLE_MAIN
        and route.protocol != ROUTE_PROTOCOL
        and route.gateway is None
        and route.prefix.length > 0
        and not route.prefix.is_host
        and not is_link_local(route.prefix.packed)
        and route.prefix.packed[0] != 0xFF  # noqa: PLR2004 - ff00::/8, multicast
    )


def check_routes(pools: Iterable[Pool], link: Link, routes: Sequence[Route]) -> None:
    """Refuse a pool that another interface routes (ConfigError).

    A wider route through a gateway may stand (10.0.0.0/8 to the office, say): the pool's own
    route is more specific. The same or a narrower one, or the network of another link, may not.
    """
    for pool in pools:
        for route in routes:
            if (
                route.ifindex == link.ifindex
                or route.kind != RTN_UNICAST
                or route.table == RT_TABLE_LOCAL
                or route.prefix.length == 0
            ):
                continue
            inside = pool.network.covers(route.prefix)
            if inside or (route.gateway is None and route.prefix.covers(pool.network)):
                msg = (
                    f"pool {pool.network} collides with the route to {route.prefix} over interface"
                )
                msg += f" {route.ifindex}, expected a network that only {link.name} reaches"
                raise ConfigError(msg)


def missing_routes(pools: Iterable[Pool], link: Link, routes: Sequence[Route]) -> list[Route]:
    """The routes over the interface that replies to leased addresses need and do not have."""
    there = [
        route.prefix
        for route in routes
        if route.ifindex == link.ifindex
        and route.kind == RTN_UNICAST
        and route.table == RT_TABLE_MAIN
    ]
    return [
        Route(
            pool.network,
            link.ifindex,
            scope=RT_SCOPE_LINK if pool.network.is_ipv4 else 0,
        )
        for pool in pools
        if not any(prefix.covers(pool.network) for prefix in there)
    ]


def own_addresses(pools: Sequence[Pool], addresses: Iterable[Address]) -> tuple[bytes, ...]:
    """The machine's own addresses inside the pools: never leased."""
    found = {a.prefix.packed for a in addresses}
    return tuple(sorted(p for p in found if any(pool.position(p) is not None for pool in pools)))


def holds(pools: Iterable[Pool], prefix: Prefix) -> bool:
    """Whether a prefix lies inside one of the pools."""
    return any(pool.network.covers(prefix) for pool in pools)
