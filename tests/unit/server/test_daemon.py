"""The server's network process, wired together: from the start message to Stop."""

import asyncio
import contextlib
import gc
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.helper import FakeAllowedIPs
from tests.fakes.patience import until
from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.leases.lease import Lease
from wg_dynamic.leases.pool import Pool
from wg_dynamic.leases.terms import LeaseTerms, PoolTerms
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.requests import (
    SERVER_REPLIES,
    SERVER_REQUESTS,
    ChangeAllowedIPs,
    Changed,
    Fatal,
    NewTerms,
    NextTerms,
    Peers,
    ReadPeers,
    Ready,
    ServerStart,
    Stop,
    TermsPart,
    TermsTaken,
)
from wg_dynamic.server import listener as listener_module
from wg_dynamic.server.daemon import serve
from wg_dynamic.server.policy import FORMER_TIME
from wg_dynamic.server.proxy import HelperGoneError
from wg_dynamic.store.base import LeaseStore, Moment, StoreError
from wg_dynamic.store.memory import MemoryStore

ALICE = bytes([1]) * 32
TERMS = LeaseTerms((PoolTerms(Pool(parse_prefix("192.0.2.0/24"))),))
START = ServerStart("wg0", 0, TERMS, (), "/leases.sqlite")


class UnreadableStore(MemoryStore):
    """Opens, and cannot be read."""

    def read(self, moment: Moment) -> Iterator[Lease]:
        del moment
        msg = "the database is malformed"
        raise StoreError(msg)


