"""What is declined: what something has already; not what the policy refuses by its prefix."""

import pytest

from wg_dynamic.address import Prefix, parse_address, parse_prefix
from wg_dynamic.helper.in_use import is_in_use
from wg_dynamic.helper.policy import Surroundings
from wg_dynamic.netlink.control import Address, Route
from wg_dynamic.wireguard.device import Device, Endpoint, Peer

WG0, ETH0 = 7, 2
AROUND = Surroundings(
    ifindex=WG0,
    addresses=(
        Address(WG0, parse_prefix("10.44.0.9/32")),
        Address(ETH0, parse_prefix("10.44.0.7/24")),
    ),
    routes=(
        Route(parse_prefix("10.44.0.0/24"), ETH0),
        Route(parse_prefix("0.0.0.0/0"), ETH0, gateway=parse_address("10.44.0.1")),
    ),
    device=Device(
        None,
        0,
        0,
        (
            Peer(b"h" * 32, (), Endpoint(parse_address("203.0.113.5"), 51820)),
            Peer(b"o" * 32, (parse_prefix("10.44.0.99/32"),)),
        ),
    ),
    server_key=b"h" * 32,
    ours=frozenset(),
    name_servers=(parse_address("fd00::53"),),
)


@pytest.mark.parametrize("address", ["10.44.0.7", "10.44.0.1", "203.0.113.5", "fd00::53"])
def test_what_something_here_or_near_has_is_in_use(address: str) -> None:
    assert is_in_use(_host(address), AROUND)


@pytest.mark.parametrize(
    "address",
    [
        "10.44.0.8",  # inside the network of eth0: the policy's business
        "10.44.0.9",  # on wg0 itself
        "10.44.0.99",  # another peer may have it, the policy says
        "8.8.8.8",
    ],
)
def test_what_is_only_near_it_is_not(address: str) -> None:
    assert not is_in_use(_host(address), AROUND)


def _host(address: str) -> Prefix:
    return parse_prefix(address)
