"""Connections over real loopback sockets: docs/protocol.md 2.1 to 2.4, 3.3 and 12."""

import asyncio
import contextlib
import itertools
import logging
import socket
import struct
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.patience import a_while, until
from wg_dynamic.address import host_prefix, parse_address
from wg_dynamic.protocol import (
    MAX_LINE_SIZE,
    MAX_MESSAGE_SIZE,
    DeclineIP,
    DeclineIPReply,
    LeasedAddress,
    ReleaseIPReply,
    RequestIP,
    RequestIPReply,
    Route,
    SubscribeReply,
    Update,
)
from wg_dynamic.server import listener as listener_module
from wg_dynamic.server import subscribers as subscribers_module
from wg_dynamic.server.engine import Engine, Job
from wg_dynamic.server.events import Events
from wg_dynamic.server.identity import PeerTable
from wg_dynamic.server.listener import UNKNOWN, Listener

ALICE, BOB = bytes([1]) * 32, bytes([2]) * 32
LEASED = LeasedAddress(IPv4Address("192.0.2.7"), IPv4Network("192.0.2.0/24"), 3600, 3600)
REQUEST = b"request_ip=2\nid=1\n\n"
REPLY = (
    b"request_ip=2\nid=1\nerrno=0\nsection=address\nip=192.0.2.7\nnetwork=192.0.2.0/24\n"
    b"preferred_time=3600\nvalid_time=3600\n\n"
)
INVALID = b"errno=1\nerrmsg=Invalid request\n\n"
UNAVAILABLE = b"errno=3\nerrmsg=Chosen IP(s) unavailable\n\n"


class FakePeers(PeerTable):
    """Everybody on ::1 is one peer."""

    def __init__(self, public_key: bytes | None) -> None:
        super().__init__([])
        self.public_key = public_key

    def owner(self, source: bytes) -> bytes | None:
        return self.public_key if source == parse_address("::1") else None


class FakeEngine(Engine):
    """Keeps the requests; answers at once unless told to hold back."""

    def __init__(self) -> None:
        # Engine's own __init__ is about leases, of which there are none here.
        self.jobs: list[Job] = []
        self.holds_back = False
        self.busy = False
        self.noticed = lambda _keys: None
        self.events = Events(FakeClock(), host_prefix)
        self.routes: tuple[Route, ...] = ()
        self.mtu: int | None = None

    def standing(self, public_key: bytes, serial: int) -> Update:
        assert public_key == ALICE
        return Update(serial=serial, reset=True, routes=self.routes, mtu=self.mtu)

    @property
    def is_busy(self) -> bool:
        return self.busy

    def submit(self, job: Job) -> None:
        self.jobs.append(job)
        if not self.holds_back:
            asyncio.get_running_loop().call_soon(self.answer, job)

    def answer(self, job: Job) -> None:
        request = job.request
        if isinstance(request, RequestIP):
            start = 1_700_000_000 if request.version == 1 else None
            job.done(
                RequestIPReply(request.version, request.id, addresses=(LEASED,), lease_start=start)
            )
        elif isinstance(request, DeclineIP):
            job.done(DeclineIPReply(id=request.id))
        else:
            job.done(ReleaseIPReply(id=request.id))


class Client:
    """The other end: raw bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def read(self, count: int) -> bytes:
        async with asyncio.timeout(5.0):
            return await self.reader.readexactly(count)

    async def message(self) -> bytes:
        async with asyncio.timeout(5.0):
            return await self.reader.readuntil(b"\n\n")

    async def rest(self) -> bytes:
        """Everything until the server closes; a reset ends it too."""
        data = bytearray()
        async with asyncio.timeout(5.0):
            with contextlib.suppress(ConnectionResetError):
                while piece := await self.reader.read(65536):
                    data += piece
        return bytes(data)

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Served:
    """A listener on ::1, and clients of it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.engine = FakeEngine()
        self.peers = FakePeers(ALICE)
        self.refreshed = 0
        self.shared = Listener(self.engine, self.peers, 0, self.clock, self._refresh)
        self.socket: Any = socket.create_server(("::1", 0), family=socket.AF_INET6)
        self.clients: list[Client] = []
        self.complaints: list[dict[str, Any]] = []

    def _refresh(self) -> None:
        self.refreshed += 1

    async def connect(self) -> Client:
        sock = socket.socket(socket.AF_INET6)
        sock.connect(self.socket.getsockname())
        return await self.adopt(sock)

    async def adopt(self, connected: socket.socket) -> Client:
        client = Client(*await asyncio.open_connection(sock=connected))
        self.clients.append(client)
        return client


