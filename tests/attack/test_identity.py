"""Speaking as somebody else, or from where no peer is.

The property: only a connection through wg0, from the exact link-local address of a peer, and from
a port that needs root on its machine, is answered with anything but a refusal. That WireGuard
itself drops what comes from another peer's address is shown in tests/netns/test_spoofing.py.
"""

import socket
from pathlib import Path

import pytest

from tests.attack.actors import ask, is_untroubled, wish
from tests.netns.daemons import Server, connect, exchange
from tools.netlab import Host, Lab, PeerConfig
from tools.star import Member, make_star

pytestmark = pytest.mark.netns

WAIT = 1.5
"""Seconds that a SYN may wait for an answer: long enough for a second one to be sent."""


def speak(host: Host, source: tuple[str, int], scope: int, text: str) -> bytes:
    """What is said to a request from an address, b"" for nothing; no connection, an OSError."""
    with host.netns():
        connection = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    with connection:
        connection.settimeout(WAIT)
        connection.bind((source[0], source[1], 0, scope if source[0].startswith("fe80") else 0))
        connection.connect(("fe80::", 970, 0, scope))
        connection.sendall(text.encode())
        try:
            return connection.recv(4096)
        except ConnectionResetError:
            return b""


def mac(host: Host) -> str:
    return host.run(["cat", "/sys/class/net/eth0/address"]).stdout.strip()


def test_a_leased_address_with_the_low_half_of_a_victims_is_not_the_victim(
    lab: Lab, database: Path
) -> None:
    """The first prototype of this idea compared no more than the low 64 bits."""
    star = make_star(lab, ["victim", "thief"])
    hub, (victim, thief) = star.hub, star.clients
    server = Server(hub, database)
    server.start()
    assert "fd00:44::/64" in hub.host.run(["ip", "-6", "route"]).stdout, "an answer finds its way"
    ask(victim, wish())
    held = server.leased(victim)
    with connect(thief) as connection:
        assert exchange(connection, wish("fd00:44::1"))["ip6"] == "fd00:44::1"  # of fe80::1
    thief.host.ip("address add fd00:44::1/128 dev wg0 nodad")
    scope = thief.interface.ifindex
    for text in (wish(command="release_ip"), wish("10.44.0.77"), "release_ip=2\n\n"):
        try:
            said = speak(thief.host, ("fd00:44::1", 970), scope, text)
        except OSError:
            said = b""  # no connection comes about
        assert not said or b"errno=3" in said or b"errno=6" in said
        assert b"\nip=" not in said
    assert server.leased(victim) == held
    # An ordinary user of the victim's machine, which may not use a port below 1024.
    assert speak(victim.host, ("fe80::1", 1024), victim.interface.ifindex, wish()).startswith(
        b"errno=3\nerrmsg="
    )
    assert server.leased(victim) == held
    # Versions are not mixed on one connection, nor is an unknown one served.
    old = "request_ip=1\nip=0.0.0.0/32\n\n"
    games = {
        (wish(), old): b"errno=1\n",
        (old, wish()): b"errno=1\n",
        ("ping=2\n\n", old): b"errno=1\n",
        ("request_ip=3\n\n",): b"errno=2\n",
        ("request_ip=0\n\n",): b"errno=2\n",
        ("release_ip=1\n\n",): b"errno=2\n",
    }
    for number, (texts, refusal) in enumerate(games.items(), start=1):
        with connect(thief, port=number) as connection:
            connection.settimeout(5.0)
            for text in texts:
                connection.sendall(text.encode())
                said = connection.recv(4096)
            assert refusal in said, texts
            assert b"\nip=" not in said
            assert connection.recv(4096) == b"", "and the connection is over"
    assert server.leased(victim) == held
    assert is_untroubled(server)


def test_who_is_not_behind_the_interface_is_not_heard(lab: Lab, database: Path) -> None:
    star = make_star(lab, ["honest"])
    hub, (honest,) = star.hub, star.clients
    lan, road = lab.hosts("lan", "road")
    hub.host.forward()
    server = Server(hub, database)
    server.start()
    ask(honest, wish())
    held = server.leased(honest)

    # A neighbour on the hub's LAN: by the link-local address on that link, …
    lan_scope = int(lan.run(["cat", "/sys/class/net/eth0/ifindex"]).stdout)
    lan.ip(
        "address add fe80::1/64 dev eth0 nodad",  # the honest peer's, moreover
        f"neighbour replace fe80:: lladdr {mac(hub.host)} dev eth0",
        "address add fd00:44::99/128 dev eth0 nodad",
        f"route add fd00:44::/64 via {hub.host.address6}",
    )
    # … and from an address of the pool, as if it had been forwarded.
    for source in ("fe80::1", "fd00:44::99", lan.address6):
        with pytest.raises((TimeoutError, ConnectionRefusedError)):
            speak(lan, (source, 970), lan_scope, wish())

    # A peer of another interface of the hub, with the same addresses on both ends.
    other = hub.host.wireguard("wg1", addrgenmode="none")
    far = road.wireguard("wg0", addrgenmode="none")
    other.setconf([PeerConfig(far.keys.public, ["fe80::1/128"])], listen_port=51821)
    far.setconf([PeerConfig(other.keys.public, ["fe80::/128"], f"{hub.host.address}:51821")])
    hub.host.ip("address add fe80::/64 dev wg1 nodad", "link set dev wg1 up")
    road.ip(
        "address add fe80::1/128 dev wg0 nodad",
        "link set dev wg0 up",
        "route add fe80::/128 dev wg0",
    )
    member = Member(road, far, "fe80::1")
    assert road.ping("fe80::%wg0"), "the way is open"
    with pytest.raises((TimeoutError, ConnectionRefusedError)):
        speak(road, ("fe80::1", 970), member.interface.ifindex, wish("0.0.0.0"))  # noqa: S104
    assert server.leased(honest) == held
    assert ask(honest, wish())["errno"] == "0"
    assert is_untroubled(server)
