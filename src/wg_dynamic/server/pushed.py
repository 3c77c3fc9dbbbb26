"""What a client is told besides its addresses, as the protocol says it. Pure.

`Pushed.told` is a function of the terms, the client's key and its leases alone: so what has changed
for a client is the difference of two of its values.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from wg_dynamic.address import Prefix, to_network
from wg_dynamic.leases.push import SILENT, PoolPush, Push, PushedRoute, combined
from wg_dynamic.leases.terms import LeaseTerms
from wg_dynamic.protocol.messages import Dns, Route
from wg_dynamic.record import dataclass

REMEMBERED: Final = 512
"""Combinations of a peer and pools that are not made anew: how many there are, is up to peers."""


@dataclass(frozen=True, slots=True)
class Told:
    """The part of a reply that is not about addresses."""

    routes: tuple[Route, ...] = ()
    dns: tuple[Dns, ...] = ()
    mtu: int | None = None


NOTHING: Final = Told()


class Pushed:
    """The pushes of a server's terms, laid out."""

    def __init__(self, terms: LeaseTerms) -> None:
        self._server = terms.push
        self._pools = [PoolPush(len(one.pool.network.packed), one.push) for one in terms.pools]
        self._places = {one.pool.network: place for place, one in enumerate(terms.pools)}
        self._lengths = sorted({(len(one.packed), one.length) for one in self._places})
        self._peers = {one.public_key: one.push for one in terms.peers}
        self._silent = not self._peers and all(
            push == SILENT for push in (self._server, *[pool.push for pool in self._pools])
        )
        self._routes: dict[PushedRoute, Route] = {}
        """Each route as the protocol has it, made once however many are told it."""
        self._combined = lru_cache(REMEMBERED)(self._combine)

    def told(self, public_key: bytes, addresses: Iterable[bytes]) -> Told:
        """What a client with leases of these addresses is told; nothing without any."""
        if self._silent:
            return NOTHING
        key = public_key if public_key in self._peers else b""
        places = {self._place(address) for address in addresses}
        return self._combined(key, tuple(sorted(places))) if places else NOTHING

    def _place(self, address: bytes) -> int:
        """Which pool an address is of; a number below 0 that stands for its family if none."""
        for size, length in self._lengths:
            if size == len(address):
                place = self._places.get(Prefix(address, length).network())
                if place is not None:
                    return place
        return -len(address)

    def _combine(self, key: bytes, places: tuple[int, ...]) -> Told:
        pools = [self._pools[place] if place >= 0 else PoolPush(-place, SILENT) for place in places]
        push = combined(self._server, pools, self._peers.get(key, SILENT))
        return Told(tuple(map(self._route, push.routes or ())), _dns(push), push.mtu)

    def _route(self, route: PushedRoute) -> Route:
        made = self._routes.get(route)
        if made is None:
            made = self._routes[route] = Route(to_network(route.network), route.metric)
        return made


def _dns(push: Push) -> tuple[Dns, ...]:
    """No section where there is nothing to say: that is how it is taken back, too."""
    if not (push.servers or push.search):
        return ()
    return (Dns(tuple(map(ip_address, push.servers or ())), push.search or ()),)
