"""Whether the values of a configuration go together. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from wg_dynamic.address import Prefix, format_address
from wg_dynamic.helper.config.document import Problems, ServerConfig
from wg_dynamic.helper.config.values import last_address
from wg_dynamic.leases.push import (
    MAX_DNS_SEARCH,
    MAX_DNS_SERVERS,
    MAX_ROUTES,
    MAX_TOLD_ROUTES,
    Push,
)
from wg_dynamic.leases.space import Space
from wg_dynamic.leases.terms import INFINITE, AddressRange, LeaseTerms, PoolTerms, Reservation
from wg_dynamic.privsep.requests import (
    MAX_EXCLUSIONS,
    MAX_POOLS,
    MAX_PUSHED_PEERS,
    MAX_PUSHED_ROUTES,
    MAX_RESERVATIONS,
)

_MAX_NAME: Final = 60
"""Characters of a name that a message repeats."""


def checked_terms(config: ServerConfig) -> LeaseTerms:
    """What a configuration means to lease by. Raises UsageError that tells all that is wrong."""
    terms = config.terms()
    problems = Problems(config.source)
    for text in (*complaints(terms, config.names), *push_complaints(terms, config.peer_names)):
        problems.add(text)
    problems.raise_any()
    return terms


def complaints(terms: LeaseTerms, names: Sequence[str] = ()) -> Iterator[str]:
    """What does not go together.

    Args:
        terms: without pools, when those are to be the networks of the interface: then it has to be
            asked again with them.
        names: of the reservations.
    """
    yield from _about_times(terms)
    yield from _about_numbers(terms)
    for pool in terms.pools:
        yield from _about_pool(pool, terms)
    yield from _about_overlaps(terms.pools)
    yield from _about_reservations(terms, names)


def _about_times(terms: LeaseTerms) -> Iterator[str]:
    low, high = terms.min_lease_time, terms.max_lease_time
    if low > high:
        yield f"min_lease_time {low:.0f}, expected at most max_lease_time ({high:.0f})"
    elif not low <= terms.lease_time <= high:
        yield (
            f"lease_time {terms.lease_time:.0f}, expected min_lease_time ({low:.0f})"
            f" to max_lease_time ({high:.0f})"
        )


def _about_numbers(terms: LeaseTerms) -> Iterator[str]:
    excluded = sum(len(pool.excluded) for pool in terms.pools)
    for what, count, limit in (
        ("pools", len(terms.pools), MAX_POOLS),
        ("exclusions", excluded, MAX_EXCLUSIONS),
        ("reservations", len(terms.reservations), MAX_RESERVATIONS),
    ):
        if count > limit:
            yield f"{count} {what}, expected at most {limit}"


def _about_pool(pool: PoolTerms, terms: LeaseTerms) -> Iterator[str]:
    network = pool.pool.network
    low, high = terms.min_lease_time, terms.max_lease_time
    if pool.lease_time is not None and low <= high and not low <= pool.lease_time <= high:
        yield (
            f"pool {network}: lease_time {pool.lease_time:.0f}, expected min_lease_time ({low:.0f})"
            f" to max_lease_time ({high:.0f})"
        )
    bits = len(network.packed) * 8
    length = pool.network_length
    if length is not None and not (length <= network.length or length == bits):
        yield (
            f"pool {network}: network_length {length}, expected at most {network.length},"
            f" for a network that the pool is part of, or {bits} for none"
        )
    outside = [one for one in pool.excluded if not _is_inside(one, network)]
    for one in outside:
        yield (
            f"pool {network}: exclude {_range_text(one)} is not inside the pool,"
            " expected addresses of this pool: move it to theirs, or remove it"
        )
    if not outside and _excludes_all(pool):
        yield f"pool {network}: every address is excluded, expected one at least to be left"


def _is_inside(one: AddressRange, network: Prefix) -> bool:
    whole = AddressRange(network.packed, last_address(network))
    return whole.holds(one.first) and whole.holds(one.last)


def _range_text(one: AddressRange) -> str:
    first, last = format_address(one.first), format_address(one.last)
    return first if first == last else f"{first}-{last}"


def _excludes_all(pool: PoolTerms) -> bool:
    """Whether no address of the pool is left."""
    return Space(pool.pool, pool.excluded).size == 0


def _about_overlaps(pools: Sequence[PoolTerms]) -> Iterator[str]:
    if len(pools) > MAX_POOLS:
        return  # that is told; to compare each with each would take minutes
    for number, pool in enumerate(pools):
        for other in pools[:number]:
            if pool.pool.network.overlaps(other.pool.network):
                yield (
                    f"pool {pool.pool.network} overlaps pool {other.pool.network},"
                    " expected pools that share no address: give one of them only"
                )


class _Networks:
    """The pools by their networks: in which one an address lies."""

    def __init__(self, pools: Sequence[PoolTerms]) -> None:
        self._pools = {each.pool.network: each for each in pools}
        self._lengths = {(len(each.packed), each.length) for each in self._pools}

    def __str__(self) -> str:
        listed = [str(network) for network in self._pools]
        return ", ".join(listed[:5]) + (", …" if len(listed) > 5 else "")  # noqa: PLR2004 - enough

    def complaint(self, address: bytes) -> str:
        """Why nobody could lease this address, reservation or not; empty when it is fine."""
        if not self._pools:
            return ""
        for size, length in self._lengths:
            if size == len(address):
                pool = self._pools.get(Prefix(address, length).network())
                if pool is not None:
                    return "" if pool.pool.leases(address) else self._never(pool)
        return f"is in no pool, expected an address in {self}"

    @staticmethod
    def _never(pool: PoolTerms) -> str:
        network = pool.pool.network
        kind = "network or broadcast" if network.is_ipv4 else "an anycast"
        return f"is {kind} address of {network}, expected one that a peer can have"


def reservation_label(number: int, names: Sequence[str]) -> str:
    """How messages call a reservation: as it is counted in the file, and its name if it has one."""
    return _label("reservation", number, names)


def _label(table: str, number: int, names: Sequence[str]) -> str:
    name = names[number] if number < len(names) else ""
    name = name if len(name) <= _MAX_NAME else f"{name[:_MAX_NAME]}…"
    return f"[[{table}]] {number + 1}" + (f" ({name})" if name else "")


def _about_reservations(terms: LeaseTerms, names: Sequence[str]) -> Iterator[str]:
    networks = _Networks(terms.pools)
    keys: dict[bytes, str] = {}
    owners: dict[bytes, str] = {}
    for number, one in enumerate(terms.reservations):
        label = reservation_label(number, names)
        if one.public_key in keys:
            yield (
                f"{label}: has the public key of {keys[one.public_key]},"
                " expected one reservation for each peer: list all addresses there"
            )
        keys.setdefault(one.public_key, label)
        yield from (f"{label}: {text}" for text in _about_reservation(one, terms))
        for address in one.addresses:
            text = format_address(address)
            complaint = networks.complaint(address)
            if complaint:
                yield f"{label}: {text} {complaint}"
            if address in owners:
                yield f"{label}: {text} is reserved in {owners[address]} already"
            owners.setdefault(address, label)


def _about_reservation(one: Reservation, terms: LeaseTerms) -> Iterator[str]:
    if not one.addresses:
        yield "addresses is empty, expected one address at least"
    low, high = terms.min_lease_time, terms.max_lease_time
    span = one.lease_time
    if span not in (None, INFINITE) and low <= high and not low <= span <= high:
        yield (
            f"lease_time {span:.0f}, expected min_lease_time ({low:.0f})"
            f" to max_lease_time ({high:.0f}), or 'infinite'"
        )
    sizes = [len(address) for address in one.addresses]
    for size, family in ((4, "IPv4"), (16, "IPv6")):
        if sizes.count(size) > terms.addresses_per_peer:
            yield (
                f"{sizes.count(size)} {family} addresses, expected at most addresses_per_peer"
                f" ({terms.addresses_per_peer})"
            )


# --- what clients are told -----------------------------------------------------------------------


def push_complaints(terms: LeaseTerms, names: Sequence[str] = ()) -> Iterator[str]:
    """What does not go together of what clients are told.

    Args:
        terms: pools that are the networks of the interface say nothing, so they need not be there.
        names: of the peers.
    """
    yield from _about_push(terms.push)
    for pool in terms.pools:
        network = pool.pool.network
        yield from (f"pool {network}: {text}" for text in _about_push(pool.push))
        for route in pool.push.routes or ():
            if route.network.is_ipv4 is not network.is_ipv4:
                yield (
                    f"pool {network}: routes has {route.network}, which goes with a lease of the"
                    " other family: move it to a pool of that family, or before the first table"
                )
    keys: dict[bytes, str] = {}
    for number, peer in enumerate(terms.peers):
        label = _label("peer", number, names)
        if peer.public_key in keys:
            yield (
                f"{label}: has the public key of {keys[peer.public_key]},"
                " expected one [[peer]] for each peer: say all of it there"
            )
        keys.setdefault(peer.public_key, label)
        yield from (f"{label}: {text}" for text in _about_push(peer.push))
    yield from _about_routes_in_all(terms)


def _about_push(push: Push) -> Iterator[str]:
    """What is wrong with one level."""
    networks = [str(route.network) for route in push.routes or ()]
    servers = [format_address(server) for server in push.servers or ()]
    for what, values, limit in (
        ("routes", networks, MAX_ROUTES),
        ("dns: servers", servers, MAX_DNS_SERVERS),
        ("dns: search", push.search or (), MAX_DNS_SEARCH),
    ):
        if len(values) > limit:
            yield f"{what} has {len(values)} items, expected at most {limit}"
        for value, times in Counter(values).items():
            if times > 1:
                yield f"{what} has {value} {times} times, expected it once"


def _about_routes_in_all(terms: LeaseTerms) -> Iterator[str]:
    """How many are kept, and how many one client might be told."""
    of_peers = [len(peer.push.routes or ()) for peer in terms.peers]
    of_pools = [(pool.pool.network.is_ipv4, len(pool.push.routes or ())) for pool in terms.pools]
    of_all = len(terms.push.routes or ())
    told = of_all + max(of_peers, default=0)
    for family in (True, False):
        counts = sorted((count for is_ipv4, count in of_pools if is_ipv4 is family), reverse=True)
        told += sum(counts[: terms.addresses_per_peer])
    kept = of_all + sum(of_peers) + sum(count for _, count in of_pools)
    for what, count, limit in (
        ("[[peer]] tables", len(terms.peers), MAX_PUSHED_PEERS),
        ("routes in all lists", kept, MAX_PUSHED_ROUTES),
        ("routes that one client may be told", told, MAX_TOLD_ROUTES),
    ):
        if count > limit:
            yield f"{count} {what}, expected at most {limit}"
