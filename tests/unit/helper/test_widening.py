from pathlib import Path

import pytest

from tests.fakes.wireguard import FakeWireGuard
from wg_dynamic.address import Prefix, parse_prefix
from wg_dynamic.helper.widening import Widening
from wg_dynamic.privsep.ledger import ALLOWED_IP, Entry, Ledger, LedgerError
from wg_dynamic.wireguard.device import Peer

HUB, OTHER = bytes([1]) * 32, bytes([2]) * 32


def prefixes(*texts: str) -> list[Prefix]:
    return [parse_prefix(text) for text in texts]


class World:
    """A hub that has fe80::/128, and another peer that has everything."""

    def __init__(self, path: Path) -> None:
        everything = tuple(prefixes("0.0.0.0/0"))
        self.wireguard = FakeWireGuard(
            Peer(OTHER, everything), Peer(HUB, (parse_prefix("fe80::/128"),))
        )
        self.ledger = Ledger(path)
        self.widening = Widening(self.wireguard, self.ledger)

    def apply(self, *texts: str) -> set[str]:
        return {str(entry.prefix) for entry in self.widening.apply(prefixes(*texts), HUB)}

    def allowed(self) -> set[str]:
        return self.wireguard.allowed_ips(HUB) - {"fe80::/128"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "ledger")


def test_all_that_is_missing_is_added_in_one_message(world: World) -> None:
    assert world.apply("10.44.0.0/24", "10.9.0.0/16") == {"10.44.0.0/24", "10.9.0.0/16"}
    assert world.allowed() == {"10.44.0.0/24", "10.9.0.0/16"}
    assert {str(each) for each in world.widening.prefixes()} == world.allowed()
    assert world.apply("10.9.0.0/16") == {"10.9.0.0/16"}
    assert len(world.wireguard.calls) == 1
    world.widening.undo([Entry(ALLOWED_IP, parse_prefix("10.9.0.0/16"), HUB)])
    assert world.allowed() == {"10.44.0.0/24"}
    calls = len(world.wireguard.calls)
    world.widening.undo([])
    assert len(world.wireguard.calls) == calls


def test_what_the_administrator_s_cover_needs_nothing(world: World) -> None:
    world.wireguard.put_peer(Peer(HUB, tuple(prefixes("fe80::/128", "10.0.0.0/8"))))
    assert world.apply("10.44.0.0/24", "10.0.0.0/8") == set()
    assert world.allowed() == {"10.0.0.0/8"}
    assert len(world.ledger) == 0


def test_one_of_ours_does_not_count_as_cover_since_it_may_go_first(world: World) -> None:
    world.apply("10.0.0.0/8")
    assert world.apply("10.0.0.0/8", "10.44.0.0/24") == {"10.0.0.0/8", "10.44.0.0/24"}


def test_what_somebody_took_off_is_set_again(world: World) -> None:
    world.apply("10.44.0.0/24")
    world.wireguard.put_peer(Peer(HUB, tuple(prefixes("fe80::/128"))))
    assert world.apply("10.44.0.0/24") == {"10.44.0.0/24"}
    assert world.allowed() == {"10.44.0.0/24"}


def test_what_cannot_be_written_down_is_not_set(world: World) -> None:
    world.ledger.close()
    with pytest.raises(LedgerError):
        world.apply("10.44.0.0/24")
    assert world.allowed() == set()
