"""Every message there is, whole, cut and damaged; and bytes that are none."""

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wg_dynamic.address import Prefix
from wg_dynamic.leases.pool import Pool
from wg_dynamic.leases.push import (
    MAX_DOMAIN_LENGTH,
    MAX_METRIC,
    MAX_MTU,
    MIN_MTU,
    SILENT,
    Push,
    PushedRoute,
)
from wg_dynamic.leases.terms import (
    INFINITE,
    MAX_LEASE_TIME,
    AddressRange,
    LeaseTerms,
    PeerName,
    PeerTerms,
    PoolTerms,
    Reservation,
)
from wg_dynamic.privsep.codec import ChannelError, MessageCodec
from wg_dynamic.privsep.requests import (
    CHECK_REPLIES,
    CHECK_REQUESTS,
    CLIENT_REPLIES,
    CLIENT_REQUESTS,
    CONTROL_MESSAGES,
    MAX_ADDRESSES_PER_PEER,
    MAX_POOLS,
    MAX_STATE,
    SERVER_REPLIES,
    SERVER_REQUESTS,
    AddressSetting,
    AdminListener,
    Applied,
    ApplyLease,
    AskReload,
    AskStatus,
    Change,
    ChangeAllowedIPs,
    Changed,
    Checked,
    CheckStore,
    ClientStart,
    Connect,
    Connecting,
    Exclusion,
    Failed,
    Fatal,
    Finding,
    LevelPush,
    LinkState,
    NetworkChanged,
    NewTerms,
    NextPeers,
    NextTerms,
    PeerInfo,
    Peers,
    Progress,
    ReadAdmin,
    ReadPeers,
    ReadTerms,
    Ready,
    Refusal,
    Refused,
    RefusedAddress,
    Reloaded,
    Report,
    RouteSetting,
    ServerStart,
    Status,
    Stop,
    TermsPart,
    TermsTaken,
)

SETS = (
    SERVER_REQUESTS,
    SERVER_REPLIES,
    CLIENT_REQUESTS,
    CLIENT_REPLIES,
    CHECK_REQUESTS,
    CHECK_REPLIES,
    CONTROL_MESSAGES,
)
CODECS = [MessageCodec(messages) for messages in SETS]

INTS = st.integers(-(1 << 63), (1 << 63) - 1)
KEYS = st.binary(min_size=32, max_size=32)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
ADDRESSES = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)
HOSTS = ADDRESSES.map(lambda packed: Prefix(packed, len(packed) * 8))
PREFIXES = ADDRESSES.flatmap(
    lambda packed: st.builds(Prefix, st.just(packed), st.integers(0, len(packed) * 8))
)


@st.composite
def settings_of_addresses(draw: st.DrawFn) -> AddressSetting:
    address = draw(HOSTS)
    length = draw(st.integers(0, address.length))
    valid = draw(st.integers(1, (1 << 32) - 1))
    network = Prefix(address.packed, length).network()
    return AddressSetting(address, network, draw(st.integers(1, valid)), valid)


def tuples(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, max_size=5).map(tuple)


TIMES = st.integers(0, MAX_LEASE_TIME).map(float) | st.floats(0, MAX_LEASE_TIME)
RANGES = st.builds(
    lambda one, other: AddressRange(min(one, other), max(one, other)),
    *[st.binary(min_size=4, max_size=4)] * 2,
) | st.builds(
    lambda one, other: AddressRange(min(one, other), max(one, other)),
    *[st.binary(min_size=16, max_size=16)] * 2,
)


PUSHES = st.builds(
    Push,
    st.none()
    | tuples(
        st.builds(
            PushedRoute,
            PREFIXES.map(Prefix.network),
            st.none() | st.integers(0, MAX_METRIC),
        )
    ),
    st.none() | tuples(ADDRESSES),
    st.none() | tuples(st.text("ab.", min_size=1, max_size=MAX_DOMAIN_LENGTH)),
    st.none() | st.integers(MIN_MTU, MAX_MTU),
)


@st.composite
def pools(draw: st.DrawFn) -> PoolTerms:
    network = draw(PREFIXES).network()
    length = draw(st.none() | st.integers(1, len(network.packed) * 8))
    push = draw(st.just(SILENT) | PUSHES)
    return PoolTerms(Pool(network), draw(st.none() | TIMES), length, draw(tuples(RANGES)), push)


@st.composite
def terms(draw: st.DrawFn) -> LeaseTerms:
    low, middle, high = sorted(draw(st.lists(TIMES.filter(bool), min_size=3, max_size=3)))
    return LeaseTerms(
        pools=draw(tuples(pools())),
        lease_time=middle,
        min_lease_time=low,
        max_lease_time=high,
        addresses_per_peer=draw(st.integers(1, MAX_ADDRESSES_PER_PEER)),
        max_new_addresses=draw(st.integers(1, 1000)),
        grace_time=draw(TIMES),
        quarantine_time=draw(TIMES),
        push=draw(st.just(SILENT) | PUSHES),
        peers=draw(tuples(st.builds(PeerTerms, KEYS, PUSHES))),
    )


