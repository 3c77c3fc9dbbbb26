"""The client's network process as it really runs: no privileges, a fake helper and server."""

import os
import signal
import socket
from collections.abc import Iterator

import pytest

from tests.fakes.helper import ProcessHelper
from wg_dynamic.address import parse_address
from wg_dynamic.privsep.requests import (
    CLIENT_REPLIES,
    CLIENT_REQUESTS,
    ApplyLease,
    ClientStart,
    Connect,
    LinkState,
    Report,
    Stop,
)
from wg_dynamic.system.privileges import Account

GRANTED = (
    b"request_ip=2\nerrno=0\nsection=address\nip=192.0.2.7\nnetwork=192.0.2.0/24\n"
    b"preferred_time=3600\nvalid_time=3600\n\n"
)


class Laptop:
    """A client's process, whose connections come to a listener of the test."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
        self.listener.settimeout(10.0)
        account = Account(65534, 65534)
        if os.geteuid() != 0:
            pytest.skip("needs root: the process drops to another account")
        self.helper = ProcessHelper(
            "wg_dynamic.cli.client_network", account, CLIENT_REPLIES, CLIENT_REQUESTS
        )
        self.helper.connect = self._connect
        self.servers: list[socket.socket] = []

    def _connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET6)
        sock.setblocking(False)
        sock.connect_ex(self.listener.getsockname())
        return sock

    def start(self, *wishes: str) -> None:
        packed = tuple(parse_address(wish) for wish in wishes)
        self.helper.start(ClientStart("wg0", parse_address("fe80::a"), packed))

    def serve(self, reply: bytes) -> bytes:
        """Answer the next connection that is for an exchange; its request."""
        while (request := self._request()).startswith(b"subscribe=2\n") or not request:
            pass
        self.servers[-1].sendall(reply)
        return request

    def _request(self) -> bytes:
        """The request of the next connection, empty when it was given up."""
        server, _ = self.listener.accept()
        server.settimeout(10.0)
        self.servers.append(server)
        request = b""
        while not request.endswith(b"\n\n"):
            part = server.recv(65536)
            if not part:
                return b""
            request += part
        return request

    def subscribe(self, reply: bytes) -> socket.socket:
        """Answer the next connection, which is to stay."""
        assert self._request().startswith(b"subscribe=2\n")
        self.servers[-1].sendall(reply)
        return self.servers[-1]

    def leases(self) -> list[list[str]]:
        return [
            [str(one.address) for one in message.addresses]
            for message in self.helper.of(ApplyLease)
            if isinstance(message, ApplyLease)
        ]

    def close(self) -> None:
        self.helper.close()
        self.listener.close()
        for server in self.servers:
            server.close()


@pytest.fixture
def laptop() -> Iterator[Laptop]:
    one = Laptop()
    yield one
    one.close()


def test_it_gets_a_lease_and_has_it_set(laptop: Laptop) -> None:
    laptop.start("192.0.2.7")
    assert b"ip=192.0.2.7\n" in laptop.serve(GRANTED)
    assert laptop.helper.wait_until(lambda: laptop.leases() == [["192.0.2.7/32"]])


def test_it_asks_again_when_the_interface_comes_up(laptop: Laptop) -> None:
    laptop.start()
    laptop.serve(GRANTED)
    assert laptop.helper.wait_until(lambda: len(laptop.leases()) == 1)
    laptop.helper.channel.send(LinkState(up=False))
    laptop.helper.channel.send(LinkState(up=True))
    assert b"ip=192.0.2.7\n" in laptop.serve(GRANTED)
    assert laptop.helper.wait_until(lambda: len(laptop.leases()) == 2)


def test_a_server_of_version_1_is_served_in_version_1(laptop: Laptop) -> None:
    laptop.start()
    assert laptop.serve(b"errno=2\nerrmsg=Unsupported protocol\n\n").startswith(b"request_ip=2\n")
    reply = b"ip=192.0.2.7/32\nleasestart=0\nleasetime=600\nerrno=0\n\n"
    assert laptop.serve(reply).startswith(b"request_ip=1\nip=0.0.0.0/32\n")
    assert laptop.helper.wait_until(lambda: laptop.leases() == [["192.0.2.7/32"]])


def test_trouble_is_reported_and_tried_again(laptop: Laptop) -> None:
    laptop.helper.connect = lambda: "there is no route to fe80::%wg0"
    laptop.start()
    assert laptop.helper.wait_until(lambda: bool(laptop.helper.of(Report)))
    assert laptop.helper.of(Report) == [Report("there is no route to fe80::%wg0")]
    assert laptop.helper.wait_until(lambda: len(laptop.helper.of(Connect)) == 2)


def test_stop_with_release_gives_the_address_back(laptop: Laptop) -> None:
    laptop.start()
    laptop.serve(GRANTED)
    assert laptop.helper.wait_until(lambda: len(laptop.leases()) == 1)
    laptop.helper.channel.send(Stop(release=True))
    request = laptop.serve(b"release_ip=2\nerrno=0\n\n")
    assert request == b"release_ip=2\nsection=address\nip=192.0.2.7\n\n"
    assert laptop.helper.process.wait(10.0) == 0
    assert laptop.leases()[-1] == []


def test_stop_with_release_does_not_wait_for_a_mute_server(laptop: Laptop) -> None:
    laptop.start()
    laptop.serve(GRANTED)
    assert laptop.helper.wait_until(lambda: len(laptop.leases()) == 1)
    laptop.helper.channel.send(Stop(release=True))
    assert laptop.helper.process.wait(3.0) == 0


def test_what_the_server_pushes_is_set_at_once(laptop: Laptop) -> None:
    laptop.start()
    laptop.serve(GRANTED)
    server = laptop.subscribe(b"subscribe=2\nerrno=0\nserial=7\ninterval=120\n\n")
    state = GRANTED.replace(b"request_ip=2\nerrno=0\n", b"update=2\nserial=8\nreset=true\n")
    server.sendall(state[:-1] + b"section=route\nnetwork=10.9.0.0/16\n\n")
    assert server.recv(100) == b"ack=2\nserial=8\n\n"
    assert laptop.helper.wait_until(lambda: len(laptop.leases()) == 2)
    last = laptop.helper.of(ApplyLease)[-1]
    assert isinstance(last, ApplyLease)
    assert [str(route.network) for route in last.routes] == ["10.9.0.0/16"]


def test_it_ends_with_its_helper(laptop: Laptop) -> None:
    laptop.start()
    laptop.serve(GRANTED)
    assert laptop.helper.wait_until(lambda: len(laptop.leases()) == 1)
    laptop.helper.close()
    assert laptop.helper.process.wait(10) == 0


def test_signals_are_for_the_helper(laptop: Laptop) -> None:
    laptop.start()
    laptop.serve(GRANTED)
    os.kill(laptop.helper.process.pid, signal.SIGTERM)
    os.kill(laptop.helper.process.pid, signal.SIGINT)
    laptop.helper.channel.send(LinkState(up=True))
    assert laptop.serve(GRANTED)
