"""What peers may do wrong on port 970 while an honest client is served."""

import contextlib
import socket
from pathlib import Path

import pytest

from tests.netns.daemons import Client, Server, connect, exchange
from tools.netlab import Lab, PeerConfig
from tools.star import Member, make_star

pytestmark = pytest.mark.guest

ANY = "request_ip=1\nip=0.0.0.0/32\nip=::/128\nleasestart=0\nleasetime=0\n\n"
GARBAGE = {
    "an empty line": b"\n",
    "no equals sign": b"request_ip\n\n",
    "NUL": b"request_ip=1\nip=10.44.0.1\0\n\n",
    "carriage return": b"request_ip=1\r\n\n",
    "not ASCII": b"request_ip=2\nid=\xc3\xa9\n\n",
    "TLS": bytes.fromhex("16030100ff010000fb0303") + bytes(64) + b"\n\n",
    "HTTP": b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n\n",
    "a line too long": b"request_ip=" + b"1" * 5000,
    "a message without an end": b"request_ip=2\n" + b"x=y\n" * 40000,
    "random": bytes(range(256)) * 16 + b"\n\n",
    "another version": b"request_ip=99\n\n",
    "unspeakable wishes": b"request_ip=2\n" + b"section=address\nip=10.44.0.1\n" * 65 + b"\n",
}


def is_closed(connection: socket.socket) -> bool:
    """Read to the end; True when it comes before the timeout."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def send(member: Member, data: bytes) -> bool:
    """Say something and listen; whether the server closed the connection."""
    with connect(member) as connection:
        try:
            connection.sendall(data)
        except OSError:  # it has closed before we were through
            return True
        return is_closed(connection)


def test_an_honest_client_is_served_whatever_the_others_send(lab: Lab, database: Path) -> None:
    star = make_star(lab, ["honest", "hostile"])
    server = Server(star.hub, database)
    server.start()
    honest, (_, hostile) = Client(star.clients[0]), star.clients
    # Slow and endless ones, held open all the time: half a line, a reader that never reads.
    slow = connect(hostile, port=1)
    slow.sendall(b"request_i")
    deaf = connect(hostile, port=2)
    deaf.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            deaf.send(ANY.encode() * 100)
    for name, data in GARBAGE.items():
        assert send(hostile, data), f"{name}: the connection is closed"
    with connect(hostile) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
        connection.sendall(ANY.encode())
    for port in (3, 4, 5):  # reset, shut down, and gone in the middle of a message
        with connect(hostile, port=port) as connection:
            connection.sendall(b"request_ip=2\nid=")
            with contextlib.suppress(OSError):  # by now it may be turned away
                connection.shutdown(socket.SHUT_WR)
            assert is_closed(connection)
    many = [connect(hostile, port=port) for port in range(100, 120)]
    assert sum(not is_refused(each) for each in many) <= 8
    honest.start()
    honest.wait_for_lease()
    for each in (slow, deaf, *many):
        each.close()
    # Refused, or turned away without a word.
    with contextlib.suppress(ConnectionResetError, BrokenPipeError), connect(hostile) as connection:
        connection.sendall(ANY.encode())
        assert connection.recv(4096).partition(b"\n")[0] in (b"", b"errno=3")
    output = server.program.output()
    assert "Traceback" not in output
    assert "bug" not in output
    assert output.count("WARNING") < 30, "what strangers cause is logged a few times only"


def is_refused(connection: socket.socket) -> bool:
    connection.settimeout(0.3)
    return is_closed(connection)


def test_nobody_speaks_for_a_peer_but_the_owner_of_its_address(lab: Lab, database: Path) -> None:
    star = make_star(lab, ["one", "wide", "spoof"])
    hub, (one, wide, spoof) = star.hub, star.clients
    hub.interface.add_peers(
        PeerConfig(wide.interface.keys.public, ["fe80::200/120"]),
        PeerConfig(spoof.interface.keys.public, ["fe80::3/128", "10.44.0.0/25"]),
    )
    wide.host.ip("address delete fe80::2/128 dev wg0", "address add fe80::202/128 dev wg0 nodad")
    server = Server(hub, database)
    server.start()
    before = hub.interface.allowed_ips()
    with connect(one, port=1024) as connection:  # any user of that machine could use this port
        connection.settimeout(2.0)
        assert is_closed(connection)
    with connect(wide, link_local="fe80::202") as connection:  # owned by a wider prefix only
        connection.sendall(ANY.encode())
        assert is_closed(connection)
    assert hub.interface.allowed_ips() == before
    output = server.program.output()
    assert "source port 1024, expected one below 1024" in output
    assert "fe80::202: no peer has this address as an allowed IP of length 128" in output
    # Another peer's address: WireGuard drops it, no connection comes about.
    spoof.host.ip("address add fe80::1/128 dev wg0 nodad")
    with spoof.host.netns():
        liar = socket.socket(socket.AF_INET6)
    with liar:
        liar.settimeout(1.0)
        liar.bind(("fe80::1", 970, 0, spoof.interface.ifindex))
        with pytest.raises(TimeoutError):
            liar.connect(("fe80::", 970, 0, spoof.interface.ifindex))
    # A range inside the pool that an administrator gave away is not leased to others.
    with connect(one, port=1023) as connection:
        lease = exchange(connection, ANY)
    assert int(lease["ip4"].split(".")[3].split("/")[0]) >= 128
    wish = "request_ip=1\nip=10.44.0.5/32\n\n"
    with connect(one) as connection:
        assert exchange(connection, wish)["errno"] == "3"
