"""Whole messages over a socket pair, and everything that a hostile end could send instead."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from wg_dynamic.address import Prefix
from wg_dynamic.privsep import channel as module
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.codec import MAX_MESSAGE_SIZE, ChannelClosedError, ChannelError
from wg_dynamic.privsep.requests import (
    CLIENT_REPLIES,
    CLIENT_REQUESTS,
    Connect,
    Connecting,
    Fatal,
    LinkState,
    PeerInfo,
    Peers,
    Ready,
    Report,
    Stop,
)


@pytest.fixture
def raw() -> Iterator[tuple[socket.socket, socket.socket]]:
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    yield ends
    for end in ends:
        end.close()


@pytest.fixture
def helper(raw: tuple[socket.socket, socket.socket]) -> Channel:
    return Channel(raw[0], CLIENT_REPLIES, CLIENT_REQUESTS)


@pytest.fixture
def network(raw: tuple[socket.socket, socket.socket]) -> Channel:
    return Channel(raw[1], CLIENT_REQUESTS, CLIENT_REPLIES)


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    """Whatever was attached, and however it went."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert len(set(os.listdir("/proc/self/fd"))) <= len(before) + 2  # the fixture's own pair


def attach(end: socket.socket, data: bytes, *descriptors: int) -> None:
    socket.send_fds(end, [data], list(descriptors))


def test_messages_come_one_by_one_and_in_order(helper: Channel, network: Channel) -> None:
    assert network.receive() is None
    helper.send(LinkState(up=True))
    helper.send(Stop(release=False))
    assert network.receive() == (LinkState(up=True), None)
    assert network.receive() == (Stop(release=False), None)
    assert network.receive() is None


def test_either_end_sends(helper: Channel, network: Channel) -> None:
    network.send(Connect())
    assert helper.receive() == (Connect(), None)


def test_a_socket_goes_with_a_message_and_stays_open_here(
    helper: Channel, network: Channel
) -> None:
    one, other = socket.socketpair()
    with one, other:
        helper.send(Connecting(), one)
        received = network.receive()
        assert received is not None
        message, attached = received
        assert message == Connecting()
        assert attached is not None
        with attached:
            assert not attached.get_inheritable()
            attached.send(b"through")
            assert other.recv(100) == b"through"
        assert one.fileno() >= 0


def test_a_channel_can_be_selected(
    raw: tuple[socket.socket, socket.socket], helper: Channel
) -> None:
    assert helper.fileno() == raw[0].fileno()


def test_an_end_that_was_closed_is_the_end(helper: Channel, network: Channel) -> None:
    network.send(Ready())
    network.close()
    network.close()
    assert helper.receive() == (Ready(), None)
    with pytest.raises(EOFError):
        helper.receive()


def test_the_last_words_of_an_end_that_left_messages_unread_are_heard(
    helper: Channel, network: Channel
) -> None:
    helper.send(LinkState(up=True))
    network.send(Fatal("the database is locked"))
    network.close()
    assert helper.receive() == (Fatal("the database is locked"), None)
    with pytest.raises(EOFError):
        helper.receive()


def test_sending_to_an_end_that_was_closed_is_said(helper: Channel, network: Channel) -> None:
    network.close()
    with pytest.raises(ChannelClosedError, match="the other process is gone"):
        helper.send(Stop(release=False))


