"""A hub that wants the traffic, the names and the memory of its clients."""

from pathlib import Path

from tests.netns.daemons import Client, snapshot
from tests.netns.scripted import address, in_parts, reply, routes, scripted_server
from tools.netlab import Host, Lab, PeerConfig, generate_keys, wait_until
from tools.star import make_star

RESOLV_CONF = Path("/etc/resolv.conf")
OURS = "10.77.0.9"
"""The one address that is fine to lease."""


class Victim:
    """A client's host, and all of it that must not change."""

    def __init__(self, host: Host, *neighbours: Host) -> None:
        self.host = host
        self.neighbours = neighbours
        self.before = self.look()

    def look(self) -> tuple[str, str, bytes]:
        ways = "".join(
            self.host.run(["ip", "-o", "route", "get", target]).stdout
            for target in ("8.8.8.8", "40.9.9.9", "10.66.1.1", *map(address_of, self.neighbours))
        )
        lines = snapshot(self.host).splitlines()
        # The way to the server: the kernel drops it with the link, and ours comes in its place.
        kept = [line for line in lines if "fe80::" not in line.split()]
        return "\n".join(kept), ways, RESOLV_CONF.read_bytes()

    def is_unharmed(self) -> bool:
        """Nothing changed but for the one address that was fine."""
        shown, ways, resolv_conf = self.look()
        lines, before = set(shown.splitlines()), set(self.before[0].splitlines())
        changed = [line for line in lines ^ before if OURS not in line]
        assert changed == []
        assert (ways, resolv_conf) == self.before[1:]
        return all(self.host.ping(neighbour.address) for neighbour in self.neighbours)


def address_of(host: Host) -> str:
    return host.address


class Scene:
    """A client with a default gateway, a neighbour on its LAN, and another peer on its wg0."""

    def __init__(self, lab: Lab) -> None:
        star = make_star(lab, addrgenmode="none")
        self.hub, self.member = star.hub, star.clients[0]
        self.gateway, self.neighbour = lab.hosts("gateway", "neighbour")
        self.member.host.ip(f"route add default via {self.gateway.address}")
        endpoint = f"{self.neighbour.address}:51820"
        self.member.interface.add_peers(
            PeerConfig(generate_keys().public, ["10.66.0.0/16"], endpoint)
        )
        self.victim = Victim(self.member.host, self.gateway, self.neighbour)
        self.client = Client(self.member)


def test_a_hostile_hub_gets_nothing(lab: Lab) -> None:
    scene = Scene(lab)
    client, victim, gateway = scene.client, scene.victim, scene.gateway.address
    with scripted_server(scene.hub, address(gateway)) as server:
        # Whole leases that are none of the hub's business.
        client.start("is not taken")
        assert victim.is_unharmed()
        server.say(
            client,
            address("40.9.9.9", "32.0.0.0/3"),
            address(scene.neighbour.address, "10.99.0.0/16"),
            address("10.66.1.1", "10.66.1.0/24"),
            routes("10.9.0.0/16"),
        )
        client.program.wait_for_output("route 10.9.0.0/16 is not taken: it waits for an IPv4")
        assert victim.look() == victim.before

        # A good address, and all the rest with it.
        bad = [
            "0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1",
            "0.0.0.0/2", "64.0.0.0/2", "128.0.0.0/2", "192.0.0.0/2", "8.8.8.8/32", "32.0.0.0/3",
            f"{scene.hub.host.address}/32", "10.99.0.0/16", "10.99.0.0/17", "10.0.0.0/8",
            "10.66.1.0/24", "10.66.0.0/15", "127.0.0.0/8", "169.254.169.254/32", "224.0.0.0/4",
            "::/0", "fd99::/64", "fe80::/10", "fc00::/7",
        ]  # fmt: skip
        dns = "section=dns\nserver=10.77.0.53\nsearch=com\nsearch=example.org\n"
        server.say(client, address(OURS), routes(*bad), dns, mtu=576)
        client.program.wait_for_output(f"leased {OURS}/32")
        assert victim.is_unharmed()
        for expected in (
            "route 0.0.0.0/0 is not taken: a default route is taken with --accept-default-route",
            "route 128.0.0.0/1 is not taken: 128.0.0.0/1 is no network that a peer may hand out",
            "17 more are not taken either",
        ):
            assert expected in client.program.output()
        assert f"{OURS}/32" in scene.member.interface.addresses()
        assert client.run("--stop").returncode == 0
    assert victim.look() == victim.before


def test_a_hub_that_pushes_too_much_gets_as_much_as_is_bounded(lab: Lab) -> None:
    scene = Scene(lab)
    client, victim, host = scene.client, scene.victim, scene.member.host
    with scripted_server(scene.hub) as server:
        # As many as a reply can bring, each a part of what is private.
        text = reply(address(OURS), mtu=9000).replace("errno=0\n", "errno=0\nmore=1\n")
        server.reply = text + in_parts(MANY[: 15 * 256])
        client.start("MTU 9000 is not taken: it is only ever lowered, and is 1420 here")
        client.program.wait_for_output("a rest of 3584 routes is not taken: more than 256 are not")
        client.program.wait_for_output("10.78.0.7/32 and 248 more")
        ours = host.run(["ip", "route", "show", "proto", "97"]).stdout.splitlines()
        assert len(ours) == 256
        assert all(line.startswith("10.78.0.") and OURS in line for line in ours)
        assert host.ping(scene.gateway.address)
        server.say(client, address(OURS))
        wait_until(lambda: "10.78" not in snapshot(host), what="their end")
        assert victim.is_unharmed()

        # What is not even understood: it dies in the parser of the network process.
        for text in (
            reply(address(OURS), routes(*MANY)),
            in_parts(MANY),
            reply(address("40.9.9.9", "40.9.9.9/3")),
            reply(address(OURS), "section=dns\nserver=6.6.6.6\nsearch=-x.example\n"),
            reply(address(OURS), "section=dns\nsearch=a\nnameserver 6.6.6.6\n"),
            reply(address(OURS), "section=dns\nsearch=a;reboot\n"),
        ):
            count = complaints(client)
            server.say_text(client, text)
            wait_until(
                lambda count=count: complaints(client) > count,  # type: ignore[misc]
                what=f"a client that does not understand {text[:300]!r}",
            )
            assert victim.is_unharmed()
        assert client.run("--stop").returncode == 0
    assert victim.look() == victim.before


MANY = [f"10.78.{n >> 8}.{n & 255}/32" for n in range(10_000)]


def complaints(client: Client) -> int:
    return client.program.output().count("is not understood")
