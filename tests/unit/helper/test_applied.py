import logging
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.fakes.netlink import FakeInterfaces
from tests.fakes.wireguard import FakeWireGuard
from wg_dynamic.address import parse_prefix
from wg_dynamic.helper.applied import AppliedLease
from wg_dynamic.helper.judgement import Taken
from wg_dynamic.netlink.control import FOREVER, ROUTE_PROTOCOL, Address, Link, Route
from wg_dynamic.netlink.errors import NetlinkError
from wg_dynamic.privsep.ledger import ADDRESS, ALLOWED_IP, ROUTE, Entry, Ledger, LedgerError
from wg_dynamic.privsep.requests import AddressSetting, Refused, RouteSetting
from wg_dynamic.wireguard.control import WireGuardError
from wg_dynamic.wireguard.device import Peer

HUB, OTHER = bytes([1]) * 32, bytes([2]) * 32
FE80 = parse_prefix("fe80::/128")


def setting(address: str, network: str | None = None, seconds: int = 60) -> AddressSetting:
    leased = parse_prefix(address)
    on_link = leased if network is None else parse_prefix(network)
    return AddressSetting(leased, on_link, seconds, seconds)


LEASE = [setting("10.44.0.7", "10.44.0.0/24"), setting("fd00:44::7", "fd00:44::/64")]


def routes(*texts: str) -> tuple[RouteSetting, ...]:
    return tuple(RouteSetting(parse_prefix(text)) for text in texts)


class World:
    """An interface with a lease to apply."""

    def __init__(self, path: Path) -> None:
        self.interfaces = FakeInterfaces()
        self.link: Link = self.interfaces.add_link("wg0")
        self.wireguard = FakeWireGuard(Peer(OTHER), Peer(HUB, (FE80,)))
        self.path = path
        self.open()

    def open(self) -> None:
        """As a helper that starts does."""
        self.ledger = Ledger(self.path)
        self.lease = AppliedLease(self.link, self.interfaces, self.wireguard, self.ledger)

    def apply(
        self,
        addresses: Iterable[AddressSetting],
        pushed: tuple[RouteSetting, ...] = (),
        mtu: int = 0,
    ) -> None:
        self.lease.apply(Taken(tuple(addresses), pushed, mtu=mtu), HUB)

    def mtu(self) -> int:
        return self.interfaces.link_by_index(self.link.ifindex).mtu

    def addresses(self) -> set[str]:
        return {str(a.prefix) for a in self.interfaces.addresses(self.link.ifindex)}

    def routes(self) -> set[str]:
        return {str(r.prefix) for r in self.interfaces.routes(self.link.ifindex) if r.table == 254}

    def is_bare(self) -> bool:
        return self.mtu() == 1420 and not (
            self.addresses() or self.routes() or self.wireguard.allowed_ips(HUB) - {"fe80::/128"}
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "ledger")


def test_a_lease_is_set_and_undone(world: World) -> None:
    world.apply(LEASE)
    assert world.addresses() == {"10.44.0.7/32", "fd00:44::7/128"}
    assert world.routes() == {"10.44.0.0/24", "fd00:44::/64"}
    assert world.wireguard.allowed_ips(HUB) == {"fe80::/128", "10.44.0.0/24", "fd00:44::/64"}
    assert {str(each) for each in world.lease.addresses()} == world.addresses()
    assert {str(each) for each in world.lease.widened()} == {"10.44.0.0/24", "fd00:44::/64"}
    routes = {r.prefix.is_ipv4: r for r in world.interfaces.routes() if r.table == 254}
    assert routes[True].preferred_source == LEASE[0].address.packed
    assert routes[True].scope == 253
    assert routes[False].expires_time == 60
    assert {r.protocol for r in routes.values()} == {ROUTE_PROTOCOL}
    assert {a.valid_time for a in world.interfaces.addresses()} == {60}
    world.lease.undo()
    assert world.is_bare()
    assert len(world.ledger) == 0


def test_a_renewal_refreshes_and_sets_nothing_twice(world: World) -> None:
    world.apply(LEASE)
    entries = len(world.ledger)
    longer = [setting(str(s.address), str(s.network), 90) for s in LEASE]
    world.apply(longer)
    assert len(world.ledger) == entries
    assert {a.valid_time for a in world.interfaces.addresses()} == {90}
    assert len(world.wireguard.calls) == 1, "the allowed IPs stand already"
    assert len(world.routes()) == 2


