"""What a lease may bring that is not on the interface: a default route, and name servers.

They have modules that know nothing of leases (helper/default_route.py, helper/name_service.py);
here is what they are told of one.
"""

from collections.abc import Callable, Sequence
from functools import partial

from wg_dynamic.helper.applied import Further
from wg_dynamic.helper.default_route import Default, DefaultRoute, undo_default_route
from wg_dynamic.helper.judgement import Taken, named_route, named_server
from wg_dynamic.helper.name_service import NameService
from wg_dynamic.netlink.control import InterfaceControl, Link
from wg_dynamic.privsep.ledger import Ledger
from wg_dynamic.privsep.requests import Refused
from wg_dynamic.wireguard.control import WireGuardControl


class LeasedDefaultRoute:
    """The default routes of a lease, each with an address of its family. A Further."""

    def __init__(self, route: DefaultRoute, undo_gone: Callable[[], None]) -> None:
        self._route = route
        self._undo_gone = undo_gone

    def apply(self, taken: Taken) -> tuple[Refused, ...]:
        """See Further."""
        wanted = []
        for route in taken.default_routes:
            ipv4 = route.network.is_ipv4
            family = [one for one in taken.addresses if one.address.is_ipv4 is ipv4]
            longest = max(family, key=lambda one: one.valid_time)
            wanted.append(Default(longest.address.packed, longest.valid_time))
        reason = self._route.apply([one.address.packed for one in taken.addresses], wanted)
        if not reason:
            return ()
        return tuple(Refused(named_route(one.network), reason) for one in taken.default_routes)

    def stands(self) -> bool:
        """See Further."""
        return self._route.stands()

    def undo(self, *, gone: bool = False) -> None:
        """See Further."""
        if gone:
            self._undo_gone()
        else:
            self._route.undo()


class LeasedNames:
    """The name servers and search domains of a lease. A Further."""

    def __init__(self, names: NameService) -> None:
        self._names = names

    def apply(self, taken: Taken) -> tuple[Refused, ...]:
        """See Further."""
        reason = self._names.apply(taken.name_servers, taken.search)
        if not reason:
            return ()
        return tuple(Refused(named_server(one), reason) for one in taken.name_servers)

    def stands(self) -> bool:
        """See Further. A resolver is not asked: that costs too much to be done all the time."""
        return True

    def undo(self, *, gone: bool = False) -> None:
        """See Further."""
        self._names.undo()


def further_of(
    link: Link, interfaces: InterfaceControl, wireguard: WireGuardControl, ledger: Ledger
) -> Sequence[Further]:
    """Both, for one interface, in the order in which they are set."""
    undo_gone = partial(undo_default_route, link.ifindex, interfaces, ledger)
    return (
        LeasedDefaultRoute(DefaultRoute(link, interfaces, wireguard, ledger), undo_gone),
        LeasedNames(NameService(link, ledger)),
    )
