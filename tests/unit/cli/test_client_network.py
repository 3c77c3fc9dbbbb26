import socket
from typing import Any

import pytest

from tests.fakes.sandbox import FakeSandbox
from wg_dynamic.cli import client_network as module
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.requests import CLIENT_REPLIES, CLIENT_REQUESTS, ClientStart
from wg_dynamic.privsep.sandbox import CLIENT
from wg_dynamic.system.clock import SystemClock


def test_it_runs_as_the_client_s_end_of_the_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def run(*arguments: object) -> int:
        seen.extend(arguments)
        return 7

    monkeypatch.setattr(module, "run_network_process", run)
    assert module.main(["client_network", "1,2,3", "stderr", "quiet"]) == 7
    program, argv, sends, receives, work = seen
    assert (program, argv[1:]) == ("wg-dynamic-client", ["1,2,3", "stderr", "quiet"])
    assert (sends, receives) == (CLIENT_REQUESTS, CLIENT_REPLIES)
    assert work.__name__ == "_work"


def test_it_keeps_a_lease_by_its_first_message(monkeypatch: pytest.MonkeyPatch) -> None:
    start = ClientStart("wg0", bytes(16), ())
    seen: list[object] = []
    sandbox: Any = FakeSandbox()
    monkeypatch.setattr(module, "keep_lease", lambda *arguments: seen.extend(arguments))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        helper = Channel(ours, CLIENT_REPLIES, CLIENT_REQUESTS)
        network = Channel(theirs, CLIENT_REQUESTS, CLIENT_REPLIES)
        helper.send(start)
        module._work(network, sandbox)
    assert seen[:2] == [start, network]
    assert sandbox.closed == [(CLIENT, {})], "with no file at all"
    assert isinstance(seen[2], SystemClock)
