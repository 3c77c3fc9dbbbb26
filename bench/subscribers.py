"""What it costs to tell clients of a reload: 4096 subscribers, engine and wire without sockets.

    .venv/bin/python -m bench.subscribers

Real are the engine, the table, the pushes and the codec; the store is in memory, WireGuard a fake,
and what would be written to a socket is counted. In turn, as a ratio, the same messages encoded and
nothing else: what telling costs beyond saying.
"""

import argparse
import asyncio
import statistics
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from bench.machine import RESULTS, origin, record
from tests.fakes.server import Server
from wg_dynamic.address import parse_prefix
from wg_dynamic.leases.lease import Lease
from wg_dynamic.leases.push import Push, PushedRoute
from wg_dynamic.protocol import ServerConnection, SubscribeReply, Update
from wg_dynamic.record import replace
from wg_dynamic.server.subscribers import MAX_SUBSCRIBERS, Subscribers

ROUTES: Final = 20
"""Of each client."""


class One:
    """A subscriber whose connection is its wire."""

    is_full = False

    def __init__(self, number: int) -> None:
        self.owner = sha256(b"%d" % number).digest()
        self.source = parse_prefix(f"fe80::{number + 1:x}").packed
        self.bytes = 0
        self.pushes = 0
        self._wire = ServerConnection()
        self._wire.receive_data(b"subscribe=2\n\n")
        self._wire.next_event()
        self._wire.send(SubscribeReply())

    def push(self, update: Update) -> None:
        """Encode it."""
        self.bytes += len(self._wire.send(update))
        self.pushes += 1

    def end(self) -> None:
        """Nobody ends here."""
        raise AssertionError


def pushed(number: int) -> Push:
    """As many routes, another MTU each time."""
    routes = [PushedRoute(parse_prefix(f"10.{each + 100}.0.0/16")) for each in range(ROUTES)]
    return Push(tuple(routes), mtu=1280 + number)


async def told(count: int, rounds: int) -> dict[str, Any]:
    """Seconds of the processor for each reload, and how long other tasks waited meanwhile."""
    server = Server("10.64.0.0/16")
    ones = [One(number) for number in range(count)]
    for number, one in enumerate(ones):
        server.allowed_ips.add_peer(one.owner, parse_prefix(f"fe80::{number + 1:x}"))
        address = (0x0A400001 + number).to_bytes(4)
        server.table.put(Lease(one.owner, address, 3600.0, server.clock.now() + 3600.0))
    server.peers.update(server.allowed_ips.read())
    them = Subscribers(server.engine, server.peers, server.clock)
    for one in ones:
        them.add(one)
    reloads, waits, encoded = [], [], []
    async with server.running(), asyncio.TaskGroup() as group:
        task = group.create_task(them.run())
        for number in range(rounds):
            server.terms = replace(server.terms, push=pushed(number))
            await server.change_terms()
            begin, longest = time.process_time(), 0.0
            while any(one.pushes <= number for one in ones[-1:]):
                before = time.perf_counter()
                await asyncio.sleep(0)
                longest = max(longest, time.perf_counter() - before)
            reloads.append(time.process_time() - begin)
            waits.append(longest)
            begin = time.process_time()
            update = server.engine.standing(ones[0].owner, 1)
            for one in ones:
                one.push(update)
                one.pushes -= 1
            encoded.append(time.process_time() - begin)
        task.cancel()
    size = ones[0].bytes / (2 * rounds)
    return {
        "subscribers": count,
        "routes": ROUTES,
        "bytes_of_a_push": round(size),
        "cpu_seconds_of_a_reload": round(statistics.median(reloads), 4),
        "longest_turn_ms": round(max(waits) * 1000, 2),
        "cpu_seconds_of_encoding_alone": round(statistics.median(encoded), 4),
        "ratio": round(statistics.median(reloads) / statistics.median(encoded), 2),
    }


def main() -> int:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=MAX_SUBSCRIBERS)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path, default=RESULTS / "subscribers.json")
    options = parser.parse_args()
    result = origin() | asyncio.run(told(options.count, options.rounds))
    print(record(result, options.output))
    return 0


if __name__ == "__main__":
    sys.exit(main())
