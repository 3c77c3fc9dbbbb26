"""One hostile peer at full speed, as a program: what it did, as JSON, is the last thing it prints.

    python -m tests.attack.flood connections --interface wg0 --source fe80::2 --seconds 5

Kinds: `connections` opens and resets, `unprivileged` the same from ports of any user, `half-open`
sends a SYN and answers nothing (from a source that is no address of its host), `pings`,
`renewals` and `wishes` (another address each time) write requests without waiting for replies,
`slow` begins messages and never ends them, `deaf` asks and reads nothing. Root, in the peer's
network namespace.
"""

import argparse
import contextlib
import errno
import itertools
import json
import random
import selectors
import socket
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address

from wg_dynamic.system.clock import SystemClock

IN_FLIGHT = 64
"""Connections that are begun at a time, where connections are the attack."""
ALLOWED = 8
"""Connections that a peer has at a time (server/listener.py), where messages are the attack."""
BURST = 100
"""Messages in one write."""
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close with a reset."""
PRIVILEGED, UNPRIVILEGED = range(100, 1024), range(1024, 65536)
RETRY = 0.002
_CLOCK = SystemClock()
_CHANCE = random.Random(6)  # noqa: S311 - which addresses are wished for


def messages(kind: str) -> Iterator[bytes]:
    """What a connection of this kind says, piece after piece."""
    if kind == "slow":
        yield from (bytes([each]) for each in itertools.chain(b"request_i", itertools.repeat(0x70)))
    if kind == "wishes":
        while True:
            wishes = (_CHANCE.getrandbits(64) for _ in range(BURST))
            texts = (f"request_ip=2\nsection=address\nip=fd00:44::{w & 0xFFFF:x}" for w in wishes)
            yield "".join(f"{text}\n\n" for text in texts).encode()
    text = b"ping=2\n\n" if kind == "pings" else b"request_ip=2\n\n"
    yield from itertools.repeat(text * BURST)


class Attack:
    """One peer's connections to the hub."""

    def __init__(self, kind: str, source: str, scope: int, port: int = 970) -> None:
        """`scope` is the index of the interface."""
        self._hub = ("fe80::", port, 0, scope)
        self.kind = kind
        self.count: Counter[str] = Counter()
        self._source, self._scope = source, scope
        self._selector = selectors.DefaultSelector()
        self._open: dict[socket.socket, Iterator[bytes]] = {}
        self._unsent: dict[socket.socket, bytes] = {}
        self._ports = itertools.cycle(UNPRIVILEGED if kind == "unprivileged" else PRIVILEGED)
        self._pause = threading.Event()
        self._abandons = kind in ("connections", "unprivileged")

    def run(self, until: float, attempts: int | None = None) -> None:
        """Attack until a time, or until so many connections were tried."""
        room = IN_FLIGHT if self._abandons else ALLOWED + (self.kind == "slow")
        while _CLOCK.now() < until and (attempts is None or self.count["connections"] < attempts):
            while len(self._open) < room and self._begin():
                pass
            slow = self.kind == "slow"
            ready = self._selector.select(0.0 if slow else RETRY)
            for key, _ in ready:
                self._on_ready(key.fileobj)  # type: ignore[arg-type]  # the sockets we registered
            if slow:  # a byte now and then: enough to be no idle one
                self._pause.wait(0.2)
            elif self._abandons and not ready:
                self._give_up()
        for connection in list(self._open):
            self._end(connection, "left_at_the_end")

    def _give_up(self) -> None:
        """Nobody answers any more: leave those that are begun, and begin others."""
        for connection in list(self._open):
            self._end(connection, "unanswered")

    def _begin(self) -> bool:
        connection = socket.socket(socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        if self.kind == "deaf":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            connection.bind((self._source, next(self._ports), 0, self._scope))
            code = connection.connect_ex(self._hub)
        except OSError as error:
            code = error.errno or errno.EIO
        if code not in (0, errno.EINPROGRESS):
            connection.close()
            self.count[errno.errorcode[code]] += 1
            return False
        self.count["connections"] += 1
        self._open[connection] = messages(self.kind)
        self._selector.register(connection, selectors.EVENT_WRITE | selectors.EVENT_READ)
        return True

    def _on_ready(self, connection: socket.socket) -> None:
        code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._end(connection, "reset")
        elif self._abandons:
            self._end(connection, "abandoned")
        elif self.kind == "deaf" or self._reads(connection):
            self._write(connection)

    def _reads(self, connection: socket.socket) -> bool:
        """Drop what came; False when the connection is over."""
        try:
            data = connection.recv(1 << 20)
        except BlockingIOError:
            return True
        except OSError:
            self._end(connection, "reset")
            return False
        if not data:
            self._end(connection, "closed")
            return False
        self.count["refusals"] += data.count(b"errno=5\n")
        self.count["replies"] += data.count(b"\n\n")
        return True

    def _write(self, connection: socket.socket) -> None:
        data = self._unsent.pop(connection, b"") or next(self._open[connection])
        try:
            sent = connection.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._end(connection, "reset")
            return
        self.count["bytes"] += sent
        self._unsent[connection] = data[sent:]

    def _end(self, connection: socket.socket, how: str) -> None:
        self.count[how] += 1
        self._selector.unregister(connection)
        self._open.pop(connection)
        self._unsent.pop(connection, None)
        connection.close()


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def syn(source: IPv6Address, port: int, sequence: int) -> bytes:
    """An IPv6 packet that begins a connection to the hub."""
    hub = IPv6Address("fe80::").packed
    tcp = struct.pack("!HHIIBBHHH", port, 970, sequence, 0, 5 << 4, 0x02, 65535, 0, 0)
    pseudo = source.packed + hub + struct.pack("!IxxxB", len(tcp), socket.IPPROTO_TCP)
    tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
    header = struct.pack("!IHBB", 6 << 28, len(tcp), socket.IPPROTO_TCP, 64)
    return header + source.packed + hub + tcp


def half_open(source: str, scope: int, until: float) -> Counter[str]:
    """SYNs from every privileged port, again and again."""
    count: Counter[str] = Counter()
    address = IPv6Address(source)
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        while _CLOCK.now() < until:
            for port in PRIVILEGED:
                packet = syn(address, port, _CHANCE.getrandbits(32))
                with contextlib.suppress(BlockingIOError):
                    raw.sendto(packet, ("fe80::", 0, 0, scope))
                    count["connections"] += 1
    return count


KINDS = ("connections", "unprivileged", "pings", "renewals", "wishes", "slow", "deaf")


def main(output: Callable[[str], object] = sys.stdout.write) -> int:
    """Attack, and say what was done."""
    parser = argparse.ArgumentParser(prog="tests.attack.flood")
    parser.add_argument("kind", choices=[*KINDS, "half-open"])
    parser.add_argument("--interface", default="wg0")
    parser.add_argument("--source", required=True, help="link-local address")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--port", type=int, default=970, help="of the hub")
    parser.add_argument("--attempts", type=int, default=None, help="connections, at the most")
    arguments = parser.parse_args()
    scope = socket.if_nametoindex(arguments.interface)
    until = _CLOCK.now() + arguments.seconds
    if arguments.kind == "half-open":
        count = half_open(arguments.source, scope, until)
    else:
        attack = Attack(arguments.kind, arguments.source, scope, arguments.port)
        attack.run(until, arguments.attempts)
        count = attack.count
    output(json.dumps(dict(sorted(count.items()))) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
