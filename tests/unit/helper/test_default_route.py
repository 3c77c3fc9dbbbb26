"""The order of steps, the ledger, what others have; the kernel is in tests/netns."""

import errno
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.netlink import FakeInterfaces
from tests.fakes.tools import FakeNft
from tests.fakes.wireguard import FakeWireGuard
from wg_dynamic.address import host_prefix, parse_address, parse_prefix
from wg_dynamic.helper.default_route import (
    SRC_VALID_MARK,
    Default,
    DefaultRoute,
    undo_default_route,
)
from wg_dynamic.netlink.control import FOREVER, Address, Route, Rule
from wg_dynamic.netlink.errors import NetlinkError
from wg_dynamic.privsep.ledger import (
    FIREWALL,
    FWMARK,
    RULE,
    SYSCTL,
    TABLE_ROUTE,
    Ledger,
    Setting,
)
from wg_dynamic.system.sysctl import Sysctl, SysctlError

V4, V6 = parse_address("10.44.0.7"), parse_address("fd00:44::7")
BOTH = (Default(V4, 600), Default(V6, 600))
ALL4, ALL6 = parse_prefix("0.0.0.0/0"), parse_prefix("::/0")


class FakeSysctl(Sysctl):
    def __init__(self) -> None:
        self.value = "0"
        self.read_only = False

    def read(self, name: str) -> str:
        assert name == SRC_VALID_MARK
        return self.value

    def write(self, name: str, value: str) -> None:
        if self.read_only:
            msg = "cannot set it: Read-only file system"
            raise SysctlError(msg)
        self.value = value


class World:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.interfaces = FakeInterfaces()
        self.link = self.interfaces.add_link("wg0")
        self.wireguard = FakeWireGuard()
        self.nft = FakeNft()
        self.sysctl = FakeSysctl()
        self.ledger = Ledger(path)
        for packed in (V4, V6):
            self.interfaces.set_address(Address(self.link.ifindex, host_prefix(packed)))
        self.default_route = self.begin()

    def begin(self) -> DefaultRoute:
        return DefaultRoute(
            self.link,
            self.interfaces,
            self.wireguard,
            self.ledger,
            run=self.nft,
            sysctl=self.sysctl,
        )

    def restart(self) -> None:
        """As after a kill."""
        self.ledger.close()
        self.ledger = Ledger(self.path)
        self.default_route = self.begin()

    def state(self) -> object:
        """All that a default route changes."""
        return (
            self.interfaces.rules(),
            self.interfaces.routes(),
            self.wireguard.fwmark,
            dict(self.nft.tables),
            self.sysctl.value,
        )

    def table(self, number: int) -> dict[str, Route]:
        return {str(r.prefix): r for r in self.interfaces.all_routes if r.table == number}

    def rules(self) -> list[str]:
        """Ours, as words."""
        return [
            f"{'4' if r.ipv4 else '6'} {r.priority} "
            + (
                f"not {r.fwmark} {r.table}"
                if r.inverted
                else f"{r.table} > {r.suppress_prefix_length}"
            )
            for r in self.interfaces.rules()
            if r.protocol == 97
        ]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "ledger")
    yield made
    made.ledger.close()


def test_it_is_made_as_wg_quick_makes_one_and_undone(world: World) -> None:
    before = world.state()
    assert world.default_route.apply((V4, V6), BOTH) == ""
    assert world.rules() == [
        "4 32764 254 > 0",
        "4 32765 not 51820 51820",
        "6 32764 254 > 0",
        "6 32765 not 51820 51820",
    ]
    routes = world.table(51820)
    assert set(routes) == {"0.0.0.0/0", "::/0"}
    assert routes["0.0.0.0/0"].preferred_source == V4
    assert routes["::/0"].expires_time == 600
    assert world.wireguard.fwmark == 51820
    assert world.sysctl.value == "1"
    assert "10.44.0.7" in world.nft.tables["ip", "wg-dynamic-wg0"]
    assert "mark 51820" in world.nft.tables["ip6", "wg-dynamic-wg0"]
    world.default_route.undo()
    assert world.state() == before
    assert len(world.ledger) == 0


def test_nothing_wanted_changes_nothing(world: World) -> None:
    before = world.state()
    assert world.default_route.apply((V4, V6), ()) == ""
    world.default_route.undo()
    assert world.state() == before
    assert world.nft.ran == 0


def test_a_renewal_refreshes_the_expiry_and_moves_nothing(world: World) -> None:
    world.default_route.apply((V4, V6), BOTH)
    rules = world.rules()
    assert world.default_route.apply((V4, V6), (Default(V4, 900), Default(V6, FOREVER))) == ""
    assert world.rules() == rules
    assert world.table(51820)["::/0"].expires_time is None
    assert len(world.table(51820)) == 2


