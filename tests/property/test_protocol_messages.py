"""Every message that the schema allows survives printing and reading (docs/protocol.md 5, 6)."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wg_dynamic.protocol import version2
from wg_dynamic.protocol.codec import decode_reply, decode_request, encode_message
from wg_dynamic.protocol.errors import RemoteProtocolError
from wg_dynamic.protocol.messages import (
    ANY_IPV4,
    ANY_IPV6,
    Address,
    Dns,
    ErrorReply,
    LeasedAddress,
    Network,
    RequestIP,
    RequestIPReply,
    Route,
    host_network,
)
from wg_dynamic.protocol.schema import (
    MAX_MESSAGE_SIZE,
    MAX_NUMBER,
    SCHEMA,
    Attribute,
    Kind,
    MessageSpec,
    Section,
    Sender,
)

NUMBERS = st.integers(0, MAX_NUMBER)
ADDRESSES: st.SearchStrategy[Address] = st.ip_addresses()
LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True)


@st.composite
def networks(draw: st.DrawFn, around: Address | None = None) -> Network:
    address = around if around is not None else draw(ADDRESSES)
    length = draw(st.integers(0, address.max_prefixlen))
    if isinstance(address, IPv4Address):
        return IPv4Network((address, length), strict=False)
    return IPv6Network((address, length), strict=False)


TEXT = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
VALUES: dict[Kind, Callable[[Attribute], st.SearchStrategy[Any]]] = {
    Kind.NUMBER: lambda attribute: st.integers(attribute.minimum, attribute.maximum),
    Kind.ADDRESS: lambda _: ADDRESSES,
    Kind.NETWORK: lambda _: networks(),
    Kind.FLAG: lambda _: st.just(value=True),
    Kind.TEXT: lambda attribute: st.text(TEXT, min_size=1, max_size=attribute.maximum),
    Kind.NAMES: lambda _: st.lists(NAMES, min_size=1, max_size=5, unique=True).map(tuple),
    Kind.DOMAIN: lambda _: st.lists(LABELS, min_size=1, max_size=5).map(".".join),
}


def values(attribute: Attribute) -> st.SearchStrategy[Any]:
    """One value within the bounds of the schema."""
    return VALUES[attribute.kind](attribute)


def fields(attributes: tuple[Attribute, ...]) -> st.SearchStrategy[dict[str, Any]]:
    """Fields of a dataclass: those that are required, and any of the others."""
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for attribute in attributes:
        strategy = values(attribute)
        if attribute.most > 1:
            strategy = st.lists(strategy, min_size=1, max_size=attribute.most).map(tuple)
        (required if attribute.required else optional)[attribute.field] = strategy
    return st.fixed_dictionaries(required, optional=optional)


@st.composite
def leased_addresses(draw: st.DrawFn) -> LeasedAddress:
    ip = draw(ADDRESSES)
    preferred, valid = sorted((draw(NUMBERS), draw(NUMBERS)))
    return LeasedAddress(ip, draw(networks(ip)), preferred, valid)


REMOVED: dict[str, st.SearchStrategy[Any]] = {
    "address": ADDRESSES.map(LeasedAddress.removed),
    "route": networks().map(lambda network: Route(network, remove=True)),
    "dns": st.just(Dns(remove=True)),
}


def items(section: Section) -> st.SearchStrategy[Any]:
    """One item of a section."""
    if section.bare:
        return values(section.by_name[section.bare])
    if section.name == "address":
        present: st.SearchStrategy[Any] = leased_addresses()
    else:
        kept = tuple(each for each in section.attributes if each.name != "remove")
        item_class = version2.SECTION_CLASSES[section.name]
        present = fields(kept).map(lambda found: item_class(**found))
    return present | REMOVED[section.name] if "remove" in section.by_name else present


@st.composite
def messages(draw: st.DrawFn, spec: MessageSpec) -> Any:
    message_class = version2.CLASSES[spec.sender, spec.command]
    found = draw(fields(spec.attributes))
    if "critical" in found:
        known = st.sampled_from(sorted(spec.understood))
        found["critical"] = tuple(draw(st.lists(known, min_size=1, max_size=5, unique=True)))
    for section in spec.sections:
        most = min(section.most, 6)
        least = int(section.required)
        found[section.field] = tuple(draw(st.lists(items(section), min_size=least, max_size=most)))
    if message_class is ErrorReply:
        found["command"] = spec.command
    return message_class(**found)


@pytest.mark.parametrize(
    "spec",
    [spec for spec in SCHEMA if spec.version == 2],
    ids=lambda spec: f"{spec.command} {spec.sender.value}",
)
@settings(max_examples=60)
@given(st.data())
def test_every_message_of_version_2_is_read_as_it_was_printed(
    spec: MessageSpec, data: st.DataObject
) -> None:
    message = data.draw(messages(spec))
    printed = encode_message(message)
    read = (decode_request if spec.sender is Sender.CLIENT else decode_reply)(printed)
    assert read == message
    assert encode_message(read) == printed
    assert len(printed) <= MAX_MESSAGE_SIZE


WISHES = st.tuples(
    st.none() | st.just(ANY_IPV4) | st.ip_addresses(v=4),
    st.none() | st.just(ANY_IPV6) | st.ip_addresses(v=6),
).map(lambda pair: tuple(wish for wish in pair if wish is not None))


@given(WISHES, st.booleans())
def test_every_request_of_version_1_is_printed_the_same_again(
    wishes: tuple[Address, ...], early_draft: bool
) -> None:
    printed = encode_message(RequestIP(version=1, wishes=wishes, early_draft=early_draft))
    read = decode_request(printed)
    assert isinstance(read, RequestIP)
    assert read.early_draft == early_draft
    assert encode_message(read) == printed


@given(WISHES, NUMBERS, NUMBERS, st.integers(0, 3), st.booleans())
def test_every_reply_of_version_1_is_read_as_it_was_printed(
    ips: tuple[Address, ...], start: int, time: int, errno: int, early_draft: bool
) -> None:
    addresses = tuple(
        LeasedAddress(ip, host_network(ip), time, time) for ip in ips if not ip.is_unspecified
    )
    reply = RequestIPReply(
        version=1,
        errno=errno,
        errmsg="no" if errno else "",
        addresses=addresses,
        lease_start=start if addresses else None,
    )
    printed = encode_message(reply, early_draft=early_draft)
    read = decode_reply(printed)
    assert read == reply
    assert encode_message(read, early_draft=early_draft) == printed


@given(st.lists(leased_addresses(), min_size=1, max_size=6), st.none() | NUMBERS)
def test_a_usual_reply_is_printed_the_short_way_as_the_long_way(
    addresses: list[LeasedAddress], number: int | None
) -> None:
    reply = RequestIPReply(id=number, addresses=tuple(addresses))
    usual = version2.encode_usual(reply)
    assert usual == version2.encode(reply) != ""


@given(
    st.lists(
        ADDRESSES.map(str) | st.sampled_from(["", "::\nip=::", "1.2.3.04", "::1%x", "é"]),
        max_size=70,
    )
)
def test_a_usual_request_is_read_the_short_way_as_the_long_way(texts: list[str]) -> None:
    wishes = "".join(f"section=address\nip={text}\n" for text in texts).encode("latin-1")

    def outcome(message: bytes) -> Any:
        try:
            return decode_request(message)
        except RemoteProtocolError as error:
            return error.code, error.text

    assert outcome(b"request_ip=2\n" + wishes + b"\n") == outcome(
        b"request_ip=2\nskipped=1\n" + wishes + b"\n"
    )
