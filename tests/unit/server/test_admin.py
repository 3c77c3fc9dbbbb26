"""The administration socket, real, in front of an engine among fakes."""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.patience import a_while, until
from tests.fakes.server import ALICE, BOB, Server
from wg_dynamic.admin.protocol import MAX_REQUEST
from wg_dynamic.leases.lease import Lease
from wg_dynamic.server import admin as module
from wg_dynamic.server.admin import AdminServer
from wg_dynamic.server.admin_answers import Answers
from wg_dynamic.server.admin_history import Troubles
from wg_dynamic.wireguard.key import format_key

MEMBER = 12345
"""A user that is not root."""


class Client:
    """The other end: raw lines."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def line(self) -> dict[str, Any]:
        async with asyncio.timeout(5.0):
            value: dict[str, Any] = json.loads(await self.reader.readline())
            return value

    async def answer(self, **request: object) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """The rows, and the last line."""
        self.send(json.dumps(request).encode() + b"\n")
        rows = []
        while "row" in (line := await self.line()):
            rows.append(line["row"])
        return rows, line

    async def ended(self) -> bytes:
        """What comes until the server closes."""
        async with asyncio.timeout(5.0):
            with contextlib.suppress(ConnectionResetError):
                return await self.reader.read()
        return b""


class Administration:
    """A server and its socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.server = Server()
        clock = self.server.clock
        self.troubles = Troubles(clock)
        answers = Answers(
            self.server.engine, self.server.peers, clock, interface="wg0", database="/x"
        )
        self.admin = AdminServer(self.server.engine, answers, clock, "wg0", self.troubles)
        self._clients: list[Client] = []

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.path))
            listener.listen(64)
            async with self.server.running(), asyncio.TaskGroup() as group:
                task = group.create_task(self.admin.run(listener))
                try:
                    yield
                finally:
                    task.cancel()
                    for client in self._clients:
                        client.writer.transport.abort()

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_unix_connection(self.path))
        self._clients.append(client)
        return client


@pytest.fixture
def administration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Administration:
    monkeypatch.setattr(module, "ACCEPT_PAUSE", 0.0)
    return Administration(tmp_path / "socket")


