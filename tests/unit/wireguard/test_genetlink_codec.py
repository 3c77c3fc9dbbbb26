from dataclasses import replace
from struct import pack

import pytest

from tests.contract.wireguard_control import ALICE, BOB
from tests.data.netlink import captured
from wg_dynamic.address import Prefix, parse_address, parse_prefix
from wg_dynamic.netlink.errors import MalformedMessageError
from wg_dynamic.netlink.wire import (
    iter_attributes,
    pack_attribute,
    pack_nested,
    pack_u32,
    parse_attributes,
    split_messages,
)
from wg_dynamic.wireguard.batch import Action, Step
from wg_dynamic.wireguard.device import Device, Endpoint, Peer
from wg_dynamic.wireguard.genetlink_codec import (
    MAX_BATCH,
    build_device_query,
    build_family_query,
    build_fwmark,
    build_peer,
    build_peer_removal,
    build_steps,
    parse_allowed_ips,
    parse_device,
    parse_family,
)

FIRST, SECOND, THIRD = (bytes([n]) + bytes(31) for n in (1, 2, 3))
FAMILY_4 = pack_attribute(1, pack("=H", 2))
FAMILY_6 = pack_attribute(1, pack("=H", 10))


def payloads(datagram: bytes) -> list[bytes]:
    return [message.payload for message in split_messages(datagram) if message.kind != 3]


def a_part(*peers: bytes) -> bytes:
    """One part of a dump, of peers given by their attributes."""
    nests = b"".join(pack_nested(0, peer) for peer in peers)
    return pack("=BBxx", 0, 1) + pack_nested(8, nests)


def key(public_key: bytes) -> bytes:
    return pack_attribute(1, public_key)


def allowed_ips(*nests: bytes) -> bytes:
    return pack_nested(9, b"".join(pack_nested(0, nest) for nest in nests))


def ip4(address: str, length: int) -> bytes:
    return FAMILY_4 + pack_attribute(2, parse_address(address)) + pack_attribute(3, bytes([length]))


@pytest.mark.parametrize("datagram", [captured.WIREGUARD_DEVICE, captured.WIREGUARD_DEVICE_PADDED])
def test_a_real_device_is_read(datagram: bytes) -> None:
    device = parse_device(payloads(datagram))
    assert device == Device(
        public_key=bytes.fromhex(
            "3ed9bbe6c691555ab8eba42726b5a2a16477684fd94429a74845ef93337a5841"
        ),
        listen_port=51820,
        fwmark=0x1234,
        peers=(
            Peer(
                FIRST,
                tuple(map(parse_prefix, ("10.0.0.1/32", "fe80::1/128", "2001:db8::/64"))),
                Endpoint(parse_address("192.0.2.1"), 51820),
                persistent_keepalive=25,
            ),
            Peer(
                SECOND,
                (parse_prefix("10.0.0.0/8"),),
                Endpoint(parse_address("2001:db8::9"), 1),
            ),
            Peer(THIRD),
        ),
    )


def test_neither_private_nor_preshared_key_is_kept() -> None:
    datagram = captured.WIREGUARD_DEVICE
    assert captured.PRIVATE_KEY in datagram
    assert captured.PRESHARED_KEY in datagram
    read = repr(parse_device(payloads(datagram)))
    assert repr(captured.PRIVATE_KEY)[2:-1] not in read
    assert repr(captured.PRESHARED_KEY)[2:-1] not in read


def test_the_allowed_ips_of_named_peers_alone_are_read() -> None:
    parts = payloads(captured.WIREGUARD_DEVICE)
    assert parse_allowed_ips(parts, {SECOND, THIRD, ALICE}) == {
        SECOND: {parse_prefix("10.0.0.0/8")},
        THIRD: set(),
    }


def test_an_interface_without_a_key_has_none() -> None:
    assert parse_device([pack("=BBxx", 0, 1)]) == Device(None, 0, 0, ())
    assert parse_device([]) == Device(None, 0, 0, ())


def test_a_peer_that_is_spread_over_messages_is_one() -> None:
    keepalive, rest = pack_attribute(5, pack("=H", 25)), allowed_ips(ip4("10.0.0.2", 32))
    parts = [
        a_part(key(BOB), key(ALICE) + keepalive + allowed_ips(ip4("10.0.0.1", 32))),
        a_part(key(ALICE) + rest),
        a_part(key(ALICE)),
    ]
    assert parse_device(parts).peers == (
        Peer(BOB),
        Peer(
            ALICE,
            (parse_prefix("10.0.0.1/32"), parse_prefix("10.0.0.2/32")),
            persistent_keepalive=25,
        ),
    )
    parts.append(a_part(keepalive + key(BOB)))  # not the usual beginning
    held = parse_allowed_ips(parts, {ALICE})
    assert held == {ALICE: {parse_prefix("10.0.0.1/32"), parse_prefix("10.0.0.2/32")}}