def test_one_family_alone_and_then_the_other(world: World) -> None:
    before = world.state()
    world.default_route.apply((V4, V6), BOTH[1:])
    assert world.rules() == ["6 32764 254 > 0", "6 32765 not 51820 51820"]
    assert world.sysctl.value == "0"
    assert list(world.nft.tables) == [("ip6", "wg-dynamic-wg0")]
    world.default_route.apply((V4, V6), BOTH[:1])
    assert world.rules() == ["4 32764 254 > 0", "4 32765 not 51820 51820"]
    assert list(world.table(51820)) == ["0.0.0.0/0"]
    assert list(world.nft.tables) == [("ip", "wg-dynamic-wg0")]
    assert world.default_route.apply((V4, V6), ()) == ""
    assert world.state() == before


def test_static_addresses_of_the_interface_are_guarded_but_no_link_local(world: World) -> None:
    for text in ("192.0.2.7/24", "fe80::1/128"):
        world.interfaces.set_address(Address(world.link.ifindex, parse_prefix(text)))
    world.default_route.apply((V4, V6), BOTH)
    assert "192.0.2.7" in world.nft.tables["ip", "wg-dynamic-wg0"]
    assert "fe80" not in world.nft.tables["ip6", "wg-dynamic-wg0"]


# --- what is there already ---------------------------------------------------------------------


def test_a_default_route_of_wg_quick_is_left_alone_and_the_lease_guarded(world: World) -> None:
    foreign = Route(ALL4, world.link.ifindex, table=51820, protocol=3)
    world.interfaces.add_route(foreign)
    world.interfaces.add_rule(Rule(True, 32765, 51820, fwmark=51820, inverted=True, protocol=3))
    world.wireguard.set_fwmark(51820)
    before = world.state()
    assert world.default_route.apply((V4, V6), BOTH[:1]) == ""
    assert world.rules() == []
    assert "10.44.0.7" in world.nft.tables["ip", "wg-dynamic-wg0"]
    assert "mark" not in world.nft.tables["ip", "wg-dynamic-wg0"]
    assert len(world.ledger) == 1
    assert world.default_route.apply((), ()) == ""
    assert world.state() == before
    assert world.default_route.apply((V4,), ()) == ""  # also when nobody asked for a default route
    assert "10.44.0.7" in world.nft.tables["ip", "wg-dynamic-wg0"]
    world.default_route.undo()
    assert world.state() == before


def test_ours_gives_way_to_one_that_comes_later(world: World) -> None:
    world.default_route.apply((V4, V6), BOTH)
    world.interfaces.add_route(Route(ALL4, world.link.ifindex, table=100, protocol=3))
    world.default_route.apply((V4, V6), BOTH)
    assert [line for line in world.rules() if line.startswith("4")] == []
    assert set(world.table(51820)) == {"::/0"}
    world.interfaces.add_route(Route(ALL6, world.link.ifindex, table=100, protocol=3))
    world.default_route.apply((V4, V6), BOTH)
    assert world.rules() == []
    assert world.wireguard.fwmark == 0
    assert {
        kind for kind in (RULE, TABLE_ROUTE, FWMARK, SYSCTL) if world.ledger.settings(kind)
    } == set()
    assert len(world.ledger.settings(FIREWALL)) == 2


def test_numbers_that_others_use_are_passed_over(world: World) -> None:
    other = world.interfaces.add_link("wg1")
    world.interfaces.add_route(Route(ALL4, other.ifindex, table=51820, protocol=3))
    world.interfaces.add_rule(Rule(False, 100, 51821, protocol=4))
    world.interfaces.add_rule(Rule(True, 32765, 100, fwmark=51822, protocol=4))
    before = world.state()
    assert world.default_route.apply((V4, V6), BOTH[:1]) == ""
    assert world.rules() == ["4 32763 254 > 0", "4 32764 not 51823 51823"]
    world.default_route.undo()
    assert world.state() == before


def test_the_administrators_mark_is_used_and_stays(world: World) -> None:
    world.wireguard.set_fwmark(0x1234)
    world.default_route.apply((V4, V6), BOTH[:1])
    assert world.rules() == ["4 32764 254 > 0", f"4 32765 not {0x1234} {0x1234}"]
    world.default_route.undo()
    assert world.wireguard.fwmark == 0x1234
    world.interfaces.add_rule(Rule(True, 5, 0x1234, protocol=4))
    world.default_route.apply((V4, V6), BOTH[:1])
    assert world.rules()[1] == f"4 32765 not {0x1234} 51820"


