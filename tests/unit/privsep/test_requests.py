"""Which requests can be made at all, and that the largest of each fits into a message."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass

import pytest

from wg_dynamic.address import Prefix, host_prefix, parse_address, parse_prefix
from wg_dynamic.privsep.codec import MAX_MESSAGE_SIZE, MessageCodec
from wg_dynamic.privsep.requests import (
    CLIENT_REPLIES,
    CLIENT_REQUESTS,
    MAX_ADDRESSES,
    MAX_CHANGES,
    MAX_PEERS_PREFIXES,
    MAX_TEXT,
    PEER_COST,
    SERVER_REPLIES,
    SERVER_REQUESTS,
    AddressSetting,
    ApplyLease,
    Change,
    ChangeAllowedIPs,
    Changed,
    Fatal,
    PeerInfo,
    Peers,
    Refusal,
    Report,
)

ALL = (SERVER_REQUESTS, SERVER_REPLIES, CLIENT_REQUESTS, CLIENT_REPLIES)
LONGEST = Prefix(b"\xff" * 16, 128)


def a_change(prefix: str = "10.0.0.1/32", key: bytes = b"k" * 32) -> Change:
    return Change(key, parse_prefix(prefix), add=True)


def a_setting(
    address: str = "10.0.0.7/32",
    network: str = "10.0.0.0/24",
    preferred_time: int = 60,
    valid_time: int = 60,
) -> AddressSetting:
    return AddressSetting(parse_prefix(address), parse_prefix(network), preferred_time, valid_time)


def size(messages: tuple[type, ...], message: object) -> int:
    return len(MessageCodec(messages).encode(message))


def test_a_change_is_of_one_address_of_one_peer() -> None:
    a_change("10.0.0.1/32")
    a_change("fd00::1/128")
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/31 is more than one address"):
        a_change("10.0.0.0/31")
    for length in (0, 31, 33):
        with pytest.raises(ValueError, match="not 32 bytes"):
            a_change(key=bytes(length))


def test_the_number_of_changes_is_bounded_and_fits() -> None:
    change = Change(b"k" * 32, LONGEST, add=True)
    most = ChangeAllowedIPs((change,) * MAX_CHANGES)
    assert size(SERVER_REQUESTS, most) <= MAX_MESSAGE_SIZE
    with pytest.raises(ValueError, match="more than 512 changes"):
        ChangeAllowedIPs((change,) * (MAX_CHANGES + 1))


def test_a_refusal_of_everything_fits() -> None:
    """Each for the longest reason that helper/allowed_ips.py gives."""
    reason = f"{LONGEST} is inside {LONGEST} of another peer"
    refusals = tuple(Refusal(index, reason) for index in range(MAX_CHANGES))
    assert size(SERVER_REPLIES, Changed(refusals)) <= MAX_MESSAGE_SIZE


@pytest.mark.parametrize("prefixes", [0, 1, MAX_PEERS_PREFIXES - PEER_COST])
def test_the_largest_part_of_a_dump_fits(prefixes: int) -> None:
    info = PeerInfo(b"k" * 32, (LONGEST,) * prefixes, ())
    count = MAX_PEERS_PREFIXES // (PEER_COST + prefixes)
    assert size(SERVER_REPLIES, Peers((info,) * count, last=False)) <= MAX_MESSAGE_SIZE


@pytest.mark.parametrize(
    "setting",
    [
        a_setting,
        lambda: a_setting(network="10.0.0.7/32"),
        lambda: a_setting("fd00::7/128", "fd00::/64"),
        lambda: a_setting(preferred_time=1, valid_time=1),
        lambda: a_setting(preferred_time=1, valid_time=(1 << 32) - 1),
    ],
)
def test_a_setting_may_be_what_a_server_leases(setting: Callable[[], AddressSetting]) -> None:
    setting()


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        (lambda: a_setting("10.0.0.0/24"), "more than one address"),
        (lambda: a_setting(network="10.0.0.1/24"), "has host bits set"),
        (lambda: a_setting("10.0.1.7/32"), "is outside"),
        (lambda: a_setting("fd00::7/128"), "is outside"),
        (lambda: a_setting(preferred_time=0), "lifetimes"),
        (lambda: a_setting(preferred_time=-1), "lifetimes"),
        (lambda: a_setting(preferred_time=61), "lifetimes"),
        (lambda: a_setting(valid_time=1 << 32), "lifetimes"),
    ],
)
def test_a_setting_that_does_not_hang_together_is_none(
    setting: Callable[[], AddressSetting], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        setting()


def test_the_number_of_addresses_is_bounded_and_fits() -> None:
    setting = AddressSetting(LONGEST, LONGEST, 1, 1)
    most = ApplyLease((setting,) * MAX_ADDRESSES)
    assert size(CLIENT_REQUESTS, most) <= MAX_MESSAGE_SIZE
    with pytest.raises(ValueError, match="more than 16 addresses"):
        ApplyLease((setting,) * (MAX_ADDRESSES + 1))


@pytest.mark.parametrize("kind", [Report, Fatal])
def test_a_text_is_bounded_and_fits(kind: type[Report] | type[Fatal]) -> None:
    assert size(CLIENT_REQUESTS, kind("\N{SNOWMAN}" * MAX_TEXT)) <= MAX_MESSAGE_SIZE
    with pytest.raises(ValueError, match="more than 1000 characters"):
        kind("x" * (MAX_TEXT + 1))


def test_no_message_has_room_for_a_secret() -> None:
    for messages in ALL:
        for message in messages:
            assert is_dataclass(message)
            for field in fields(message):
                assert "private" not in field.name
                assert "preshared" not in field.name


def test_the_set_is_closed_to_either_side() -> None:
    """Nothing that the helper says can be said back to it but what both may say."""
    assert not set(SERVER_REQUESTS) & set(SERVER_REPLIES)
    assert not set(CLIENT_REQUESTS) & set(CLIENT_REPLIES)
    assert host_prefix(parse_address("10.0.0.1")).is_host