def test_attributes_are_read_in_whatever_order_they_come() -> None:
    handshake = pack_attribute(6, pack("=qq", 1_700_000_000, 500_000_000))
    endpoint = pack_attribute(
        4, pack("=H", 2) + pack("!H", 51820) + bytes([192, 0, 2, 1] + [0] * 8)
    )
    prefixes = allowed_ips(
        ip4("10.0.0.1", 32),
        FAMILY_6 + pack_attribute(2, parse_address("fe80::1")) + pack_attribute(3, b"\x80"),
    )
    peer = prefixes + handshake + pack_attribute(99, b"?") + endpoint + key(ALICE)
    (found,) = parse_device([a_part(peer)]).peers
    assert found == Peer(
        ALICE,
        (parse_prefix("10.0.0.1/32"), parse_prefix("fe80::1/128")),
        Endpoint(parse_address("192.0.2.1"), 51820),
        1_700_000_000.5,
    )


def test_a_handshake_in_the_usual_beginning_is_read_to_the_nanosecond() -> None:
    (message,) = payloads(captured.WIREGUARD_DEVICE)
    nothing = pack("=HH", 20, 6) + bytes(16)
    shaken = pack("=HHqq", 20, 6, 1_700_000_000, 250_000_000)
    first, *rest = parse_device([message.replace(nothing, shaken, 1)]).peers
    assert first.latest_handshake == 1_700_000_000.25
    assert first == replace(parse_device([message]).peers[0], latest_handshake=1_700_000_000.25)
    assert [peer.latest_handshake for peer in rest] == [0.0, 0.0]


