"""What changes at the hub reaches the client at once: docs/protocol.md 6.9, on real daemons."""

import json
import socket
from pathlib import Path

import pytest

from tests.netns.daemons import Client, Server, connect
from tests.netns.test_server_config import ETC, write
from tools.netlab import Host, Lab, wait_until
from tools.star import Star, make_star

FILE = """
database = "{database}"
lease_time = "1h"
{more}
[[pool]]
network = "10.44.0.0/24"
"""
ROUTE = 'routes = ["10.20.0.0/16"]'
SOON = 20.0
"""Seconds: much less than any renewal takes."""


class World:
    """A hub with a file, a client with a lease that is told of changes, and another peer."""

    def __init__(self, lab: Lab, database: Path) -> None:
        self.star: Star = make_star(lab, ["laptop", "printer"], private=(ETC,))
        self.laptop, self.printer = self.star.clients
        self.server = Server(self.star.hub, database)
        self.server.arguments.clear()
        self.write()
        self.server.start()
        self.client = Client(self.laptop)
        self.client.start()
        self.wait_for_subscribers(1)

    def write(self, more: str = "") -> None:
        write(self.star.hub.host, FILE.format(database=self.server.database, more=more))

    def reload(self, more: str = "") -> None:
        self.write(more)
        done = self.server.run("--reload")
        assert done.returncode == 0, done.stderr

    def wait_for_subscribers(self, count: int) -> None:
        wait_until(lambda: self.subscribers() == count, timeout=SOON)

    def subscribers(self) -> int:
        shown = self.star.hub.host.run(["wg-dynamic", "status", "wg0", "--json"]).stdout
        return int(json.loads(shown)["subscribers"])

    def stop(self) -> None:
        self.client.stop()
        self.server.stop()


@pytest.fixture
def world(lab: Lab, database: Path) -> World:
    return World(lab, database)


def has_route(host: Host) -> bool:
    return "10.20.0.0/16" in host.run(["ip", "route", "show", "dev", "wg0"]).stdout


def test_a_route_of_a_reload_is_set_and_taken_off_at_once(world: World) -> None:
    before = world.client.leased()
    world.reload(ROUTE)
    wait_until(lambda: has_route(world.laptop.host), timeout=SOON)
    world.reload()
    wait_until(lambda: not has_route(world.laptop.host), timeout=SOON)
    assert world.client.leased() == before
    world.stop()


def test_a_revoked_address_goes_at_once_and_another_comes(world: World) -> None:
    (before,) = world.client.leased()
    world.star.hub.host.run(["wg-dynamic", "lease", "revoke", before])
    wait_until(lambda: world.client.leased() not in (set(), {before}), timeout=SOON)
    (after,) = world.client.leased()
    assert world.server.leased(world.laptop) == {f"{after}/32"}
    assert f"the server took back {before}" in world.client.program.output()
    world.stop()


def test_it_is_told_again_by_a_server_that_was_started_anew(world: World) -> None:
    world.server.kill_both()
    world.write(ROUTE)
    world.server.start()
    wait_until(lambda: has_route(world.laptop.host), timeout=2 * SOON)
    world.stop()


def test_an_interface_that_was_down_is_told_again(world: World) -> None:
    host = world.laptop.host
    host.run(["ip", "link", "set", "wg0", "down"])
    world.reload(ROUTE)
    host.run(["ip", "link", "set", "wg0", "up"])
    wait_until(lambda: has_route(host), timeout=2 * SOON)
    world.reload()
    wait_until(lambda: not has_route(host), timeout=2 * SOON)
    world.stop()


def hear(connection: socket.socket, count: int) -> list[str]:
    """So many messages."""
    data = b""
    while data.count(b"\n\n") < count:
        piece = connection.recv(4096)
        assert piece, f"closed after {data!r}"
        data += piece
    return [f"{text}\n\n" for text in data.decode().split("\n\n")[:-1]]


def test_by_hand_as_the_protocol_says(world: World) -> None:
    with connect(world.printer, port=777) as connection:
        connection.sendall(b"subscribe=2\nid=1\n\n")
        reply, state = hear(connection, 2)
        assert reply.startswith("subscribe=2\nid=1\nerrno=0\nserial=")
        assert reply.endswith("\ninterval=120\n\n")
        assert state.endswith("\nreset=true\n\n")
        with connect(world.printer) as other:
            other.sendall(b"request_ip=2\nsection=address\nip=0.0.0.0\n\n")
            (granted,) = hear(other, 1)
        address = next(line for line in granted.splitlines() if line.startswith("ip="))
        (update,) = hear(connection, 1)
        assert f"section=address\n{address}\nnetwork=10.44.0.0/24\n" in update
        connection.sendall(b"ack=2\nserial=1\n\nping=2\nid=2\n\n")
        assert hear(connection, 1) == ["pong=2\nid=2\n\n"]
        assert world.subscribers() == 2
    wait_until(lambda: world.subscribers() == 1, timeout=SOON)
    world.stop()


def test_subscribers_that_are_deaf_or_too_many_cost_the_others_nothing(world: World) -> None:
    deaf = []
    for port in range(700, 706):
        one = connect(world.printer, port=port)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.sendall(b"subscribe=2\n\n")
        deaf.append(one)
    world.wait_for_subscribers(3)  # two of a peer: the oldest had to go
    for number in range(20):
        world.reload(f'routes = ["10.{number + 30}.0.0/16"]')
    wait_until(
        lambda: "10.49.0.0/16" in world.laptop.host.run(["ip", "route"]).stdout, timeout=SOON
    )
    for one in deaf:
        one.close()
    world.wait_for_subscribers(1)
    world.stop()
