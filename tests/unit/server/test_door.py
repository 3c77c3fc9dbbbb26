"""Who is turned away at the listening socket, and that it leaves no trace. Over loopback."""

import socket
from collections.abc import Iterator

import pytest

from wg_dynamic.server import door as door_module
from wg_dynamic.server.door import Door


class Host:
    """A door, what it was asked, and what it is to answer."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.answer = True
        self.door = Door(socket.create_server(("::1", 0), family=socket.AF_INET6), self.admits)
        self.door.setblocking(False)

    def admits(self, host: str, port: int) -> bool:
        self.asked.append((host, port))
        return self.answer

    def knock(self) -> socket.socket:
        return socket.create_connection(self.door.getsockname()[:2], timeout=5.0)


@pytest.fixture
def host() -> Iterator[Host]:
    one = Host()
    yield one
    one.door.close()


def test_who_may_come_in_comes_in(host: Host) -> None:
    with host.knock() as outside:
        inside, address = host.door.accept()
        with inside:
            assert address == outside.getsockname()
            assert host.asked == [outside.getsockname()[:2]]
            outside.sendall(b"hello")
            inside.setblocking(True)
            assert inside.recv(10) == b"hello"


def test_who_may_not_is_reset(host: Host) -> None:
    host.answer = False
    with host.knock() as outside:
        with pytest.raises(BlockingIOError):
            host.door.accept()
        with pytest.raises(ConnectionResetError):
            outside.recv(10)


def test_so_many_are_turned_away_at_once_and_no_more(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_module, "TURNED_AWAY_AT_ONCE", 2)
    host.answer = False
    outside = [host.knock() for _ in range(3)]
    with pytest.raises(BlockingIOError):
        host.door.accept()
    assert len(host.asked) == 2
    host.answer = True
    inside, address = host.door.accept()
    assert address == outside[2].getsockname()
    for each in (*outside, inside):
        each.close()
