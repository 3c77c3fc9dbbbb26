"""Rules as bytes; tests/netns shows that the kernel and ip(8) understand them so."""

from dataclasses import replace

import pytest

from wg_dynamic.netlink.control import Rule
from wg_dynamic.netlink.errors import MalformedMessageError
from wg_dynamic.netlink.rule_codec import build_rule, build_rule_query, parse_rule
from wg_dynamic.netlink.wire import pack_attribute, pack_u32

MARKED = Rule(True, 32765, 51820, fwmark=0xCA6C, inverted=True)
SUPPRESSED = Rule(False, 32764, 254, suppress_prefix_length=0)
HEADER = bytes.fromhex("02000000 ca000001 00000000")
"""IPv4, table 202 in the header, to a table, no flags."""


@pytest.mark.parametrize(
    "rule",
    [
        MARKED,
        SUPPRESSED,
        replace(MARKED, ipv4=False, inverted=False, priority=0),
        replace(SUPPRESSED, suppress_prefix_length=32, protocol=4),
        Rule(True, 0xFFFFFFFF, 0xFFFFFFFE, fwmark=0xFFFFFFFF),
    ],
)
def test_a_rule_is_read_as_it_was_built(rule: Rule) -> None:
    assert parse_rule(build_rule(rule)) == rule


def test_a_query_names_its_family() -> None:
    assert build_rule_query(ipv4=True) == bytes([2]) + bytes(11)
    assert build_rule_query(ipv4=False) == bytes([10]) + bytes(11)


def test_the_table_may_stand_in_the_header_alone() -> None:
    assert parse_rule(HEADER) == Rule(True, 0, 202, protocol=0)
    assert parse_rule(HEADER + pack_u32(15, 51820)) == Rule(True, 0, 51820, protocol=0)


@pytest.mark.parametrize(
    "payload",
    [
        HEADER[:1] + bytes([8]) + HEADER[2:] + pack_attribute(1, bytes(4)),
        HEADER[:2] + bytes([8]) + HEADER[3:],
        HEADER[:3] + bytes([16]) + HEADER[4:],
        HEADER[:7] + bytes([6]) + HEADER[8:],
        HEADER[:8] + bytes([4]) + HEADER[9:],
        HEADER + pack_attribute(3, b"eth0\0"),
        HEADER + pack_u32(13, 5),
        HEADER + pack_u32(10, 16) + pack_u32(16, 0xF0),
        HEADER + pack_u32(16, 0xF0),
    ],
    ids=["source", "from", "tos", "action", "flags", "interface", "group", "mask", "mask alone"],
)
def test_a_rule_that_selects_or_does_something_else_says_so(payload: bytes) -> None:
    rule = parse_rule(payload)
    assert rule is not None
    assert rule.other


def test_what_the_kernel_adds_to_every_rule_is_nothing_else() -> None:
    added = pack_u32(13, 0xFFFFFFFF) + pack_u32(14, 0xFFFFFFFF) + pack_attribute(21, bytes([97]))
    assert parse_rule(HEADER + added) == Rule(True, 0, 202)


def test_a_rule_of_another_family_is_none() -> None:
    assert parse_rule(bytes([28]) + HEADER[1:]) is None


@pytest.mark.parametrize(
    "payload", [b"", HEADER[:11], HEADER + b"\x03", HEADER + pack_attribute(15, b"x")]
)
def test_what_is_cut_is_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        parse_rule(payload)


@pytest.mark.parametrize(
    "rule", [replace(MARKED, other=True), replace(MARKED, protocol=0), replace(MARKED, table=0)]
)
def test_a_rule_that_is_not_wholly_told_is_not_built(rule: Rule) -> None:
    with pytest.raises(ValueError, match="expected table and protocol"):
        build_rule(rule)
