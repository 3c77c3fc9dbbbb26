"""What a lease asks of the helper: addresses, and what the server pushed with them. Pure."""

from wg_dynamic.address import from_ip
from wg_dynamic.client.machine import Lease, Pushed, remaining
from wg_dynamic.leases.push import MAX_DNS_SEARCH, MAX_DNS_SERVERS, MAX_ROUTES
from wg_dynamic.privsep.requests import (
    AddressSetting,
    ApplyLease,
    RouteSetting,
    is_domain,
)
from wg_dynamic.protocol import Dns, RequestIPReply


def pushed_by(reply: RequestIPReply) -> Pushed:
    """What a reply brings besides addresses."""
    dns = reply.dns[0] if reply.dns else Dns()
    return Pushed(reply.routes, dns, reply.mtu or 0)


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
