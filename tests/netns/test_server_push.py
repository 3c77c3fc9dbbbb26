"""What the real server tells clients besides their addresses: by pool, by peer, after a change."""

import socket
from pathlib import Path

from tests.netns.daemons import Server, connect
from tests.netns.test_server_config import ANY, ETC, write
from tools.netlab import Lab
from tools.star import Member, make_star

POOLS = """
[[pool]]
network = "10.44.0.0/24"
mtu = 1400
routes = ["10.30.0.0/16"]
[[pool]]
network = "fd00:44::/64"
"""
FILE = """
mtu = 1420
routes = ["10.20.0.0/16", {{ network = "fd00:20::/48", metric = 50 }}]
[dns]
servers = ["10.44.0.53", "fd00:44::53"]
search = ["Corp.Example"]
{pools}
[[peer]]
public_key = "{key}"
routes = []
mtu = 1280
[peer.dns]
servers = []
"""
MANY = [f"10.{number}.0.0/16" for number in range(100, 200)]
"""In the second file: 100 for a pool, and 256 for all, more than one message has."""
MORE = [f"10.200.{number}.0/24" for number in range(256)]
TOLD = """section=route
network=10.20.0.0/16
section=route
network=10.30.0.0/16
section=route
network=fd00:20::/48
metric=50
section=dns
server=10.44.0.53
server=fd00:44::53
search=corp.example

"""


def messages(connection: socket.socket, request: str) -> list[str]:
    """Send one request; the reply in the messages that it came in."""
    connection.sendall(request.encode())
    reply = b""
    while not (reply.endswith(b"\n\n") and b"\nmore=1\n" not in reply.rpartition(b"\n\nr")[2]):
        piece = connection.recv(4096)
        assert piece, f"closed after {reply!r}"
        reply += piece
    return [f"{text}\n\n" for text in reply.decode().split("\n\n")[:-1]]


def ask(member: Member, *wishes: str) -> list[str]:
    """Request addresses in version 2, any without wishes; the messages of the reply."""
    sections = "".join(f"section=address\nip={wish}\n" for wish in wishes)
    with connect(member) as connection:
        return messages(connection, f"request_ip=2\nid=7\n{sections}\n")


def addresses(message: str) -> list[str]:
    return [line[3:] for line in message.splitlines() if line.startswith("ip=")]


def head(message: str) -> list[str]:
    """The lines before the first section."""
    return message.partition("section=")[0].splitlines()


def routes(message: str) -> list[str]:
    pieces = message.split("section=route\nnetwork=")[1:]
    return [piece.partition("\n")[0] for piece in pieces]


def test_clients_are_told_what_the_file_says_and_at_the_next_renewal_what_it_says_now(
    lab: Lab, database: Path
) -> None:
    star = make_star(lab, ["laptop", "printer"], private=(ETC,))
    laptop, printer = star.clients
    server = Server(star.hub, database)
    server.arguments[:] = ["--database", str(database)]
    write(star.hub.host, FILE.format(pools=POOLS, key=printer.interface.keys.public))
    server.start()

    (whole,) = ask(laptop)
    leased = addresses(whole)
    assert head(whole) == ["request_ip=2", "id=7", "errno=0", "mtu=1400"]
    assert whole.endswith(TOLD)
    (renewed,) = ask(laptop, *leased)
    assert renewed == whole
    (of_one_family,) = ask(laptop, leased[1])
    assert "mtu=1420" in head(of_one_family)  # of no pool that says something else
    assert routes(of_one_family) == ["fd00:20::/48"]
    (other,) = ask(printer)
    assert "mtu=1280" in head(other)
    assert other.endswith("section=dns\nsearch=corp.example\n\n")
    assert routes(other) == []
    with connect(laptop) as connection:
        (old,) = messages(connection, ANY)
    names = [line.partition("=")[0] for line in old.splitlines()]
    early = ["request_ip", "ipv4", "ipv6", "leasestart", "leasetime", "errno", ""]
    assert names == early, "version 1 is as it was"

    server.stop()
    pool = POOLS.replace('"10.30.0.0/16"', str(MANY)[1:-1]).replace("mtu = 1400\n", "")
    write(star.hub.host, f"routes = {MORE}\n{pool}")
    server.start()
    parts = ask(laptop, *leased)
    assert [head(part) for part in parts] == [
        ["request_ip=2", "id=7", "errno=0", "more=1"],
        ["request_ip=2", "id=7", "errno=0"],
    ]
    assert addresses(parts[0]) == leased
    assert [len(routes(part)) for part in parts] == [256, 100]
    assert [route for part in parts for route in routes(part)] == MORE + MANY
    assert ask(printer, *addresses(other))[1] == parts[1]
    assert "dns" not in "".join(parts)
    server.stop()
