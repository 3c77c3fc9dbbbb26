import errno
import logging

import pytest

from tests.fakes.netlink import FakeInterfaces
from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.helper.kept_routes import KeptRoutes
from wg_dynamic.netlink.control import Address, Route
from wg_dynamic.netlink.errors import InterfaceNotFoundError, NetlinkError

LEASED = parse_prefix("10.44.0.7/32")


class World:
    """wg0 with a leased address, and a route of another's in each of two tables."""

    def __init__(self) -> None:
        self.interfaces = FakeInterfaces()
        self.ifindex = self.interfaces.add_link("wg0").ifindex
        self.kept = KeptRoutes(self.ifindex, self.interfaces)
        self.route("10.0.0.0/8")
        self.route("0.0.0.0/0", table=51820)
        self.lease()

    def route(self, text: str, *, table: int = 254, via: str | None = None) -> None:
        gateway = None if via is None else parse_address(via)
        prefix = parse_prefix(text)
        self.interfaces.add_route(
            Route(prefix, self.ifindex, protocol=3, table=table, gateway=gateway)
        )

    def lease(self) -> None:
        self.interfaces.set_address(Address(self.ifindex, LEASED))

    def end(self) -> None:
        self.interfaces.expire_address(self.ifindex, LEASED)

    def there(self) -> list[str]:
        return [str(r.prefix) for r in self.interfaces.all_routes if r.protocol == 3]


def test_routes_that_go_with_the_last_address_are_put_back() -> None:
    world = World()
    world.route("10.9.0.0/16", via="10.0.0.1")
    world.kept.look()
    before = world.there()
    world.end()
    assert world.there() == []
    world.kept.look()  # too late, and so without effect
    world.kept.put_back()
    assert world.there() == before
    world.interfaces.remove_route(Route(parse_prefix("10.0.0.0/8"), world.ifindex, protocol=3))
    world.kept.put_back()
    assert world.there() == before[1:], "an administrator took it off, without a lease"


def test_ours_are_not_put_back_nor_what_the_administrator_has_taken_off() -> None:
    world = World()
    world.interfaces.add_route(Route(parse_prefix("10.8.0.0/16"), world.ifindex))
    world.kept.look()
    world.interfaces.remove_route(Route(parse_prefix("10.0.0.0/8"), world.ifindex, protocol=3))
    world.kept.look()
    world.end()
    world.kept.put_back()
    assert [str(route.prefix) for route in world.interfaces.all_routes] == ["0.0.0.0/0"]


def test_nothing_is_done_while_there_is_another_address() -> None:
    world = World()
    world.interfaces.set_address(Address(world.ifindex, parse_prefix("10.44.0.8/32")))
    world.kept.look()
    world.end()
    world.interfaces.remove_route(Route(parse_prefix("10.0.0.0/8"), world.ifindex, protocol=3))
    world.kept.put_back()
    assert world.there() == ["0.0.0.0/0"]


def test_what_cannot_be_put_back_is_told_and_the_rest_is(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    world.kept.look()
    world.end()
    really = world.interfaces.add_route

    def add_route(route: Route, *, append: bool = False) -> bool:
        if route.table == 51820:
            raise NetlinkError(errno.EINVAL, f"add route {route.prefix}")
        return really(route, append=append)

    monkeypatch.setattr(world.interfaces, "add_route", add_route)
    with caplog.at_level(logging.WARNING):
        world.kept.put_back()
    assert world.there() == ["10.0.0.0/8"]
    assert "dropped a route with the leased address: add route 0.0.0.0/0" in caplog.text


def test_an_interface_that_is_gone_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.kept.look()
    world.end()

    def add_route(route: Route, *, append: bool = False) -> bool:
        raise InterfaceNotFoundError(errno.ENODEV, f"add route {route.prefix} {append}")

    monkeypatch.setattr(world.interfaces, "add_route", add_route)
    with pytest.raises(InterfaceNotFoundError):
        world.kept.put_back()
