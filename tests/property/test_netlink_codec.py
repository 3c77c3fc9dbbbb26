"""Whatever bytes come, parsing gives a value or the documented error; what is built reads back."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from struct import pack

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.data.netlink import captured
from tests.fakes.wireguard import FakeWireGuard
from wg_dynamic.address import Prefix
from wg_dynamic.netlink.control import Address, Route
from wg_dynamic.netlink.errors import MalformedMessageError
from wg_dynamic.netlink.rtnetlink_codec import (
    build_address,
    build_route,
    parse_address,
    parse_event,
    parse_link,
    parse_route,
)
from wg_dynamic.netlink.rule_codec import parse_rule
from wg_dynamic.netlink.wire import (
    Message,
    iter_attributes,
    pack_attribute,
    pack_message,
    parse_attributes,
    parse_status,
    split_messages,
)
from wg_dynamic.wireguard import genetlink_codec, uapi_codec
from wg_dynamic.wireguard.batch import Action, Step, plan, plan_take_over
from wg_dynamic.wireguard.device import AllowedIPChange, Peer
from wg_dynamic.wireguard.uapi_codec import MalformedReplyError

REAL = [
    value
    for name, value in vars(captured).items()
    if isinstance(value, bytes) and not name.endswith("_KEY")
]

U8 = st.integers(0, 0xFF)
U32 = st.integers(0, 0xFFFFFFFF)
KEYS = st.sampled_from([bytes([n]) * 32 for n in range(4)])


@st.composite
def prefixes(draw: st.DrawFn) -> Prefix:
    packed = draw(st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16))
    return Prefix(packed, draw(st.integers(0, len(packed) * 8)))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A real message with some bytes changed, or its end cut off."""
    data = bytearray(draw(st.sampled_from(REAL)))
    for _ in range(draw(st.integers(0, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(U8)
    return bytes(data[: draw(st.integers(0, len(data)))])


FOREIGN = st.binary(max_size=300) | damaged()

PARSERS: list[Callable[[bytes], object]] = [
    split_messages,
    parse_attributes,
    parse_link,
    parse_address,
    parse_route,
    parse_rule,
    lambda data: parse_status(Message(2, 0x200, 1, data)),
    lambda data: parse_status(Message(2, 0x300, 1, data)),
    lambda data: parse_status(Message(3, 0x200, 1, data)),
    genetlink_codec.parse_family,
    lambda data: genetlink_codec.parse_device([data]),
    lambda data: genetlink_codec.parse_allowed_ips([data], {bytes(32)}),
]


@pytest.mark.parametrize("parse", PARSERS)
@given(FOREIGN)
def test_whatever_comes_as_a_payload_only_the_documented_error_is_raised(
    parse: Callable[[bytes], object], data: bytes
) -> None:
    with suppress(MalformedMessageError):
        parse(data)


@given(damaged())
def test_whatever_comes_as_a_datagram_only_the_documented_error_is_raised(data: bytes) -> None:
    with suppress(MalformedMessageError):
        for message in split_messages(data):
            parse_event(message)
            genetlink_codec.parse_device([message.payload])


@given(damaged())
def test_the_quick_reading_of_peers_agrees_with_the_thorough_one(data: bytes) -> None:
    """`parse_allowed_ips` reads attribute by attribute what `parse_device` reads at one stroke."""
    try:
        payloads = [message.payload for message in split_messages(data)]
        device = genetlink_codec.parse_device(payloads)
        keys = {peer.public_key for peer in device.peers}
        held = genetlink_codec.parse_allowed_ips(payloads, keys)
    except MalformedMessageError:
        return
    assert held == {peer.public_key: set(peer.allowed_ips) for peer in device.peers}


TEXT = st.lists(
    st.sampled_from(
        [
            *(
                "public_key=" + "0a" * 32,
                "public_key=",
                "allowed_ip=10.0.0.1/32",
                "allowed_ip=::1/",
            ),
            *("endpoint=[::1]:1", "endpoint=", "errno=0", "", "listen_port=", "fwmark=9"),
        ]
    )
    | st.text(alphabet="0123456789abcdef:./=%[]_ké", max_size=20),
    max_size=8,
).map(lambda lines: "\n".join(lines).encode() + b"\nerrno=0\n\n")


@given(TEXT | st.binary(max_size=200))
def test_whatever_wireguard_replies_only_the_documented_error_is_raised(reply: bytes) -> None:
    for parse in (
        uapi_codec.parse_status,
        uapi_codec.parse_device,
        lambda data: uapi_codec.parse_allowed_ips(data, {b"\x0a" * 32}),
    ):
        with suppress(MalformedReplyError):
            parse(reply)


@given(st.lists(st.tuples(st.integers(4, 0xFFFF), st.integers(0, 0xFFFF), U32, st.binary())))
def test_messages_are_split_as_they_were_packed(
    parts: list[tuple[int, int, int, bytes]],
) -> None:
    data = b""
    for part in parts:
        packed = pack_message(*part)
        data += packed + bytes(-len(packed) % 4)
    assert split_messages(data) == [Message(*part) for part in parts]


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40))))
@example([(1, b"")])
def test_attributes_are_read_as_they_were_packed(attributes: list[tuple[int, bytes]]) -> None:
    data = b"".join(pack_attribute(kind, value) for kind, value in attributes)
    assert list(iter_attributes(data)) == attributes