def test_a_mark_that_was_taken_away_is_set_again(world: World) -> None:
    world.default_route.apply((V4, V6), BOTH)
    world.wireguard.set_fwmark(0)  # wg syncconf
    world.interfaces.all_rules = [r for r in world.interfaces.all_rules if r.priority != 32764]
    assert world.default_route.apply((V4, V6), BOTH) == ""
    assert world.wireguard.fwmark == 51820
    assert len(world.rules()) == 4


def test_what_was_taken_away_is_seen(world: World) -> None:
    assert world.default_route.stands()
    assert world.default_route.apply((V4, V6), BOTH) == ""
    assert world.default_route.stands()
    world.wireguard.set_fwmark(0)  # wg syncconf
    assert not world.default_route.stands()
    world.default_route.apply((V4, V6), BOTH)
    world.interfaces.all_rules = [r for r in world.interfaces.all_rules if r.priority != 32764]
    assert not world.default_route.stands()
    world.default_route.apply((V4, V6), BOTH)
    world.nft.tables.clear()  # nft flush ruleset
    assert not world.default_route.stands()
    world.default_route.apply((V4, V6), BOTH)
    assert world.default_route.stands()
    world.interfaces.error = NetlinkError(errno.ENOBUFS, "dump rules")
    assert world.default_route.stands(), "it cannot be seen"


def test_a_mark_that_somebody_changed_is_theirs(world: World) -> None:
    world.default_route.apply((V4, V6), BOTH)
    world.wireguard.set_fwmark(77)
    assert world.default_route.apply((V4, V6), BOTH) == ""
    marked = [line for line in world.rules() if "not" in line]
    assert [line.split(" not ")[1] for line in marked] == ["77 51820", "77 51820"]
    world.default_route.undo()
    assert world.wireguard.fwmark == 77
    assert world.rules() == []
    world.default_route.apply((V4, V6), BOTH)
    world.wireguard.set_fwmark(78)
    world.default_route.undo()
    assert world.wireguard.fwmark == 78


def test_the_variable_is_put_back_only_when_we_changed_it_and_nobody_needs_it(
    world: World,
) -> None:
    world.sysctl.value = "1"
    world.default_route.apply((V4, V6), BOTH)
    assert world.ledger.settings(SYSCTL) == []
    world.default_route.undo()
    assert world.sysctl.value == "1"
    world.sysctl.value = "0"
    world.default_route.apply((V4, V6), BOTH)
    world.interfaces.add_rule(Rule(True, 100, 100, fwmark=100, inverted=True, protocol=3))
    world.default_route.undo()
    assert world.sysctl.value == "1"
    assert len(world.ledger) == 0


# --- failures and kills ------------------------------------------------------------------------


class KilledError(BaseException):
    """kill -9: nothing of ours runs after it."""


class Killing:
    """Lets so many changes happen, and dies before or after the next one."""

    def __init__(self, world: World, left: int, *, after: bool) -> None:
        self.left = left
        self.after = after
        for owner, names in (
            (world.interfaces, ("add_rule", "add_route", "remove_rule", "remove_route")),
            (world.wireguard, ("set_fwmark",)),
            (world.sysctl, ("write",)),
            (world.nft, ("_load",)),
        ):
            for name in names:
                setattr(owner, name, self.wrapped(getattr(owner, name)))

    def wrapped(self, call: Callable[..., object]) -> Callable[..., object]:
        def inner(*args: object, **options: object) -> object:
            self.left -= 1
            if self.left < 0 and not self.after:
                raise KilledError
            result = call(*args, **options)
            if self.left < 0:
                raise KilledError
            return result

        return inner


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("action", ["apply", "undo"])
def test_a_kill_at_any_step_is_undone_by_the_next(tmp_path: Path, action: str, after: bool) -> None:
    for steps in range(40):
        world = World(tmp_path / f"{steps}")
        before = world.state()
        if action == "undo":
            world.default_route.apply((V4, V6), BOTH)
        killing = Killing(world, steps, after=after)
        killed = False
        try:
            if action == "undo":
                world.default_route.undo()
            else:
                world.default_route.apply((V4, V6), BOTH)
        except KilledError:
            killed = True
        killing.left = 1000
        world.restart()
        world.default_route.undo()
        assert world.state() == before, steps
        assert len(world.ledger) == 0, steps
        world.restart()
        assert world.default_route.apply((V4, V6), BOTH) == ""
        world.default_route.undo()
        assert world.state() == before, steps
        world.ledger.close()
        if not killed:
            assert steps >= 8
            return
    pytest.fail("it never came to the end")


