"""Who is turned away at the listening socket, and that it leaves no trace. Over loopback."""

import errno
import os
import resource
import socket
from collections.abc import Iterator

import pytest

from wg_dynamic.address import parse_address
from wg_dynamic.server import door as door_module
from wg_dynamic.server.door import Arrival, Door


class Host:
    """A door, what it was asked, and what it is to answer."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, int]] = []
        self.answer = True
        self.listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
        self.listener.setblocking(False)
        self.door = Door(self.listener, self.admits)

    def admits(self, source: bytes, port: int) -> bool:
        self.asked.append((source, port))
        return self.answer

    def knock(self) -> socket.socket:
        return socket.create_connection(self.listener.getsockname()[:2], timeout=5.0)


@pytest.fixture
def host() -> Iterator[Host]:
    one = Host()
    yield one
    one.door.close()


def inside_of(arrival: Arrival | None) -> socket.socket:
    assert arrival is not None
    return socket.socket(fileno=arrival.descriptor)


def test_who_may_come_in_comes_in(host: Host) -> None:
    with host.knock() as outside:
        arrival = host.door.accept()
        with inside_of(arrival) as inside:
            assert arrival is not None
            name = (parse_address("::1"), outside.getsockname()[1])
            assert (arrival.source, arrival.port, arrival.scope) == (*name, 0)
            assert host.asked == [name]
            assert not os.get_inheritable(inside.fileno())
            with pytest.raises(BlockingIOError):
                os.read(inside.fileno(), 10)
            outside.sendall(b"hello")
            inside.setblocking(True)
            assert inside.recv(10) == b"hello"


def test_nobody_at_the_door_is_no_arrival(host: Host) -> None:
    assert host.door.accept() is None


def test_who_may_not_is_reset(host: Host) -> None:
    host.answer = False
    with host.knock() as outside:
        assert host.door.accept() is None
        with pytest.raises(ConnectionResetError):
            outside.recv(10)


def test_so_many_are_turned_away_at_once_and_no_more(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_module, "TURNED_AWAY_AT_ONCE", 2)
    host.answer = False
    outside = [host.knock() for _ in range(3)]
    assert host.door.accept() is None
    assert len(host.asked) == 2
    host.answer = True
    arrival = host.door.accept()
    assert arrival is not None
    assert arrival.port == outside[2].getsockname()[1]
    for each in (*outside, inside_of(arrival)):
        each.close()


def test_a_process_without_room_for_a_descriptor_is_told_so(host: Host) -> None:
    with host.knock():
        old = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, old[1]))
        try:
            with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
                host.door.accept()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, old)
        inside_of(host.door.accept()).close()