@given(prefixes(), U32, U32, U8, st.integers(1, 0x7FFFFFFF))
def test_an_address_reads_as_it_was_built(
    prefix: Prefix, valid: int, preferred: int, protocol: int, ifindex: int
) -> None:
    address = Address(ifindex, prefix, valid, preferred, protocol)
    assert parse_address(build_address(address)) == address


@st.composite
def routes(draw: st.DrawFn) -> Route:
    prefix = draw(prefixes())
    return Route(
        prefix,
        ifindex=draw(st.integers(1, 0x7FFFFFFF)),
        kind=draw(U8),
        table=draw(U32),
        protocol=draw(U8),
        scope=draw(U8),
        metric=draw(U32),
        preferred_source=prefix.packed,
        gateway=prefix.packed[::-1],
        expires_time=draw(U32),
    )


@given(routes())
def test_a_route_reads_as_it_was_built(route: Route) -> None:
    # The kernel tells the expiry in another attribute than the one that sets it.
    assert parse_route(build_route(route)) == replace(route, expires_time=None)


@given(st.lists(st.tuples(KEYS, st.lists(prefixes(), max_size=5)), max_size=5))
def test_steps_read_as_they_were_built(peers: list[tuple[bytes, list[Prefix]]]) -> None:
    steps = [Step(Action.ADD, public_key, tuple(found)) for public_key, found in peers]
    expected: dict[bytes, list[Prefix]] = {}
    for public_key, found in peers:
        expected.setdefault(public_key, []).extend(found)
    device = genetlink_codec.parse_device(genetlink_codec.build_steps(1, steps))
    assert {p.public_key: list(p.allowed_ips) for p in device.peers} == expected


@given(st.lists(prefixes(), max_size=5, unique=True))
def test_prefixes_read_as_they_were_written_in_text(found: list[Prefix]) -> None:
    written = uapi_codec.build_steps([Step(Action.ADD, bytes(32), tuple(found))])
    reply = written.removeprefix(b"set=1\n").removesuffix(b"\n") + b"errno=0\n\n"
    assert uapi_codec.parse_allowed_ips(reply, {bytes(32)}) == {bytes(32): set(found)}


SMALL = st.sampled_from(
    [Prefix(pack("!I", n), length) for n in (0, 1, 2, 3) for length in (32, 31, 0)]
)
CHANGES = st.lists(
    st.builds(AllowedIPChange, public_key=KEYS, prefix=SMALL, add=st.booleans()), max_size=12
)


@given(st.lists(st.tuples(KEYS.filter(lambda k: k[0] < 3), SMALL), max_size=8), CHANGES)
def test_taking_over_has_the_same_end_as_removing(
    start: list[tuple[bytes, Prefix]], changes: list[AllowedIPChange]
) -> None:
    throwaway = b"t" * 32
    wanted, found = FakeWireGuard(), FakeWireGuard()
    for fake in (wanted, found):
        for public_key, prefix in start:
            old = fake.peers.get(public_key, Peer(public_key))
            fake.put_peer(replace(old, allowed_ips=(*old.allowed_ips, prefix)))
    wanted.change_allowed_ips(changes)
    held = {peer.public_key: set(peer.allowed_ips) for peer in found.peers.values()}
    for step in plan_take_over(plan(changes), held, throwaway):
        if step.action is Action.TAKE_OVER:
            found.put_peer(Peer(throwaway, step.prefixes))
            found.remove_peer(throwaway)
        else:
            found.change_allowed_ips(
                [AllowedIPChange(step.public_key, prefix, add=True) for prefix in step.prefixes]
            )
    assert {k: set(p.allowed_ips) for k, p in found.peers.items()} == {
        k: set(p.allowed_ips) for k, p in wanted.peers.items()
    }
