import re
from collections.abc import Callable

import pytest

from tests.fakes.netlink import FakeInterfaces
from tests.fakes.wireguard import FakeWireGuard
from wg_dynamic.address import parse_prefix
from wg_dynamic.errors import ConfigError
from wg_dynamic.helper import qualify
from wg_dynamic.helper.qualify import (
    check_server_address,
    client_link_local,
    find_interface,
    find_wireguard,
    is_anycast,
    server_peer,
)
from wg_dynamic.netlink.control import Address, Link, Route
from wg_dynamic.wireguard.control import NotWireGuardError, WireGuardError
from wg_dynamic.wireguard.device import Device, Peer

WG0 = Link(3, "wg0", "wireguard", up=True, mtu=1420)
DOWN = Link(3, "wg0", "wireguard", up=False, mtu=1420)


def addresses(*texts: str) -> list[Address]:
    return [Address(WG0.ifindex, parse_prefix(text)) for text in texts]


def refuses(expected: str, call: Callable[[], object]) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(expected)}$"):
        call()


def test_an_interface_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    interfaces, wireguard = FakeInterfaces(), FakeWireGuard()
    link = interfaces.add_link("wg0")
    assert find_interface(interfaces, "wg0") == link
    monkeypatch.setattr(qualify, "open_control", lambda _: wireguard)
    assert find_wireguard(interfaces, "wg0") == (link, wireguard)
    expected = "no interface 'wg1' in this network namespace: make it first (wg-quick up wg1)"
    refuses(expected, lambda: find_interface(interfaces, "wg1"))
    refuses(expected, lambda: find_wireguard(interfaces, "wg1"))


def test_an_interface_that_is_not_wireguard_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    interfaces = FakeInterfaces()
    interfaces.add_link("eth0", kind="veth")
    error: WireGuardError = NotWireGuardError("it is a cable")

    def fail(_: Link) -> None:
        raise error

    monkeypatch.setattr(qualify, "open_control", fail)
    expected = "eth0 is not a WireGuard interface: it is a cable"
    refuses(expected, lambda: find_wireguard(interfaces, "eth0"))
    error = WireGuardError("no answer")
    with pytest.raises(WireGuardError, match="no answer"):
        find_wireguard(interfaces, "eth0")


@pytest.mark.parametrize(
    "texts",
    [
        ["fe80::1/128"],
        ["fe80::1/128", "fe80::abcd/64", "10.44.0.7/32", "fd00::1/128"],  # wireguard-go's own
        ["febf:ffff::1/128"],
    ],
)
def test_the_one_link_local_of_length_128_is_the_client_s_name(texts: list[str]) -> None:
    assert client_link_local(WG0, addresses(*texts)) == parse_prefix(texts[0])


@pytest.mark.parametrize(
    ("link", "texts", "expected"),
    [
        (
            WG0,
            ["fd00::1/128"],
            "wg0 has no link-local address, expected one of length 128 (Address = fe80::…/128)",
        ),
        (
            WG0,
            ["fe80::1/64", "fe80::2/10"],
            "wg0 has only fe80::1/64, fe80::2/10, expected a link-local address of length 128"
            " (Address = fe80::…/128)",
        ),
        (
            WG0,
            ["fe80::1/128", "fe80::2/128", "fe80::3/64"],
            "wg0 has 2 link-local addresses of length 128 (fe80::1/128, fe80::2/128, fe80::3/64),"
            " expected one: remove those that the hub does not have in this peer's allowed IPs",
        ),
        (
            WG0,
            ["fe80::/128"],
            "wg0 has fe80::/128, which is the server's address, expected another fe80::…/128",
        ),
        (
            DOWN,
            [],
            "wg0 is down, expected it up with a link-local address of length 128:"
            " ip link set wg0 up, then add the address",
        ),
    ],
)
def test_anything_else_is_refused(link: Link, texts: list[str], expected: str) -> None:
    refuses(expected, lambda: client_link_local(link, addresses(*texts)))


def test_an_interface_that_is_down_and_has_its_address_qualifies() -> None:
    assert client_link_local(DOWN, addresses("fe80::1/128")) == parse_prefix("fe80::1/128")


def device(*peers: tuple[str, ...]) -> Device:
    made = [
        Peer(bytes([number]) * 32, tuple(map(parse_prefix, texts)))
        for number, texts in enumerate(peers)
    ]
    return Device(None, 51820, 0, tuple(made))


@pytest.mark.parametrize(
    ("peers", "winner"),
    [
        ([("fe80::/128",)], 0),
        ([("0.0.0.0/0", "::/0")], 0),
        ([("::/0",), ("10.0.0.0/8", "fe80::/128")], 1),
        ([("fe80::/64",), ("fe80::/10",), ("fe80::1/128",)], 0),
        ([(), ("::/0", "fe80::/32"), ("fe80::/16",)], 1),
    ],
)
def test_the_server_is_the_peer_that_has_fe80_by_the_longest_prefix(
    peers: list[tuple[str, ...]], winner: int
) -> None:
    assert server_peer(WG0, device(*peers)) == device(*peers).peers[winner]


@pytest.mark.parametrize("peers", [[], [()], [("0.0.0.0/0",), ("fe80::1/128", "2000::/3")]])
def test_without_such_a_peer_it_is_refused(peers: list[tuple[str, ...]]) -> None:
    refuses(
        f"none of the {len(peers)} peers of wg0 has fe80::/128 in its allowed IPs,"
        " expected the server peer to have it (AllowedIPs = fe80::/128)",
        lambda: server_peer(WG0, device(*peers)),
    )


ANYCAST = Route(parse_prefix("fe80::/128"), WG0.ifindex, kind=4, table=255, protocol=2)
LOCAL = Route(parse_prefix("fe80::/128"), WG0.ifindex, kind=2, table=255, protocol=2)


def test_a_server_needs_fe80_as_an_address_of_its_own() -> None:
    check_server_address(WG0, addresses("fe80::/64", "fe80::7/64"), [LOCAL])
    refuses(
        "wg0 is down, expected it up: ip link set wg0 up",
        lambda: check_server_address(DOWN, addresses("fe80::/64"), [LOCAL]),
    )
    refuses(
        "wg0 has no link-local address, expected fe80::/64, where the server listens:"
        " ip address add fe80::/64 dev wg0",
        lambda: check_server_address(WG0, addresses("10.44.0.1/24"), []),
    )
    refuses(
        "wg0 has fe80::/128, fe80::7/64, expected fe80::/64, where the server listens:"
        " ip address add fe80::/64 dev wg0",
        lambda: check_server_address(WG0, addresses("fe80::/128", "fe80::7/64"), [LOCAL]),
    )
    refuses(
        "the kernel holds fe80:: on wg0 as its own anycast address, since another fe80::…/64 was"
        " there first; connections would be dropped: ip address delete fe80::/64 dev wg0, remove"
        " the other address, then ip address add fe80::/64 dev wg0",
        lambda: check_server_address(WG0, addresses("fe80::/64"), [ANYCAST]),
    )


def test_an_anycast_route_of_another_interface_is_none_of_ours() -> None:
    assert is_anycast(WG0, [LOCAL, ANYCAST])
    other = Route(ANYCAST.prefix, 7, kind=4, table=255)
    assert not is_anycast(WG0, [LOCAL, other])
    assert not is_anycast(WG0, [Route(parse_prefix("fd00::/128"), WG0.ifindex, kind=4)])
