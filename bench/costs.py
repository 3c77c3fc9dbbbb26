"""What each step of a request costs, in microseconds: parse, decide, store, tell, reply.

    python -m bench.costs

The steps are called as the server calls them, without sockets, event loop and helper; what those
cost is what bench.server bills besides. For each, the least of several rounds: what else a machine
does only adds.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

from bench.machine import RESULTS, origin, record
from wg_dynamic.address import parse_prefix
from wg_dynamic.leases.lease import Lease
from wg_dynamic.leases.pool import Pool
from wg_dynamic.leases.terms import LeaseTerms, PoolTerms
from wg_dynamic.privsep.codec import MessageCodec
from wg_dynamic.privsep.requests import SERVER_REQUESTS, Change, ChangeAllowedIPs
from wg_dynamic.protocol import LeasedAddress, RequestIP, RequestIPReply, ServerConnection
from wg_dynamic.server.events import Events
from wg_dynamic.server.policy import Asked, Rules, decide
from wg_dynamic.store.base import Moment
from wg_dynamic.store.sqlite import SqliteStore
from wg_dynamic.system.clock import SystemClock

ROUNDS = 7
REQUESTS = 2000
BATCH = 64
"""Requests in a transaction: as many as the generator of bench.server has under way."""
POOLS = ("10.64.0.0/15", "fd00:44::/64")
ANY = (bytes(4), bytes(16))
TEXT = b"request_ip=2\nsection=address\nip=10.64.0.7\nsection=address\nip=fd00:44::7\n\n"
LEASED = (
    LeasedAddress(IPv4Address("10.64.0.7"), IPv4Network("10.64.0.0/15"), 3600, 3600),
    LeasedAddress(IPv6Address("fd00:44::7"), IPv6Network("fd00:44::/64"), 3600, 3600),
)
_CLOCK = SystemClock()


def least(work: Callable[[], object], count: int = REQUESTS) -> float:
    """Microseconds for each of `count` things that `work` does, in the best round."""
    times = []
    for _ in range(ROUNDS):
        begin = _CLOCK.now()
        work()
        times.append(_CLOCK.now() - begin)
    return round(min(times) / count * 1e6, 1)


def exchange(*addresses: LeasedAddress) -> None:
    """Bytes to a request, and a reply with these addresses to bytes."""
    wire = ServerConnection()
    for _ in range(REQUESTS):
        wire.receive_data(TEXT)
        request = wire.next_event()
        assert isinstance(request, RequestIP)  # noqa: S101 - what TEXT is
        wire.send(RequestIPReply(id=request.id, addresses=addresses))


def deciding() -> tuple[float, float, list[Lease]]:
    """Microseconds of a new lease and of a renewal, and the leases."""
    terms = LeaseTerms(tuple(PoolTerms(Pool(parse_prefix(pool))) for pool in POOLS))
    keys = [os.urandom(32) for _ in range(REQUESTS)]
    new, renewed, leases = [], [], []
    for _ in range(ROUNDS):
        rules = Rules(terms, _random, lambda _address, _key: True, ())
        table = rules.new_table()
        table.begin()
        begin = _CLOCK.now()
        outcomes = [decide(table, Asked(key, ANY), rules, 1.0) for key in keys]
        new.append(_CLOCK.now() - begin)
        table.begin()
        wishes = [tuple(lease.address for lease in one.leases) for one in outcomes]
        begin = _CLOCK.now()
        for key, wish in zip(keys, wishes, strict=True):
            decide(table, Asked(key, wish), rules, 2.0)
        renewed.append(_CLOCK.now() - begin)
        leases = [lease for one in outcomes for lease in one.leases]
    first, second = (round(min(one) / REQUESTS * 1e6, 1) for one in (new, renewed))
    return first, second, leases


def _random(bound: int) -> int:
    return int.from_bytes(os.urandom(16), "big") % bound


def storing(leases: list[Lease], directory: Path) -> float:
    """Microseconds of a request's two leases, in transactions of BATCH requests, synced."""
    store = SqliteStore(directory / "leases.sqlite")
    moment = Moment(_CLOCK.now(), _CLOCK.wall(), _CLOCK.boot_id())

    def work() -> None:
        for at in range(0, len(leases), 2 * BATCH):
            store.commit(leases[at : at + 2 * BATCH], moment)

    cost = least(work)
    store.close()
    return cost


def telling(leases: Iterable[Lease]) -> float:
    """Microseconds to count and log what happened to a request's two leases."""
    events = Events(_CLOCK, lambda _: parse_prefix("10.64.0.0/15"))
    leases = list(leases)

    def work() -> None:
        for lease in leases:
            events.changed(lease, 1.0, fresh=True, released=False)

    return least(work)


def asking(leases: list[Lease]) -> float:
    """Microseconds to make the message to the helper, both leases of a request."""
    codec = MessageCodec(SERVER_REQUESTS)
    changes = tuple(
        Change(lease.public_key, parse_prefix("10.64.0.7/32"), add=True)
        for lease in leases[: 2 * BATCH]
    )
    message = ChangeAllowedIPs(changes)
    return least(lambda: [codec.encode(message) for _ in range(REQUESTS // BATCH)])


def main() -> int:
    """Measure and record."""
    parser = argparse.ArgumentParser(prog="bench.costs")
    parser.add_argument("--output", type=Path, default=RESULTS / "costs.json")
    arguments = parser.parse_args()
    result = origin()
    new, renewed, leases = deciding()
    both = least(lambda: exchange(*LEASED))
    parsed = least(exchange)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        stored = storing(leases, Path(directory))
    result["microseconds"] = {
        "parse, and an empty reply": parsed,
        "parse and reply": both,
        "decide, new lease": new,
        "decide, renewal": renewed,
        "store, two leases": stored,
        "count and log": telling(leases),
        "message to the helper": asking(leases),
    }
    print(record(result, arguments.output))
    return 0


if __name__ == "__main__":
    sys.exit(main())
