"""What nft is told; tests/netns has the real one, and packets."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.tools import FakeNft
from wg_dynamic.address import parse_address
from wg_dynamic.helper.firewall import Firewall, FirewallError, Guard, undo_table
from wg_dynamic.netlink.control import Link
from wg_dynamic.privsep.ledger import FIREWALL, Ledger, LedgerError, Setting
from wg_dynamic.system.tools import ToolError

LINK = Link(7, "wg0", "wireguard", True, 1420)
V4, V6 = parse_address("10.44.0.7"), parse_address("fd00:44::7")
OURS = Setting(FIREWALL, ("ip", "wg-dynamic-wg0"))


class World:
    def __init__(self, path: Path, link: Link = LINK) -> None:
        self.nft = FakeNft()
        self.ledger = Ledger(path)
        self.firewall = Firewall(link, self.ledger, self.nft)

    def names(self) -> list[str]:
        return [" ".join(key) for key in self.nft.tables]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "ledger")
    yield made
    made.ledger.close()


def test_addresses_are_guarded_and_marks_kept_as_wg_quick_does(world: World) -> None:
    world.firewall.apply({True: Guard((V4,), 51820), False: Guard((V6,))})
    assert world.names() == ["ip wg-dynamic-wg0", "ip6 wg-dynamic-wg0"]
    ipv4, ipv6 = world.nft.tables.values()
    assert "iif != 7 ip daddr 10.44.0.7 fib saddr type != local drop" in ipv4
    assert "type filter hook prerouting priority -300" in ipv4
    assert "meta l4proto udp meta mark 51820 ct mark set meta mark" in ipv4
    assert "meta l4proto udp meta mark set ct mark" in ipv4
    assert "iif != 7 ip6 daddr fd00:44::7 fib saddr type != local drop" in ipv6
    assert "mark" not in ipv6
    assert [s.words for s in world.ledger.settings(FIREWALL)] == [
        ("ip", "wg-dynamic-wg0"),
        ("ip6", "wg-dynamic-wg0"),
    ]


def test_a_table_is_changed_as_a_whole_and_put_back_when_it_was_flushed(world: World) -> None:
    world.firewall.apply({True: Guard((V4,), 51820)})
    world.firewall.apply({True: Guard((parse_address("10.44.0.8"),), 0)})
    assert "10.44.0.8" in world.nft.tables["ip", "wg-dynamic-wg0"]
    assert "10.44.0.7" not in world.nft.tables["ip", "wg-dynamic-wg0"]
    assert world.firewall.stands()
    world.nft.tables.clear()
    assert not world.firewall.stands()
    world.firewall.apply({True: Guard((V4,))})
    assert "10.44.0.7" in world.nft.tables["ip", "wg-dynamic-wg0"]


def test_a_family_that_is_wanted_no_more_loses_its_table(world: World) -> None:
    world.firewall.apply({True: Guard((V4,)), False: Guard((V6,))})
    world.firewall.apply({False: Guard((V6,))})
    assert world.names() == ["ip6 wg-dynamic-wg0"]
    world.firewall.apply({})
    assert world.names() == []
    assert len(world.ledger) == 0


def test_a_table_of_anothers_is_not_touched(world: World) -> None:
    world.nft.tables["ip", "wg-dynamic-wg0"] = "theirs"
    world.firewall.apply({True: Guard((V4,))})
    assert world.names() == ["ip wg-dynamic-wg0", "ip wg-dynamic-wg0-7"]
    world.firewall.apply({})
    assert world.nft.tables == {("ip", "wg-dynamic-wg0"): "theirs"}
    world.nft.tables["ip", "wg-dynamic-wg0-7"] = "theirs"
    with pytest.raises(FirewallError, match="wg-dynamic-wg0-7 that is not ours"):
        world.firewall.apply({True: Guard((V4,))})
    assert set(world.nft.tables.values()) == {"theirs"}
    assert len(world.ledger) == 0


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("a.b-C_1", "wg-dynamic-a.b-C_1"),
        ('x"; drop', "wg-dynamic-interface"),
        ("wg{0}", "wg-dynamic-interface"),
        ("wg\n0", "wg-dynamic-interface"),
    ],
)
def test_a_name_that_nft_would_misread_is_in_no_text(tmp_path: Path, name: str, table: str) -> None:
    world = World(tmp_path / "ledger", Link(7, name, "wireguard", True, 1420))
    world.firewall.apply({True: Guard((V4,))})
    assert world.names() == [f"ip {table}"]
    assert name not in world.nft.tables["ip", table] or name == "a.b-C_1"
    undo_table(world.ledger.settings(FIREWALL)[0], world.ledger, world.nft)
    assert world.names() == []
    world.ledger.close()


def test_what_nft_refuses_leaves_nothing_behind(world: World) -> None:
    world.nft.refusal = "Operation not supported"
    with pytest.raises(ToolError, match="nft -f - ended with status 1: Operation not supported"):
        world.firewall.apply({True: Guard((V4,))})
    assert len(world.ledger) == 0
    world.nft.refusal = ""
    world.firewall.apply({True: Guard((V4,))})
    world.nft.refusal = "Operation not supported"
    with pytest.raises(ToolError):
        world.firewall.apply({True: Guard((V4,), 9)})
    assert world.ledger.settings(FIREWALL) == [OURS]


def test_without_nft_it_is_said_what_to_do(world: World) -> None:
    world.nft.missing = True
    with pytest.raises(FirewallError, match=r"no nft in .*: install nftables"):
        world.firewall.apply({True: Guard((V4,))})
    assert len(world.ledger) == 0
    world.nft.missing = False
    world.firewall.apply({True: Guard((V4,))})
    world.nft.missing = True
    with pytest.raises(FirewallError, match="install nftables"):
        world.firewall.apply({True: Guard((V4,), 1)})


def test_without_room_in_the_ledger_nothing_is_set(world: World) -> None:
    world.ledger.close()
    with pytest.raises(LedgerError):
        world.firewall.apply({True: Guard((V4,))})
    assert world.names() == []


def test_a_table_that_is_gone_is_struck_out(world: World) -> None:
    world.ledger.add(OURS)
    undo_table(OURS, world.ledger, world.nft)
    assert len(world.ledger) == 0


@pytest.mark.parametrize("words", [("inet", "wg-dynamic-wg0"), ("ip", "filter"), ("ip",)])
def test_a_table_that_cannot_be_ours_is_not_removed(world: World, words: tuple[str, ...]) -> None:
    setting = Setting(FIREWALL, words)
    world.ledger.add(setting)
    world.nft.tables["ip", "filter"] = "theirs"
    with pytest.raises(ValueError, match=r".+"):
        undo_table(setting, world.ledger, world.nft)
    assert world.names() == ["ip filter"]