@pytest.fixture
async def served(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Served]:
    """Whatever the test does, nothing may come to asyncio's own exception handler."""
    monkeypatch.setattr(listener_module, "PORT_LIMIT", 65536)
    caplog.set_level(logging.INFO)
    one = Served()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: one.complaints.append(context))
    server = one.shared.open(one.socket)
    async with asyncio.TaskGroup() as group:
        telling = group.create_task(one.shared.subscribers.run())
        yield one
        telling.cancel()
    for client in one.clients:
        client.writer.transport.abort()
    server.close()
    for connection in list(one.shared.connections):
        connection.end()
    await until(lambda: not one.shared.connections)
    assert one.shared.of_peer == {}
    assert one.complaints == []
    assert [record for record in caplog.records if record.name == "asyncio"] == []


# --- requests -----------------------------------------------------------------------------------


async def test_a_request_reaches_the_engine_and_its_reply_the_client(served: Served) -> None:
    client = await served.connect()
    client.send(REQUEST)
    assert await client.message() == REPLY
    (job,) = served.engine.jobs
    assert (job.public_key, job.source) == (ALICE, parse_address("::1"))


async def test_bytes_may_come_one_by_one(served: Served) -> None:
    client = await served.connect()
    client.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in REQUEST:
        client.send(bytes([byte]))
        await asyncio.sleep(0)
    assert await client.message() == REPLY


async def test_pipelined_requests_are_answered_in_order_one_at_a_time(served: Served) -> None:
    client = await served.connect()
    client.send(b"".join(b"release_ip=2\nid=%d\n\n" % number for number in range(50)))
    for number in range(50):
        assert await client.message() == b"release_ip=2\nid=%d\nerrno=0\n\n" % number


async def test_nothing_is_read_while_a_request_is_worked_on(served: Served) -> None:
    served.engine.holds_back = True
    client = await served.connect()
    client.send(REQUEST + REQUEST)
    await until(lambda: len(served.engine.jobs) == 1)
    client.send(REQUEST)
    await a_while()
    assert len(served.engine.jobs) == 1
    served.engine.holds_back = False
    served.engine.answer(served.engine.jobs[0])
    assert await client.read(3 * len(REPLY)) == 3 * REPLY


async def test_version_1_is_served(served: Served) -> None:
    client = await served.connect()
    client.send(b"request_ip=1\nip=0.0.0.0/32\n\n")
    reply = b"ip=192.0.2.7/32\nleasestart=1700000000\nleasetime=3600\nerrno=0\n\n"
    assert await client.message() == reply


async def test_a_ping_is_answered_without_the_engine(served: Served) -> None:
    client = await served.connect()
    client.send(b"ping=2\nid=5\n\n")
    assert await client.message() == b"pong=2\nid=5\n\n"
    assert served.engine.jobs == []


async def test_an_unknown_command_is_refused_and_the_connection_stays(served: Served) -> None:
    client = await served.connect()
    client.send(b"frobnicate=2\nid=9\n\n" + REQUEST)
    assert await client.message() == b"frobnicate=2\nid=9\nerrno=8\nerrmsg=Unknown command\n\n"
    assert await client.message() == REPLY


SUBSCRIBED = b"subscribe=2\nid=9\nerrno=0\nserial=1700000000\ninterval=120\n\n"
STATE = b"update=2\nserial=%d\nreset=true\n%s\n"


async def subscribe(served: Served) -> Client:
    client = await served.connect()
    client.send(b"subscribe=2\nid=9\n\n")
    assert (await client.message()).startswith(b"subscribe=2\nid=9\nerrno=0\n")
    assert (await client.message()).startswith(b"update=2\n")
    return client


async def test_a_subscriber_is_told_how_often_to_ping_and_what_holds(served: Served) -> None:
    client = await served.connect()
    client.send(b"subscribe=2\nid=9\n\n")
    reply, state = await client.message(), await client.message()
    serial = served.shared.subscribers.serial
    assert reply == SUBSCRIBED.replace(b"1700000000", b"%d" % serial)
    assert state == STATE % (serial, b"")
    assert served.engine.jobs == []


