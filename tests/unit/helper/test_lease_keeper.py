import errno
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.netlink import FakeInterfaces
from tests.fakes.wireguard import FakeWireGuard
from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.helper import lease_keeper as module
from wg_dynamic.helper.applied import AppliedLease
from wg_dynamic.helper.judgement import Taken
from wg_dynamic.helper.lease_keeper import LeaseKeeper
from wg_dynamic.helper.policy import Acceptance
from wg_dynamic.netlink.control import (
    FOREVER,
    Address,
    AddressEvent,
    Event,
    Link,
    LinkEvent,
    Overrun,
    Route,
    RouteEvent,
)
from wg_dynamic.netlink.errors import NetlinkError
from wg_dynamic.privsep.ledger import ALLOWED_IP, ROUTE, Ledger
from wg_dynamic.privsep.requests import (
    AddressSetting,
    Applied,
    ApplyLease,
    Refused,
    RouteSetting,
)
from wg_dynamic.wireguard.control import WireGuardError
from wg_dynamic.wireguard.device import Peer

HUB = bytes([1]) * 32
IPV4 = AddressSetting(parse_prefix("10.44.0.7"), parse_prefix("10.44.0.0/24"), 60, 60)
IPV6 = AddressSetting(parse_prefix("fd00:44::7"), parse_prefix("fd00:44::/64"), 60, 60)
GOOD = RouteSetting(parse_prefix("10.9.0.0/16"))
PUBLIC = RouteSetting(parse_prefix("8.8.8.8/32"))
SERVER = parse_address("10.44.0.53")
LEASE = ApplyLease((IPV4, IPV6), (GOOD, PUBLIC), 0, (SERVER,), ("example.org",), 1380)


class FakeResolver:
    """What is set beside the interface: name servers."""

    def __init__(self) -> None:
        self.taken = Taken()
        self.reason = ""

    def apply(self, taken: Taken) -> tuple[Refused, ...]:
        self.taken = taken
        if self.reason and taken.name_servers:
            return (Refused("name server 10.44.0.53", self.reason),)
        return ()

    def stands(self) -> bool:
        return True

    def undo(self, *, gone: bool = False) -> None:
        assert not gone
        self.taken = Taken()


class World:
    """A keeper on wg0, and eth0 beside it."""

    def __init__(self, path: Path, accepts: Acceptance) -> None:
        self.interfaces = FakeInterfaces()
        self.link = self.interfaces.add_link("wg0")
        self.eth0 = self.interfaces.add_link("eth0", kind="").ifindex
        self.wireguard = FakeWireGuard(Peer(HUB, (parse_prefix("fe80::/128"),)))
        self.clock = FakeClock()
        self.said: list[tuple[int, str]] = []
        self.ledger = Ledger(path)
        self.resolver = FakeResolver()
        applied = AppliedLease(
            self.link, self.interfaces, self.wireguard, self.ledger, [self.resolver]
        )
        verdict: Any = self
        self.keeper = LeaseKeeper(
            self.link,
            self.interfaces,
            self.wireguard,
            applied,
            accepts=accepts,
            verdict=verdict,
            clock=self.clock,
        )
        self.events = self.interfaces.events()

    def give(self, status: int, text: str) -> None:
        self.said.append((status, text))

    def deliver(self) -> None:
        for event in self.events.read():
            self.keeper.notice(event)

    def join(self, network: str, *, gone: bool = False) -> None:
        route = Route(parse_prefix(network), self.eth0, protocol=2)
        (self.interfaces.remove_route if gone else self.interfaces.add_route)(route)
        self.deliver()

    def is_due(self) -> bool:
        deadline = self.keeper.deadline
        return deadline is not None and deadline <= self.clock.now()

    def addresses(self) -> set[str]:
        return {str(a.prefix) for a in self.interfaces.addresses(self.link.ifindex)}


@pytest.fixture
def world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> World:
    monkeypatch.setattr(module, "name_servers_in_use", lambda: ())
    caplog.set_level(logging.INFO)
    return World(tmp_path / "ledger", Acceptance(dns=(parse_prefix("10.44.0.0/24"),)))


def test_what_was_taken_refused_and_set_is_known(world: World) -> None:
    assert (world.keeper.addresses, world.keeper.pushed_status()) == ((), {})
    applied = world.keeper.apply(LEASE)
    reason = (
        "8.8.8.8/32 is neither private nor in the server peer's allowed IPs"
        " (--accept-routes 8.8.8.8/32 takes it)"
    )
    assert applied == Applied((), (Refused("route 8.8.8.8/32", reason),))
    world.clock.pass_time(20)
    networks = (IPV4.network, IPV6.network, GOOD.network)
    keeper = world.keeper
    assert [(one.address, one.valid_time) for one in keeper.addresses] == [
        (IPV4.address, 60),
        (IPV6.address, 60),
    ]
    assert world.clock.now() - keeper.taken_at == 20
    assert {entry.prefix for entry in world.ledger.entries(ROUTE)} == set(networks)
    assert {entry.prefix for entry in world.ledger.entries(ALLOWED_IP)} == set(networks)
    assert keeper.pushed_status() == {
        "mtu": 1380,
        "name_servers": ["10.44.0.53"],
        "search": ["example.org"],
        "not_taken": [f"route 8.8.8.8/32: {reason}"],
    }
    assert (keeper.refused, keeper.trouble) == ((), "")


