"""A million leases: how long the server takes to start, its memory, and allocation in full pools.

    python -m bench.scale --leases 1000000

Needs root, for the real server on a real interface. The leases are of peers that are not on that
interface: their allowed IPs cost nothing here. See tests/scale for what is asserted.
"""

import argparse
import os
import random
import statistics
import sys
from pathlib import Path

from bench.machine import RESULTS, origin, record
from tests.crash.storm import StormServer
from tests.netns.daemons import database_path
from tests.scale.table import POOL, SIZE, address, filled_table, random_key
from tools.netlab import Lab
from tools.star import Member
from wg_dynamic.leases.lease import Lease
from wg_dynamic.store.base import Moment
from wg_dynamic.store.sqlite import SqliteStore
from wg_dynamic.system.clock import SystemClock
from wg_dynamic.system.privileges import FALLBACK_ID

UTILISATIONS = (0.01, 0.5, 0.99, 0.9999)
SAMPLES = 2000
_CLOCK = SystemClock()


def make_database(path: Path, count: int) -> float:
    """Fill a database with leases that end within the next hours; seconds that it took."""
    chance = random.Random(1)  # noqa: S311 - which addresses
    moment = Moment(_CLOCK.now(), _CLOCK.wall(), _CLOCK.boot_id())
    begin = _CLOCK.now()
    store = SqliteStore(path)
    for at in range(0, count, 1000):
        leases = [
            Lease(
                random_key(chance), address(number), 10800.0, begin + 7200 + 3600 * chance.random()
            )
            for number in range(at, min(at + 1000, count))
        ]
        store.commit(leases, moment)
    store.close()
    return _CLOCK.now() - begin


def resident(pid: int) -> int:
    """Bytes of memory of a process."""
    text = Path(f"/proc/{pid}/status").read_text()
    lines = dict(line.split(":", 1) for line in text.splitlines())
    return int(lines["VmRSS"].split()[0]) * 1024


def start_server(hub: Member, database: Path) -> tuple[float, int]:
    """Seconds until it serves, and bytes of memory of its network process then."""
    server = StormServer(hub, database, "--pool", str(POOL.network))
    begin = _CLOCK.now()
    server.start()
    took = _CLOCK.now() - begin
    memory = resident(server.network_process())
    server.stop()
    return took, memory


def measure_start(count: int) -> dict[str, object]:
    """The real server, with no lease and with many."""
    with Lab() as lab, database_path() as database:
        host = lab.host("hub")
        hub = Member(host, host.wireguard(addrgenmode="none"), "fe80::")
        hub.interface.setconf()
        host.ip("address add fe80::/64 dev wg0 nodad", "link set dev wg0 up")
        empty_time, empty_memory = start_server(hub, database)
        for path in database.parent.iterdir():
            path.unlink()
        made = make_database(database, count)
        for path in database.parent.iterdir():
            path.chmod(0o600)
            os.chown(path, FALLBACK_ID, FALLBACK_ID)
        size = database.stat().st_size
        took, memory = start_server(hub, database)
    return {
        "leases": count,
        "writing_them_seconds": round(made, 2),
        "database_bytes": size,
        "start_seconds": round(took, 2),
        "start_seconds_without_leases": round(empty_time, 2),
        "resident_bytes_per_lease": round((memory - empty_memory) / count, 1),
        "resident_bytes_without_leases": empty_memory,
    }


def measure_allocation(utilisation: float) -> dict[str, object]:
    """Microseconds to choose a free address and to put the lease into the table."""
    chance = random.Random(2)  # noqa: S311 - which addresses
    table = filled_table(int(SIZE * utilisation), chance)
    (allocator,) = table.allocators
    samples = min(SAMPLES, allocator.free_count)
    times = []
    for _ in range(samples):
        key = random_key(chance)
        begin = _CLOCK.now()
        chosen = allocator.choose(chance.randrange)
        assert chosen is not None  # noqa: S101 - there was one free
        table.put(Lease(key, chosen, 3600.0, 5000.0))
        table.begin()
        times.append((_CLOCK.now() - begin) * 1e6)
    return {
        "utilisation": utilisation,
        "median_microseconds": round(statistics.median(times), 2),
        "mean_microseconds": round(statistics.fmean(times), 2),
    }


def main() -> int:
    """Measure and record."""
    parser = argparse.ArgumentParser(prog="bench.scale")
    parser.add_argument("--leases", type=int, default=1_000_000)
    parser.add_argument("--output", type=Path, default=RESULTS / "scale.json")
    arguments = parser.parse_args()
    result = origin()
    result["start"] = measure_start(arguments.leases)
    result["allocation"] = [measure_allocation(utilisation) for utilisation in UTILISATIONS]
    print(record(result, arguments.output))
    return 0


if __name__ == "__main__":
    sys.exit(main())
