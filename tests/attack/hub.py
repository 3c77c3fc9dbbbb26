"""A hostile hub: answers each client as a script says, chosen by who connects.

with HostileHub(star.hub, {"fe80::1": close_at_once}) as hub:
    …
assert hub.connections["fe80::1"] < 5
"""

import contextlib
import itertools
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Self

from tools.star import Member
from wg_dynamic.system.clock import SystemClock

Script = Callable[[int, bytes], Iterator[bytes]]
"""From the number of the connection and the request to what is said, piece after piece."""
PACE = 0.2
"""Seconds of a pause."""
PAUSE = b""
_CLOCK = SystemClock()


def close_at_once(_number: int, _request: bytes) -> Iterator[bytes]:
    """Nothing at all."""
    return iter(())


def dribble(_number: int, _request: bytes) -> Iterator[bytes]:
    """A reply that never comes to its end, a byte now and then."""
    for byte in itertools.chain(b"request_ip=2\nerrmsg=", itertools.repeat(0x61)):
        yield bytes([byte])
        yield PAUSE


def endless(_number: int, _request: bytes) -> Iterator[bytes]:
    """Lines of a message without an end, as fast as they go."""
    yield b"request_ip=2\n"
    yield from itertools.repeat(b"x=y\n" * 10000)


def parts(_number: int, _request: bytes) -> Iterator[bytes]:
    """One reply in parts, each of which says that there is more."""
    yield from itertools.repeat(b"request_ip=2\nmore=1\nerrno=0\n\n")


def pongs(_number: int, _request: bytes) -> Iterator[bytes]:
    """Replies to what nobody asked."""
    yield from itertools.repeat(b"pong=2\n\n" * 1000)


def updates(_number: int, _request: bytes) -> Iterator[bytes]:
    """Pushes to who never subscribed."""
    yield from itertools.repeat(b"update=2\nserial=1\n\n" * 1000)


def storm(_number: int, _request: bytes) -> Iterator[bytes]:
    """Refusals that ask for no patience."""
    yield b"request_ip=2\nerrno=5\nerrmsg=again\nretry_after=0\n\n"


def downgrade(_number: int, _request: bytes) -> Iterator[bytes]:
    """No version is good enough."""
    yield b"errno=2\nerrmsg=Unsupported protocol\n\n"


IN_USE = "10.44.200.1"
"""What `in_use` leases: an address that the test puts on another interface of the client."""


def in_use(_number: int, request: bytes) -> Iterator[bytes]:
    """The same address again, however often it is declined."""
    if request.startswith(b"decline_ip"):
        yield b"decline_ip=2\nerrno=0\n\n"
        return
    times = "network=10.44.200.0/24\npreferred_time=3600\nvalid_time=3600"
    yield f"request_ip=2\nerrno=0\nsection=address\nip={IN_USE}\n{times}\n\n".encode()


def leases(valid_time: int, count: int = 1) -> Script:
    """Other addresses each time."""

    def script(number: int, request: bytes) -> Iterator[bytes]:
        network = "network=10.44.0.0/16\n"
        times = f"preferred_time={valid_time}\nvalid_time={valid_time}\n"
        text = "".join(
            f"section=address\nip=10.44.{number % 250}.{each + 1}\n{network}{times}"
            for each in range(count)
        )
        command = request.split(b"\n", 1)[0].decode()
        yield f"{command}\nerrno=0\n{text}\n".encode()

    return script


_ADDRESS = (
    b"section=address\nip=10.44.0.9\nnetwork=10.44.0.0/16\npreferred_time=3600\nvalid_time=3600\n"
)
_LEASE = b"request_ip=2\nerrno=0\n" + _ADDRESS + b"\n"
_TAKEN = b"subscribe=2\nerrno=0\nserial=1\ninterval=1\n\n"


def _subscribed(request: bytes, updates: Iterator[bytes]) -> Iterator[bytes]:
    """A lease to who asks for one, and these to who subscribes."""
    if not request.startswith(b"subscribe"):
        yield _LEASE
        return
    yield _TAKEN
    yield from updates


def pushes(_number: int, request: bytes) -> Iterator[bytes]:
    """A lease, and then other routes all the time, as fast as they go."""
    return _subscribed(request, map(_other_route, itertools.count(2)))


def _other_route(serial: int) -> bytes:
    route = b"section=route\nnetwork=10.%d.%d.0/24\n" % (100 + serial // 256 % 100, serial % 256)
    return b"update=2\nserial=%d\nreset=true\n" % serial + _ADDRESS + route + b"\n"


def takes_back(_number: int, request: bytes) -> Iterator[bytes]:
    """A lease that is taken back and granted again, without end."""
    empty = (b"update=2\nserial=%d\nreset=true\n\n" % serial for serial in itertools.count(2))
    return _subscribed(request, (piece for each in empty for piece in (each, PAUSE)))


class HostileHub:
    """Listens where the server would, on a thread; one more thread for each connection."""

    def __init__(self, hub: Member, scripts: dict[str, Script]) -> None:
        """`scripts` by the client's link-local address."""
        self.connections: dict[str, list[float]] = defaultdict(list)
        """When each client connected."""
        self.sent: dict[str, int] = defaultdict(int)
        """Bytes that went to each."""
        self._scripts = scripts
        self._stopped = threading.Event()
        with hub.host.netns():
            self._listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("fe80::", 970, 0, hub.interface.ifindex))
        self._listener.listen(100)
        self._threads = [threading.Thread(target=self._accept)]

    def within(self, who: str, seconds: float) -> int:
        """How often a client connected in so many seconds from its first time on."""
        times = self.connections[who]
        return sum(at - times[0] < seconds for at in times)

    def span(self, who: str) -> float:
        """Seconds from a client's first connection to its last."""
        times = self.connections[who]
        return times[-1] - times[0] if times else 0.0

    def __enter__(self) -> Self:
        """Start to accept."""
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; connections end when their client closes them."""
        self._stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(30.0)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, address = self._listener.accept()
            except OSError:
                return
            who = address[0].partition("%")[0]
            self.connections[who].append(_CLOCK.now())
            thread = threading.Thread(target=self._answer, args=(connection, who))
            thread.start()
            self._threads.append(thread)

    def _answer(self, connection: socket.socket, who: str) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(30.0)
            request = connection.recv(65536)
            for piece in self._scripts[who](len(self.connections[who]), request):
                if piece == PAUSE:
                    self._stopped.wait(PACE)
                connection.sendall(piece)
                self.sent[who] += len(piece)
