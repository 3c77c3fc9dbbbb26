"""The pools of a server as the machine sees them: where they come from, and their routes."""

from collections.abc import Iterable, Sequence

from wg_dynamic.address import Prefix, format_address, host_prefix, is_link_local
from wg_dynamic.errors import ConfigError
from wg_dynamic.helper.config.checks import complaints, reservation_label
from wg_dynamic.leases.pool import Pool, parse_pool
from wg_dynamic.leases.terms import LeaseTerms, PoolTerms
from wg_dynamic.netlink.control import (
    ROUTE_PROTOCOL,
    RT_SCOPE_LINK,
    RT_TABLE_LOCAL,
    RT_TABLE_MAIN,
    RTN_UNICAST,
    Address,
    InterfaceControl,
    Link,
    Route,
)
from wg_dynamic.netlink.errors import InterfaceNotFoundError
from wg_dynamic.record import replace


def complete_terms(
    terms: LeaseTerms, names: Sequence[str], link: Link, routes: Iterable[Route]
) -> LeaseTerms:
    """The terms with the on-link networks as pools, if they have none. Raises ConfigError."""
    if terms.pools:
        return terms
    networks = [route.prefix for route in routes if _is_on_link(route, link)]
    if not networks:
        msg = f"no pool: {link.name} has no on-link route to lease from either"
        msg += "; give one, as in --pool 10.44.0.0/24 --pool fd00:44::/64"
        raise ConfigError(msg)
    try:
        pools = tuple(PoolTerms(parse_pool(str(each))) for each in dict.fromkeys(networks))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    completed = replace(terms, pools=pools)
    wrong = list(complaints(completed, names))
    if wrong:
        raise ConfigError("\n".join(wrong))
    return completed


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


def check_routes(
    terms: LeaseTerms, link: Link, routes: Sequence[Route], interfaces: InterfaceControl
) -> None:
    """Refuse a pool that another interface routes (ConfigError).

    A wider route through a gateway may stand (10.0.0.0/8 to the office, say): the pool's own
    route is more specific. The same or a narrower one, or the network of another link, may not.
    """
    for pool in (each.pool for each in terms.pools):
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
                name = _name(interfaces, route.ifindex)
                msg = f"pool {pool.network} collides with the route to {route.prefix} over {name},"
                msg += f" expected a network that only {link.name} reaches"
                raise ConfigError(msg)


def _name(interfaces: InterfaceControl, ifindex: int) -> str:
    try:
        return interfaces.link_by_index(ifindex).name
    except InterfaceNotFoundError:
        return f"interface {ifindex}, which is gone meanwhile"


def check_own_addresses(
    terms: LeaseTerms, names: Sequence[str], addresses: Iterable[Address]
) -> None:
    """Refuse a reservation of an address that this machine has itself (ConfigError)."""
    own = {each.prefix.packed for each in addresses}
    wrong = [
        f"{reservation_label(number, names)}: {format_address(address)} is an address of this"
        " machine, expected one that the peer can have"
        for number, one in enumerate(terms.reservations)
        for address in one.addresses
        if address in own
    ]
    if wrong:
        raise ConfigError("\n".join(wrong))


def reserved(terms: LeaseTerms) -> dict[Prefix, bytes]:
    """Whose the reserved addresses are."""
    return {host_prefix(address): key for address, key in terms.reserved_for().items()}


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
    return tuple(sorted(p for p in found if any(pool.leases(p) for pool in pools)))


def holds(pools: Iterable[Pool], prefix: Prefix) -> bool:
    """Whether a prefix lies inside one of the pools."""
    return any(pool.network.covers(prefix) for pool in pools)