async def test_a_subscriber_is_told_of_what_changes_between_its_replies(served: Served) -> None:
    client = await subscribe(served)
    client.send(REQUEST)
    assert await client.message() == REPLY
    served.engine.mtu = 1380
    served.engine.noticed(None)
    serial = served.shared.subscribers.serial + 1
    assert await client.message() == STATE % (serial, b"mtu=1380\n")
    client.send(b"ack=2\nserial=%d\n\nping=2\nid=1\n\n" % serial)
    assert await client.message() == b"pong=2\nid=1\n\n"


async def test_a_subscriber_is_closed_when_it_is_silent_for_twice_the_interval(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "INTERVAL", 0.15)
    monkeypatch.setattr(listener_module, "IDLE_TIME", 0.01)
    client = await served.connect()
    monkeypatch.setattr(listener_module, "SubscribeReply", whole_interval)
    client.send(b"subscribe=2\nid=9\n\n")
    await client.message()
    await client.message()
    for serial in range(4):  # each message is a sign of life, an ack, too
        await asyncio.sleep(0.1)
        client.send(b"ack=2\nserial=%d\n\n" % serial)
    assert len(served.shared.subscribers) == 1
    began = asyncio.get_running_loop().time()
    assert await client.rest() == b""
    assert asyncio.get_running_loop().time() - began > 0.2
    assert len(served.shared.subscribers) == 0


def whole_interval(**fields: Any) -> SubscribeReply:
    return SubscribeReply(**{**fields, "interval": 1})


async def test_a_subscriber_of_which_half_a_message_came_is_closed_soon(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "MESSAGE_TIME", 0.1)
    client = await subscribe(served)
    client.send(b"ping=")
    assert await client.rest() == b""


async def test_one_subscriber_too_many_is_turned_away_and_may_ask_on(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscribers_module, "MAX_SUBSCRIBERS", 1)
    await subscribe(served)
    client = await served.connect()
    client.send(b"subscribe=2\nid=9\n\n" + REQUEST)
    refused = b"subscribe=2\nid=9\nerrno=12\nerrmsg=Server busy\nretry_after=900\n\n"
    assert await client.message() == refused
    assert await client.message() == REPLY


async def test_an_address_that_became_another_peers_cannot_subscribe(served: Served) -> None:
    client = await served.connect()
    client.send(REQUEST)
    assert await client.message() == REPLY
    served.peers.public_key = BOB
    client.send(b"subscribe=2\nid=9\n\n")
    assert b"errno=6\n" in await client.message()
    assert len(served.shared.subscribers) == 0


async def test_subscriptions_count_as_requests(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "MAX_REQUESTS", 2)
    client = await subscribe(served)
    client.send(b"subscribe=2\nid=1\n\nsubscribe=2\nid=2\n\n")
    await client.message()
    await client.message()
    assert b"errno=5\n" in await client.message()
    assert len(served.shared.subscribers) == 1
    assert served.engine.events.outcomes == {("subscribe", 0): 2, ("subscribe", 5): 1}


