"""The network process's end of what it inherits; starting it is tests/integration."""

import os
import socket

import pytest

from wg_dynamic.privsep.codec import ChannelError
from wg_dynamic.privsep.requests import CLIENT_REPLIES, CLIENT_REQUESTS, Ready
from wg_dynamic.privsep.spawn import inherited_channel, spawn_network_process
from wg_dynamic.system.privileges import Account


def test_the_first_argument_names_the_channel_and_the_account() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.set_inheritable(True)
    channel, account = inherited_channel(
        f"{theirs.detach()},60970,60971", CLIENT_REQUESTS, CLIENT_REPLIES
    )
    with ours:
        assert account == Account(60970, 60971)
        assert not os.get_inheritable(channel.fileno())
        channel.send(Ready())
        assert ours.recv(100)
    channel.close()


@pytest.mark.parametrize("argument", ["", "3", "3,60970", "x,1,1", "3,60970,60970,1"])
def test_an_argument_that_is_not_the_helpers_is_refused(argument: str) -> None:
    with pytest.raises(ValueError, match=r"unpack|literal"):
        inherited_channel(argument, CLIENT_REQUESTS, CLIENT_REPLIES)


def test_what_cannot_be_started_is_said_and_leaves_nothing_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.executable", "/no/such/python")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ChannelError, match="cannot start the network process"):
        spawn_network_process("module", Account(1, 1), [], CLIENT_REPLIES, CLIENT_REQUESTS)
    assert len(os.listdir("/proc/self/fd")) == before