MESSAGES: dict[type, st.SearchStrategy[Any]] = {
    ReadPeers: st.builds(ReadPeers),
    NextPeers: st.builds(NextPeers),
    CheckStore: st.builds(CheckStore, TEXTS),
    Finding: st.builds(Finding, TEXTS),
    Checked: st.builds(Checked, TEXTS, INTS),
    ChangeAllowedIPs: st.builds(
        ChangeAllowedIPs, tuples(st.builds(Change, KEYS, HOSTS, st.booleans()))
    ),
    Ready: st.builds(Ready),
    Fatal: st.builds(Fatal, TEXTS),
    ServerStart: st.builds(ServerStart, TEXTS, INTS, terms(), tuples(ADDRESSES), TEXTS),
    NewTerms: st.builds(NewTerms, INTS, terms(), tuples(ADDRESSES)),
    ReadTerms: st.builds(ReadTerms),
    ReadAdmin: st.builds(ReadAdmin),
    AdminListener: st.builds(AdminListener),
    NextTerms: st.builds(NextTerms),
    TermsTaken: st.builds(TermsTaken, INTS),
    TermsPart: st.builds(
        TermsPart,
        tuples(st.builds(Exclusion, st.integers(0, MAX_POOLS - 1), RANGES)),
        tuples(
            st.builds(
                Reservation,
                KEYS,
                st.lists(ADDRESSES, min_size=1, max_size=16).map(tuple),
                st.none() | TIMES | st.just(INFINITE),
            )
        ),
        st.booleans(),
        tuples(st.builds(LevelPush, st.none() | st.integers(0, MAX_POOLS - 1), PUSHES)),
        tuples(st.builds(PeerTerms, KEYS, PUSHES)),
        tuples(st.builds(PeerName, KEYS, TEXTS.filter(bool))),
    ),
    Peers: st.builds(
        Peers,
        tuples(st.builds(PeerInfo, st.binary(max_size=40), tuples(PREFIXES), tuples(PREFIXES))),
        st.booleans(),
    ),
    Changed: st.builds(Changed, tuples(st.builds(Refusal, INTS, TEXTS))),
    Stop: st.builds(Stop, st.booleans()),
    Connect: st.builds(Connect),
    ApplyLease: st.builds(
        ApplyLease,
        tuples(settings_of_addresses()),
        tuples(
            st.builds(
                RouteSetting,
                PREFIXES.map(Prefix.network),
                st.none() | st.integers(0, MAX_METRIC),
            )
        ),
        st.integers(0, MAX_METRIC),
        tuples(ADDRESSES),
        tuples(st.from_regex(r"[a-z0-9]{1,9}(\.[a-z0-9]{1,9}){0,2}", fullmatch=True)),
        st.integers(0, MAX_MTU),
    ),
    Report: st.builds(Report, TEXTS),
    ClientStart: st.builds(ClientStart, TEXTS, st.binary(max_size=20), tuples(ADDRESSES)),
    Connecting: st.builds(Connecting),
    Failed: st.builds(Failed, TEXTS),
    Applied: st.builds(
        Applied,
        tuples(st.builds(RefusedAddress, PREFIXES, TEXTS, st.booleans())),
        tuples(st.builds(Refused, TEXTS, TEXTS)),
    ),
    LinkState: st.builds(LinkState, st.booleans()),
    NetworkChanged: st.builds(NetworkChanged),
    Progress: st.builds(
        Progress,
        st.text("abcxyz", min_size=1, max_size=MAX_STATE),
        st.none() | st.floats(0.0, 1e9),
        st.integers(1, 255),
    ),
    AskStatus: st.builds(AskStatus),
    Status: st.builds(Status, TEXTS),
    AskReload: st.builds(AskReload),
    Reloaded: st.builds(Reloaded, st.booleans(), TEXTS),
}


@st.composite
def encoded(draw: st.DrawFn) -> tuple[MessageCodec, object, bytes]:
    number = draw(st.integers(0, len(SETS) - 1))
    message = draw(MESSAGES[draw(st.sampled_from(SETS[number]))])
    return CODECS[number], message, CODECS[number].encode(message)


def test_each_message_of_the_closed_set_is_tried_here() -> None:
    assert {kind for messages in SETS for kind in messages} == MESSAGES.keys()


@settings(max_examples=50)
@given(st.data())
@pytest.mark.parametrize("kind", MESSAGES)
def test_each_message_comes_out_as_it_went_in(kind: type, data: st.DataObject) -> None:
    message = data.draw(MESSAGES[kind])
    for messages, codec in zip(SETS, CODECS, strict=True):
        if kind in messages:
            assert codec.decode(codec.encode(message)) == message


@given(encoded())
def test_a_message_that_was_cut_is_refused(case: tuple[MessageCodec, object, bytes]) -> None:
    codec, _, data = case
    for size in range(len(data)):
        with pytest.raises(ChannelError):
            codec.decode(data[:size])


@given(encoded(), st.binary(min_size=1, max_size=20))
def test_a_message_that_goes_on_is_refused(
    case: tuple[MessageCodec, object, bytes], more: bytes
) -> None:
    codec, _, data = case
    with pytest.raises(ChannelError):
        codec.decode(data + more)


def check(codec: MessageCodec, data: bytes) -> None:
    """Either one message of the closed set, which has these bytes and no others, or refused."""
    try:
        message = codec.decode(data)
    except ChannelError:
        return
    assert codec.encode(message) == data


@settings(max_examples=300)
@given(st.sampled_from(CODECS), st.integers(0, 8), st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(codec: MessageCodec, tag: int, data: bytes) -> None:
    check(codec, data)
    check(codec, bytes([tag]) + data)


@settings(max_examples=300)
@given(encoded(), st.data())
def test_a_damaged_message_is_a_message_or_refused(
    case: tuple[MessageCodec, object, bytes], data: st.DataObject
) -> None:
    codec, _, whole = case
    at = data.draw(st.integers(0, len(whole) - 1))
    piece = data.draw(st.binary(min_size=1, max_size=4) | st.just(struct.pack("!I", (1 << 32) - 1)))
    check(codec, whole[:at] + piece + whole[at + len(piece) :])
