"""A whole lease, judged: what of it is taken, and what not and why. Pure.

helper/policy.py knows about networks; this is about what goes together: nothing without an address,
a family's routes with an address of that family, search domains with a name server.
"""

from math import ceil

from wg_dynamic.address import Prefix, format_address
from wg_dynamic.helper.in_use import is_in_use
from wg_dynamic.helper.policy import Policy, Surroundings
from wg_dynamic.leases.push import MAX_ROUTES, MIN_MTU
from wg_dynamic.netlink.control import FOREVER
from wg_dynamic.privsep.requests import (
    MAX_WHY,
    AddressSetting,
    Applied,
    ApplyLease,
    Refused,
    RefusedAddress,
    RouteSetting,
)
from wg_dynamic.record import dataclass, replace

_NO_SERVER = "without a name server that is taken they are not"


@dataclass(frozen=True)
class Taken:
    """What is to be set."""

    addresses: tuple[AddressSetting, ...] = ()
    routes: tuple[RouteSetting, ...] = ()
    """Without the networks of the addresses themselves, and without default routes."""
    default_routes: tuple[RouteSetting, ...] = ()
    name_servers: tuple[bytes, ...] = ()
    search: tuple[str, ...] = ()
    mtu: int = 0
    """0: it stays as it is."""

    def networks(self) -> tuple[Prefix, ...]:
        """All that the server peer sends from: networks of addresses, and routes; each once."""
        on_link = [one.network for one in self.addresses if not one.network.is_host]
        routes = [route.network for route in (*self.routes, *self.default_routes)]
        return tuple(dict.fromkeys((*on_link, *routes)))

    def timeless(self) -> "Taken":
        """The same with all times alike: two that are equal so differ in times only."""
        addresses = tuple(
            replace(one, preferred_time=FOREVER, valid_time=FOREVER) for one in self.addresses
        )
        return replace(self, addresses=addresses)


@dataclass(frozen=True)
class Judgement:
    """The outcome for one lease."""

    taken: Taken = Taken()
    addresses: tuple[RefusedAddress, ...] = ()
    """Those not taken."""
    others: tuple[Refused, ...] = ()
    """What else is not."""

    def without(self, refused: tuple[Refused, ...]) -> "Judgement":
        """The same, after some of what was taken could not be set."""
        gone = {one.what for one in refused}
        taken = self.taken
        servers = tuple(one for one in taken.name_servers if named_server(one) not in gone)
        ways = tuple(one for one in taken.default_routes if named_route(one.network) not in gone)
        taken = replace(
            taken,
            name_servers=servers,
            search=taken.search if servers else (),
            default_routes=ways,
        )
        return Judgement(taken, self.addresses, (*self.others, *refused))

    def reasons(self) -> dict[str, str]:
        """Why what is not taken, for people."""
        found = {str(one.address): one.reason for one in self.addresses}
        return found | {one.what: one.reason for one in self.others}

    def answer(self) -> Applied:
        """For the network process; reasons are cut to what fits into a message."""
        return Applied(
            tuple(
                RefusedAddress(one.address, one.reason[:MAX_WHY], one.in_use)
                for one in self.addresses
            ),
            tuple(Refused(one.what, one.reason[:MAX_WHY]) for one in self.others),
        )


def judge(request: ApplyLease, around: Surroundings, mtu: int) -> Judgement:
    """What is taken of a lease, the interface's own MTU being `mtu`."""
    policy = Policy(around)
    addresses, refused = _judge_addresses(request, policy, around)
    others: list[Refused] = []
    routes, default_routes = _judge_routes(request, policy, addresses, others)
    servers = _judge_name_servers(request, policy, others) if addresses else []
    lowered = _judge_mtu(request.mtu, mtu, others) if addresses else 0
    search = request.search if servers else ()
    if addresses and request.search and not servers:
        others.append(Refused(f"search domains {', '.join(request.search)}", _NO_SERVER))
    taken = Taken(
        tuple(addresses), tuple(routes), tuple(default_routes), tuple(servers), search, lowered
    )
    return Judgement(taken, tuple(refused), tuple(others))


def named_route(network: Prefix) -> str:
    """What a refusal calls a route."""
    return f"route {network}"


def named_server(address: bytes) -> str:
    """What a refusal calls a name server."""
    return f"name server {format_address(address)}"


def _judge_addresses(
    request: ApplyLease, policy: Policy, around: Surroundings
) -> tuple[list[AddressSetting], list[RefusedAddress]]:
    taken, refused = [], []
    for setting in request.addresses:
        reason = policy.refuse_address(setting.address, setting.network)
        if reason:
            in_use = is_in_use(setting.address, around)
            refused.append(RefusedAddress(setting.address, reason, in_use))
        else:
            taken.append(setting)
    return taken, refused


def _judge_routes(
    request: ApplyLease,
    policy: Policy,
    addresses: list[AddressSetting],
    others: list[Refused],
) -> tuple[list[RouteSetting], list[RouteSetting]]:
    taken: list[RouteSetting] = []
    default_routes: list[RouteSetting] = []
    for route in request.routes:
        network = route.network
        if any(one.network == network for one in addresses):
            continue  # it comes with the address
        reason = policy.refuse_route(network)
        if not reason and not any(network.is_ipv4 is one.address.is_ipv4 for one in addresses):
            reason = f"it waits for an IPv{4 if network.is_ipv4 else 6} address"
        if reason:
            others.append(Refused(named_route(network), reason))
        else:
            (taken if network.length else default_routes).append(route)
    if request.more_routes:
        text = f"more than {MAX_ROUTES} are not looked at"
        others.append(Refused(f"a rest of {request.more_routes} routes", text))
    return taken, default_routes


def _judge_name_servers(request: ApplyLease, policy: Policy, others: list[Refused]) -> list[bytes]:
    taken = []
    for server in request.name_servers:
        reason = policy.refuse_name_server(server)
        if reason:
            others.append(Refused(named_server(server), reason))
        else:
            taken.append(server)
    return taken


def _judge_mtu(mtu: int, found: int, others: list[Refused]) -> int:
    if not mtu or mtu == found:
        return 0
    if mtu < MIN_MTU:
        reason = f"below {MIN_MTU} the kernel takes every IPv6 address off the interface"
    elif mtu > found:
        reason = f"it is only ever lowered, and is {found} here"
    else:
        return mtu
    others.append(Refused(f"MTU {mtu}", reason))
    return 0


def aged(request: ApplyLease, passed: float) -> ApplyLease:
    """The same lease some seconds later; addresses that are over are left out."""
    return replace(
        request,
        addresses=tuple(
            replace(
                one,
                preferred_time=_left(one.preferred_time, passed),
                valid_time=_left(one.valid_time, passed),
            )
            for one in request.addresses
            if one.valid_time == FOREVER or one.valid_time > passed
        ),
    )


def _left(time: int, passed: float) -> int:
    return FOREVER if time == FOREVER else max(1, ceil(time - passed))
