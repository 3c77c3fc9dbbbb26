"""Helpers that touch no kernel: one that answers at once, one at the other end of the channel."""

import contextlib
import os
import select
import socket
import threading
from collections.abc import Callable, Sequence

from wg_dynamic.address import Prefix, format_address
from wg_dynamic.privsep.codec import ChannelError
from wg_dynamic.privsep.process import NetworkProcess
from wg_dynamic.privsep.requests import (
    AdminListener,
    Applied,
    ApplyLease,
    Change,
    ChangeAllowedIPs,
    Changed,
    Connect,
    Connecting,
    Failed,
    PeerInfo,
    Peers,
    ReadAdmin,
    ReadPeers,
    ReadTerms,
    Refusal,
    TermsPart,
)
from wg_dynamic.privsep.spawn import spawn_network_process
from wg_dynamic.server.proxy import HelperProxy
from wg_dynamic.system.privileges import Account


class FakeAllowedIPs:
    """The allowed IPs of one interface, kept by the helper's own rules (helper/allowed_ips.py)."""

    def __init__(self) -> None:
        self.static: dict[Prefix, bytes] = {}
        """The administrator's, and whose they are."""
        self.leased: dict[Prefix, bytes] = {}
        """What was set for leases: the ledger and the interface in one."""
        self.keys: set[bytes] = set()
        """The peers that there are."""
        self.refuse: dict[Prefix, str] = {}
        """Additions that fail, and why."""

    def add_peer(self, public_key: bytes, *static: Prefix) -> None:
        self.keys.add(public_key)
        self.static.update(dict.fromkeys(static, public_key))

    def remove_peer(self, public_key: bytes) -> None:
        self.keys.discard(public_key)
        for kept in (self.static, self.leased):
            for prefix in [prefix for prefix, key in kept.items() if key == public_key]:
                del kept[prefix]

    def read(self) -> list[PeerInfo]:
        return [
            PeerInfo(
                key,
                tuple(prefix for prefix, owner in self.static.items() if owner == key),
                tuple(prefix for prefix, owner in self.leased.items() if owner == key),
            )
            for key in sorted(self.keys)
        ]

    def change(self, changes: Sequence[Change]) -> list[Refusal]:
        refusals = []
        for index, change in enumerate(changes):
            reason = self._change(change)
            if reason:
                refusals.append(Refusal(index, reason))
        return refusals

    def _change(self, change: Change) -> str:
        if not change.add:
            if self.leased.get(change.prefix) == change.public_key:
                del self.leased[change.prefix]
            return ""
        if change.prefix in self.refuse:
            return self.refuse[change.prefix]
        if change.public_key not in self.keys:
            return "no such peer"
        self.leased[change.prefix] = change.public_key
        return ""


class FakeHelperProxy(HelperProxy):
    """Answers each request at once, and writes down what it was asked."""

    def __init__(self, allowed_ips: FakeAllowedIPs, journal: list[str]) -> None:
        # HelperProxy's own __init__ is about the channel, which there is none of here.
        self.allowed_ips = allowed_ips
        self.journal = journal

    async def read_peers(self) -> list[PeerInfo]:
        self.journal.append("read")
        return self.allowed_ips.read()

    async def change(self, changes: Sequence[Change]) -> list[Refusal]:
        for change in changes:
            verb = "add" if change.add else "take off"
            self.journal.append(f"{verb} {format_address(change.prefix.packed)}")
        return self.allowed_ips.change(changes)


class ProcessHelper:
    """A helper for a network process that really runs; one thread answers its requests."""

    def __init__(
        self,
        module: str,
        account: Account,
        sends: tuple[type, ...],
        receives: tuple[type, ...],
    ) -> None:
        self.process: NetworkProcess
        self.process, self.channel = spawn_network_process(
            module, account, ["stderr", "verbose"], sends, receives
        )
        self.allowed_ips = FakeAllowedIPs()
        self.connect: Callable[[], socket.socket | str] = lambda: "there is no route"
        """Gives the socket for a Connect, or the reason why there is none."""
        self.admin: socket.socket | None = None
        """The listening administration socket, if there is to be one."""
        self.received: list[object] = []
        """Every message of the network process."""
        self.news = threading.Condition()
        """Notified when `received` grew, or the process is gone."""
        self.gone = False
        self.hold_back: Callable[[object], bool] = lambda _: False
        """Whether a request is never answered (the helper crashes just there)."""
        self._thread = threading.Thread(target=self._serve, name="fake helper")

    def start(self, message: object, attached: socket.socket | None = None) -> None:
        self.channel.send(message, attached)
        self._thread.start()

    def wait_until(self, holds: Callable[[], bool], timeout: float = 20.0) -> bool:
        """Wait for something about `received` or `gone`; whether it came to hold."""
        with self.news:
            return self.news.wait_for(holds, timeout)

    def of(self, kind: type) -> list[object]:
        return [message for message in self.received if isinstance(message, kind)]

    def close(self) -> None:
        """Hang up, and see the process end."""
        if not self.gone:
            end = socket.socket(fileno=os.dup(self.channel.fileno()))
            with end, contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # wakes our thread too, which a close does not
        try:
            self.process.wait(10.0)
        except TimeoutError:
            self.process.kill()
            self.process.wait()
        if self._thread.ident is not None:
            self._thread.join()
        self.channel.close()

    def _serve(self) -> None:
        while True:
            select.select([self.channel], [], [])
            try:
                received = self.channel.receive()
                if received is not None:
                    self._take(received[0])
            except (EOFError, ChannelError):
                with self.news:
                    self.gone = True
                    self.news.notify_all()
                return

    def _take(self, message: object) -> None:
        if not self.hold_back(message):
            self._answer(message)
        with self.news:
            self.received.append(message)
            self.news.notify_all()

    def _answer(self, message: object) -> None:
        match message:
            case ReadPeers():
                self.channel.send(Peers(tuple(self.allowed_ips.read()), last=True))
            case ReadAdmin():
                self.channel.send(AdminListener(), self.admin)
            case ReadTerms():
                self.channel.send(TermsPart((), (), last=True))
            case ChangeAllowedIPs():
                self.channel.send(Changed(tuple(self.allowed_ips.change(message.changes))))
            case Connect():
                connection = self.connect()
                if isinstance(connection, str):
                    self.channel.send(Failed(connection))
                else:
                    with connection:
                        self.channel.send(Connecting(), connection)
            case ApplyLease():
                self.channel.send(Applied(()))
            case _:
                pass
