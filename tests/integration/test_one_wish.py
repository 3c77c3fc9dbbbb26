"""5,000 peers ask at once for the same address: through the engine, with a database on disk."""

import asyncio
from collections import Counter
from pathlib import Path

from tests.fakes.server import Server, ips, request_for
from wg_dynamic.address import format_address, parse_prefix
from wg_dynamic.protocol import ErrorCode, RequestIPReply
from wg_dynamic.server.engine import Job
from wg_dynamic.server.replies import Answer
from wg_dynamic.store.sqlite import SqliteStore

PEERS = 5000
WISH = "10.0.9.9"


async def test_one_address_that_thousands_wish_for_goes_to_exactly_one(tmp_path: Path) -> None:
    server = Server("10.0.0.0/18")
    store = SqliteStore(tmp_path / "wg0.sqlite")
    server.store = store  # type: ignore[assignment]
    sources = {}
    for n in range(PEERS):
        key = n.to_bytes(32, "big")
        sources[key] = bytes.fromhex("fe80") + n.to_bytes(14, "big")
        server.allowed_ips.add_peer(key, parse_prefix(format_address(sources[key])))
    server.peers.update(server.allowed_ips.read())
    server.restart()
    replies: dict[bytes, Answer] = {}
    done = asyncio.Event()

    def answered(key: bytes, reply: Answer) -> None:
        replies[key] = reply
        if len(replies) == PEERS:
            done.set()

    for number, (key, source) in enumerate(sources.items()):
        request = request_for(WISH, version=1 if number % 2 else 2)
        job = Job(key, source, request, lambda reply, key=key: answered(key, reply))  # type: ignore[misc]
        server.engine.submit(job)
    async with server.running(), asyncio.timeout(120):
        await done.wait()
    granted = Counter[str]()
    for reply in replies.values():
        assert isinstance(reply, RequestIPReply)
        granted.update(ips(reply))
        assert reply.errno == (ErrorCode.SUCCESS if reply.addresses else ErrorCode.UNAVAILABLE)
    assert granted[WISH] == 1
    assert len(granted) == PEERS / 2  # version 1 gets what it wishes for, or nothing
    assert set(granted.values()) == {1}
    stored = {format_address(lease.address) for lease in store.read(server.clock.moment())}
    store.close()
    assert stored == set(granted)
    assert set(server.in_force()) == set(granted)
