from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.netlink import FakeInterfaces
from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.helper.judgement import Taken
from wg_dynamic.helper.tunnel_routes import PUSHED_METRIC, TunnelRoutes, routes_of
from wg_dynamic.netlink.control import FOREVER, Address, Route
from wg_dynamic.privsep.ledger import ROUTE, Entry, Ledger, LedgerError
from wg_dynamic.privsep.requests import AddressSetting, RouteSetting

IPV4 = AddressSetting(parse_prefix("10.44.0.7"), parse_prefix("10.44.0.0/24"), 60, 60)
IPV6 = AddressSetting(parse_prefix("fd00:44::7"), parse_prefix("fd00:44::/64"), 60, 60)


def pushed(network: str, metric: int | None = None) -> RouteSetting:
    return RouteSetting(parse_prefix(network), metric)


class World:
    """An interface whose leased addresses stand."""

    def __init__(self, path: Path) -> None:
        self.interfaces = FakeInterfaces()
        self.ifindex = self.interfaces.add_link("wg0").ifindex
        for each in (IPV4, IPV6):
            self.interfaces.set_address(Address(self.ifindex, each.address))
        self.ledger = Ledger(path)
        self.routes = TunnelRoutes(self.ifindex, self.interfaces, self.ledger)

    def apply(
        self, *routes: RouteSetting, lease: tuple[AddressSetting, ...] = (IPV4, IPV6)
    ) -> None:
        self.routes.apply(Taken(lease, routes))

    def there(self, network: str) -> list[Route]:
        prefix = parse_prefix(network)
        return [one for one in self.interfaces.routes(self.ifindex) if one.prefix == prefix]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "ledger")


def test_a_pushed_route_hangs_on_an_address_of_its_family() -> None:
    longer = replace(IPV4, address=parse_prefix("10.44.0.8"), valid_time=90)
    taken = Taken((IPV4, longer, IPV6), (pushed("10.9.0.0/16"), pushed("fd09::/32", 5)))
    found = {str(route.prefix): route for route in routes_of(taken, 3)}
    assert list(found) == ["10.44.0.0/24", "fd00:44::/64", "10.9.0.0/16", "fd09::/32"]
    assert found["10.9.0.0/16"].preferred_source == parse_address("10.44.0.8")
    assert found["10.9.0.0/16"].metric == PUSHED_METRIC
    assert (found["fd09::/32"].expires_time, found["fd09::/32"].metric) == (60, 5)
    assert found["10.44.0.0/24"].metric == 0
    forever = replace(IPV6, valid_time=FOREVER)
    (route,) = routes_of(Taken((forever,)), 3)
    assert route.expires_time is None


def test_what_is_pushed_twice_or_without_an_address_of_its_family_is_no_route() -> None:
    taken = Taken((IPV4,), (pushed("10.44.0.0/24", 5), pushed("fd09::/32"), pushed("10.9.0.0/16")))
    assert [str(route.prefix) for route in routes_of(taken, 3)] == ["10.44.0.0/24", "10.9.0.0/16"]
    alone = replace(IPV4, network=IPV4.address)
    assert list(routes_of(Taken((alone,)), 3)) == []


def test_another_metric_takes_the_place_of_the_first(world: World) -> None:
    networks = ("10.9.0.0/16", "fd09::/32")
    for metric, expected in ((None, [1024, 1024]), (5, [5, 5]), (0, [0, 1024]), (7, [7, 7])):
        world.apply(*(pushed(network, metric) for network in networks))
        assert [r.metric for n in networks for r in world.there(n)] == expected
    assert len(world.ledger.entries(ROUTE)) == 4


def test_a_route_that_is_as_wanted_is_not_touched(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    forever = tuple(replace(each, valid_time=FOREVER) for each in (IPV4, IPV6))
    world.apply(pushed("10.9.0.0/16"), pushed("fd09::/32"), lease=forever)
    monkeypatch.delattr(FakeInterfaces, "replace_route")
    world.apply(pushed("10.9.0.0/16"), pushed("fd09::/32"), lease=forever)


def test_an_expiry_is_refreshed(world: World) -> None:
    world.apply(pushed("fd09::/32"))
    world.apply(pushed("fd09::/32"), lease=(replace(IPV6, valid_time=90),))
    assert [route.expires_time for route in world.there("fd09::/32")] == [90]


def test_a_route_moves_with_its_address(world: World) -> None:
    world.apply(pushed("10.9.0.0/16"))
    other = replace(IPV4, address=parse_prefix("10.44.0.9"))
    world.interfaces.set_address(Address(world.ifindex, other.address))
    world.apply(pushed("10.9.0.0/16"), lease=(other,))
    (route,) = world.there("10.9.0.0/16")
    assert route.preferred_source == other.address.packed


def test_one_of_an_administrator_serves_and_stays(world: World) -> None:
    theirs = Route(parse_prefix("10.9.0.0/16"), world.ifindex, protocol=3)
    world.interfaces.add_route(theirs)
    world.apply(pushed("10.9.0.0/16"))
    assert [route.protocol for route in world.there("10.9.0.0/16")] == [3]
    entry = Entry(ROUTE, theirs.prefix)
    assert entry not in world.ledger
    # Ours was written down, its maker killed, and theirs came in its place.
    world.ledger.add(entry)
    world.apply(pushed("10.9.0.0/16"))
    assert entry not in world.ledger


def test_after_a_kill_between_two_metrics_both_are_undone(world: World) -> None:
    world.apply(pushed("10.9.0.0/16", 5))
    world.interfaces.add_route(Route(parse_prefix("10.9.0.0/16"), world.ifindex, metric=7))
    world.interfaces.add_route(
        Route(parse_prefix("10.9.0.0/16"), world.ifindex, metric=9, protocol=3)
    )
    world.routes.undo(Entry(ROUTE, parse_prefix("10.9.0.0/16")))
    assert [route.metric for route in world.there("10.9.0.0/16")] == [9]


def test_the_way_to_the_server_is_added_once(world: World) -> None:
    for _ in range(2):
        world.routes.add_server_route()
        assert len(world.there("fe80::/128")) == 1


def test_a_route_that_cannot_be_written_down_is_not_set(world: World) -> None:
    world.ledger.close()
    with pytest.raises(LedgerError):
        world.apply(pushed("10.9.0.0/16"))
    assert world.there("10.44.0.0/24") == world.there("10.9.0.0/16") == []
