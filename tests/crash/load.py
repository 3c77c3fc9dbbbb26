"""Many peers that ask one server all the time, each from a connection of its own. One thread.

What they ask is random: mostly to keep what they hold, sometimes an address that others want too,
sometimes to give all back. Every request and reply goes to a `History` (tools/lease_history.py).
"""

import contextlib
import errno
import random
import selectors
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from tools.lease_history import History, family
from tools.netlab import Host
from wg_dynamic.system.clock import SystemClock

PORTS = range(512, 1024)
"""Source ports; one after the other, so that no connection waits for the last one's end."""
RETRY = 0.01
"""Seconds before the next attempt to connect."""
DRAIN = 0.3
"""Seconds that connections have to end by themselves after the server was killed."""
_AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER: close with a reset."""
_CLOCK = SystemClock()


@dataclass(frozen=True, slots=True)
class Peer:
    """Who asks, and through which interface of the load's host."""

    name: str
    """Its public key, as `wg` prints it."""
    link_local: str
    ifindex: int


class Asker:
    """One peer's side: a connection, and at most one request on its way."""

    def __init__(self, peer: Peer, host: Host, history: History, chance: random.Random) -> None:
        self.peer = peer
        self._host = host
        self._history = history
        self._chance = chance
        self._port = chance.choice(PORTS)
        self._reply = b""
        self._renewed = False
        self.connection: socket.socket | None = None
        self.connected = False
        self.again_at = 0.0
        """When to connect, or to ask, again; CLOCK_BOOTTIME."""
        self.away_until = 0.0
        """Until when it is not heard of."""

    def connect(self) -> None:
        """Begin a connection; what becomes of it, `on_ready` sees."""
        self._port = self._port + 1 if self._port + 1 in PORTS else PORTS.start
        with self._host.netns():
            connection = socket.socket(socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        scope = self.peer.ifindex
        try:
            connection.bind((self.peer.link_local, self._port, 0, scope))
            code = connection.connect_ex(("fe80::", 970, 0, scope))
        except OSError as error:
            code = error.errno or errno.EIO
        if code not in (0, errno.EINPROGRESS):
            connection.close()
            self.again_at = _CLOCK.now() + RETRY
            return
        self.connection = connection
        self.connected = self._renewed = False
        self._reply = b""

    def end(self) -> None:
        """Close the connection; a request that was on its way stays without an answer."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None
            self._history.unanswered(self.peer.name)
            self.again_at = _CLOCK.now() + RETRY

    def on_ready(self, *, quiet: bool) -> None:
        """Take what came; ask again unless `quiet`."""
        assert self.connection is not None
        try:
            if not self.connected:
                code = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, "connect")
                self.connected = True
                if not quiet:
                    self.ask()
                return
            piece = self.connection.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece:
            self.end()
            return
        self._reply += piece
        if self._reply.endswith(b"\n\n"):
            self._take_reply()
            if not quiet and self.again_at <= _CLOCK.now():
                self.ask()

    def ask(self) -> None:
        """Send the next request; the first of a connection renews what is held."""
        assert self.connection is not None
        now = _CLOCK.now()
        held = self._history.held(self.peer.name, now)
        draw = self._chance.random()
        name = self.peer.name
        if held and self._renewed and draw < 0.15:
            self._history.released(name, now)
            text = "release_ip=2\n"
        else:
            wishes = self._wishes(held, draw if self._renewed else 1.0)
            self._history.asked(name, now, wishes)
            text = "request_ip=2\n" + "".join(f"section=address\nip={wish}\n" for wish in wishes)
        self._renewed = True
        with contextlib.suppress(OSError):  # the end of the connection is noticed by reading
            self.connection.send(f"{text}\n".encode())

    def _wishes(self, held: list[str], draw: float) -> list[str]:
        wishes = {4: "0.0.0.0", 6: "::"} | {family(address): address for address in held}  # noqa: S104
        if draw < 0.35:  # what others have or had: few addresses are wanted by many
            wishes[4] = f"10.44.0.{self._chance.randrange(1, 15)}"
        if draw < 0.25:
            wishes[6] = f"fd00:44::{self._chance.randrange(1, 15):x}"
        return list(wishes.values())

    def _take_reply(self) -> None:
        addresses: dict[str, float] = {}
        address, wait = "", 0.0
        for line in self._reply.decode().split("\n"):
            name, _, value = line.partition("=")
            if name == "ip":
                address = value
            elif name == "valid_time":
                addresses[address] = float(value)
            elif name == "retry_after":
                wait = float(value)
        self._reply = b""
        now = _CLOCK.now()
        if wait and not addresses:  # asked too often: nothing was decided
            self._history.unanswered(self.peer.name)
            self.again_at = now + wait
        else:
            self._history.told(self.peer.name, now, addresses)


class Load:
    """All the peers."""

    def __init__(
        self, host: Host, peers: Sequence[Peer], history: History, chance: random.Random
    ) -> None:
        self.askers = [Asker(peer, host, history, chance) for peer in peers]
        self._chance = chance
        self._selector = selectors.DefaultSelector()

    def run(self, until: float) -> None:
        """Ask until a time (CLOCK_BOOTTIME)."""
        while (now := _CLOCK.now()) < until:
            for asker in self.askers:
                if max(asker.again_at, asker.away_until) > now:
                    continue
                if asker.connection is None:
                    self._connect(asker)
                elif asker.again_at:
                    asker.again_at = 0.0
                    if asker.connected:
                        asker.ask()
            self._turn(min(until - now, RETRY), quiet=False)

    def drain(self) -> None:
        """After a kill: take every reply that was sent before it, then forget the connections."""
        deadline = _CLOCK.now() + DRAIN
        while _CLOCK.now() < deadline and any(asker.connection for asker in self.askers):
            self._turn(0.05, quiet=True)
        for asker in self.askers:
            self._forget(asker)
            asker.again_at = 0.0

    def send_away(self, until: float) -> None:
        """One peer is not heard of until a time, and its leases may end."""
        asker = self._chance.choice(self.askers)
        self._forget(asker)
        asker.away_until = until

    def close(self) -> None:
        """End all connections."""
        for asker in self.askers:
            self._forget(asker)
        self._selector.close()

    def _connect(self, asker: Asker) -> None:
        asker.again_at = 0.0
        asker.connect()
        if asker.connection is not None:
            self._selector.register(asker.connection, selectors.EVENT_WRITE, asker)

    def _turn(self, wait: float, *, quiet: bool) -> None:
        for key, _ in self._selector.select(wait):
            asker: Asker = key.data
            connection = asker.connection
            assert connection is not None
            asker.on_ready(quiet=quiet)
            if asker.connection is None:
                self._selector.unregister(key.fileobj)
            elif key.events == selectors.EVENT_WRITE:
                self._selector.modify(connection, selectors.EVENT_READ, asker)

    def _forget(self, asker: Asker) -> None:
        if asker.connection is not None:
            self._selector.unregister(asker.connection)
            asker.end()