@pytest.mark.parametrize(
    "peer",
    [
        b"",
        pack_attribute(1, b"k" * 31),
        pack_u32(5, 25) + key(ALICE),
        key(ALICE) + pack_attribute(6, bytes(15)),
        key(ALICE) + pack_attribute(4, bytes(15)),
        key(ALICE) + pack_attribute(4, pack("=H", 10) + bytes(14)),
        key(ALICE) + pack_attribute(4, pack("=H", 2) + bytes(26)),
        key(ALICE) + pack("=HH", 5, 7),
        key(ALICE) + pack("=HH", 3, 7),
        key(ALICE) + b"xx",
        key(ALICE) + pack_nested(9, b"xx"),
        key(ALICE) + pack_nested(9, pack("=HH", 3, 0)),
        key(ALICE) + pack_nested(9, pack("=HH", 9, 0) + bytes(4)),
        key(ALICE) + allowed_ips(b""),
        key(ALICE) + allowed_ips(ip4("10.0.0.1", 33)),
        key(ALICE) + allowed_ips(FAMILY_6 + pack_attribute(2, bytes(4)) + pack_attribute(3, b"\0")),
        key(ALICE) + allowed_ips(FAMILY_4 + pack_attribute(2, bytes(4))),
    ],
)
def test_a_peer_without_sense_is_refused(peer: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        parse_device([a_part(peer)])


def usual(length: int, family: int, address: bytes) -> bytes:
    """An allowed IP in the kernel's order, which has a path of its own."""
    return (
        pack_attribute(3, bytes([length]))
        + pack_attribute(1, pack("=H", family))
        + pack_attribute(2, address)
    )


@pytest.mark.parametrize(("family", "size"), [(2, 4), (10, 16)])
def test_the_usual_layout_is_checked_as_any_other(family: int, size: int) -> None:
    most = size * 8
    for length in (0, most):
        part = a_part(key(ALICE) + allowed_ips(usual(length, family, bytes(size))))
        assert parse_device([part]).peers[0].allowed_ips == (Prefix(bytes(size), length),)
    with pytest.raises(MalformedMessageError, match=f"prefix length {most + 1}"):
        parse_device([a_part(key(ALICE) + allowed_ips(usual(most + 1, family, bytes(size))))])


@pytest.mark.parametrize("missing", range(1, 28))
def test_an_allowed_ip_that_is_cut_off_is_refused(missing: int) -> None:
    nests = pack_nested(0, usual(32, 2, bytes(4)))[:-missing]
    with pytest.raises(MalformedMessageError):
        parse_device([a_part(key(ALICE) + pack("=HH", 4 + len(nests), 9 | 0x8000) + nests)])


@pytest.mark.parametrize(
    "attribute",
    [pack_attribute(4, b"short"), pack_attribute(6, b"p"), pack_attribute(7, b"fwm")],
)
def test_an_interface_without_sense_is_refused(attribute: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        parse_device([pack("=BBxx", 0, 1) + attribute])


def test_the_family_is_asked_for_by_name() -> None:
    assert build_family_query() == pack("=BBxx", 3, 1) + pack_attribute(2, b"wireguard\0")
    assert parse_family(payloads(captured.WIREGUARD_FAMILY)[0]) == 22
    with pytest.raises(MalformedMessageError):
        parse_family(pack("=BBxx", 1, 2))


def test_a_device_is_asked_for_by_index() -> None:
    assert build_device_query(7) == pack("=BBxx", 0, 1) + pack_u32(1, 7)


def set_device(message: bytes) -> list[tuple[bytes, int, bytes]]:
    """Key, flags and allowed IPs of each peer of a WG_CMD_SET_DEVICE message for index 7."""
    assert message[:2] == bytes([1, 1])
    attributes = parse_attributes(message, 4)
    assert attributes[1] == pack("=I", 7)
    peers = [parse_attributes(peer) for _kind, peer in iter_attributes(attributes[8])]
    return [(peer[1], int.from_bytes(peer[3], "little"), peer.get(9, b"")) for peer in peers]


def test_adding_updates_only_and_replaces_nothing() -> None:
    step = Step(Action.ADD, ALICE, (parse_prefix("10.0.0.1/32"), parse_prefix("fe80::/64")))
    (message,) = build_steps(7, [step])
    ((public_key, flags, nests),) = set_device(message)
    assert (public_key, flags) == (ALICE, 4)
    assert nests == pack_nested(0, usual(32, 2, parse_address("10.0.0.1"))) + pack_nested(
        0, usual(64, 10, parse_address("fe80::"))
    )


def test_every_nest_is_flagged_as_one() -> None:
    (message,) = build_steps(7, [Step(Action.ADD, ALICE, (parse_prefix("10.0.0.1/32"),))])
    for kind, length in ((8, 84), (0, 80), (9, 32), (0, 28)):
        assert pack("=HH", length, kind | 0x8000) in message


@pytest.mark.parametrize("text", ["10.0.0.1/32", "fe80::1/128"])
def test_removing_carries_the_flag_in_each_allowed_ip(text: str) -> None:
    prefix = parse_prefix(text)
    (message,) = build_steps(7, [Step(Action.REMOVE, ALICE, (prefix, prefix))])
    ((public_key, flags, nests),) = set_device(message)
    assert (public_key, flags) == (ALICE, 4)
    found = [parse_attributes(nest) for _kind, nest in iter_attributes(nests)]
    family = pack("=H", 2 if prefix.is_ipv4 else 10)
    expected = {1: family, 2: prefix.packed, 3: bytes([prefix.length]), 4: pack("=I", 1)}
    assert found == [expected, expected]


def test_the_throwaway_peer_comes_and_goes_in_one_message() -> None:
    (message,) = build_steps(7, [Step(Action.TAKE_OVER, BOB, (parse_prefix("10.0.0.1/32"),))])
    (taking, going) = set_device(message)
    assert taking[:2] == (BOB, 0)
    assert len(taking[2]) == 28
    assert going == (BOB, 1, b"")


def test_a_peer_is_removed_by_its_key() -> None:
    assert set_device(build_peer_removal(7, BOB)) == [(BOB, 1, b"")]


def test_a_peer_is_made_with_its_keys_endpoint_keepalive_and_allowed_ips() -> None:
    endpoint = Endpoint(parse_address("192.0.2.1"), 0x1234)
    peer = Peer(ALICE, (parse_prefix("10.0.0.1/32"),), endpoint, 1.0, 25)
    attributes = parse_attributes(build_peer(7, peer, b"\7" * 32), 4)
    ((_kind, made),) = iter_attributes(attributes[8])
    found = parse_attributes(made)
    assert found == {
        1: ALICE,
        2: b"\7" * 32,
        3: pack("=I", 0),
        4: pack("=H", 2) + b"\x12\x34" + bytes([192, 0, 2, 1]) + bytes(8),
        5: pack("=H", 25),
        9: pack_nested(0, usual(32, 2, parse_address("10.0.0.1"))),
    }


def test_what_a_peer_is_not_given_is_not_said() -> None:
    assert set_device(build_peer(7, Peer(BOB), None)) == [(BOB, 0, b"")]


def test_the_fwmark_is_set_with_nothing_else() -> None:
    assert build_fwmark(7, 0xCA6C) == pack("=BBxx HHI HHI", 1, 1, 8, 1, 7, 8, 7, 0xCA6C)


def test_steps_fill_messages_up_to_the_limit() -> None:
    step = Step(Action.ADD, ALICE, tuple(Prefix(bytes([n] * 16), 128) for n in range(100)))
    (one,) = build_steps(7, [step])
    size = len(one) - 12 - 4  # headers of the message and of the nest
    fit = MAX_BATCH // size
    assert len(list(build_steps(7, [step] * fit))) == 1
    sizes = [len(set_device(message)) for message in build_steps(7, [step] * (2 * fit + 1))]
    assert sizes == [fit, fit, 1]
    assert list(build_steps(7, [])) == []
