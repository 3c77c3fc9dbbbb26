import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.sandbox import FakeSandbox
from wg_dynamic.address import parse_address
from wg_dynamic.cli import server_network as module
from wg_dynamic.leases.pool import parse_pool
from wg_dynamic.leases.terms import AddressRange, LeaseTerms, PoolTerms
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.requests import (
    SERVER_REPLIES,
    SERVER_REQUESTS,
    AdminListener,
    Exclusion,
    ServerStart,
    TermsPart,
)
from wg_dynamic.privsep.sandbox import RANDOM, SERVER
from wg_dynamic.store.holder import LOCKS
from wg_dynamic.store.sqlite import SqliteStore

POOL = PoolTerms(parse_pool("10.44.0.0/24"))
START = ServerStart("wg0", 3, LeaseTerms((POOL,)), (), "/x.sqlite")
EXCLUDED = AddressRange(parse_address("10.44.0.1"), parse_address("10.44.0.9"))


def work(
    *, with_listener: bool, after: object = AdminListener(), admin: socket.socket | None = None
) -> None:
    """Run it as the program does, told to start by a helper."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, socket.socket() as listener:
        helper = Channel(ours, SERVER_REPLIES, SERVER_REQUESTS)
        helper.send(START, listener if with_listener else None)
        helper.send(TermsPart((Exclusion(0, EXCLUDED),), (), last=True))
        helper.send(after, admin)
        sandbox: Any = FakeSandbox()
        module._work(Channel(theirs, SERVER_REQUESTS, SERVER_REPLIES), sandbox)
        assert len(sandbox.closed) == 1


def test_it_runs_as_the_server_s_end_of_the_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def run(*arguments: object) -> int:
        seen.extend(arguments)
        return 7

    monkeypatch.setattr(module, "run_network_process", run)
    assert module.main(["server_network", "1,2,3", "stderr", "quiet"]) == 7
    program, argv, sends, receives, function = seen
    assert (program, argv[1:]) == ("wg-dynamic-server", ["1,2,3", "stderr", "quiet"])
    assert (sends, receives) == (SERVER_REQUESTS, SERVER_REPLIES)
    assert function.__name__ == "_work"


def test_it_serves_by_its_first_message(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Any] = []

    async def serve(*arguments: Any, room: int, admin: socket.socket | None) -> None:
        arguments[1].close()
        assert admin is not None
        with admin:
            seen.extend((*arguments, admin.getsockname(), room))

    monkeypatch.setattr(module, "serve", serve)
    monkeypatch.setattr(module, "raise_file_limit", lambda: 1000)
    with socket.socket(socket.AF_UNIX) as admin:
        admin.bind(str(tmp_path / "admin"))
        work(with_listener=True, admin=admin)
    assert seen[-2] == str(tmp_path / "admin")
    terms = LeaseTerms((replace(POOL, excluded=(EXCLUDED,)),))
    assert seen[0] == replace(START, terms=terms), "with what there was no room for"
    assert seen[3] is SqliteStore
    assert seen[-1] == 1000 - module.OTHER_FILES


@pytest.mark.parametrize(
    ("database", "work"),
    [
        ("/var/lib/wg-dynamic/wg0.sqlite", ("/var/lib/wg-dynamic", "/var/lib")),
        ("/leases/wg0.sqlite", ("/leases",)),
    ],
)
def test_the_database_s_directory_is_left_to_it(database: str, work: tuple[str, ...]) -> None:
    sandbox: Any = FakeSandbox()
    module.confine(sandbox, Path(database))
    readable = (RANDOM, LOCKS)
    expected = {"work": tuple(Path(one) for one in work), "readable": readable}
    assert sandbox.closed == [(SERVER, expected)]


def test_without_a_listener_it_does_not_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "raise_file_limit", lambda: 1000)
    with pytest.raises(RuntimeError, match="no listening socket"):
        work(with_listener=False)