class Helper:
    """The helper's end of the channel, which answers what it is asked."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel = Channel(ours, SERVER_REPLIES, SERVER_REQUESTS)
        self.network = Channel(theirs, SERVER_REQUESTS, SERVER_REPLIES)
        self.allowed_ips = FakeAllowedIPs()
        self.received: list[object] = []
        self.silent = False
        self.gone = False

    def on_readable(self) -> None:
        while (received := self.channel.receive()) is not None:
            message = received[0]
            self.received.append(message)
            if self.silent:
                continue
            if isinstance(message, ReadPeers):
                self.channel.send(Peers(tuple(self.allowed_ips.read()), last=True))
            elif isinstance(message, NextTerms):
                self.channel.send(TermsPart((), (), last=True))
            elif isinstance(message, ChangeAllowedIPs):
                self.channel.send(Changed(tuple(self.allowed_ips.change(message.changes))))

    def hang_up(self) -> None:
        if not self.gone:
            self.gone = True
            asyncio.get_running_loop().remove_reader(self.channel.fileno())
            self.channel.close()


@pytest.fixture
async def helper() -> AsyncIterator[Helper]:
    one = Helper()
    asyncio.get_running_loop().add_reader(one.channel.fileno(), one.on_readable)
    yield one
    one.hang_up()
    one.network.close()


@pytest.fixture
def listener() -> socket.socket:
    """Closed by the server."""
    return socket.create_server(("::1", 0), family=socket.AF_INET6)


def a_store(store: LeaseStore) -> Callable[[Path], LeaseStore]:
    return lambda _: store


async def test_it_reads_the_peers_then_is_ready_then_stops(
    helper: Helper, listener: socket.socket
) -> None:
    address = listener.getsockname()
    async with asyncio.TaskGroup() as group:
        group.create_task(
            serve(START, listener, helper.network, a_store(MemoryStore()), FakeClock())
        )
        await until(lambda: Ready() in helper.received)
        assert helper.received == [ReadPeers(), Ready()]
        helper.channel.send(Stop(release=False))
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(address[:2])


async def test_a_lease_for_ever_that_is_reserved_no_more_ends_and_no_start_puts_that_off(
    helper: Helper, listener: socket.socket
) -> None:
    store, clock = MemoryStore(), FakeClock()
    begin = Moment(clock.now(), clock.wall(), clock.boot_id())
    store.commit([Lease(ALICE, parse_address("192.0.2.7"), inf, inf)], begin)
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(START, listener, helper.network, a_store(store), clock))
        await until(lambda: Ready() in helper.received)
        helper.channel.send(Stop(release=False))
    (lease,) = store.load(begin)
    assert lease.ends_at == begin.now + FORMER_TIME


async def test_leases_of_the_database_are_put_in_force_before_anybody_asks(
    helper: Helper, listener: socket.socket
) -> None:
    clock, store = FakeClock(), MemoryStore()
    lease = Lease(ALICE, parse_address("192.0.2.7"), 3600.0, clock.now() + 60.0)
    store.commit([lease], clock.moment())
    helper.allowed_ips.add_peer(ALICE, parse_prefix("fe80::a/128"))
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(START, listener, helper.network, a_store(store), clock))
        await until(lambda: Ready() in helper.received)
        assert helper.allowed_ips.leased == {parse_prefix("192.0.2.7/32"): ALICE}
        helper.channel.send(Stop(release=False))


async def test_what_is_to_be_adopted_is_leased_before_anybody_asks(
    helper: Helper, listener: socket.socket
) -> None:
    store, clock = MemoryStore(), FakeClock()
    helper.allowed_ips.add_peer(ALICE, parse_prefix("192.0.2.7/32"))
    start = replace(START, adopt=True)
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(start, listener, helper.network, a_store(store), clock))
        await until(lambda: Ready() in helper.received)
        (lease,) = store.load(clock.moment())
        assert (lease.public_key, lease.address) == (ALICE, parse_address("192.0.2.7"))
        assert lease.ends_at == clock.now() + 3600.0
        helper.channel.send(Stop(release=False))


async def test_connections_are_served_and_ended_with_the_server(
    helper: Helper, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = listener.getsockname()
    async with asyncio.TaskGroup() as group:
        group.create_task(
            serve(START, listener, helper.network, a_store(MemoryStore()), FakeClock())
        )
        await until(lambda: Ready() in helper.received)
        reader, writer = await asyncio.open_connection(address[0], address[1])
        assert await reader.read() == b"errno=3\nerrmsg=Chosen IP(s) unavailable\n\n"
        monkeypatch.setattr(listener_module, "PORT_LIMIT", 65536)
        idle_reader, idle_writer = await asyncio.open_connection(address[0], address[1])
        helper.channel.send(Stop(release=False))
        with contextlib.suppress(ConnectionResetError):
            await idle_reader.read()
    writer.close()
    idle_writer.close()


async def test_a_database_that_cannot_be_opened_ends_it(
    helper: Helper, listener: socket.socket
) -> None:
    def open_store(path: Path) -> LeaseStore:
        msg = f"cannot open {path}"
        raise StoreError(msg)

    with listener, pytest.raises(StoreError, match=r"cannot open /leases\.sqlite"):
        await serve(START, listener, helper.network, open_store, FakeClock())


async def test_a_database_that_cannot_be_read_ends_it_and_the_helper_can_be_told(
    helper: Helper, listener: socket.socket
) -> None:
    with listener, pytest.raises(StoreError, match="malformed"):
        await serve(START, listener, helper.network, a_store(UnreadableStore()), FakeClock())
    helper.network.send(Fatal("the database is malformed"))
    await until(lambda: bool(helper.received))
    assert helper.received == [Fatal("the database is malformed")]


async def test_it_ends_with_the_helper_at_any_time(helper: Helper, listener: socket.socket) -> None:
    async def hang_up() -> None:
        await until(lambda: Ready() in helper.received)
        helper.hang_up()

    async with asyncio.TaskGroup() as group:
        group.create_task(hang_up())
        with pytest.raises(HelperGoneError):
            await serve(START, listener, helper.network, a_store(MemoryStore()), FakeClock())


async def test_it_ends_with_a_helper_that_goes_before_the_first_answer(
    helper: Helper, listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    helper.hang_up()
    with listener, pytest.raises(HelperGoneError):
        await serve(START, listener, helper.network, a_store(MemoryStore()), FakeClock())
    assert caplog.text == ""


async def test_new_terms_are_taken_while_it_serves(
    helper: Helper, listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with asyncio.TaskGroup() as group:
        group.create_task(
            serve(START, listener, helper.network, a_store(MemoryStore()), FakeClock())
        )
        await until(lambda: Ready() in helper.received)
        for number in (1, 2):
            helper.channel.send(NewTerms(number, TERMS, ()))
            await until(lambda number=number: TermsTaken(number) in helper.received)  # type: ignore[misc]
        helper.channel.send(Stop(release=False))
    assert helper.received == [
        ReadPeers(),
        Ready(),
        *[NextTerms(), ReadPeers(), TermsTaken(1)],
        *[NextTerms(), ReadPeers(), TermsTaken(2)],
    ]
    assert caplog.text.count("working by the new configuration") == 2


async def test_leases_loaded_are_counted_in_the_log(
    helper: Helper, listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with asyncio.TaskGroup() as group:
        group.create_task(
            serve(START, listener, helper.network, a_store(MemoryStore()), FakeClock())
        )
        await until(lambda: Ready() in helper.received)
        helper.channel.send(Stop(release=False))
    assert "0 leases in /leases.sqlite" in caplog.text


async def test_what_is_there_at_the_start_is_never_looked_through_for_garbage(
    helper: Helper, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen: list[bool] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(Ready() in helper.received))
    monkeypatch.setattr(gc, "set_threshold", lambda *_: None)
    async with asyncio.TaskGroup() as group:
        group.create_task(
            serve(START, listener, helper.network, a_store(MemoryStore()), FakeClock())
        )
        await until(lambda: Ready() in helper.received)
        helper.channel.send(Stop(release=False))
    assert frozen == [False]
