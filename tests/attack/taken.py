"""A network process that is taken over as soon as it could be: from its first network byte on.

It stands in for the interpreter that the helper starts (sys.executable), does what the real one
does until it serves, sandbox included, and then asks the helper for everything that it is not to
have. What came of it goes to the log, as JSON behind TAKEN. It then says that it cannot go on; the
one that is started in its place goes on as `again` says.
"""

import contextlib
import json
import logging
import os
import select
import socket
import struct
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.attack.attempts import Targets, execution, try_all
from wg_dynamic.address import host_prefix, parse_address, parse_prefix
from wg_dynamic.cli.network import run_network_process
from wg_dynamic.cli.server_network import confine
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.requests import (
    CLIENT_REPLIES,
    CLIENT_REQUESTS,
    SERVER_REPLIES,
    SERVER_REQUESTS,
    AddressSetting,
    Applied,
    ApplyLease,
    Change,
    ChangeAllowedIPs,
    Changed,
    ClientStart,
    Connect,
    Connecting,
    Fatal,
    PeerInfo,
    Peers,
    ReadPeers,
    Ready,
    Report,
    ServerStart,
)
from wg_dynamic.privsep.sandbox import CLIENT, Sandbox
from wg_dynamic.privsep.terms import read_terms

_LOG = logging.getLogger(__name__)

INTERPRETER = """#!{python} -I
import sys
sys.path.insert(0, {root!r})
from tests.attack.taken import main
sys.exit(main(sys.argv, {targets!r}))
"""
MARK = parse_prefix("fd00:44::2:1/128")
"""Leased by the second life, so that the third one knows."""
FLOOD = 300
MANY_LEASES = 150


def main(argv: list[str], targets: dict[str, Any]) -> int:
    """What `python -I -S begin.py MODULE ARGUMENTS` does."""
    module, arguments = argv[4], argv[4:]
    again = arguments[-1] == "again"
    if module == "wg_dynamic.cli.server_network":
        life = ServerLife(targets, again=again)
        return run_network_process(
            "wg-dynamic-server", arguments, SERVER_REQUESTS, SERVER_REPLIES, life.work
        )
    life_of_client = ClientLife(targets, again=again)
    return run_network_process(
        "wg-dynamic-client", arguments, CLIENT_REQUESTS, CLIENT_REPLIES, life_of_client.work
    )


class Life:
    """Of one taken process."""

    def __init__(self, targets: dict[str, Any], *, again: bool) -> None:
        self.targets = targets
        self.again = again
        self.outcome: dict[str, object] = {}
        self.channel: Channel

    def ask(self, request: object, kind: type) -> Any:
        """The answer of this kind, and the socket that came with it."""
        self.channel.send(request)
        while True:
            select.select([self.channel], [], [])
            answer, attached = self.channel.receive() or (None, None)
            if isinstance(answer, kind):
                return answer, attached

    def try_system_calls(self, listener: int, accepted: int) -> None:
        """All of attempts.py."""
        targets = Targets(**self.targets, victim=os.getppid(), listener=listener, accepted=accepted)
        self.outcome |= try_all(targets)
        self.outcome["execute"] = execution()

    def end(self) -> None:
        """Say what came of it, and that there is no going on."""
        _LOG.warning("TAKEN %s", json.dumps(self.outcome))
        self.channel.send(Fatal("because I say so\n\x1b[31m"))
        self.idle()

    def idle(self) -> None:
        """Wait for the helper's end."""
        while True:
            select.select([self.channel], [], [])
            self.channel.receive()

    def send_bytes(self, data: bytes, descriptors: Sequence[int] = ()) -> None:
        """Past our own end's checks."""
        with socket.socket(fileno=os.dup(self.channel.fileno())) as end:
            socket.send_fds(end, [data], descriptors)