def test_an_end_that_never_reads_is_given_up(
    raw: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SEND_TIMEOUT", 0.02)
    peer = PeerInfo(b"k" * 32, (Prefix(bytes(16), 128),) * 2000, ())
    channel = Channel(raw[0], (Peers,), ())

    def send_on() -> None:
        for _ in range(1000):
            channel.send(Peers((peer,), last=False))

    with pytest.raises(ChannelError, match="does not listen"):
        send_on()


def test_an_end_that_reads_late_misses_nothing(
    raw: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = PeerInfo(b"k" * 32, (Prefix(bytes(16), 128),) * 2000, ())
    sender, reader = Channel(raw[0], (Peers,), ()), Channel(raw[1], (), (Peers,))
    waits: list[int] = []
    received: list[object] = []

    def wait(_channel: Channel, _what: int, _seconds: float | None) -> None:
        waits.append(len(received))
        while (message := reader.receive()) is not None:
            received.append(message)

    monkeypatch.setattr(Channel, "_wait", wait)
    for _ in range(50):
        sender.send(Peers((peer,), last=False))
    while (message := reader.receive()) is not None:
        received.append(message)
    assert waits
    assert len(received) == 50


# --- what a hostile end sends ------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [b"\xff", b"\0\0\0", b"\0\2", b"\x02\0\0\xff\xff", bytes(MAX_MESSAGE_SIZE)]
)
def test_what_is_no_message_is_refused_and_the_next_one_heard(
    raw: tuple[socket.socket, socket.socket], helper: Channel, data: bytes
) -> None:
    raw[1].send(data)
    raw[1].send(b"\0\0")
    with pytest.raises(ChannelError):
        helper.receive()
    assert helper.receive() == (Connect(), None)


@pytest.mark.parametrize("size", [MAX_MESSAGE_SIZE + 1, MAX_MESSAGE_SIZE + 2, 150_000])
def test_a_message_larger_than_allowed_is_refused(
    raw: tuple[socket.socket, socket.socket], helper: Channel, size: int
) -> None:
    raw[1].send(bytes(size))
    with pytest.raises(ChannelError):
        helper.receive()
    assert helper.receive() is None


def test_an_empty_message_is_taken_for_the_end(
    raw: tuple[socket.socket, socket.socket], helper: Channel
) -> None:
    raw[1].send(b"")
    with pytest.raises(EOFError):
        helper.receive()


@pytest.mark.parametrize("data", [b"\0\0", b"\xff", b"", bytes(MAX_MESSAGE_SIZE + 2)])
@pytest.mark.parametrize("count", [1, 2, 3, 100])
def test_descriptors_that_should_not_be_are_closed(
    raw: tuple[socket.socket, socket.socket], helper: Channel, data: bytes, count: int
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    attach(raw[1], data, *[raw[1].fileno()] * count)
    try:
        received = helper.receive()
    except (ChannelError, EOFError):
        assert (data, count) != (b"\0\0", 1)
    else:
        assert (data, count) == (b"\0\0", 1)
        assert received is not None
        assert received[1] is not None
        received[1].close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_descriptor_that_is_no_socket_is_closed_and_refused(
    raw: tuple[socket.socket, socket.socket], helper: Channel, tmp_path: Path
) -> None:
    with (tmp_path / "file").open("w") as file:
        before = len(os.listdir("/proc/self/fd"))
        attach(raw[1], b"\0", file.fileno())
        with pytest.raises(ChannelError, match="is no socket"):
            helper.receive()
        assert len(os.listdir("/proc/self/fd")) == before


def test_ancillary_data_of_another_kind_is_refused(
    raw: tuple[socket.socket, socket.socket], helper: Channel
) -> None:
    raw[0].setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    raw[1].send(b"\0\0")
    with pytest.raises(ChannelError):
        helper.receive()


# --- the first message -------------------------------------------------------------------------


def test_the_first_message_is_waited_for(helper: Channel, network: Channel) -> None:
    one, other = socket.socketpair()
    with one, other:
        helper.send(Connecting(), one)
        message, attached = network.wait_for(Connecting)
        assert message == Connecting()
        assert attached is not None
        attached.close()


def test_another_first_message_is_refused_with_what_came_with_it(
    helper: Channel, network: Channel
) -> None:
    one, other = socket.socketpair()
    with one, other:
        helper.send(LinkState(up=True), one)
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(ChannelError, match="LinkState as the first message, expected Stop"):
            network.wait_for(Stop)
        assert len(os.listdir("/proc/self/fd")) == before
    helper.send(LinkState(up=True))
    with pytest.raises(ChannelError, match="LinkState as the first message"):
        network.wait_for(Stop)


def test_waking_for_nothing_is_no_message(
    network: Channel, helper: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Channel, "_wait", lambda *_: None)
    with pytest.raises(ChannelError, match="NoneType as the first message"):
        network.wait_for(Stop)


def test_an_end_that_closes_instead_is_the_end(helper: Channel, network: Channel) -> None:
    helper.close()
    with pytest.raises(EOFError):
        network.wait_for(Stop)


def test_a_report_is_only_what_the_network_process_sends(helper: Channel) -> None:
    with pytest.raises(KeyError):
        helper.send(Report("not ours to say"))
