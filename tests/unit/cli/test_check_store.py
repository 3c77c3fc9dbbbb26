import socket
from pathlib import Path
from typing import Any

import pytest

from wg_dynamic.cli import check_store as module
from wg_dynamic.cli.check_store import check_store
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.requests import (
    CHECK_REPLIES,
    CHECK_REQUESTS,
    Checked,
    CheckStore,
    Fatal,
    Finding,
)
from wg_dynamic.system.privileges import Account

ACCOUNT = Account(60970, 60970)


class FakeProcess:
    """Has said everything already."""

    def wait(self) -> int:
        return 0


def run(monkeypatch: pytest.MonkeyPatch, *messages: object) -> int:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    checker = Channel(theirs, CHECK_REPLIES, CHECK_REQUESTS)

    def spawn(*arguments: Any) -> tuple[FakeProcess, Channel]:
        assert arguments[:2] == (module.MODULE, ACCOUNT)
        for message in messages:
            checker.send(message)
        theirs.shutdown(socket.SHUT_WR)
        return FakeProcess(), Channel(ours, CHECK_REQUESTS, CHECK_REPLIES)

    monkeypatch.setattr(module, "spawn_network_process", spawn)
    try:
        return check_store("wg-x", Path("/x.sqlite"), ACCOUNT)
    finally:
        assert (checker.receive() or (None,))[0] == CheckStore("/x.sqlite")
        checker.close()


@pytest.mark.parametrize(
    ("messages", "status", "output"),
    [
        ((Checked("/x.sqlite: fine", 0),), 0, "/x.sqlite: fine; no problems\n"),
        (
            (Finding("bad \x1b[31m"), Checked("/x.sqlite: hm", 3)),
            1,
            "problem: bad ?[31m\nand 2 problems more\n/x.sqlite: hm; 3 problems\n",
        ),
        ((Fatal("no such\nfile"),), 3, "wg-x: no such?file\n"),
        ((Finding("a"),), 1, "problem: a\nwg-x: the process that checks /x.sqlite ended early\n"),
    ],
)
def test_what_is_found_is_printed_and_makes_the_status(
    messages: tuple[object, ...],
    status: int,
    output: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, *messages) == status
    said = capsys.readouterr()
    assert said.out + said.err == output