def test_a_lease_of_other_addresses_takes_the_place_of_the_first(world: World) -> None:
    world.apply(LEASE)
    world.apply([setting("10.55.0.8", "10.55.0.0/24")])
    assert world.addresses() == {"10.55.0.8/32"}
    assert world.routes() == {"10.55.0.0/24"}
    assert world.wireguard.allowed_ips(HUB) == {"fe80::/128", "10.55.0.0/24"}
    world.apply([])
    assert world.is_bare()


def test_an_address_without_a_network_is_an_address_alone(world: World) -> None:
    world.apply([setting("10.44.0.7")])
    assert world.addresses() == {"10.44.0.7/32"}
    assert world.routes() == set()
    assert world.wireguard.allowed_ips(HUB) == {"fe80::/128"}


def test_allowed_ips_that_cover_the_network_are_not_widened(world: World) -> None:
    world.wireguard.put_peer(Peer(HUB, (FE80, parse_prefix("10.0.0.0/8"), parse_prefix("::/0"))))
    world.apply(LEASE)
    assert world.lease.widened() == frozenset()
    world.lease.undo()
    assert "10.0.0.0/8" in world.wireguard.allowed_ips(HUB)


def test_widened_allowed_ips_that_somebody_took_off_are_set_again(world: World) -> None:
    world.apply(LEASE)
    world.wireguard.put_peer(Peer(HUB, (FE80,)))
    world.apply(LEASE)
    assert world.wireguard.allowed_ips(HUB) == {"fe80::/128", "10.44.0.0/24", "fd00:44::/64"}


def test_what_an_administrator_has_set_is_left_and_not_undone(world: World) -> None:
    ifindex = world.link.ifindex
    for text in ("10.44.0.7/24", "fd00:44::7/64"):
        world.interfaces.set_address(Address(ifindex, parse_prefix(text)), prefix_route=True)
    world.apply(LEASE)
    world.lease.undo()
    assert world.addresses() == {"10.44.0.7/24", "fd00:44::7/64"}
    assert world.routes() == {"10.44.0.0/24", "fd00:44::/64"}
    assert {r.protocol for r in world.interfaces.routes()} == {2}


@pytest.mark.parametrize("ip", ["10.44.0.7", "fd00:44::7"])
def test_a_leased_address_that_an_administrator_makes_permanent_is_theirs(
    world: World, ip: str
) -> None:
    world.apply(LEASE)
    theirs = Address(world.link.ifindex, parse_prefix(ip))
    world.interfaces.set_address(theirs)  # ip address replace
    for _ in range(2):
        world.apply(LEASE)
        assert theirs in world.interfaces.addresses(world.link.ifindex)
    world.lease.undo()
    assert world.interfaces.addresses(world.link.ifindex) == [theirs]
    world.interfaces.remove_address(world.link.ifindex, theirs.prefix)
    world.apply(LEASE)
    world.interfaces.set_address(theirs)
    world.lease.undo()
    assert world.interfaces.addresses(world.link.ifindex) == [theirs]


def test_a_lease_for_ever_is_ours_to_undo(world: World) -> None:
    world.apply(LEASE)
    for_ever = [setting("10.44.0.7", "10.44.0.0/24", FOREVER)]
    for _ in range(2):
        world.apply(for_ever)
    world.lease.undo()
    assert world.is_bare()


def test_routes_of_an_administrator_elsewhere_do_not_count(world: World) -> None:
    ifindex = world.link.ifindex
    world.interfaces.add_route(Route(LEASE[0].network, ifindex, table=100, protocol=4))
    world.apply(LEASE)
    assert world.routes() == {"10.44.0.0/24", "fd00:44::/64"}


def test_the_way_to_the_server_is_added_where_it_is_missing_and_kept_by_undo(world: World) -> None:
    world.lease.add_server_route()
    world.lease.add_server_route()
    assert world.routes() == {"fe80::/128"}
    world.apply(LEASE)
    world.lease.undo()
    assert world.routes() == {"fe80::/128"}
    world.lease.undo_all()
    assert world.is_bare()


@pytest.mark.parametrize("prefix", ["fe80::/128", "fe80::/64", "fe80::/10"])
def test_a_way_that_is_there_is_used(world: World, prefix: str) -> None:
    world.interfaces.add_route(Route(parse_prefix(prefix), world.link.ifindex, protocol=3))
    world.lease.add_server_route()
    world.lease.undo_all()
    assert world.routes() == {prefix}