@pytest.fixture
def member(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who connects is not taken for root, whoever runs the tests."""
    monkeypatch.setattr(module, "_ROOT", -1)


def fill(server: Server, count: int) -> None:
    server.table.load(
        Lease(number.to_bytes(32), bytes([10, *number.to_bytes(3)]), 60.0, 9999.0)
        for number in range(1, count + 1)
    )


async def test_one_connection_serves_request_after_request(
    administration: Administration,
) -> None:
    async with administration.running():
        await administration.server.request(ALICE, "192.0.2.7")
        client = await administration.connect()
        (status,), last = await client.answer(request="status")
        assert (status["interface"], status["leases"]["held"], last) == ("wg0", 1, {"done": {}})
        rows, last = await client.answer(request="leases")
        assert [row["address"] for row in rows] == ["192.0.2.7"]
        assert last == {"done": {"count": 1}}
        rows, _ = await client.answer(request="events", last=5)
        assert [row["event"] for row in rows] == ["granted"]


async def test_requests_that_come_at_once_are_answered_in_their_order(
    administration: Administration,
) -> None:
    async with administration.running():
        client = await administration.connect()
        client.send(b'{"request": "status"}\n{"request": "leases"}\n{"request": "sta')
        assert "row" in await client.line()
        assert await client.line() == {"done": {}}
        assert await client.line() == {"done": {"count": 0}}
        client.send(b'tus"}\n')
        assert "row" in await client.line()


async def test_who_has_asked_all_is_answered_before_the_connection_ends(
    administration: Administration,
) -> None:
    async with administration.running():
        client = await administration.connect()
        client.send(b'{"request": "leases"}\n')
        client.writer.write_eof()
        assert await client.ended() == b'{"done": {"count": 0}}\n'


async def test_a_long_list_comes_in_slices_and_the_leases_go_on_meanwhile(
    administration: Administration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLICE", 10)
    fill(administration.server, 5000)
    async with administration.running():
        client = await administration.connect()
        client.send(b'{"request": "leases"}\n')
        await client.line()
        await administration.server.request(ALICE, "192.0.2.7")  # is answered before the list
        seen = 1
        while "row" in (line := await client.line()):
            seen += 1
        assert line == {"done": {"count": 5000}}
        assert seen == 5000


async def test_revoke_and_release_end_leases_and_say_which(
    administration: Administration, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    server = administration.server
    async with administration.running():
        await server.request(ALICE, "192.0.2.7")
        await server.request(BOB, "192.0.2.8")
        client = await administration.connect()
        rows, last = await client.answer(request="revoke", address="192.0.2.7")
        assert [(row["address"], row["state"]) for row in rows] == [("192.0.2.7", "quarantined")]
        assert last == {"done": {"count": 1}}
        rows, _ = await client.answer(request="release", peer=format_key(BOB))
        assert [(row["address"], row["state"]) for row in rows] == [("192.0.2.8", "remembered")]
        assert server.in_force() == {}
        rows, last = await client.answer(request="release", address="192.0.2.9")
        assert (rows, last) == ([], {"done": {"count": 0}})
    assert f"administration: user {os.geteuid()}: revoke 192.0.2.7" in caplog.messages


async def test_an_order_that_the_store_does_not_take_is_refused(
    administration: Administration,
) -> None:
    server = administration.server
    async with administration.running():
        await server.request(ALICE, "192.0.2.7")
        server.store.fails = True
        client = await administration.connect()
        rows, last = await client.answer(request="revoke", address="192.0.2.7")
        assert (rows, last["error"]) == ([], "store-down")
        server.store.fails = False
        rows, _ = await client.answer(request="revoke", address="192.0.2.7")
        assert len(rows) == 1


async def test_a_peer_is_named_by_its_key_where_leases_end(
    administration: Administration,
) -> None:
    async with administration.running():
        client = await administration.connect()
        _, last = await client.answer(request="revoke", peer="laptop")
        assert last["error"] == "invalid"
        assert "public key" in last["text"]


@pytest.mark.usefixtures("member")
async def test_a_member_ends_so_many_leases_in_a_minute(
    administration: Administration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ORDERS", 3)
    async with administration.running():
        client = await administration.connect()
        errors = []
        for _ in range(5):
            _, last = await client.answer(request="revoke", address="192.0.2.7")
            errors.append(last.get("error"))
        assert errors == [None] * 3 + ["too-many"] * 2
        administration.server.clock.pass_time(module.ORDER_SPAN)
        _, last = await client.answer(request="revoke", address="192.0.2.7")
        assert "done" in last


async def test_root_ends_as_many_as_it_likes(
    administration: Administration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ORDERS", 0)
    monkeypatch.setattr(module, "_ROOT", os.geteuid())
    async with administration.running():
        client = await administration.connect()
        for _ in range(3):
            _, last = await client.answer(request="revoke", address="192.0.2.7")
            assert "done" in last


@pytest.mark.parametrize(
    "data",
    [
        b"garbage\n",
        b"\xff\xfe\x00\n",
        b'{"request": "erase"}\n',
        b"x" * (MAX_REQUEST + 1),
        b'{"request": "leases", "peer": "' + b"x" * MAX_REQUEST + b'"}\n',
    ],
)
async def test_garbage_is_told_as_such_and_ends_the_connection(
    data: bytes, administration: Administration
) -> None:
    async with administration.running():
        client = await administration.connect()
        client.send(data)
        (line,) = (await client.ended()).splitlines()
        assert json.loads(line)["error"] == "invalid"
        await until(lambda: not administration.admin.connections)
        other = await administration.connect()
        assert (await other.answer(request="status"))[1] == {"done": {}}


async def test_a_request_of_the_greatest_size_is_taken(administration: Administration) -> None:
    async with administration.running():
        client = await administration.connect()
        request = b'{"request": "leases"}'
        client.send(request + b" " * (MAX_REQUEST - len(request)) + b"\n")
        assert await client.line() == {"done": {"count": 0}}


@pytest.mark.usefixtures("member")
async def test_a_member_has_so_many_connections_and_root_has_its_own(
    administration: Administration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_OF_USER", 2)
    async with administration.running():
        clients = [await administration.connect() for _ in range(3)]
        line = json.loads(await clients[2].ended())
        assert (line["error"], line["text"]) == ("busy", "too many connections")
        clients[0].writer.close()
        await until(lambda: len(administration.admin.connections) == 1)
        again = await administration.connect()
        assert (await again.answer(request="status"))[1] == {"done": {}}
        monkeypatch.setattr(module, "_ROOT", os.geteuid())
        assert (await (await administration.connect()).answer(request="status"))[1]


async def test_all_users_together_have_so_many_and_root_is_not_among_them(
    administration: Administration,
) -> None:
    admin = administration.admin

    def there(**users: int) -> None:
        admin.of_user.clear()
        admin.of_user.update({int(user[1:]): count for user, count in users.items()})
        admin.connections = {module.Connection(admin) for _ in range(admin.of_user.total())}

    there(u0=module.MAX_OF_ROOT, u1=8, u2=8, u3=7)
    assert admin.admits(3)
    assert not admin.admits(0)
    there(u0=module.MAX_OF_ROOT - 1, u1=8, u2=8, u3=8)
    assert not admin.admits(4)
    assert admin.admits(0)


async def test_connections_are_accepted_one_after_a_pause(
    administration: Administration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ACCEPT_PAUSE", 3600.0)
    async with administration.running():
        first, _ = await administration.connect(), await administration.connect()
        for _ in range(2):
            assert (await first.answer(request="status"))[1] == {"done": {}}
        assert len(administration.admin.connections) == 1


async def test_who_says_nothing_or_half_a_line_is_not_waited_for(
    administration: Administration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINE_TIME", 0.01)
    async with administration.running():
        client = await administration.connect()
        client.send(b'{"request"')
        assert await client.ended() == b""
        monkeypatch.setattr(module, "IDLE_TIME", 0.01)
        assert await (await administration.connect()).ended() == b""


async def test_nothing_more_is_made_for_one_that_does_not_read(
    administration: Administration, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(administration.server, 20000)
    monkeypatch.setattr(module, "READ_TIME", 0.05)
    async with administration.running():
        quiet = socket.socket(socket.AF_UNIX)
        with quiet:
            quiet.connect(str(administration.path))
            quiet.sendall(b'{"request": "leases"}\n')
            await until(lambda: any(one._full for one in administration.admin.connections))
            (connection,) = administration.admin.connections
            size = connection._transport.get_write_buffer_size()
            assert size < 2 * module.MAX_UNSENT
            assert not connection._queued
            await until(lambda: not administration.admin.connections)


async def test_who_does_not_read_gets_no_turns_while_others_do(
    administration: Administration,
) -> None:
    fill(administration.server, 20000)
    async with administration.running():
        with socket.socket(socket.AF_UNIX) as quiet:
            quiet.connect(str(administration.path))
            quiet.sendall(b'{"request": "leases"}\n')
            await until(lambda: any(one._full for one in administration.admin.connections))
            (connection,) = administration.admin.connections
            size = connection._transport.get_write_buffer_size()
            other = await administration.connect()
            for _ in range(5):
                await other.answer(request="status")
            assert connection._transport.get_write_buffer_size() == size


async def test_a_request_waits_until_the_answer_before_it_is_read(
    administration: Administration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_UNSENT", 4096)
    fill(administration.server, 3000)
    paused = []
    resume = module.Connection.resume_writing

    def note(connection: module.Connection) -> None:
        paused.append(connection._busy)
        resume(connection)

    monkeypatch.setattr(module.Connection, "resume_writing", note)
    async with administration.running():
        client = await administration.connect()
        client.send(b'{"request": "leases"}\n' * 2)
        await until(lambda: any(one._full for one in administration.admin.connections))
        for _ in range(2):
            rows = 0
            while "row" in (line := await client.line()):
                rows += 1
            assert (rows, line) == (3000, {"done": {"count": 3000}})
    assert any(paused), "the answer was held up in its middle"


async def test_who_follows_hears_what_comes_and_loses_what_it_does_not_read(
    administration: Administration,
) -> None:
    async with administration.running():
        client = await administration.connect()
        client.send(b'{"request": "events", "follow": true}\n')
        await until(lambda: any(one._follows for one in administration.admin.connections))
        await administration.server.request(ALICE, "192.0.2.7")
        assert (await client.line())["row"]["event"] == "granted"
        (connection,) = administration.admin.connections
        connection._full = True
        connection.tell([b"{}", b"{}"], 1)
        connection._full = False
        connection.tell([b"{}"], 0)
        assert [await client.line(), await client.line()] == [{"row": {}}, {"lost": 3}]


async def test_who_follows_and_talks_is_hung_up_on(administration: Administration) -> None:
    async with administration.running():
        client = await administration.connect()
        client.send(b'{"request": "events", "last": 10, "follow": true}\n')
        await until(lambda: any(one._follows for one in administration.admin.connections))
        client.send(b"x" * 100000)
        assert b"expected none" in await client.ended()
        await until(lambda: not administration.admin.history._followers)


async def test_a_bug_in_an_answer_ends_that_connection_alone(
    administration: Administration, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr(administration.admin.answers, "status", broken)
    monkeypatch.setattr(administration.admin.answers, "leases", lambda _: iter(broken, 1))
    async with administration.running():
        for request in (b'{"request": "status"}\n', b'{"request": "leases"}\n'):
            client = await administration.connect()
            client.send(request)
            assert await client.ended() == b""
        await until(lambda: not administration.admin.connections)
        await a_while()
        client = await administration.connect()
        assert (await client.answer(request="events"))[1] == {"done": {"count": 0}}


async def test_a_connection_that_cannot_be_accepted_is_told_and_the_next_one_is(
    administration: Administration,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "ACCEPT_RETRY", 0.0)
    loop = asyncio.get_running_loop()
    real = loop.sock_accept
    fails = iter([True])

    async def accept(listener: socket.socket) -> Any:
        if next(fails, False):
            raise OSError(24, "Too many open files")
        return await real(listener)

    monkeypatch.setattr(loop, "sock_accept", accept)
    async with administration.running():
        client = await administration.connect()
        assert (await client.answer(request="leases"))[1] == {"done": {"count": 0}}
    assert "cannot accept: Too many open files" in caplog.text


async def test_the_second_request_of_a_connection_is_begun_when_the_first_is_done(
    administration: Administration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLICE", 1)
    fill(administration.server, 20)
    async with administration.running():
        client = await administration.connect()
        client.send(b'{"request": "leases"}\n')
        kinds = list(await client.line())
        client.send(b'{"request": "status"}\n')
        while len(kinds) < 23:
            (kind,) = await client.line()
            kinds.append(kind)
        assert kinds == ["row"] * 20 + ["done", "row", "done"]


@pytest.mark.usefixtures("member")
async def test_there_is_room_for_so_many_connections_whoever_has_them(
    administration: Administration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_OF_USER", 1000)
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 3)
    async with administration.running():
        for _ in range(3):
            await administration.connect()
        await until(lambda: len(administration.admin.connections) == 3)
        fourth = await administration.connect()
        assert json.loads(await fourth.ended())["error"] == "busy"
