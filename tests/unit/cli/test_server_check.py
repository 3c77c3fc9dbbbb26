import socket
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.sandbox import FakeSandbox
from wg_dynamic.cli import server_check as module
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.requests import CHECK_REPLIES, CHECK_REQUESTS, Checked, CheckStore, Finding
from wg_dynamic.privsep.sandbox import CHECK, RANDOM


def test_it_tells_each_problem_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FINDINGS", 2)
    monkeypatch.setattr(module, "check_database", lambda path: (f"{path}", ["a", "b" * 2000, "c"]))
    sandbox: Any = FakeSandbox()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        command = Channel(ours, CHECK_REQUESTS, CHECK_REPLIES)
        command.send(CheckStore("/x.sqlite"))
        module._work(Channel(theirs, CHECK_REPLIES, CHECK_REQUESTS), sandbox)
        heard = [(command.receive() or (None,))[0] for _ in range(4)]
    ((confinement, files),) = sandbox.closed
    assert (confinement, files["readable"]) == (CHECK, (Path("/"), RANDOM))
    assert heard == [Finding("a"), Finding("b" * 1000), Checked("/x.sqlite", 3), None]


def test_it_runs_at_its_end_of_the_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(module, "run_network_process", lambda *a: seen.extend(a))
    module.main(["server_check", "1,2,3", "stderr", "quiet"])
    assert (seen[0], seen[2], seen[3]) == ("wg-dynamic-server", CHECK_REPLIES, CHECK_REQUESTS)
