"""What the commands that ask share; with a server: tests/netns/test_command.py."""

import argparse

import pytest

from wg_dynamic.cli.command.asking import index_of, read_lease_address, span
from wg_dynamic.errors import ConfigError


def test_an_interface_is_named_by_its_index() -> None:
    assert index_of("lo") == 1
    with pytest.raises(ConfigError, match="no interface 'no-such-one' here"):
        index_of("no-such-one")


def test_an_address_has_no_length() -> None:
    assert read_lease_address("10.44.0.7") == bytes([10, 44, 0, 7])
    with pytest.raises(argparse.ArgumentTypeError, match="expected an address"):
        read_lease_address("10.44.0.7/32")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (5, "5s"),
        (-5, "5s ago"),
        (90, "1min 30s"),
        (90000, "1d 1h"),
        (None, "never"),
        ("x", "never"),
    ],
)
def test_spans_are_in_their_two_largest_units(seconds: object, shown: str) -> None:
    assert span(seconds) == shown
