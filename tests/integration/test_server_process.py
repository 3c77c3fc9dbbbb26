"""The server's network process as it really runs: no privileges, SQLite on disk, a fake helper."""

import contextlib
import os
import signal
import socket
import sqlite3
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.helper import ProcessHelper
from tests.fakes.namespace import LoopbackNamespace
from wg_dynamic.address import parse_prefix
from wg_dynamic.leases.pool import parse_pool
from wg_dynamic.leases.terms import LeaseTerms, PoolTerms
from wg_dynamic.privsep.requests import (
    SERVER_REPLIES,
    SERVER_REQUESTS,
    Change,
    ChangeAllowedIPs,
    Fatal,
    Ready,
    ServerStart,
    Stop,
)
from wg_dynamic.system.privileges import Account

ALICE, BOB = bytes([1]) * 32, bytes([2]) * 32
SERVER, PORT = "fe80::1", 970
UNPRIVILEGED = Account(65534, 65534)
REQUEST = b"request_ip=2\nsection=address\nip=192.0.2.7\n\n"
GRANTED = (
    b"request_ip=2\nerrno=0\nsection=address\nip=192.0.2.7\nnetwork=192.0.2.0/24\n"
    b"preferred_time=3600\nvalid_time=3600\n\n"
)
RELEASE = b"release_ip=2\n\n"


@pytest.fixture(scope="module")
def namespace() -> Iterator[LoopbackNamespace]:
    if os.geteuid() != 0:
        pytest.skip("needs root: ports below 1024 and a network namespace")
    one = LoopbackNamespace([SERVER, "fe80::a", "fe80::b", "fe80::c"])
    yield one
    one.close()


class Hub:
    """One hub over several lives of its network process."""

    def __init__(self, namespace: LoopbackNamespace, directory: Path) -> None:
        self.namespace = namespace
        self.database = directory / "leases.sqlite"
        self.helper: ProcessHelper
        self.helpers: list[ProcessHelper] = []
        self.sockets: list[socket.socket] = []
        self.listener = namespace.listener(SERVER, PORT)

    def start(self, prepare: Callable[[ProcessHelper], object] = lambda _: None) -> ProcessHelper:
        """A new process; the allowed IPs of the one before stay."""
        before = self.helpers[-1].allowed_ips if self.helpers else None
        self.helper = ProcessHelper(
            "wg_dynamic.cli.server_network", UNPRIVILEGED, SERVER_REPLIES, SERVER_REQUESTS
        )
        self.helpers.append(self.helper)
        if before is not None:
            self.helper.allowed_ips = before
        else:
            self.helper.allowed_ips.add_peer(ALICE, parse_prefix("fe80::a/128"))
            self.helper.allowed_ips.add_peer(BOB, parse_prefix("fe80::b/128"))
        prepare(self.helper)
        terms = LeaseTerms((PoolTerms(parse_pool("192.0.2.0/24")),))
        start = ServerStart("wg0", self.namespace.ifindex, terms, (), os.fspath(self.database))
        self.helper.start(start, self.listener)
        return self.helper

    def serve(self, prepare: Callable[[ProcessHelper], object] = lambda _: None) -> ProcessHelper:
        helper = self.start(prepare)
        assert helper.wait_until(lambda: bool(helper.of(Ready)) or helper.gone)
        assert not helper.gone
        return helper

    def client(self, source: str, source_port: int = 0) -> socket.socket:
        sock = self.namespace.connect(source, SERVER, PORT, source_port)
        self.sockets.append(sock)
        return sock

    def ask(self, source: str, request: bytes = REQUEST) -> bytes:
        """One exchange on a connection of its own."""
        sock = self.client(source)
        sock.sendall(request)
        reply = message(sock)
        sock.close()
        return reply

    def in_force(self) -> dict[str, bytes]:
        leased = self.helper.allowed_ips.leased
        return {str(prefix): key for prefix, key in leased.items()}

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()
        for helper in self.helpers:
            helper.close()
        self.listener.close()


