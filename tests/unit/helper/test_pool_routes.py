import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.netlink import FakeInterfaces
from wg_dynamic.address import parse_prefix
from wg_dynamic.helper.pool_routes import PoolRoutes
from wg_dynamic.leases.pool import Pool, parse_pool
from wg_dynamic.netlink.control import Route
from wg_dynamic.netlink.errors import NetlinkError
from wg_dynamic.privsep.ledger import ALLOWED_IP, ROUTE, Entry, Ledger, LedgerError

ALICE = bytes([1]) * 32
FIRST, SECOND = "10.44.0.0/24", "10.45.0.0/24"


def pools(*networks: str) -> tuple[Pool, ...]:
    return tuple(map(parse_pool, networks))


class World:
    """wg0, and its ledger."""

    def __init__(self, path: Path) -> None:
        self.interfaces = FakeInterfaces()
        self.link = self.interfaces.add_link("wg0")
        self.ledger = Ledger(path)

    def routes(self, *networks: str) -> PoolRoutes:
        return PoolRoutes(self.link, self.interfaces, self.ledger, pools(*networks))

    def there(self) -> list[str]:
        return [str(one.prefix) for one in self.interfaces.routes() if one.protocol == 97]

    def written(self) -> list[str]:
        return [str(entry.prefix) for entry in self.ledger.entries(ROUTE)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "ledger")
    yield made
    made.ledger.close()


def test_they_are_added_and_all_taken_back(world: World) -> None:
    routes = world.routes(FIRST, SECOND)
    routes.begin()
    assert world.there() == world.written() == [FIRST, SECOND]
    routes.begin()
    assert world.there() == [FIRST, SECOND]
    routes.remove_all()
    assert world.there() == world.written() == []


def test_those_of_a_killed_server_with_other_pools_go_at_the_start(world: World) -> None:
    world.routes(FIRST).begin()
    world.ledger.add(Entry(ALLOWED_IP, parse_prefix("10.44.0.7/32"), ALICE))
    world.routes(SECOND).begin()
    assert world.there() == world.written() == [SECOND]


def test_a_pool_that_goes_keeps_its_route_while_something_of_it_is_leased(world: World) -> None:
    routes = world.routes(FIRST)
    routes.begin()
    leased = Entry(ALLOWED_IP, parse_prefix("10.44.0.7/32"), ALICE)
    world.ledger.add(leased)
    routes.change(pools(SECOND))
    routes.remove_former()
    assert world.there() == [FIRST, SECOND]
    world.ledger.remove(leased)
    routes.remove_former()
    assert world.there() == world.written() == [SECOND]


def test_a_route_that_will_go_is_not_relied_upon(world: World) -> None:
    routes = world.routes("10.44.0.0/16")
    routes.begin()
    routes.change(pools(FIRST))
    assert world.there() == [FIRST]
    routes.change(pools("10.44.0.0/16"))
    assert world.there() == ["10.44.0.0/16"]


def test_one_of_an_administrator_is_relied_upon(world: World) -> None:
    theirs = Route(parse_prefix("10.44.0.0/16"), world.link.ifindex, protocol=4)
    world.interfaces.add_route(theirs)
    routes = world.routes("10.44.0.0/16")
    routes.begin()
    routes.change(pools(FIRST))
    assert world.there() == []
    world.interfaces.add_route(replace(theirs, protocol=97, metric=7))
    assert world.there() == ["10.44.0.0/16"]


def test_when_one_cannot_be_added_all_is_as_before(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = world.routes(FIRST)
    routes.begin()
    add = world.interfaces.add_route

    def refuse(route: Route) -> bool:
        if str(route.prefix) == "10.46.0.0/24":
            raise NetlinkError(errno.ENOMEM, "add route")
        return add(route)

    monkeypatch.setattr(world.interfaces, "add_route", refuse)
    with pytest.raises(NetlinkError):
        routes.change(pools(FIRST, SECOND, "10.46.0.0/24"))
    assert world.there() == world.written() == [FIRST]
    routes.add()
    assert world.there() == [FIRST]


def test_what_cannot_be_written_down_is_not_set(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        msg = "no room"
        raise LedgerError(msg)

    routes = world.routes(FIRST)
    monkeypatch.setattr(world.ledger, "add", refuse)
    with pytest.raises(LedgerError):
        routes.begin()
    assert world.there() == []


def test_what_cannot_be_removed_is_told_and_stays_in_the_ledger(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    routes = world.routes(FIRST)
    routes.begin()
    world.interfaces.error = NetlinkError(errno.ENOMEM, "remove route")
    routes.remove_all()
    assert f"cannot remove the route to {FIRST}" in caplog.text
    assert world.written() == [FIRST]
