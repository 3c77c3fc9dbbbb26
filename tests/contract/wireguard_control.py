"""What every WireGuardControl keeps: run on the fake by tests/unit, on the real by tests/netns.

A subclass defines the fixture `wireguard`: an interface without peers, and the administrator's
means to look at it and to change it behind the control's back.
"""

from collections.abc import Sequence
from typing import Protocol

import pytest

from wg_dynamic.address import parse_prefix
from wg_dynamic.wireguard.control import (
    MAX_PEER_PREFIXES,
    WireGuardControl,
    WireGuardGoneError,
)
from wg_dynamic.wireguard.device import AllowedIPChange, Endpoint, Peer

# Public keys of no one: WireGuard takes any 32 bytes but its own public key.
ALICE, BOB, CAROL, NOBODY = (bytes([n]) + bytes(30) + b"\x11" for n in (1, 2, 3, 4))


class WireGuardUnderTest(Protocol):
    """A control, and the administrator beside it."""

    @property
    def control(self) -> WireGuardControl:
        """The one that is tested."""

    def put_peer(self, peer: Peer) -> None:
        """Add a peer with its allowed IPs, endpoint and keepalive."""

    def remove_peer(self, public_key: bytes) -> None:
        """Remove a peer."""

    def allowed_ips(self) -> dict[bytes, set[str]]:
        """What the administrator sees."""

    def delete(self) -> None:
        """Delete the interface."""


def a_peer(public_key: bytes, *allowed_ips: str) -> Peer:
    return Peer(public_key, tuple(parse_prefix(text) for text in allowed_ips))


def adding(public_key: bytes, *allowed_ips: str) -> list[AllowedIPChange]:
    return [AllowedIPChange(public_key, parse_prefix(text), add=True) for text in allowed_ips]


def removing(public_key: bytes, *allowed_ips: str) -> list[AllowedIPChange]:
    return [AllowedIPChange(public_key, parse_prefix(text), add=False) for text in allowed_ips]


def read_allowed_ips(control: WireGuardControl) -> dict[bytes, set[str]]:
    """The allowed IPs as the control reads them, each once."""
    found: dict[bytes, set[str]] = {}
    for peer in control.device().peers:
        assert peer.public_key not in found
        assert len(set(peer.allowed_ips)) == len(peer.allowed_ips)
        found[peer.public_key] = {str(prefix) for prefix in peer.allowed_ips}
    return found