def message(sock: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n\n"):
        piece = sock.recv(65536)
        if not piece:
            return data + b"<closed>"
        data += piece
    return data


@pytest.fixture
def hub(namespace: LoopbackNamespace) -> Iterator[Hub]:
    with tempfile.TemporaryDirectory(prefix="wg-dynamic-") as name:
        directory = Path(name)
        directory.chmod(0o777)  # pytest's own are below one that only root may enter
        one = Hub(namespace, directory)
        yield one
        one.close()


def is_add(request: object) -> bool:
    return isinstance(request, ChangeAllowedIPs) and any(one.add for one in request.changes)


def is_removal(request: object) -> bool:
    return isinstance(request, ChangeAllowedIPs) and any(not one.add for one in request.changes)


def test_a_client_gets_an_address_that_is_in_force_when_it_hears_of_it(hub: Hub) -> None:
    hub.serve()
    assert hub.ask("fe80::a") == GRANTED
    assert hub.in_force() == {"192.0.2.7/32": ALICE}


def test_the_process_has_no_privileges(hub: Hub) -> None:
    helper = hub.serve()
    status = Path(f"/proc/{helper.process.pid}/status").read_text("ascii")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == ["65534"] * 4
    assert int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == 0


def test_leases_survive_a_restart(hub: Hub) -> None:
    helper = hub.serve()
    assert hub.ask("fe80::a") == GRANTED
    helper.channel.send(Stop(release=False))
    assert helper.process.wait(10.0) == 0
    helper.allowed_ips.leased.clear()  # the interface was made anew
    hub.serve()
    assert hub.in_force() == {"192.0.2.7/32": ALICE}
    assert b"192.0.2.7\n" not in hub.ask("fe80::b")
    assert hub.ask("fe80::a", b"request_ip=2\nsection=address\nip=0.0.0.0\n\n") == GRANTED


def test_killed_between_the_commit_and_the_answer_the_lease_is_there(hub: Hub) -> None:
    helper = hub.serve(lambda one: setattr(one, "hold_back", is_add))
    sock = hub.client("fe80::a")
    sock.sendall(REQUEST)
    assert helper.wait_until(lambda: bool(helper.of(ChangeAllowedIPs)))
    os.kill(helper.process.pid, signal.SIGKILL)
    helper.process.wait(10.0)
    with contextlib.suppress(ConnectionResetError):
        assert message(sock) == b"<closed>"
    assert hub.in_force() == {}
    hub.serve()
    assert hub.in_force() == {"192.0.2.7/32": ALICE}
    assert b"192.0.2.7\n" not in hub.ask("fe80::b")
    assert hub.ask("fe80::a") == GRANTED


def test_killed_between_taking_off_and_the_commit_the_address_is_still_leased(hub: Hub) -> None:
    helper = hub.serve()
    assert hub.ask("fe80::a") == GRANTED
    helper.hold_back = is_removal
    sock = hub.client("fe80::a")
    sock.sendall(RELEASE)
    assert helper.wait_until(lambda: len(helper.of(ChangeAllowedIPs)) == 2)
    helper.allowed_ips.change([Change(ALICE, parse_prefix("192.0.2.7/32"), add=False)])
    os.kill(helper.process.pid, signal.SIGKILL)
    helper.process.wait(10.0)
    hub.serve()
    assert hub.in_force() == {"192.0.2.7/32": ALICE}
    assert hub.ask("fe80::a", RELEASE) == b"release_ip=2\nerrno=0\n\n"
    assert hub.in_force() == {}


def test_it_ends_with_its_helper(hub: Hub) -> None:
    helper = hub.serve()
    helper.close()
    assert helper.process.wait(10) == 0


def test_it_ends_with_a_helper_that_goes_in_the_middle_of_a_request(hub: Hub) -> None:
    helper = hub.serve(lambda one: setattr(one, "hold_back", is_add))
    hub.client("fe80::a").sendall(REQUEST)
    assert helper.wait_until(lambda: bool(helper.of(ChangeAllowedIPs)))
    helper.close()
    assert helper.process.wait(10) == 0


def test_signals_are_for_the_helper(hub: Hub) -> None:
    helper = hub.serve()
    os.kill(helper.process.pid, signal.SIGTERM)
    os.kill(helper.process.pid, signal.SIGINT)
    assert hub.ask("fe80::a") == GRANTED


@pytest.mark.parametrize("content", [b"this is no database, " * 100, b"SQLite format 3\0" * 100])
def test_a_database_that_is_none_is_fatal_and_says_what_to_do(hub: Hub, content: bytes) -> None:
    hub.database.write_bytes(content)
    hub.database.chmod(0o666)
    helper = hub.start()
    assert helper.wait_until(lambda: helper.gone)
    (fatal,) = helper.of(Fatal)
    assert isinstance(fatal, Fatal)
    assert str(hub.database) in fatal.reason
    assert "restore it from a backup" in fatal.reason
    assert helper.process.wait(10.0) == 1


def test_a_database_of_a_newer_version_is_fatal(hub: Hub) -> None:
    hub.serve().close()
    with contextlib.closing(sqlite3.connect(hub.database)) as database:
        database.execute("PRAGMA user_version = 99")
    hub.database.chmod(0o666)
    helper = hub.start()
    assert helper.wait_until(lambda: helper.gone)
    (fatal,) = helper.of(Fatal)
    assert isinstance(fatal, Fatal)
    assert "newer wg-dynamic" in fatal.reason


def test_a_directory_that_may_not_be_written_is_fatal(hub: Hub) -> None:
    hub.database.parent.chmod(0o555)
    helper = hub.start()
    assert helper.wait_until(lambda: helper.gone)
    (fatal,) = helper.of(Fatal)
    assert isinstance(fatal, Fatal)
    assert "may write" in fatal.reason


def test_a_stranger_is_told_so_and_the_peers_are_read_anew(hub: Hub) -> None:
    hub.serve()
    reply = hub.ask("fe80::c")
    assert b"errno=6\n" in reply
    assert b"no peer's allowed IP" in reply


def test_a_port_of_1024_is_refused_and_one_of_1023_served(hub: Hub) -> None:
    hub.serve()
    refused = hub.client("fe80::a", 1024)
    assert message(refused) == b"errno=3\nerrmsg=Chosen IP(s) unavailable\n\n"
    served = hub.client("fe80::a", 1023)
    served.sendall(REQUEST)
    assert message(served) == GRANTED


def test_garbage_resets_and_half_messages_do_not_stop_the_service(hub: Hub) -> None:
    hub.serve()
    for data in (b"\0" * 10, b"x" * 70_000, b"request_ip=2\nip", b"request_ip=9\n\n", b""):
        sock = hub.client("fe80::b")
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            sock.sendall(data)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    assert hub.ask("fe80::a") == GRANTED
    with pytest.raises(TimeoutError):
        hub.helper.process.wait(0)


def test_one_connection_serves_several_requests_and_both_versions_have_their_own(
    hub: Hub,
) -> None:
    hub.serve()
    sock = hub.client("fe80::a")
    for _ in range(3):
        sock.sendall(REQUEST)
        assert message(sock) == GRANTED
    reply = hub.ask("fe80::a", b"request_ip=1\nip=0.0.0.0/32\n\n")
    assert reply.startswith(b"ip=192.0.2.7/32\nleasestart=")
    assert reply.endswith(b"leasetime=3600\nerrno=0\n\n")
