"""The contract of WireGuardControl, kept by the fake that other tests stand on."""

import pytest

from tests.contract.wireguard_control import (
    ALICE,
    BOB,
    WireGuardControlContract,
    WireGuardUnderTest,
    a_peer,
    adding,
)
from tests.fakes.wireguard import FakeWireGuard
from wg_dynamic.address import parse_prefix
from wg_dynamic.wireguard.control import WireGuardControl
from wg_dynamic.wireguard.device import Peer


class FakeUnderTest:
    def __init__(self) -> None:
        self.fake = FakeWireGuard()

    @property
    def control(self) -> WireGuardControl:
        return self.fake

    def put_peer(self, peer: Peer) -> None:
        self.fake.put_peer(peer)

    def remove_peer(self, public_key: bytes) -> None:
        self.fake.remove_peer(public_key)

    def allowed_ips(self) -> dict[bytes, set[str]]:
        return {public_key: self.fake.allowed_ips(public_key) for public_key in self.fake.peers}

    def delete(self) -> None:
        self.fake.gone = True


class TestFakeWireGuard(WireGuardControlContract):
    @pytest.fixture
    def wireguard(self) -> WireGuardUnderTest:
        return FakeUnderTest()


def test_the_fake_notes_what_it_was_asked() -> None:
    fake = FakeWireGuard(a_peer(ALICE, "10.0.0.1/32"))
    changes = adding(ALICE, "10.0.0.2/32")
    fake.change_allowed_ips(changes)
    fake.device()
    assert (fake.calls, fake.dumps) == ([tuple(changes)], 1)
    assert fake.owner(parse_prefix("10.0.0.2/32")) == ALICE
    assert fake.owner(parse_prefix("10.0.0.3/32")) is None


def test_the_fake_fails_as_planted() -> None:
    fake = FakeWireGuard()
    fake.error = RuntimeError("planted")
    with pytest.raises(RuntimeError):
        fake.device()
    fake.close()
    with pytest.raises(AssertionError):
        fake.device()


def test_a_peer_that_is_put_takes_its_allowed_ips_from_others() -> None:
    fake = FakeWireGuard(a_peer(ALICE, "10.0.0.1/32", "10.0.0.1/32"), a_peer(BOB, "10.0.0.1/24"))
    assert fake.allowed_ips(ALICE) == {"10.0.0.1/32"}
    assert fake.allowed_ips(BOB) == {"10.0.0.0/24"}
    fake.put_peer(a_peer(BOB, "10.0.0.1/32"))
    assert fake.allowed_ips(ALICE) == set()