class WireGuardControlContract:
    many = 1600
    """Changes that do not fit into one message: 40 bytes each in netlink, of at most 64 KiB."""

    def check(self, wireguard: WireGuardUnderTest, expected: dict[bytes, Sequence[str]]) -> None:
        """Both the control and the administrator see this."""
        wanted = {public_key: set(texts) for public_key, texts in expected.items()}
        assert wireguard.allowed_ips() == wanted
        assert read_allowed_ips(wireguard.control) == wanted

    def test_an_interface_without_peers_reads_so(self, wireguard: WireGuardUnderTest) -> None:
        assert wireguard.control.device().peers == ()

    def test_peers_are_read_as_they_were_configured(self, wireguard: WireGuardUnderTest) -> None:
        endpoints = Endpoint(bytes([192, 0, 2, 1]), 65535), Endpoint(bytes(15) + b"\1", 1)
        wireguard.put_peer(
            Peer(ALICE, (parse_prefix("10.0.0.1/32"),), endpoints[0], persistent_keepalive=25)
        )
        wireguard.put_peer(Peer(BOB, (parse_prefix("fe80::2/128"),), endpoints[1]))
        wireguard.put_peer(a_peer(CAROL))
        peers = {peer.public_key: peer for peer in wireguard.control.device().peers}
        assert peers[ALICE].endpoint == endpoints[0]
        assert peers[BOB].endpoint == endpoints[1]
        assert peers[CAROL] == Peer(CAROL)
        assert peers[ALICE].persistent_keepalive == 25
        assert peers[ALICE].latest_handshake == 0.0
        self.check(wireguard, {ALICE: ["10.0.0.1/32"], BOB: ["fe80::2/128"], CAROL: []})

    def test_every_prefix_length_is_read_and_set(self, wireguard: WireGuardUnderTest) -> None:
        texts = ["0.0.0.0/0", "::/0", "10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32", "fe80::/128"]
        wireguard.put_peer(a_peer(ALICE))
        wireguard.control.change_allowed_ips(adding(ALICE, *texts))
        self.check(wireguard, {ALICE: texts})

    def test_adding_leaves_the_other_allowed_ips_alone(self, wireguard: WireGuardUnderTest) -> None:
        wireguard.put_peer(a_peer(ALICE, "fe80::1/128"))
        wireguard.put_peer(a_peer(BOB, "fe80::2/128"))
        wireguard.control.change_allowed_ips(adding(ALICE, "10.0.0.1/32", "2001:db8::1/128"))
        expected = ["fe80::1/128", "10.0.0.1/32", "2001:db8::1/128"]
        self.check(wireguard, {ALICE: expected, BOB: ["fe80::2/128"]})

    def test_adding_what_is_there_changes_nothing(self, wireguard: WireGuardUnderTest) -> None:
        wireguard.put_peer(a_peer(ALICE, "fe80::1/128", "10.0.0.1/32"))
        wireguard.control.change_allowed_ips(adding(ALICE, "fe80::1/128") * 2)
        self.check(wireguard, {ALICE: ["fe80::1/128", "10.0.0.1/32"]})

    def test_adding_moves_an_allowed_ip_from_another_peer(
        self, wireguard: WireGuardUnderTest
    ) -> None:
        wireguard.put_peer(a_peer(ALICE, "10.0.0.1/32", "10.0.0.2/32"))
        wireguard.put_peer(a_peer(BOB))
        wireguard.control.change_allowed_ips(adding(BOB, "10.0.0.1/32"))
        self.check(wireguard, {ALICE: ["10.0.0.2/32"], BOB: ["10.0.0.1/32"]})

    def test_host_bits_are_cut_when_adding_and_removing(
        self, wireguard: WireGuardUnderTest
    ) -> None:
        wireguard.put_peer(a_peer(ALICE))
        wireguard.control.change_allowed_ips(adding(ALICE, "10.1.2.3/16", "2001:db8::1/64"))
        self.check(wireguard, {ALICE: ["10.1.0.0/16", "2001:db8::/64"]})
        wireguard.control.change_allowed_ips(removing(ALICE, "10.1.9.9/16"))
        self.check(wireguard, {ALICE: ["2001:db8::/64"]})

    def test_removing_takes_off_these_and_no_other(self, wireguard: WireGuardUnderTest) -> None:
        wireguard.put_peer(a_peer(ALICE, "fe80::1/128", "10.0.0.1/32", "2001:db8::1/128"))
        wireguard.put_peer(a_peer(BOB, "10.0.0.0/24"))
        wireguard.control.change_allowed_ips(removing(ALICE, "10.0.0.1/32", "2001:db8::1/128"))
        self.check(wireguard, {ALICE: ["fe80::1/128"], BOB: ["10.0.0.0/24"]})

    def test_removing_the_last_one_leaves_the_peer(self, wireguard: WireGuardUnderTest) -> None:
        wireguard.put_peer(a_peer(ALICE, "10.0.0.1/32"))
        wireguard.control.change_allowed_ips(removing(ALICE, "10.0.0.1/32"))
        self.check(wireguard, {ALICE: []})

    def test_removing_what_is_not_there_changes_nothing(
        self, wireguard: WireGuardUnderTest
    ) -> None:
        wireguard.put_peer(a_peer(ALICE, "10.0.0.1/32"))
        wireguard.control.change_allowed_ips(removing(ALICE, "10.0.0.2/32", "fe80::1/128"))
        wireguard.control.change_allowed_ips(removing(ALICE, "10.0.0.0/24", "10.0.0.1/31"))
        self.check(wireguard, {ALICE: ["10.0.0.1/32"]})

    def test_removing_does_not_touch_what_another_peer_holds(
        self, wireguard: WireGuardUnderTest
    ) -> None:
        wireguard.put_peer(a_peer(ALICE, "fe80::1/128"))
        wireguard.put_peer(a_peer(BOB, "10.0.0.1/32"))
        for _ in range(2):  # a backend may learn from its first attempt
            wireguard.control.change_allowed_ips(removing(ALICE, "10.0.0.1/32"))
            self.check(wireguard, {ALICE: ["fe80::1/128"], BOB: ["10.0.0.1/32"]})

    def test_a_peer_that_does_not_exist_is_not_created(self, wireguard: WireGuardUnderTest) -> None:
        wireguard.put_peer(a_peer(ALICE, "10.0.0.1/32"))
        for change in (adding, removing):
            changes = change(NOBODY, "10.0.0.9/32", "10.0.0.1/32")
            wireguard.control.change_allowed_ips(changes)
            self.check(wireguard, {ALICE: ["10.0.0.1/32"]})

    def test_changes_for_the_existing_peers_are_done_beside_one_that_is_gone(
        self, wireguard: WireGuardUnderTest
    ) -> None:
        wireguard.put_peer(a_peer(ALICE, "10.0.0.1/32"))
        wireguard.put_peer(a_peer(BOB))
        wireguard.remove_peer(BOB)
        wireguard.control.change_allowed_ips(
            [
                *adding(BOB, "10.0.0.3/32"),
                *removing(BOB, "10.0.0.1/32"),
                *adding(ALICE, "10.0.0.4/32"),
                *removing(ALICE, "10.0.0.1/32"),
            ]
        )
        self.check(wireguard, {ALICE: ["10.0.0.4/32"]})

    def test_changes_are_done_in_their_order(self, wireguard: WireGuardUnderTest) -> None:
        wireguard.put_peer(a_peer(ALICE, "10.0.0.1/32", "10.0.0.2/32", "10.0.0.5/32"))
        wireguard.put_peer(a_peer(BOB, "10.0.0.3/32"))
        for _ in range(2):  # the second time everything is there already
            wireguard.control.change_allowed_ips(
                [
                    *adding(ALICE, "10.0.0.9/32"),
                    *removing(ALICE, "10.0.0.9/32", "10.0.0.1/32"),
                    *adding(BOB, "10.0.0.1/32", "10.0.0.2/32"),
                    *removing(ALICE, "10.0.0.2/32"),
                    *removing(BOB, "10.0.0.3/32"),
                    *adding(BOB, "10.0.0.3/32"),
                    *adding(CAROL, "10.0.0.5/32"),
                    *removing(ALICE, "10.0.0.5/32"),
                ]
            )
            self.check(wireguard, {ALICE: [], BOB: ["10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32"]})

    def test_no_changes_are_no_error(self, wireguard: WireGuardUnderTest) -> None:
        wireguard.control.change_allowed_ips([])
        self.check(wireguard, {})

    def test_more_changes_than_fit_into_one_message_are_done(
        self, wireguard: WireGuardUnderTest
    ) -> None:
        wireguard.put_peer(a_peer(ALICE))
        wireguard.put_peer(a_peer(BOB, "fe80::2/128"))
        texts = [f"2001:db8::{n:x}/128" for n in range(1, self.many)]
        wireguard.control.change_allowed_ips(adding(ALICE, *texts))
        self.check(wireguard, {ALICE: texts, BOB: ["fe80::2/128"]})
        wireguard.control.change_allowed_ips(removing(ALICE, *texts[:-1]))
        self.check(wireguard, {ALICE: texts[-1:], BOB: ["fe80::2/128"]})

    def test_a_change_without_sense_is_refused_before_anything_is_done(
        self, wireguard: WireGuardUnderTest
    ) -> None:
        wireguard.put_peer(a_peer(ALICE))
        good = adding(ALICE, "10.0.0.1/32")
        for bad in (adding(b"short", "10.0.0.2/32"), adding(ALICE[:31], "10.0.0.2/32")):
            with pytest.raises(ValueError, match="public key of"):
                wireguard.control.change_allowed_ips([*good, *bad])
        self.check(wireguard, {ALICE: []})

    def test_a_peer_is_made_with_all_that_it_is_to_have(
        self, wireguard: WireGuardUnderTest
    ) -> None:
        wireguard.put_peer(a_peer(CAROL, "10.0.0.3/32"))
        for public_key, endpoint in (
            (ALICE, Endpoint(bytes([192, 0, 2, 1]), 65535)),
            (BOB, Endpoint(bytes.fromhex("20010db8") + bytes(11) + b"\1", 51820)),
        ):
            prefixes = parse_prefix(f"fe80::{public_key[0]}/128"), parse_prefix("10.7.8.9/16")
            wireguard.control.add_peer(Peer(public_key, prefixes, endpoint, 0.0, 25), b"\7" * 32)
        peers = {peer.public_key: peer for peer in wireguard.control.device().peers}
        assert peers[ALICE].endpoint == Endpoint(bytes([192, 0, 2, 1]), 65535)
        assert peers[BOB].endpoint == Endpoint(bytes.fromhex("20010db8") + bytes(11) + b"\1", 51820)
        assert peers[ALICE].persistent_keepalive == peers[BOB].persistent_keepalive == 25
        assert peers[CAROL].persistent_keepalive == 0
        # The second one took what the first one had, as an allowed IP is one peer's alone.
        expected = {ALICE: ["fe80::1/128"], BOB: ["fe80::2/128", "10.7.0.0/16"]}
        self.check(wireguard, {**expected, CAROL: ["10.0.0.3/32"]})

    def test_a_peer_is_made_of_its_key_alone(self, wireguard: WireGuardUnderTest) -> None:
        wireguard.control.add_peer(Peer(ALICE))
        assert wireguard.control.device().peers == (Peer(ALICE),)

    def test_adding_a_peer_that_is_there_takes_nothing_from_it(
        self, wireguard: WireGuardUnderTest
    ) -> None:
        endpoint = Endpoint(bytes([192, 0, 2, 1]), 1)
        prefix = parse_prefix("10.0.0.1/32")
        wireguard.put_peer(Peer(ALICE, (prefix,), endpoint, persistent_keepalive=25))
        wireguard.control.add_peer(a_peer(ALICE, "fe80::1/128"))
        (peer,) = wireguard.control.device().peers
        assert (peer.endpoint, peer.persistent_keepalive) == (endpoint, 25)
        self.check(wireguard, {ALICE: ["10.0.0.1/32", "fe80::1/128"]})

    def test_removing_a_peer_removes_it_and_no_other(self, wireguard: WireGuardUnderTest) -> None:
        wireguard.put_peer(a_peer(ALICE, "10.0.0.1/32"))
        wireguard.put_peer(a_peer(BOB, "10.0.0.2/32"))
        for _ in range(2):
            wireguard.control.remove_peer(ALICE)
            self.check(wireguard, {BOB: ["10.0.0.2/32"]})

    def test_as_many_allowed_ips_as_a_peer_may_come_with_are_set(
        self, wireguard: WireGuardUnderTest
    ) -> None:
        texts = [f"2001:db8::{n:x}/128" for n in range(1, MAX_PEER_PREFIXES + 2)]
        wireguard.control.add_peer(a_peer(ALICE, *texts[:-1]))
        self.check(wireguard, {ALICE: texts[:-1]})
        with pytest.raises(ValueError, match="allowed IPs"):
            wireguard.control.add_peer(a_peer(BOB, *texts))
        self.check(wireguard, {ALICE: texts[:-1]})

    def test_what_is_no_peer_is_refused(self, wireguard: WireGuardUnderTest) -> None:
        for bad, preshared_key, expected in (
            (Peer(b"short"), None, "public key of 5 bytes"),
            (Peer(ALICE), b"short", "preshared key of 5 bytes"),
            (Peer(ALICE, persistent_keepalive=65536), None, "keepalive"),
            (Peer(ALICE, persistent_keepalive=-1), None, "keepalive"),
        ):
            with pytest.raises(ValueError, match=expected):
                wireguard.control.add_peer(bad, preshared_key)
        with pytest.raises(ValueError, match="public key of 5 bytes"):
            wireguard.control.remove_peer(b"short")
        self.check(wireguard, {})
        wireguard.control.add_peer(Peer(ALICE, persistent_keepalive=65535))
        assert wireguard.control.device().peers[0].persistent_keepalive == 65535

    def test_the_fwmark_is_set_read_and_taken_off(self, wireguard: WireGuardUnderTest) -> None:
        wireguard.put_peer(a_peer(ALICE, "10.0.0.1/32"))
        before = wireguard.control.device()
        assert before.fwmark == 0
        for fwmark in (51820, 1, 0xFFFFFFFF):
            wireguard.control.set_fwmark(fwmark)
            assert wireguard.control.device().fwmark == fwmark
        wireguard.control.set_fwmark(0)
        assert wireguard.control.device() == before

    def test_what_is_no_fwmark_is_refused(self, wireguard: WireGuardUnderTest) -> None:
        wireguard.control.set_fwmark(7)
        for fwmark in (-1, 1 << 32):
            with pytest.raises(ValueError, match="fwmark"):
                wireguard.control.set_fwmark(fwmark)
        assert wireguard.control.device().fwmark == 7

    def test_a_deleted_interface_is_gone(self, wireguard: WireGuardUnderTest) -> None:
        wireguard.put_peer(a_peer(ALICE))
        wireguard.delete()
        with pytest.raises(WireGuardGoneError):
            wireguard.control.device()
        with pytest.raises(WireGuardGoneError):
            wireguard.control.change_allowed_ips(adding(ALICE, "10.0.0.1/32"))
        with pytest.raises(WireGuardGoneError):
            wireguard.control.change_allowed_ips(removing(ALICE, "10.0.0.1/32"))
        with pytest.raises(WireGuardGoneError):
            wireguard.control.set_fwmark(1)
        with pytest.raises(WireGuardGoneError):
            wireguard.control.add_peer(a_peer(BOB))
        with pytest.raises(WireGuardGoneError):
            wireguard.control.remove_peer(ALICE)

    def test_closing_twice_is_fine(self, wireguard: WireGuardUnderTest) -> None:
        wireguard.control.close()
        wireguard.control.close()
