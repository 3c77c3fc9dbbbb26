"""The dataclasses."""

from dataclasses import FrozenInstanceError
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from wg_dynamic.protocol.messages import (
    ANY_IPV4,
    ANY_IPV6,
    LeasedAddress,
    RequestIP,
    host_network,
)


def test_a_host_network_holds_one_address() -> None:
    assert host_network(IPv4Address("192.0.2.7")) == IPv4Network("192.0.2.7/32")
    assert host_network(IPv6Address("2001:db8::7")) == IPv6Network("2001:db8::7/128")


def test_a_removed_address_has_no_time_left() -> None:
    removed = LeasedAddress.removed(IPv4Address("192.0.2.7"))
    assert removed.remove
    assert removed.network == IPv4Network("192.0.2.7/32")
    assert (removed.preferred_time, removed.valid_time) == (0, 0)


def test_any_address_is_all_zero() -> None:
    assert (str(ANY_IPV4), str(ANY_IPV6)) == ("0.0.0.0", "::")  # noqa: S104 - not a bind address


def test_messages_cannot_be_changed() -> None:
    request = RequestIP()
    with pytest.raises(FrozenInstanceError):
        request.id = 1  # type: ignore[misc]
