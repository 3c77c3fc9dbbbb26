"""How many leases share a transaction of the real server when many peers ask at once. Root.

    python -m bench.group_commit --peers 8 --peers 48

Each peer asks again as soon as it has its answer. Transactions are counted by the syncs of the
WAL, which the recorder of tests/crash sees; it makes the server slower, so the rates are too low.
"""

import argparse
import sys
from pathlib import Path

from bench.machine import RESULTS, origin, record
from tests.crash.recorder import build_recorder, record_all
from tests.crash.storm import Storm
from tests.netns.daemons import database_path
from tools.netlab import Lab
from tools.power_cut import read_log
from wg_dynamic.system.clock import SystemClock

POOLS = ("10.44.0.0/16", "fd00:44::/64")
"""Room for all."""


def measure(peers: int, seconds: float) -> dict[str, object]:
    """One server under the load of so many peers."""
    with Lab() as lab, database_path() as database:
        storm = Storm(lab, database, seed=1, peers=peers, pools=POOLS)
        library, log = lab.directory / "recorder.so", lab.directory / "log"
        build_recorder(library, database.parent.parent, log)
        record_all(storm.hub.host, library)
        storm.start()
        storm.load.run(SystemClock().now() + seconds)
        storm.server.stop()
        storm.load.drain()
        records = list(read_log(log.read_bytes()))
    said = [one for one in records if one.op == "!" and b"retry_after" not in one.data]
    commits = [one for one in records if one.op == "E" and one.path.endswith("-wal")]
    acknowledged = storm.history.acknowledged
    return {
        "peers": peers,
        "seconds": seconds,
        "requests_answered": len(said),
        "addresses_acknowledged": acknowledged,
        "syncs_of_the_log": len(commits),
        "requests_per_sync": round(len(said) / len(commits), 2),
        "addresses_per_sync": round(acknowledged / len(commits), 2),
    }


def main() -> int:
    """Measure and record."""
    parser = argparse.ArgumentParser(prog="bench.group_commit")
    parser.add_argument("--peers", type=int, action="append")
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--output", type=Path, default=RESULTS / "group_commit.json")
    arguments = parser.parse_args()
    result = origin()
    result["runs"] = [measure(peers, arguments.seconds) for peers in arguments.peers or (8, 48)]
    print(record(result, arguments.output))
    return 0


if __name__ == "__main__":
    sys.exit(main())