def test_what_cannot_be_set_after_all_is_not_said_to_be(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.resolver.reason = "no resolver here"
    for _ in range(2):
        applied = world.keeper.apply(LEASE)
        assert Refused("name server 10.44.0.53", "no resolver here") in applied.others
        world.keeper.notice(Overrun())
        assert world.keeper.look_again() is None
    status: Any = world.keeper.pushed_status()
    assert not {"name_servers", "search"} & status.keys()
    assert "name server 10.44.0.53: no resolver here" in status["not_taken"]
    assert caplog.text.count("name server 10.44.0.53 is not taken: no resolver here") == 1
    world.resolver.reason = ""
    world.keeper.apply(LEASE)
    assert world.keeper.pushed_status()["name_servers"] == ["10.44.0.53"]


def test_each_refusal_is_told_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        world.keeper.apply(LEASE)
    assert caplog.text.count("route 8.8.8.8/32 is not taken: ") == 1
    assert caplog.text.count("wg0: leased 10.44.0.7/32, fd00:44::7/128 for 60 s") == 1
    text = "wg0: routes 10.9.0.0/16; MTU 1380; name servers 10.44.0.53; search domains example.org"
    assert caplog.text.count(text) == 1
    world.keeper.apply(ApplyLease((IPV4, IPV6)))
    assert "wg0: nothing besides the addresses any more" in caplog.text


def test_a_default_route_is_told_and_shown(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path / "another", Acceptance(default_route=True))
    world.keeper.apply(ApplyLease((IPV4,), (RouteSetting(parse_prefix("0.0.0.0/0")),)))
    assert "wg0: all traffic (0.0.0.0/0)" in caplog.text
    assert world.keeper.pushed_status() == {"default_routes": ["0.0.0.0/0"]}
    caplog.clear()
    world.keeper.apply(ApplyLease(()))
    assert "wg0: no lease any more" in caplog.text
    assert "besides the addresses" not in caplog.text, "there are none"


def test_a_server_that_makes_up_routes_fills_no_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    for start in range(0, 1400, 200):
        many = tuple(
            RouteSetting(parse_prefix(f"8.{n >> 8}.{n & 255}.0/24"))
            for n in range(start, start + 200)
        )
        caplog.clear()
        world.clock.pass_time(60)
        world.keeper.apply(ApplyLease((IPV4,), many))
        assert caplog.text.count("is not taken") == 8
        assert "192 more are not taken either" in caplog.text
        assert len(world.keeper._told) <= 1000


def test_a_network_process_gone_mad_fills_no_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(100):
        world.keeper.apply(LEASE)
        world.keeper.apply(ApplyLease(()))
    assert len(caplog.records) == 60


def test_a_lease_that_is_refused_as_a_whole_is_said_to_who_waits(world: World) -> None:
    public = AddressSetting(parse_prefix("8.8.8.8"), parse_prefix("8.8.8.8"), 60, 60)
    world.keeper.apply(ApplyLease((public,)))
    ((status, text),) = world.said
    assert status == 0
    assert text.startswith("wg0: the lease was refused here: 8.8.8.8/32 is neither private")


def test_a_lease_for_ever_is_said_to_be_one(world: World) -> None:
    world.keeper.apply(ApplyLease((AddressSetting(IPV4.address, IPV4.network, 60, FOREVER),)))
    assert world.said == [(0, "wg0: leased 10.44.0.7/32 for ever")]


def test_what_cannot_be_set_is_told_once_and_in_the_status(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.wireguard.error = WireGuardError("x" * 500)
    for _ in range(2):
        applied = world.keeper.apply(LEASE)
        assert [one.address for one in applied.refused] == [IPV4.address, IPV6.address]
        assert len(applied.refused[0].reason) == 150
    assert caplog.text.count("cannot set the lease: xxx") == 1
    assert world.keeper.trouble == "x" * 500
    world.wireguard.error = None
    world.keeper.apply(LEASE)
    assert world.keeper.trouble == ""


def test_our_own_name_servers_are_not_held_against_us(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.keeper.apply(LEASE)
    monkeypatch.setattr(module, "name_servers_in_use", lambda: (SERVER,))
    assert world.keeper.apply(LEASE).refused == ()
    # But one that the machine had before us is.
    world.keeper.apply(ApplyLease(()))
    refused = world.keeper.apply(LEASE).refused
    assert "has a name server of this machine inside" in refused[0].reason


# --- the machine moves ---------------------------------------------------------------------------


def test_a_network_joined_later_is_given_way_to_and_left_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.keeper.apply(LEASE)
    world.deliver()
    assert not world.is_due(), "what we set ourselves is no news"
    world.join("10.44.0.0/16")
    assert world.is_due()
    applied = world.keeper.look_again()
    assert applied is not None
    assert [one.address for one in applied.refused] == [IPV4.address]
    assert world.addresses() == {"fd00:44::7/128"}
    assert "10.44.0.7/32 is not taken: 10.44.0.7/32 is inside 10.44.0.0/16" in caplog.text
    world.clock.pass_time(10)
    world.join("10.44.0.0/16", gone=True)
    assert world.keeper.look_again() is not None
    assert world.addresses() == {"10.44.0.7/32", "fd00:44::7/128"}
    assert {a.valid_time for a in world.interfaces.addresses(world.link.ifindex)} == {50}


def test_a_storm_of_events_is_worth_one_look_a_second(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.keeper.apply(LEASE)
    world.deliver()
    changes = len(world.wireguard.calls)
    for number in range(20):
        world.join(f"172.16.{number}.0/24")
    assert world.keeper.deadline == 1000.0
    assert world.keeper.look_again() is None
    assert len(world.wireguard.calls) == changes, "nothing is set when nothing changes"
    for number in range(20):
        world.join(f"172.17.{number}.0/24")
    assert world.keeper.deadline == 1001.0
    # A machine on which a look takes long is not kept busy by it.
    addresses = world.interfaces.addresses

    took = 0.25

    def slow(ifindex: int | None = None) -> list[Address]:
        world.clock.pass_time(took)
        return addresses(ifindex)

    monkeypatch.setattr(world.interfaces, "addresses", slow)
    world.clock.pass_time(1)
    assert world.keeper.look_again() is None
    world.join("172.18.0.0/24")
    assert world.keeper.deadline == pytest.approx(1003.5)
    # But not for long.
    took = 7.0
    begin = world.clock.now()
    assert world.keeper.look_again() is None
    world.join("172.18.1.0/24")
    assert world.keeper.deadline == pytest.approx(begin + 10.0)


@pytest.mark.parametrize(
    ("event", "news"),
    [
        (Overrun(), True),
        (AddressEvent(Address(3, parse_prefix("10.1.0.1/24")), gone=False), True),
        (AddressEvent(Address(3, parse_prefix("10.1.0.1/24")), gone=True), True),
        (AddressEvent(Address(3, parse_prefix("fe80::1/64")), gone=False), False),
        (AddressEvent(Address(2, parse_prefix("10.44.0.7/32")), gone=False), False),
        (RouteEvent(Route(parse_prefix("10.1.0.0/24"), 3), gone=False), True),
        (RouteEvent(Route(parse_prefix("10.1.0.0/24"), 0, kind=7), gone=False), True),
        (RouteEvent(Route(parse_prefix("10.1.0.0/24"), 2), gone=False), False),
        (RouteEvent(Route(parse_prefix("10.1.0.1/32"), 3, table=255), gone=False), False),
        (RouteEvent(Route(parse_prefix("fe80::/64"), 3), gone=False), False),
    ],
)
def test_what_is_news(world: World, event: Event, *, news: bool) -> None:
    world.keeper.notice(event)
    assert not world.is_due(), "without a lease nothing is"
    world.keeper.apply(LEASE)
    world.keeper.notice(event)
    assert world.is_due() is news


@pytest.mark.parametrize(
    ("ifindex", "up", "gone", "news"),
    [
        (3, False, False, True),
        (3, True, True, True),
        (3, True, False, False),
        (2, False, False, False),
    ],
)
def test_a_link_that_goes_down_takes_its_routes_along_without_a_word(
    world: World, ifindex: int, *, up: bool, gone: bool, news: bool
) -> None:
    world.keeper.apply(LEASE)
    world.keeper.notice(LinkEvent(Link(ifindex, "x", "", up, 1500), gone))
    assert world.is_due() is news


def test_a_lease_that_is_over_is_not_set_again(world: World) -> None:
    world.keeper.apply(LEASE)
    world.clock.pass_time(60)
    world.join("10.44.0.0/16")
    assert world.keeper.look_again() is None


def test_while_the_link_is_down_nothing_is_looked_at(world: World) -> None:
    world.keeper.apply(LEASE)
    world.interfaces.set_up(world.link.ifindex, up=False)
    world.join("10.9.7.0/24")
    assert world.is_due()
    assert world.keeper.look_again() is None
    assert not world.is_due()


def test_a_look_that_fails_is_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.keeper.apply(LEASE)
    world.keeper.notice(Overrun())
    world.interfaces.error = NetlinkError(errno.ENOMEM, "list routes")
    applied = world.keeper.look_again()
    assert applied is not None
    assert len(applied.refused) == 2
    assert "cannot set the lease: list routes" in caplog.text
    world.interfaces.error = None
    world.interfaces.remove_link(world.link.ifindex)
    assert world.keeper.look_again() is None
    assert world.keeper.apply(LEASE) == Applied(())