async def test_subscribers_that_do_not_read_cost_what_they_were_sent_and_no_more(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    await subscribe(served)
    (connection,) = served.shared.connections
    served.engine.routes = tuple(
        Route(IPv4Network((0x0A000000 + (n << 8), 24))) for n in range(256)
    )
    for mtu in range(1280, 3000):
        served.engine.mtu = mtu
        served.engine.noticed(None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert connection.is_full
    unsent = connection._transport.get_write_buffer_size()
    assert unsent < 2 * listener_module.MAX_UNSENT


async def test_an_ack_without_a_subscription_ends_the_connection(served: Served) -> None:
    client = await served.connect()
    client.send(b"ack=2\nserial=1\n\n")
    assert b"errno=1\n" in await client.rest()


# --- what hostile peers send --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (b"garbage\n\n", INVALID),
        (b"request_ip=2\nid=\x00\n\n", INVALID),
        (b"\0", INVALID),
        (b"x" * MAX_LINE_SIZE, INVALID),
        ((b"x" * 63 + b"\n") * (MAX_MESSAGE_SIZE // 64), INVALID),
        (b"\n", b"errno=2\nerrmsg=Unsupported protocol\n\n"),
        (b"request_ip=3\n\n", b"errno=2\nerrmsg=Unsupported protocol\n\n"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n\n\n", INVALID),
        (bytes(range(128, 256)) + b"=2\n\n", INVALID),
    ],
)
async def test_what_is_no_message_is_refused_with_one_reply_and_closed(
    served: Served, data: bytes, reply: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    client = await served.connect()
    client.send(data)
    assert await client.rest() == reply
    assert len(caplog.records) == 1
    assert served.engine.jobs == []


async def test_a_fault_after_a_good_request_is_answered_after_it(served: Served) -> None:
    client = await served.connect()
    client.send(REQUEST + b"nonsense\n\n" + REQUEST)
    assert await client.rest() == REPLY + INVALID
    assert len(served.engine.jobs) == 1


async def test_endless_input_is_cut_off_at_the_limit(served: Served) -> None:
    client = await served.connect()
    for _ in range(64):
        client.send(b"a=" + b"x" * 8190)
    assert await client.rest() in (INVALID, b"")  # the reset may overtake the reply


async def test_garbage_cannot_fill_the_log(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(20):
        client = await served.connect()
        client.send(b"garbage\x1b[2J\n\n")
        await client.rest()
    assert 1 <= len(caplog.records) <= 5
    assert "\x1b" not in caplog.text


async def test_half_a_message_is_dropped_without_an_answer(served: Served) -> None:
    client = await served.connect()
    client.send(REQUEST[:-1])
    client.writer.write_eof()
    assert await client.rest() == b""


async def test_a_client_that_sends_nothing_and_closes_is_closed(served: Served) -> None:
    client = await served.connect()
    client.writer.write_eof()
    assert await client.rest() == b""


async def test_a_client_that_shut_down_its_side_still_gets_its_reply(served: Served) -> None:
    served.engine.holds_back = True
    client = await served.connect()
    client.send(REQUEST)
    client.writer.write_eof()
    await until(lambda: bool(served.engine.jobs))
    await a_while()
    served.engine.answer(served.engine.jobs[0])
    assert await client.rest() == REPLY


async def test_a_reset_ends_the_connection_and_nothing_else(served: Served) -> None:
    client = await served.connect()
    client.send(REQUEST)
    await client.message()
    client.reset()
    await until(lambda: not served.shared.connections)
    other = await served.connect()
    other.send(REQUEST)
    assert await other.message() == REPLY


async def test_a_reset_before_the_answer_does_no_harm(served: Served) -> None:
    served.engine.holds_back = True
    client = await served.connect()
    client.send(REQUEST)
    await until(lambda: bool(served.engine.jobs))
    client.reset()
    await a_while()
    served.engine.answer(served.engine.jobs[0])
    await until(lambda: not served.shared.connections)


async def test_an_answer_after_the_connection_was_ended_does_no_harm(served: Served) -> None:
    served.engine.holds_back = True
    client = await served.connect()
    client.send(REQUEST)
    await until(lambda: bool(served.engine.jobs))
    for connection in list(served.shared.connections):
        connection.end()
    await until(lambda: not served.shared.connections)
    served.engine.answer(served.engine.jobs[0])
    assert await client.rest() == b""


async def test_a_reply_that_breaks_the_protocol_ends_that_connection_only(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    served.engine.holds_back = True
    client, other = await served.connect(), await served.connect()
    client.send(REQUEST)
    await until(lambda: len(served.engine.jobs) == 1)
    served.engine.jobs[0].done(RequestIPReply(id=4711))
    assert await client.rest() == b""
    assert "a reply that the protocol does not allow" in caplog.text
    served.engine.holds_back = False
    other.send(REQUEST)
    assert await other.message() == REPLY


# --- deadlines ----------------------------------------------------------------------------------


async def test_a_client_that_says_nothing_is_closed(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listener_module, "MESSAGE_TIME", 0.01)
    client = await served.connect()
    assert await client.rest() == b""
    assert caplog.records == []


async def test_a_message_that_does_not_come_to_its_end_is_not_waited_for(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listener_module, "MESSAGE_TIME", 0.1)
    client = await served.connect()
    time = asyncio.get_running_loop().time
    began = time()
    while time() - began < 2.0:  # a byte now and then does not put the end off
        if client.reader.at_eof() or client.writer.is_closing():
            break
        client.send(b"a")
        await asyncio.sleep(0.001)
    assert await client.rest() == b""
    assert time() - began < 1.0
    assert "message not whole" in caplog.text


async def test_half_a_message_behind_a_whole_one_has_the_same_deadline(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "MESSAGE_TIME", 0.02)
    client = await served.connect()
    client.send(REQUEST + b"request")
    assert await client.rest() == REPLY


async def test_an_idle_connection_is_closed_quietly(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listener_module, "IDLE_TIME", 0.01)
    client = await served.connect()
    client.send(b"ping=2\n\nfrobnicate=2\n\n")
    assert (await client.rest()).startswith(b"pong=2\n\n")
    assert caplog.records == []


async def test_a_request_that_is_worked_on_has_no_deadline(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "MESSAGE_TIME", 0.01)
    served.engine.holds_back = True
    client = await served.connect()
    client.send(REQUEST)
    await until(lambda: bool(served.engine.jobs))
    await asyncio.sleep(0.03)
    served.engine.answer(served.engine.jobs[0])
    assert await client.message() == REPLY


async def test_who_does_not_read_is_not_read_from_and_then_closed(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "MESSAGE_TIME", 0.05)
    monkeypatch.setattr(listener_module, "MAX_UNSENT", 1024)
    monkeypatch.setattr(listener_module, "MAX_MESSAGES", 1_000_000)
    served.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    client = await served.connect()
    client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.writer.transport.pause_reading()  # type: ignore[attr-defined] # TCP's can
    client.send(b"frobnicate=2\n\n" * 100_000)
    await until(lambda: bool(served.shared.connections))
    (connection,) = served.shared.connections
    unsent = []

    def is_gone() -> bool:
        unsent.append(connection._transport.get_write_buffer_size())
        return not served.shared.connections

    await until(is_gone)
    assert max(unsent) < 1 << 16
    assert connection._wire.bytes_waiting < 1 << 20  # what it held at most


async def test_who_does_not_read_a_long_reply_is_closed_before_an_idle_one(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "MESSAGE_TIME", 0.05)
    monkeypatch.setattr(listener_module, "MAX_UNSENT", 1024)
    served.engine.holds_back = True
    served.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    client = await served.connect()
    client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.writer.transport.pause_reading()  # type: ignore[attr-defined] # TCP's can
    client.send(REQUEST)
    await until(lambda: bool(served.engine.jobs))
    routes = tuple(Route(IPv4Network((number << 16, 24))) for number in range(4096))
    served.engine.jobs[0].done(RequestIPReply(id=1, addresses=(LEASED,), routes=routes))
    await until(lambda: not served.shared.connections)


async def test_who_reads_late_gets_everything(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "MAX_UNSENT", 1024)
    served.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    client = await served.connect()
    client.send(b"ping=2\nid=7\n\n" * 1_000)
    client.writer.write_eof()
    assert await client.rest() == b"pong=2\nid=7\n\n" * 1_000


# --- who may ------------------------------------------------------------------------------------


async def test_a_port_that_needs_no_root_is_refused_with_one_reply_and_one_line(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listener_module, "PORT_LIMIT", 1024)
    client = await served.connect()
    client.send(REQUEST)
    assert await client.rest() == UNAVAILABLE
    (record,) = caplog.records
    assert "expected one below 1024" in record.getMessage()
    assert served.engine.jobs == []


async def test_ports_that_need_no_root_cannot_fill_the_log(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listener_module, "PORT_LIMIT", 1024)
    for _ in range(10):
        await (await served.connect()).rest()
    assert len(caplog.records) == 5
    served.clock.pass_time(60.0)
    await (await served.connect()).rest()
    assert len(caplog.records) == 6


@pytest.mark.parametrize(("above", "reply"), [(0, UNAVAILABLE), (1, REPLY)])
async def test_the_limit_is_the_first_port_that_is_refused(
    served: Served, monkeypatch: pytest.MonkeyPatch, above: int, reply: bytes
) -> None:
    sock = socket.socket(socket.AF_INET6)
    sock.bind(("::1", 0))
    monkeypatch.setattr(listener_module, "PORT_LIMIT", sock.getsockname()[1] + above)
    sock.connect(served.socket.getsockname())
    client = await served.adopt(sock)
    client.send(REQUEST)
    assert await client.message() == reply


async def test_another_interface_is_refused(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    served.shared.ifindex = 7
    client = await served.connect()
    assert await client.rest() == UNAVAILABLE
    assert "another interface" in caplog.text


async def test_a_source_that_stays_unknown_is_told_so_and_closed(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listener_module, "REFRESH_TIME", 0.01)
    served.peers.public_key = None
    client = await served.connect()
    client.send(REQUEST)
    reply = await client.rest()
    assert reply.startswith(b"request_ip=2\nid=1\nerrno=6\n")
    assert b"no peer's allowed IP of length 128" in reply
    assert served.refreshed == 2
    assert "no peer has this address" in caplog.text


async def test_a_source_that_stays_unknown_is_told_so_in_version_1_too(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "REFRESH_TIME", 0.01)
    served.peers.public_key = None
    client = await served.connect()
    client.send(b"request_ip=1\nip=0.0.0.0/32\n\n")
    assert await client.rest() == UNAVAILABLE


async def test_a_peer_that_was_added_just_now_is_served_after_the_next_reading(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "REFRESH_TIME", 0.02)
    served.peers.public_key = None
    client = await served.connect()
    client.send(REQUEST + b"ping=2\n\n")
    await until(lambda: served.refreshed == 2)
    assert dict(served.shared.of_peer) == {UNKNOWN: 1}
    served.peers.public_key = ALICE
    assert await client.message() == REPLY
    assert await client.message() == b"pong=2\n\n"
    assert dict(served.shared.of_peer) == {ALICE: 1}


async def test_a_peer_known_by_the_time_of_its_request_does_not_wait(served: Served) -> None:
    served.peers.public_key = None
    client = await served.connect()
    await until(lambda: served.refreshed == 1)
    served.peers.public_key = ALICE
    client.send(REQUEST)
    assert await client.message() == REPLY


async def test_an_unknown_source_that_leaves_early_is_forgotten(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "REFRESH_TIME", 0.01)
    served.peers.public_key = None
    client = await served.connect()
    client.send(REQUEST)
    await until(lambda: served.refreshed == 2)
    for connection in list(served.shared.connections):
        connection.end()
    await until(lambda: not served.shared.connections)
    await asyncio.sleep(0.02)
    assert served.engine.jobs == []


# --- limits -------------------------------------------------------------------------------------


async def test_one_peer_has_so_many_connections_and_no_more(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "MAX_PER_PEER", 2)
    clients = [await served.connect() for _ in range(3)]
    assert await clients[2].rest() == UNAVAILABLE
    served.peers.public_key = BOB  # another peer is not concerned
    other = await served.connect()
    other.send(REQUEST)
    assert await other.message() == REPLY


async def test_a_connection_that_ended_counts_no_more(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "MAX_PER_PEER", 1)
    for _ in range(3):
        client = await served.connect()
        client.send(REQUEST)
        assert await client.message() == REPLY
        client.writer.transport.abort()
        await until(lambda: not served.shared.connections)


async def test_unknown_sources_together_have_so_many_connections_and_no_more(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "MAX_UNKNOWN", 2)
    served.peers.public_key = None
    clients = [await served.connect() for _ in range(3)]
    assert await clients[2].rest() == UNAVAILABLE
    served.peers.public_key = ALICE
    known = await served.connect()
    known.send(REQUEST)
    assert await known.message() == REPLY


async def test_all_peers_together_have_so_many_connections_and_no_more(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "MAX_CONNECTIONS", 2)
    clients = [await served.connect() for _ in range(3)]
    assert await clients[2].rest() == UNAVAILABLE
    clients[0].send(REQUEST)
    assert await clients[0].message() == REPLY


async def test_one_peer_has_so_many_requests_a_minute_and_no_more(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "MAX_REQUESTS", 2)
    client = await served.connect()
    client.send(REQUEST * 2 + b"release_ip=2\nid=2\n\n")
    assert await client.read(2 * len(REPLY)) == 2 * REPLY
    limited = b"errno=5\nerrmsg=Too many requests\nretry_after=60\n\n"
    assert await client.message() == b"release_ip=2\nid=2\n" + limited
    served.clock.pass_time(59.5)
    client.send(REQUEST)
    assert (await client.message()).endswith(b"retry_after=1\n\n")
    served.clock.pass_time(0.5)
    client.send(REQUEST)
    assert await client.message() == REPLY


async def test_a_peer_that_sends_more_than_anybody_needs_is_closed_until_the_minute_is_over(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "MAX_MESSAGES", 4)  # the connection is the first
    client = await served.connect()
    client.send(b"ping=2\n\n" * 2 + b"frobnicate=2\n\n" + b"ping=2\n\n" * 1000)
    said = await client.rest()
    assert said.startswith(b"pong=2\n\n" * 2 + b"frobnicate=2\nerrno=8\n")
    assert said.endswith(UNAVAILABLE)
    assert said.count(b"pong") == 2
    again = await served.connect()
    assert await again.rest() == b""
    served.clock.pass_time(60.0)
    third = await served.connect()
    third.send(REQUEST)
    assert await third.message() == REPLY


async def test_a_peer_that_connects_more_than_anybody_needs_is_turned_away_without_a_word(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listener_module, "MAX_MESSAGES", 3)
    monkeypatch.setattr(listener_module, "MAX_PER_PEER", 2)
    first, *_, third = [await served.connect() for _ in range(3)]
    assert await third.rest() == UNAVAILABLE, "refused ones count too"
    for _ in range(20):
        assert await (await served.connect()).rest() == b""
    assert len(served.shared.connections) == 2
    assert 1 <= caplog.text.count("too many messages, no new connections") <= 5
    served.peers.public_key = BOB  # another peer is not concerned
    other = await served.connect()
    other.send(REQUEST)
    assert await other.message() == REPLY
    served.peers.public_key = ALICE
    served.clock.pass_time(60.0)
    first.send(REQUEST)
    assert await first.message() == REPLY


async def test_what_any_user_of_a_machine_can_do_is_not_held_against_its_peer(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "MAX_MESSAGES", 3)
    monkeypatch.setattr(listener_module, "PORT_LIMIT", 1)
    said = [await (await served.connect()).rest() for _ in range(5)]
    assert said == [*[UNAVAILABLE] * 3, b"", b""]
    monkeypatch.setattr(listener_module, "PORT_LIMIT", 65536)
    client = await served.connect()
    client.send(REQUEST)
    assert await client.message() == REPLY


async def test_a_peer_has_so_many_new_connections_a_second_and_no_more(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "MAX_ARRIVALS", 2)
    for _ in range(3):  # as many again, as often as a second is over
        for _ in range(2):
            client = await served.connect()
            client.send(REQUEST)
            assert await client.message() == REPLY
            client.reset()
        served.clock.pass_time(1.0)
    await until(lambda: not served.shared.connections)
    clients = [await served.connect() for _ in range(3)]
    assert await clients[2].rest() == b""
    served.clock.pass_time(1.0)
    assert await (await served.connect()).rest() == b"", "until the minute is over"
    served.clock.pass_time(60.0)
    again = await served.connect()
    again.send(REQUEST)
    assert await again.message() == REPLY


async def test_a_burst_of_connections_lets_others_have_their_turn(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one turn of the loop no more than ACCEPTED_AT_ONCE come in, however many wait."""
    monkeypatch.setattr(listener_module, "MAX_ARRIVALS", 1000)
    monkeypatch.setattr(listener_module, "MAX_PER_PEER", 1000)
    waiting = [socket.create_connection(served.socket.getsockname()[:2]) for _ in range(100)]
    seen = []
    while len(served.shared.connections) < 100:
        seen.append(len(served.shared.connections))
        await asyncio.sleep(0)
    steps = [after - before for before, after in itertools.pairwise([*seen, 100])]
    assert max(steps) <= listener_module.ACCEPTED_AT_ONCE
    for each in waiting:
        each.close()


async def test_a_connection_with_much_to_say_lets_others_have_their_turn(served: Served) -> None:
    talker, other = await served.connect(), await served.connect()
    talker.send(b"ping=2\n\n" * 1000)
    await talker.read(8)
    other.send(REQUEST)
    assert await other.message() == REPLY
    (connection,) = [one for one in served.shared.connections if one._wire.bytes_waiting]
    assert connection._scheduled


async def test_a_flood_of_requests_over_the_limit_is_refused_one_by_one(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "MAX_REQUESTS", 0)
    client = await served.connect()
    client.send(b"release_ip=2\n\n" * 500)
    client.writer.write_eof()
    assert (await client.rest()).count(b"errno=5\n") == 500


async def test_nobody_is_accepted_while_the_engine_has_more_than_it_can_do_at_once(
    served: Served,
) -> None:
    served.engine.busy = True
    with socket.create_connection(served.socket.getsockname()[:2]):
        await a_while()
        assert not served.shared.connections
        served.engine.busy = False
        await until(lambda: len(served.shared.connections) == 1)
