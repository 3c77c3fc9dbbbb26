"""Connections on an epoll of their own: all that a protocol sees of one. Over loopback."""

import asyncio
import contextlib
import errno
import os
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from tests.fakes.patience import a_while, until
from wg_dynamic.server import stream as stream_module
from wg_dynamic.server.door import Arrival, Door
from wg_dynamic.server.stream import Entrance, Stream


class Recorder(asyncio.Protocol):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.stream: Stream
        self.data = b""
        self.said: list[str] = []
        self.stays = False
        """What eof_received returns."""
        self.fails = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, Stream)
        self.stream = transport
        self.said.append("made")
        if self.fails:
            msg = "a mistake"
            raise RuntimeError(msg)

    def data_received(self, data: bytes) -> None:
        if self.fails:
            msg = "a mistake"
            raise RuntimeError(msg)
        self.data += data

    def eof_received(self) -> bool:
        self.said.append("eof")
        return self.stays

    def pause_writing(self) -> None:
        self.said.append("pause")

    def resume_writing(self) -> None:
        self.said.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        assert exc is None
        self.said.append("lost")


class Place:
    """An entrance, who came in, and who knocked."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
        self.listener.setblocking(False)
        self.inside: list[Recorder] = []
        self.fails = False
        self.outside: list[socket.socket] = []
        self.door = Door(self.listener, lambda _source, _port: True)
        self.is_busy = False
        self.entrance = Entrance(self.door, self._enter, at_once=2, is_busy=lambda: self.is_busy)

    def _enter(self) -> Recorder:
        self.inside.append(Recorder())
        self.inside[-1].fails = self.fails
        return self.inside[-1]

    async def connect(self) -> tuple[socket.socket, Recorder]:
        outside = socket.create_connection(self.listener.getsockname()[:2], timeout=5.0)
        self.outside.append(outside)
        await until(lambda: len(self.inside) == len(self.outside))
        return outside, self.inside[-1]


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    one = Place()
    yield one
    one.entrance.close()
    for each in one.inside:
        each.stream.abort()
        assert each.said.count("lost") == 1
    for outside in one.outside:
        outside.close()


async def test_data_goes_both_ways_and_an_end_is_told(place: Place) -> None:
    outside, inside = await place.connect()
    outside.sendall(b"hello")
    await until(lambda: inside.data == b"hello")
    inside.stream.write(b"good day")
    assert outside.recv(100) == b"good day"
    outside.close()
    await until(lambda: inside.said == ["made", "eof", "lost"])
    assert inside.stream.is_closing()


async def test_many_at_once_are_all_served(place: Place) -> None:
    for number in range(9):
        outside, _ = await place.connect()
        outside.sendall(b"%d" % number)
    await until(lambda: all(each.data for each in place.inside))
    assert [each.data for each in place.inside] == [b"%d" % number for number in range(9)]


async def test_who_stays_after_the_end_may_still_write(place: Place) -> None:
    outside, inside = await place.connect()
    inside.stays = True
    outside.shutdown(socket.SHUT_WR)
    await until(lambda: "eof" in inside.said)
    await a_while()
    assert inside.said.count("eof") == 1
    inside.stream.write(b"late")
    inside.stream.close()
    assert outside.recv(100) == b"late"
    assert outside.recv(100) == b""


async def test_nothing_is_read_while_reading_is_paused(place: Place) -> None:
    outside, inside = await place.connect()
    inside.stream.pause_reading()
    outside.sendall(b"hello")
    await a_while()
    assert inside.data == b""
    inside.stream.resume_reading()
    await until(lambda: inside.data == b"hello")


async def test_a_reset_is_told_at_once_or_when_reading_goes_on(place: Place) -> None:
    for paused in (False, True):
        outside, inside = await place.connect()
        if paused:
            inside.stream.pause_reading()
        outside.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        outside.close()
        if paused:
            await a_while()
            assert "lost" not in inside.said
            inside.stream.resume_reading()
        await until(lambda: "lost" in place.inside[-1].said)


async def test_what_is_not_read_waits_and_the_protocol_hears_of_it(place: Place) -> None:
    place.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    outside, inside = await place.connect()
    inside.stream.set_write_buffer_limits(high=1000)
    sent = b"x" * 1_000_000
    inside.stream.write(sent[:600_000])
    inside.stream.write(sent[600_000:])
    assert inside.stream.get_write_buffer_size() > 1000
    assert inside.said == ["made", "pause"]
    inside.stream.close()
    inside.stream.close()
    assert "lost" not in inside.said
    outside.setblocking(False)
    got = bytearray()

    def read() -> bool:
        with contextlib.suppress(BlockingIOError):
            got.extend(outside.recv(65536))
        return len(got) == len(sent)

    await until(read)
    await until(lambda: "lost" in inside.said)


async def test_writing_goes_on_when_there_is_room(place: Place) -> None:
    place.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    outside, inside = await place.connect()
    inside.stream.set_write_buffer_limits(high=1000)
    inside.stream.write(b"x" * 1_000_000)
    outside.setblocking(False)

    def read() -> bool:
        with contextlib.suppress(BlockingIOError):
            outside.recv(65536)
        return inside.said == ["made", "pause", "resume"]

    await until(read)
    assert inside.stream.get_write_buffer_size() == 0
    inside.stream.set_write_buffer_limits()
    inside.stream.write(b"more")


async def test_writing_to_who_is_gone_ends_it(place: Place) -> None:
    outside, inside = await place.connect()
    inside.stream.pause_reading()
    outside.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    outside.close()
    await a_while()
    inside.stream.write(b"hello")
    assert inside.said == ["made", "lost"]
    inside.stream.write(b"hello")
    inside.stream.resume_reading()
    inside.stream.abort()
    assert inside.said == ["made", "lost"]


async def test_what_waits_for_who_is_gone_is_dropped(place: Place) -> None:
    place.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    outside, inside = await place.connect()
    inside.stream.write(b"x" * 1_000_000)
    outside.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    outside.close()
    await until(lambda: "lost" in inside.said)


async def test_a_protocol_that_fails_loses_its_own_connection_and_no_other(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    outside, inside = await place.connect()
    other_outside, other = await place.connect()
    inside.fails = True
    outside.sendall(b"hello")
    await until(lambda: inside.said == ["made", "lost"])
    assert "a connection failed" in caplog.text
    other_outside.sendall(b"hello")
    await until(lambda: other.data == b"hello")


async def test_a_protocol_that_fails_at_once_keeps_nobody_from_coming_in(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.fails = True
    outside, inside = await place.connect()
    assert outside.recv(100) == b"", "it is closed"
    assert inside.said == ["made", "lost"]
    assert "a connection failed" in caplog.text
    place.fails = False
    other_outside, other = await place.connect()
    other_outside.sendall(b"hello")
    await until(lambda: other.data == b"hello")


async def test_one_that_ends_another_of_the_same_moment_does_no_harm(place: Place) -> None:
    pairs = [await place.connect() for _ in range(2)]
    for _, inside in pairs:

        def end_all(data: bytes) -> None:
            del data
            for _, each in pairs:
                each.stream.abort()

        inside.data_received = end_all  # type: ignore[method-assign]
    for outside, _ in pairs:
        outside.sendall(b"hello")
    await until(lambda: all(inside.said == ["made", "lost"] for _, inside in pairs))


async def test_without_room_for_descriptors_it_is_tried_again(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stream_module, "PAUSE", 0.01)
    accept = place.door.accept
    tries: list[int] = []

    def full() -> Arrival | None:
        tries.append(1)
        if len(tries) == 1:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return accept()

    monkeypatch.setattr(place.door, "accept", full)
    outside, inside = await place.connect()
    outside.sendall(b"hello")
    await until(lambda: inside.data == b"hello")
    assert "cannot accept connections" in caplog.text


async def test_after_its_end_an_entrance_lets_nobody_in(place: Place) -> None:
    address = place.listener.getsockname()[:2]
    place.entrance.close()
    place.entrance.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5.0)


async def test_who_comes_while_there_is_more_than_enough_to_do_waits_in_the_kernel(
    place: Place,
) -> None:
    first, inside = await place.connect()
    place.is_busy = True
    with socket.create_connection(place.listener.getsockname()[:2], timeout=5.0) as second:
        second.sendall(b"later")
        first.sendall(b"now")
        await until(lambda: inside.data == b"now")
        await a_while()
        assert len(place.inside) == 1
        place.is_busy = False
        await until(lambda: len(place.inside) == 2 and place.inside[1].data == b"later")
