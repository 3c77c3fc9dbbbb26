from pathlib import Path
from typing import Any

import pytest

from tests.fakes.netlink import FakeInterfaces
from tests.fakes.wireguard import FakeWireGuard
from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.helper.default_route import Default
from wg_dynamic.helper.further import LeasedDefaultRoute, LeasedNames, further_of
from wg_dynamic.helper.judgement import Taken
from wg_dynamic.privsep.ledger import Ledger
from wg_dynamic.privsep.requests import AddressSetting, Refused, RouteSetting

IPV4 = AddressSetting(parse_prefix("10.44.0.7"), parse_prefix("10.44.0.0/24"), 60, 60)
LONGER = AddressSetting(parse_prefix("10.44.0.8"), parse_prefix("10.44.0.0/24"), 90, 90)
IPV6 = AddressSetting(parse_prefix("fd00:44::7"), parse_prefix("fd00:44::/64"), 60, 60)
SERVER = parse_address("10.44.0.53")


class FakeSetter:
    """Writes down what it is told, and fails as told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.reason = ""

    def apply(self, *what: object) -> str:
        self.told.append(what)
        return self.reason

    def stands(self) -> bool:
        return not self.reason

    def undo(self) -> None:
        self.told.append("undo")


@pytest.fixture
def setter() -> Any:
    return FakeSetter()


def default(network: str) -> RouteSetting:
    return RouteSetting(parse_prefix(network))


def test_a_default_route_has_the_address_that_lasts_longest(setter: Any) -> None:
    ways = LeasedDefaultRoute(setter, lambda: setter.told.append("undo gone"))
    routes = (default("0.0.0.0/0"), default("::/0"))
    assert ways.apply(Taken((IPV4, LONGER, IPV6), default_routes=routes)) == ()
    packed = [one.address.packed for one in (IPV4, LONGER, IPV6)]
    wanted = [Default(LONGER.address.packed, 90), Default(IPV6.address.packed, 60)]
    assert setter.told == [(packed, wanted)]
    ways.undo()
    ways.undo(gone=True)
    assert setter.told[1:] == ["undo", "undo gone"]


def test_without_one_the_addresses_are_told_all_the_same(setter: Any) -> None:
    setter.reason = "no nft"
    assert LeasedDefaultRoute(setter, setter.undo).apply(Taken((IPV4,))) == ()
    assert setter.told == [([IPV4.address.packed], [])]


def test_a_default_route_that_cannot_be_set_is_refused(setter: Any) -> None:
    setter.reason = "no nft"
    taken = Taken((IPV4,), default_routes=(default("0.0.0.0/0"),))
    ways = LeasedDefaultRoute(setter, setter.undo)
    assert not ways.stands()
    assert ways.apply(taken) == (Refused("route 0.0.0.0/0", "no nft"),)


def test_name_servers_are_set_or_refused(setter: Any) -> None:
    names = LeasedNames(setter)
    taken = Taken((IPV4,), name_servers=(SERVER,), search=("example.org",))
    assert names.apply(taken) == ()
    assert setter.told == [((SERVER,), ("example.org",))]
    setter.reason = "nobody can be told"
    assert names.apply(taken) == (Refused("name server 10.44.0.53", "nobody can be told"),)
    names.undo()
    assert setter.told[-1] == "undo"


def test_a_lease_of_addresses_alone_sets_nothing_further(tmp_path: Path) -> None:
    interfaces = FakeInterfaces()
    ledger = Ledger(tmp_path / "ledger")
    both = further_of(interfaces.add_link("wg0"), interfaces, FakeWireGuard(), ledger)
    assert [each.apply(Taken((IPV4, IPV6))) for each in both] == [(), ()]
    for each in both:
        each.undo()
    assert len(ledger) == 0
    assert all(each.stands() for each in both)
