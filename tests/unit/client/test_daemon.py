"""The client's network process, wired together."""

import socket

import pytest

from tests.fakes.clock import FakeClock
from wg_dynamic.client.daemon import keep_lease
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.requests import (
    CLIENT_REPLIES,
    CLIENT_REQUESTS,
    ClientStart,
    Connect,
    Failed,
    Progress,
    Ready,
    Report,
    Stop,
)


def test_it_asks_until_it_is_told_to_stop() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    helper = Channel(ours, CLIENT_REPLIES, CLIENT_REQUESTS)
    network = Channel(theirs, CLIENT_REQUESTS, CLIENT_REPLIES)
    helper.send(Failed("there is no route"))
    helper.send(Stop(release=True))
    keep_lease(ClientStart("wg0", b"", ()), network, FakeClock())
    received = [helper.receive() for _ in range(4)]
    assert [one and one[0] for one in received] == [
        Ready(),
        Connect(),
        Progress("requesting", 1015.0, 2),
        Report("there is no route"),
    ]
    helper.close()
    network.close()


def test_it_ends_with_its_helper() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    network = Channel(theirs, CLIENT_REQUESTS, CLIENT_REPLIES)
    ours.shutdown(socket.SHUT_WR)
    with pytest.raises(EOFError):
        keep_lease(ClientStart("wg0", b"", ()), network, FakeClock())
    ours.close()
    network.close()