class ServerLife(Life):
    """On the hub. The peers: the first one is the accomplice, the second one the victim."""

    def work(self, channel: Channel, sandbox: Sandbox) -> None:
        """As cli/server_network.py, until it serves."""
        self.channel = channel
        start, listener = channel.wait_for(ServerStart)
        assert listener is not None
        replace(start, terms=read_terms(channel, start.terms))
        confine(sandbox, Path(start.database))
        channel.send(Ready())
        peers = self.read()
        accomplice, victim = (
            next(peer for peer in peers if host_prefix(parse_address(name)) in peer.fixed)
            for name in ("fe80::1", "fe80::2")
        )
        if not self.again:
            self.ask_for_everything(accomplice, victim)
            self.outcome["the same static allowed IPs"] = peers == [
                replace(peer, leased=()) for peer in self.read()
            ]
            with contextlib.suppress(OSError):  # newer kernels refuse them before they are sent
                for _ in range(FLOOD):
                    self.send_bytes(b"\x00", [listener.fileno()])
            Path(start.database).write_text("mine")
            self.outcome["its own database"] = "done"
            Path(start.database).unlink()
            self.try_system_calls(listener.fileno(), listener.fileno())
            self.end()
        elif MARK not in accomplice.leased:
            self.change([Change(accomplice.public_key, MARK, add=True)])
            self.send_bytes(struct.pack("=I", 0xDEADBEEF) * 1000)
        self.idle()

    def read(self) -> list[PeerInfo]:
        """All peers; there are few."""
        answer: Peers = self.ask(ReadPeers(), Peers)[0]
        return sorted(answer.peers, key=lambda peer: peer.public_key)

    def change(self, changes: list[Change]) -> list[str]:
        """Why each was refused."""
        answer: Changed = self.ask(ChangeAllowedIPs(tuple(changes)), Changed)[0]
        return [refusal.reason for refusal in answer.refusals]

    def ask_for_everything(self, accomplice: PeerInfo, victim: PeerInfo) -> None:
        """Each request that there is, with what is not to be had."""
        for name, key, prefix in (
            ("what is in no pool", accomplice.public_key, "192.0.2.9/32"),
            ("another peer's link-local", accomplice.public_key, "fe80::2/128"),
            ("another peer's static address", accomplice.public_key, "10.44.0.77/32"),
            ("what is in another's static range", accomplice.public_key, "10.44.0.200/32"),
            ("what is reserved for another", accomplice.public_key, "10.44.0.9/32"),
            ("the hub's own address", accomplice.public_key, "10.44.0.1/32"),
            ("an address for nobody", bytes(32), "10.44.0.10/32"),
        ):
            self.outcome[name] = self.change([Change(key, parse_prefix(prefix), add=True)])
        for peer in (accomplice, victim):
            for fixed in peer.fixed:
                if fixed.is_host:
                    self.change([Change(peer.public_key, fixed, add=False)])
        many = [
            Change(accomplice.public_key, parse_prefix(f"fd00:44::1:{n:x}/128"), add=True)
            for n in range(FLOOD)
        ]
        self.outcome["the whole pool"] = len(self.change(many))
        self.change([replace(change, add=False) for change in many])


class ClientLife(Life):
    """On a client."""

    def work(self, channel: Channel, sandbox: Sandbox) -> None:
        """As cli/client_network.py, until it asks."""
        self.channel = channel
        channel.wait_for(ClientStart)
        sandbox.close(CLIENT)
        channel.send(Ready())
        if self.again:
            self.idle()
        for name, address, network in (
            ("an address that is not private", "8.8.8.8/32", "8.8.8.8/32"),
            ("the whole Internet", "10.44.0.5/32", "0.0.0.0/0"),
            ("an address of this machine", "10.9.9.9/32", "10.9.9.9/32"),
            ("the network of another interface", "10.9.9.7/32", "10.9.9.0/24"),
            ("the gateway", "10.9.9.1/32", "10.9.9.1/32"),
            ("another peer's allowed IP", "10.99.0.1/32", "10.99.0.1/32"),
            ("loopback", "127.0.0.9/32", "127.0.0.9/32"),
        ):
            self.outcome[name] = self.apply(address, network)
        for number in range(MANY_LEASES):
            self.apply(f"10.44.0.{number % 2 + 1}/32", f"10.44.0.{number % 2 + 1}/32")
        for _ in range(FLOOD):
            channel.send(Report("x" * 1000))
        _, connection = self.ask(Connect(), Connecting)
        self.outcome["connects from"] = connection.getsockname()[:2]
        self.try_system_calls(connection.fileno(), connection.fileno())
        self.end()

    def apply(self, address: str, network: str) -> list[str]:
        """Why it was refused."""
        setting = AddressSetting(parse_prefix(address), parse_prefix(network), 60, 60)
        answer: Applied = self.ask(ApplyLease((setting,)), Applied)[0]
        return [refused.reason for refused in answer.refused]


if __name__ == "__main__":
    sys.exit("started by a helper only")
