"""What a lease asks of the helper: addresses, and what the server pushed with them. Pure."""

from typing import Final

from wg_dynamic.address import from_ip
from wg_dynamic.client.machine import Lease, Pushed, remaining
from wg_dynamic.leases.push import MAX_DNS_SEARCH, MAX_DNS_SERVERS, MAX_ROUTES
from wg_dynamic.privsep.requests import (
    AddressSetting,
    ApplyLease,
    RouteSetting,
    is_domain,
)
from wg_dynamic.protocol import Dns, RequestIPReply, Update

MAX_TOLD: Final = 4096
"""Addresses and routes that a server may tell of in all."""


def pushed_by(reply: RequestIPReply | Update) -> Pushed:
    """What a reply, or the whole of what was pushed, brings besides addresses."""
    dns = reply.dns[0] if reply.dns else Dns()
    return Pushed(reply.routes, dns, reply.mtu or 0)


def merged(before: Update, update: Update) -> Update:
    """What holds after a push, as one that says it all. Raises ValueError if that is too much.

    docs/protocol.md 6.9. The times of an address count from when they came; they may have come
    before this push.
    """
    old = Update() if update.reset else before
    addresses = {one.ip: one for one in (*old.addresses, *update.addresses)}
    routes = {one.network: one for one in (*old.routes, *update.routes)}
    if len(addresses) + len(routes) > MAX_TOLD:
        msg = f"the server pushes more than {MAX_TOLD} addresses and routes"
        raise ValueError(msg)
    return Update(
        serial=update.serial,
        reset=True,
        addresses=tuple(one for one in addresses.values() if not one.remove),
        routes=tuple(one for one in routes.values() if not one.remove),
        dns=tuple(one for one in (update.dns or old.dns) if not one.remove),
        mtu=old.mtu if update.mtu is None else update.mtu,
    )


def apply_message(lease: Lease, now: float) -> ApplyLease:
    """What the helper is to set for a lease, with the times left at `now`.

    A network counts once, with the metric that it came with first. No more than the helper takes,
    whatever the server sends.
    """
    pushed = lease.pushed
    routes: dict[object, RouteSetting] = {}
    for route in pushed.routes:
        routes.setdefault(route.network, RouteSetting(from_ip(route.network), route.metric))
    servers = dict.fromkeys(server.packed for server in pushed.dns.servers)
    search = dict.fromkeys(name for name in pushed.dns.search if is_domain(name))
    return ApplyLease(
        addresses=tuple(
            AddressSetting(
                from_ip(one.ip), from_ip(one.network), one.preferred_time, one.valid_time
            )
            for one in remaining(lease, now)
        ),
        routes=tuple(routes.values())[:MAX_ROUTES],
        more_routes=max(0, len(routes) - MAX_ROUTES),
        name_servers=tuple(servers)[:MAX_DNS_SERVERS],
        search=tuple(search)[:MAX_DNS_SEARCH],
        mtu=pushed.mtu,
    )
