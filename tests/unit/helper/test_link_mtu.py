from pathlib import Path

import pytest

from tests.fakes.netlink import FakeInterfaces
from wg_dynamic.helper.link_mtu import LinkMtu
from wg_dynamic.netlink.errors import NetlinkError
from wg_dynamic.privsep.ledger import MTU, Ledger, LedgerError, Setting


class World:
    """An interface of MTU 1420."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.interfaces = FakeInterfaces()
        self.ifindex = self.interfaces.add_link("wg0").ifindex
        self.open()

    def open(self) -> None:
        self.ledger = Ledger(self.path)
        self.mtu = LinkMtu(self.ifindex, self.interfaces, self.ledger)

    def now(self) -> int:
        return self.interfaces.link_by_index(self.ifindex).mtu


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "ledger")


def test_it_is_lowered_and_put_back(world: World) -> None:
    world.mtu.apply(1380)
    assert (world.now(), world.mtu.found()) == (1380, 1420)
    world.mtu.apply(1380)
    assert world.ledger.settings(MTU) == [Setting(MTU, ("1420", "1380"))]
    world.mtu.apply(1300)
    assert world.ledger.settings(MTU) == [Setting(MTU, ("1420", "1300"))]
    world.mtu.put_back()
    assert (world.now(), len(world.ledger)) == (1420, 0)


@pytest.mark.parametrize("mtu", [0, 1420, 9000])
def test_what_is_not_lower_puts_it_back(world: World, mtu: int) -> None:
    world.mtu.apply(mtu)
    assert (world.now(), len(world.ledger)) == (1420, 0)
    world.mtu.apply(1380)
    world.mtu.apply(mtu)
    assert (world.now(), len(world.ledger)) == (1420, 0)


def test_one_that_starts_after_a_kill_knows_what_was_there(world: World) -> None:
    world.mtu.apply(1380)
    world.open()
    assert world.mtu.found() == 1420
    world.mtu.apply(1400)
    assert world.now() == 1400
    world.open()
    world.mtu.put_back()
    assert (world.now(), len(world.ledger)) == (1420, 0)


def test_a_kill_between_ledger_and_kernel_leaves_it_as_it_is(world: World) -> None:
    world.ledger.add(Setting(MTU, ("1420", "1380")))
    world.open()
    assert world.mtu.found() == 1420
    world.mtu.put_back()
    assert (world.now(), len(world.ledger)) == (1420, 0)


@pytest.mark.parametrize("stands", [1380, 1300])
def test_a_kill_while_it_changes_is_made_good(world: World, stands: int) -> None:
    world.ledger.add(Setting(MTU, ("1420", "1380")), Setting(MTU, ("1420", "1300")))
    world.interfaces.set_link_mtu(world.ifindex, stands)
    world.open()
    assert world.mtu.found() == 1420
    world.mtu.put_back()
    assert (world.now(), len(world.ledger)) == (1420, 0)


def test_one_that_somebody_else_has_changed_since_is_left(world: World) -> None:
    world.mtu.apply(1380)
    world.interfaces.set_link_mtu(world.ifindex, 1400)
    assert world.mtu.found() == 1400
    world.mtu.put_back()
    assert (world.now(), len(world.ledger)) == (1400, 0)
    world.mtu.apply(1380)
    assert world.ledger.settings(MTU) == [Setting(MTU, ("1400", "1380"))]


@pytest.mark.parametrize("words", [("1420",), ("1420", "x"), ("-1", "1420")])
def test_an_entry_that_says_nothing_is_passed_over(world: World, words: tuple[str, ...]) -> None:
    world.ledger.add(Setting(MTU, words))
    world.open()
    world.mtu.put_back()
    assert (world.now(), len(world.ledger)) == (1420, 0)


def test_what_the_kernel_refuses_stays_in_the_ledger(world: World) -> None:
    world.mtu.apply(1380)
    world.interfaces.error = NetlinkError(1, "set")
    with pytest.raises(NetlinkError):
        world.mtu.put_back()
    assert len(world.ledger) == 1


def test_what_cannot_be_written_down_is_not_set(world: World) -> None:
    world.ledger.close()
    with pytest.raises(LedgerError):
        world.mtu.apply(1380)
    assert world.now() == 1420