@pytest.mark.parametrize(
    "route",
    [
        Route(parse_prefix("::/0"), 2, protocol=3),
        Route(parse_prefix("fe80::/64"), 2, table=100, protocol=3),
        Route(parse_prefix("fe80::/128"), 2, kind=4, protocol=2),
        Route(parse_prefix("fd00::/8"), 2, protocol=3),
    ],
)
def test_routes_that_do_not_lead_there_do_not_count(world: World, route: Route) -> None:
    world.interfaces.add_route(route)
    world.lease.add_server_route()
    assert Entry(ROUTE, FE80) in world.ledger


def test_a_helper_that_starts_finds_what_a_killed_one_has_set(world: World) -> None:
    world.lease.add_server_route()
    world.apply(LEASE)
    world.open()
    assert len(world.lease.addresses()) == 2
    world.apply(LEASE)
    world.lease.undo_all()
    assert world.is_bare()


@pytest.mark.parametrize("step", range(1, 9))
def test_a_kill_at_any_step_leaves_nothing_that_is_not_in_the_ledger(
    world: World, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        """The process is no more."""

    calls = 0
    real = (world.interfaces, world.wireguard)

    def killing(method: str, control: object) -> None:
        original = getattr(control, method)

        def count(*arguments: object, **more: object) -> object:
            nonlocal calls
            calls += 1
            if calls == step:
                raise KilledError
            return original(*arguments, **more)

        monkeypatch.setattr(control, method, count)

    for method in ("set_address", "add_route", "set_link_mtu"):
        killing(method, real[0])
    killing("change_allowed_ips", real[1])
    with pytest.raises(KilledError):
        world.apply(LEASE, routes("10.9.0.0/16", "fd09::/32"), 1380)
    monkeypatch.undo()
    world.open()
    world.lease.undo_all()
    assert world.is_bare()
    assert len(world.ledger) == 0


def test_a_kill_while_undoing_is_made_good_as_well(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.apply(LEASE)
    monkeypatch.setattr(world.ledger, "remove", lambda *_: None)  # killed before striking out
    world.lease.undo()
    monkeypatch.undo()
    world.open()
    assert len(world.ledger) == 6
    world.lease.undo()
    assert len(world.ledger) == 0


def test_what_cannot_be_undone_is_kept_in_the_ledger_and_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.apply(LEASE)
    world.wireguard.error = WireGuardError("no answer")
    with caplog.at_level(logging.ERROR):
        world.lease.undo()
    assert "cannot undo allowed IPs 10.44.0.0/24, fd00:44::/64: no answer" in caplog.text
    assert [entry.kind for entry in world.ledger.entries(ALLOWED_IP)] == [ALLOWED_IP] * 2
    assert world.addresses() == set()
    world.wireguard.error = None
    world.interfaces.error = NetlinkError(1, "set")
    world.lease.undo()
    assert len(world.ledger) == 0


def test_what_is_gone_is_forgotten(world: World) -> None:
    world.lease.add_server_route()
    world.apply(LEASE)
    assert not world.lease.strike_out_missing()
    world.interfaces.set_up(world.link.ifindex, up=False)
    assert world.lease.strike_out_missing()
    assert [str(e.prefix) for e in world.ledger.entries(ADDRESS)] == ["10.44.0.7/32"]
    assert world.ledger.entries(ROUTE) == []
    assert not world.lease.strike_out_missing()
    # What comes to stand in their place is not ours.
    world.interfaces.set_up(world.link.ifindex, up=True)
    world.interfaces.set_address(Address(world.link.ifindex, parse_prefix("fd00:44::7/64")))
    world.apply(LEASE)
    world.lease.undo()
    assert world.addresses() == {"fd00:44::7/64"}


def test_the_loss_of_the_way_to_the_server_is_no_loss_of_the_lease(world: World) -> None:
    world.lease.add_server_route()
    world.interfaces.set_up(world.link.ifindex, up=False)
    assert not world.lease.strike_out_missing()
    assert len(world.ledger) == 0


def test_with_the_interface_everything_is_gone(world: World) -> None:
    world.lease.add_server_route()
    world.apply(LEASE)
    world.lease.forget()
    assert len(world.ledger) == 0


# --- what is pushed ----------------------------------------------------------------------------


def test_pushed_routes_are_set_with_the_lease_changed_with_it_and_undone(world: World) -> None:
    world.apply(LEASE, routes("10.9.0.0/16", "10.8.0.0/16", "fd09::/32"))
    networks = {"10.44.0.0/24", "fd00:44::/64"}
    assert world.routes() == networks | {"10.9.0.0/16", "10.8.0.0/16", "fd09::/32"}
    assert {str(entry.prefix) for entry in world.ledger.entries(ROUTE)} == world.routes()
    assert world.wireguard.allowed_ips(HUB) == {"fe80::/128"} | world.routes()
    world.apply(LEASE, routes("10.8.0.0/16", "10.7.0.0/16"))
    assert world.routes() == networks | {"10.8.0.0/16", "10.7.0.0/16"}
    assert world.wireguard.allowed_ips(HUB) == {"fe80::/128"} | world.routes()
    world.apply(LEASE)
    assert world.routes() == networks
    world.lease.undo_all()
    assert world.is_bare()
    assert len(world.ledger) == 0


def test_without_an_address_of_their_family_routes_go(world: World) -> None:
    world.apply(LEASE, routes("10.9.0.0/16", "fd09::/32"))
    world.apply(LEASE[:1], routes("10.9.0.0/16"))
    assert world.routes() == {"10.44.0.0/24", "10.9.0.0/16"}


def test_the_mtu_is_lowered_with_the_lease_and_put_back_at_the_end(world: World) -> None:
    world.apply(LEASE, mtu=1380)
    assert world.mtu() == 1380
    assert world.lease.mtu() == 1420
    world.apply(LEASE, mtu=1400)
    assert world.mtu() == 1400
    world.apply(LEASE)
    assert world.mtu() == 1420
    world.apply(LEASE, mtu=1300)
    world.open()
    world.lease.undo_all()
    assert world.is_bare()


def test_it_is_undone_in_the_order_in_which_things_depend_on_each_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.apply(LEASE[:1], routes("10.9.0.0/16"), 1380)
    order: list[str] = []

    def watch(control: object, method: str) -> None:
        original = getattr(control, method)

        def note(*arguments: object, **more: object) -> object:
            order.append(method)
            return original(*arguments, **more)

        monkeypatch.setattr(control, method, note)

    for method in ("remove_route", "remove_address", "set_link_mtu"):
        watch(world.interfaces, method)
    watch(world.wireguard, "change_allowed_ips")
    world.lease.undo()
    assert list(dict.fromkeys(order)) == [
        "remove_route",
        "remove_address",
        "change_allowed_ips",
        "set_link_mtu",
    ]


class Witness:
    """Something further; writes down when it is called."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self.name, self.calls = name, calls

    def apply(self, taken: Taken) -> tuple[Refused, ...]:
        self.calls.append(f"apply {self.name} {len(taken.default_routes)}")
        return (Refused(self.name, "no"),)

    def stands(self) -> bool:
        return self.name != "way"

    def undo(self, *, gone: bool = False) -> None:
        self.calls.append(f"undo {self.name}{' gone' if gone else ''}")


def test_what_is_set_further_is_undone_first(world: World) -> None:
    calls: list[str] = []
    further = [Witness("way", calls), Witness("names", calls)]
    lease = AppliedLease(world.link, world.interfaces, world.wireguard, world.ledger, further)
    taken = Taken(tuple(LEASE), default_routes=routes("0.0.0.0/0"))
    assert lease.apply(taken, HUB) == (Refused("way", "no"), Refused("names", "no"))
    assert "0.0.0.0/0" in world.wireguard.allowed_ips(HUB)
    assert "0.0.0.0/0" not in world.routes()
    lease.undo_all()
    assert calls == ["apply way 1", "apply names 1", "undo names", "undo way"]
    assert not lease.stands()
    assert AppliedLease(world.link, world.interfaces, world.wireguard, world.ledger).stands()
    assert world.is_bare()
    lease.forget()
    assert calls[4:] == ["undo names gone", "undo way gone"]


def test_an_address_that_cannot_be_written_down_is_not_set(world: World) -> None:
    world.ledger.close()
    with pytest.raises(LedgerError):
        world.apply([setting("10.44.0.7")])
    assert world.is_bare()
