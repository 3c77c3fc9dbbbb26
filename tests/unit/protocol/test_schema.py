"""The table that everything else is driven by."""

from dataclasses import fields

import pytest

from wg_dynamic.protocol import version2
from wg_dynamic.protocol.messages import ErrorReply
from wg_dynamic.protocol.schema import (
    COMMANDS,
    CRITICAL,
    ERRMSG,
    FEATURES,
    FROM_CLIENT,
    FROM_SERVER,
    ID,
    RESERVED_ATTRIBUTES,
    RESERVED_SECTIONS,
    SCHEMA,
    SECTION,
    Attribute,
    Kind,
    MessageSpec,
)
from wg_dynamic.protocol.values import is_name

VERSION_2 = [spec for spec in SCHEMA if spec.version == 2]


def attributes_of(spec: MessageSpec) -> list[Attribute]:
    return [*spec.attributes, *(a for section in spec.sections for a in section.attributes)]


def test_a_name_is_an_attribute_or_a_section_or_a_command() -> None:
    attributes = {a.name for spec in SCHEMA for a in attributes_of(spec)} | {SECTION}
    sections = {section.name for spec in SCHEMA for section in spec.sections}
    groups = [attributes | set(RESERVED_ATTRIBUTES), sections | set(RESERVED_SECTIONS), COMMANDS]
    assert sum(len(group) for group in groups) == len(frozenset().union(*groups))
    assert all(is_name(name) for group in groups for name in group)


def test_reserved_names_are_not_used() -> None:
    used = {a.name for spec in SCHEMA for a in attributes_of(spec)}
    used |= {section.name for spec in SCHEMA for section in spec.sections}
    assert not used & {*RESERVED_ATTRIBUTES, *RESERVED_SECTIONS}


@pytest.mark.parametrize("spec", SCHEMA, ids=lambda s: f"{s.command}={s.version} {s.sender.value}")
def test_every_attribute_has_a_meaning_and_its_bounds(spec: MessageSpec) -> None:
    bounded = (Kind.NUMBER, Kind.TEXT, Kind.NAMES, Kind.DOMAIN)
    for attribute in attributes_of(spec):
        assert attribute.meaning
        assert (attribute.maximum > 0) == (attribute.kind in bounded)
        assert bool(attribute.literal) == (attribute.kind is Kind.FLAG)
        assert attribute.minimum <= attribute.maximum
        assert attribute.most >= 1


@pytest.mark.parametrize("spec", VERSION_2, ids=lambda s: f"{s.command} {s.sender.value}")
def test_every_attribute_has_its_field(spec: MessageSpec) -> None:
    message_class = version2.CLASSES[spec.sender, spec.command]
    names = {each.name for each in fields(message_class)} - {"version", "early_draft"}
    expected = {a.field for a in spec.attributes} | {section.field for section in spec.sections}
    if message_class is ErrorReply:
        expected.add("command")
    assert names - expected <= {"lease_start"}
    assert expected <= names


@pytest.mark.parametrize("spec", VERSION_2, ids=lambda s: f"{s.command} {s.sender.value}")
def test_every_section_has_its_class_or_holds_bare_values(spec: MessageSpec) -> None:
    for section in spec.sections:
        if section.bare:
            assert [a.name for a in section.attributes] == [section.bare]
        else:
            names = {each.name for each in fields(version2.SECTION_CLASSES[section.name])}
            assert {a.field for a in section.attributes} | {"remove"} == names


def test_the_lookup_tables_hold_every_message_of_version_2() -> None:
    assert {*FROM_CLIENT.values(), *FROM_SERVER.values()} == set(VERSION_2)


def test_critical_may_name_all_that_the_message_defines() -> None:
    assert FROM_SERVER["request_ip"].understood >= {"dns", "search", "mtu", "critical"}
    assert "remove" not in FROM_SERVER["request_ip"].understood
    assert {"id", "address", "ip"} <= FROM_CLIENT["request_ip"].understood


def test_attributes_that_all_requests_share_come_first() -> None:
    for command in ("request_ip", "release_ip", "decline_ip", "subscribe"):
        assert FROM_CLIENT[command].attributes[:3] == (ID, FEATURES, CRITICAL)
    assert ERRMSG.field == "errmsg"
