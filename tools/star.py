"""A hub and its clients in a lab: the set-up that wg-dynamic's specification starts from.

with Lab() as lab:
    star = make_star(lab, ["laptop"])
    assert star.clients[0].host.ping("fe80::%wg0")
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tools.netlab import LISTEN_PORT, Host, Interface, Kind, Lab, PeerConfig


@dataclass(frozen=True, slots=True)
class Member:
    """One end of a star: a host and its WireGuard interface."""

    host: Host
    interface: Interface
    link_local: str
    """Its link-local address in the tunnel, without prefix length."""


@dataclass(frozen=True, slots=True)
class Star:
    """A hub and its clients, configured as the specification wants them, up, without leases."""

    hub: Member
    clients: list[Member]


def make_star(
    lab: Lab,
    clients: Sequence[str] = ("client",),
    *,
    name: str = "wg0",
    kind: Kind = "auto",
    server_allowed_ips: Sequence[str] = ("fe80::/128",),
    persistent_keepalive: int | None = None,
    route: bool = True,
    addrgenmode: Literal["none", "eui64", "random"] | None = None,
    private: Sequence[str] = (),
) -> Star:
    """Make a hub with fe80::/64 and clients with fe80::1/128, fe80::2/128, … that know each other.

    Args:
        lab: where to make them.
        clients: names of the clients' hosts.
        name: the interface, the same everywhere.
        kind: which WireGuard.
        server_allowed_ips: what the clients allow the hub.
        persistent_keepalive: of the clients, in seconds.
        route: give the clients their route to fe80::/128, as wg-quick does in most cases.
        addrgenmode: see `Host.wireguard`.
        private: see `Lab.host`.
    """
    hosts = lab.hosts("hub", *clients, private=private)
    links = [host.wireguard(name, kind, addrgenmode=addrgenmode) for host in hosts]
    hub = Member(hosts[0], links[0], "fe80::")
    members = [
        Member(host, link, f"fe80::{number:x}")
        for number, (host, link) in enumerate(zip(hosts[1:], links[1:], strict=True), start=1)
    ]
    hub.interface.setconf(
        [PeerConfig(each.interface.keys.public, [f"{each.link_local}/128"]) for each in members]
    )
    server = PeerConfig(
        hub.interface.keys.public,
        server_allowed_ips,
        f"{hub.host.address}:{LISTEN_PORT}",
        persistent_keepalive,
    )
    # Address first, then up: wg-quick's order. It matters: a link-local that is there before
    # fe80::/64 makes fe80:: an anycast address on a hub that forwards (docs/operations.md).
    hub.host.ip(f"address add fe80::/64 dev {name} nodad", f"link set dev {name} up")
    for each in members:
        each.interface.setconf([server])
        each.host.ip(
            f"address add {each.link_local}/128 dev {name} nodad",
            f"link set dev {name} up",
            *([f"route add fe80::/128 dev {name}"] if route else []),
        )
    return Star(hub, members)