def test_what_a_killed_one_left_is_taken_over(world: World) -> None:
    before = world.state()
    world.default_route.apply((V4, V6), BOTH)
    there = world.state()
    world.restart()
    assert world.default_route.apply((V4, V6), BOTH) == ""
    assert world.state() == there
    world.restart()
    world.default_route.undo()
    assert world.state() == before


@pytest.mark.parametrize("trouble", ["nft", "sysctl", "source", "ledger", "down"])
def test_a_failure_undoes_all_and_is_said_once(
    world: World, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    if trouble == "nft":
        world.nft.missing = True
    elif trouble == "sysctl":
        world.sysctl.read_only = True
    elif trouble == "source":
        world.interfaces.remove_address(world.link.ifindex, host_prefix(V4))
    elif trouble == "ledger":
        world.ledger.close()
    else:
        world.interfaces.set_up(world.link.ifindex, up=False)
    before = world.state()
    for _ in range(3):
        assert world.default_route.apply((V4, V6), BOTH) != ""
    assert world.state() == before
    assert len(world.ledger) == 0
    assert caplog.text.count("the default route is not set") == 1


def test_addresses_that_cannot_be_guarded_are_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.interfaces.add_route(Route(ALL4, world.link.ifindex, table=51820, protocol=3))
    world.nft.missing = True
    assert "install nftables" in world.default_route.apply((V4,), ())
    assert "the leased addresses are not guarded" in caplog.text
    world.nft.missing = False
    assert world.default_route.apply((V4,), ()) == ""


def test_without_a_free_priority_or_table_it_says_so(world: World) -> None:
    world.interfaces.add_rule(Rule(True, 2, 254, protocol=4))
    assert "no two priorities" in world.default_route.apply((V4,), BOTH[:1])
    other = world.interfaces.add_link("wg1")
    world.interfaces.all_routes += [
        Route(ALL4, other.ifindex, table=n, protocol=3) for n in range(51820, 61820)
    ]
    assert "no routing table from 51820" in world.default_route.apply((V6,), BOTH[1:])


def test_a_table_that_somebody_takes_meanwhile_is_theirs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.interfaces, "add_route", lambda _route: False)
    assert "somebody else has just taken" in world.default_route.apply((V4,), BOTH[:1])
    assert len(world.ledger) == 0


def test_what_cannot_be_undone_stays_named(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.default_route.apply((V4, V6), BOTH)
    world.interfaces.error = NetlinkError(errno.ENOBUFS, "do it")
    world.default_route.undo()
    assert len(world.ledger.settings(RULE)) == 4
    assert "cannot undo the default route (rule ipv6" in caplog.text
    world.interfaces.error = None
    world.default_route.undo()
    assert len(world.ledger) == 0


def test_of_an_interface_that_is_gone_the_rest_is_undone(world: World) -> None:
    before = beside_the_interface(world)
    world.default_route.apply((V4, V6), BOTH)
    ifindex = world.link.ifindex
    world.interfaces.remove_link(ifindex)
    world.wireguard.gone = True
    undo_default_route(ifindex, world.interfaces, world.ledger, run=world.nft, sysctl=world.sysctl)
    assert len(world.ledger) == 0
    assert (world.interfaces.rules(), world.nft.tables, world.sysctl.value) == before


def beside_the_interface(world: World) -> object:
    return world.interfaces.rules(), dict(world.nft.tables), world.sysctl.value


@pytest.mark.parametrize(
    "setting",
    [
        Setting(RULE, ("ipv4", "1")),
        Setting(RULE, ("ipv5", "1", "2", "3")),
        Setting(RULE, ("ipv4", "x", "2", "3")),
        Setting(TABLE_ROUTE, ("ipv4",)),
        Setting(TABLE_ROUTE, ("inet", "51820")),
        Setting(FWMARK, ("x",)),
        Setting(SYSCTL, ("kernel.panic", "0")),
        Setting(FIREWALL, ("ip", "filter")),
    ],
)
def test_a_line_of_the_ledger_without_sense_is_left(
    world: World, setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    world.ledger.add(setting)
    before = world.state()
    world.default_route.undo()
    assert world.state() == before
    assert setting in world.ledger
    assert "cannot undo" in caplog.text
    world.default_route.apply((V4, V6), BOTH)  # whatever comes of it
    world.default_route.undo()
    assert world.state() == before
    assert setting in world.ledger
    assert len(world.ledger) == 1
