"""What the identity rule stands on: WireGuard drops what comes from an address not its sender's.

docs/threat-model.md, "Identity". No part of ours runs here, on purpose.
"""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from tools.netlab import Host, Lab, PeerConfig, wait_until
from tools.star import Member, make_star

pytestmark = pytest.mark.kernel

PORT = 9000
HUB = {4: "10.44.0.254", 6: "fd00:44::fe"}
LEASED = ("10.44.0.7", "fd00:44::7")
"""As the server puts them into a peer's allowed IPs: hosts inside the pools."""


@contextlib.contextmanager
def listener(host: Host) -> Iterator[socket.socket]:
    with host.netns(), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as opened:
        opened.bind(("::", PORT))
        opened.settimeout(5.0)
        yield opened


def send(member: Member, source: str, text: bytes) -> None:
    """Send a datagram to the hub from an address, whosever it is."""
    scope = member.interface.ifindex
    with member.host.netns():
        if "." in source:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.bind((source, 0))
                sender.sendto(text, (HUB[4], PORT))
            return
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
            link_local = source.startswith("fe80")
            sender.bind((source, 0, 0, scope if link_local else 0))
            sender.sendto(text, ("fe80::" if link_local else HUB[6], PORT, 0, scope))


def rx_errors(member: Member) -> int:
    name = member.interface.name
    path = member.host.path(f"/sys/class/net/{name}/statistics/rx_errors")
    return int(path.read_text())


def test_a_packet_from_an_address_of_another_peer_never_arrives(lab: Lab) -> None:
    to_hub = ("fe80::/128", *(f"{each}/{32 if '.' in each else 128}" for each in HUB.values()))
    star = make_star(lab, ["honest", "liar"], server_allowed_ips=to_hub)
    hub, (honest, liar) = star.hub, star.clients
    owned = [f"{honest.link_local}/128", f"{LEASED[0]}/32", f"{LEASED[1]}/128"]
    hub.interface.add_peers(PeerConfig(honest.interface.keys.public, owned))
    hub.host.ip(*(f"address add {each} dev wg0 nodad" for each in (f"{HUB[4]}/24", f"{HUB[6]}/64")))
    sources = (honest.link_local, *LEASED)
    for member in (honest, liar):
        have = {f"{each}/{32 if '.' in each else 128}" for each in sources}
        have -= {f"{member.link_local}/128"}
        member.host.ip(
            *(f"address add {each} dev wg0 nodad" for each in sorted(have)),
            f"route add {HUB[4]} dev wg0",
            f"route add {HUB[6]} dev wg0",
        )
    with listener(hub.host) as inbox:
        for source in sources:  # all of them work for whom they belong to
            send(honest, source, b"honest")
            assert inbox.recvfrom(100)[0] == b"honest", source
        dropped = rx_errors(hub)
        for source in sources:
            send(liar, source, b"lie")
        send(liar, liar.link_local, b"the last")  # WireGuard keeps the order of one peer's packets
        assert inbox.recvfrom(100)[0] == b"the last"
    if hub.interface.kind == "kernel":  # wireguard-go counts nothing of it
        wait_until(lambda: rx_errors(hub) >= dropped + len(sources), what="three receive errors")
