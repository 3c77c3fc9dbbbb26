"""Kill the real server under load for as long as you like.

    python -m bench.soak --minutes 240 --seed 7 --lease-time 60

What is checked is what tests/crash/test_daemon.py checks, see tests/crash/storm.py. With leases of
a minute, and peers that are not heard of for two, leases also end by themselves. Root.
"""

import argparse
import secrets
import sys
from pathlib import Path

from bench.machine import RESULTS, origin, record
from tests.crash.storm import Storm, StormError
from tests.netns.daemons import database_path
from tools.netlab import Lab
from wg_dynamic.system.clock import SystemClock


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="bench.soak", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time")
    parser.add_argument("--peers", type=int, default=12)
    parser.add_argument("--lease-time", type=int, default=60, help="seconds (default: 60)")
    parser.add_argument(
        "--life", type=float, default=2.0, help="seconds of load before a kill, at the most"
    )
    parser.add_argument("--output", type=Path, default=RESULTS / "soak.json")
    return parser


def soak(storm: Storm, until: float) -> str:
    """Rounds until a time; what was found wrong, "" for nothing."""
    try:
        storm.start()
        while SystemClock().now() < until:
            storm.round()
            print(f"\r{sum(storm.kills.values())} kills", end="", file=sys.stderr, flush=True)
        storm.finish()
    except StormError as error:
        return str(error)
    return ""


def main() -> int:
    """Run, record, and say how it went."""
    arguments = make_parser().parse_args()
    result = origin()
    seed = secrets.randbits(32) if arguments.seed is None else arguments.seed
    with Lab() as lab, database_path() as database:
        storm = Storm(
            lab,
            database,
            seed=seed,
            peers=arguments.peers,
            life=(0.02, arguments.life),
            absence=0.1,
            options=("--lease-time", str(arguments.lease_time)),
        )
        found = soak(storm, SystemClock().now() + 60 * arguments.minutes)
    result |= {
        "seed": seed,
        "minutes": arguments.minutes,
        "peers": arguments.peers,
        "lease_time": arguments.lease_time,
        "kills": sum(storm.kills.values()),
        "kills_by_kind": dict(sorted(storm.kills.items())),
        "addresses_acknowledged": storm.history.acknowledged,
        "of_these_renewals": storm.history.renewed,
        "leases_that_ended_by_time": storm.history.expired,
        "longest_until_allowed_ips_were_right": round(storm.recovery, 3),
        "found_wrong": found,
    }
    record(result, arguments.output)
    print(f"\n{arguments.output}: {found or 'nothing wrong'}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
