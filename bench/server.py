"""The server against Kea, dnsmasq and a bare epoll server, side by side in one run. Root.

    python -m bench.server [--quick]

`make bench` installs what is needed, runs this, and writes docs/performance.md's table and plot.
Every server has the same generator, which owns the interface that it serves (bench.field). Rounds
alternate between the servers, so that what else the machine does meets all of them. The figures
are ratios of medians; absolute ones belong to the machine that is named beside them.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.field import (
    Bare,
    Build,
    Dnsmasq,
    Kea,
    KeaThreads,
    Ours,
    Subject,
    cpu_time,
    resident,
)
from bench.machine import RESULTS, origin, record
from bench.scale import make_database
from tools.netlab import Lab
from wg_dynamic.system.clock import SystemClock
from wg_dynamic.system.privileges import FALLBACK_ID

_CLOCK: Final = SystemClock()
OUTSTANDING: Final = 64
OURS: Final = "wg-dynamic"
FIELD: Final[Mapping[str, type[Subject]]] = {
    OURS: Ours,
    "Kea": Kea,
    "Kea, 2 threads": KeaThreads,
    "dnsmasq": Dnsmasq,
    "bare epoll": Bare,
}
SHARES: Final = (0.5, 0.8)
"""Of the capacity on kept connections: what the open loop asks for."""
GROWN_POOLS: Final = ("10.0.0.0/11", "fd00:44::/64")
"""Room for a million leases and the clients'."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    rounds: int
    clients: int
    kept: int
    """Connections that stay."""
    seconds: float
    storms: tuple[int, ...]
    grown: tuple[int, ...]
    idle: float


WHOLE: Final = Size(5, 20000, 4000, 5.0, (10000, 60000), (1000, 10000, 100000, 1000000), 60.0)
QUICK: Final = Size(3, 10000, 4000, 3.0, (10000, 60000), (1000, 1000000), 20.0)


def say(text: str) -> None:
    """Tell how far it is."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def billed(subject: Subject, work: Callable[[], Any]) -> Any:
    """What `work` came to, with the microseconds of each process for one exchange."""
    before = {name: cpu_time(pid) for name, pid in subject.processes().items()}
    outcome = work()
    after = {name: cpu_time(pid) for name, pid in subject.processes().items()}
    done = max(outcome["done"], 1)
    outcome["microseconds_each"] = {
        name: round((after[name] - before[name]) / done * 1e6, 1) for name in before
    }
    return outcome


def one_round(subject: Subject, size: Size) -> dict[str, Any]:
    """Cases a, b and c on a server that has just started."""
    ask = subject.generator.ask
    subject.start()
    try:
        run = f"0 {size.clients} {OUTSTANDING}"
        found = {
            "new": billed(subject, lambda: ask(f"run new {run} 120")),
            "renew": billed(subject, lambda: ask(f"run renew {run} {size.seconds}")),
        }
        if subject.kind == "wg-dynamic":
            ask(f"keep 0 {size.kept} {OUTSTANDING}")
            found["kept"] = billed(
                subject, lambda: ask(f"run kept 0 {size.kept} {OUTSTANDING} {size.seconds}")
            )
    finally:
        subject.stop()
    return found


def open_loop(subject: Subject, size: Size, capacity: float) -> dict[str, Any]:
    """Latency at a part of the capacity; each request counts from when it was to be sent."""
    ask = subject.generator.ask
    subject.start()
    try:
        ask(f"run new 0 {size.kept} {OUTSTANDING} 120")
        if subject.kind == "wg-dynamic":
            ask(f"keep 0 {size.kept} {OUTSTANDING}")
        return {
            f"{share:.0%}": ask(f"open 0 {size.kept} {share * capacity:.0f} {2 * size.seconds}")
            for share in SHARES
        }
    finally:
        subject.stop()


def fsync_times(directory: Path, count: int = 400) -> dict[str, float]:
    """What the disk takes for what a commit asks of it: 4 KiB appended and synced, in ms."""
    times = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(count):
            begin = _CLOCK.now()
            os.write(file.fileno(), bytes(4096))
            os.fdatasync(file.fileno())
            times.append((_CLOCK.now() - begin) * 1000)
    times.sort()
    return {
        "median_ms": round(median(times), 3),
        "p99_ms": round(times[int(0.99 * (count - 1))], 3),
    }


def storm(lab: Lab, build: Build, name: str, count: int) -> dict[str, Any]:
    """Case d: all peers at once, until the last has its lease."""
    subject = FIELD[name](lab, f"storm {count}", build, count)
    try:
        subject.start()
        before = {name: resident(pid) for name, pid in subject.processes().items()}
        outcome: dict[str, Any] = billed(subject, lambda: subject.generator.ask(f"storm 0 {count}"))
        outcome |= {"server": name, "peers": count, "lost": count - outcome["done"]}
        outcome |= subject.generator.ask("held")
        outcome["resident_before"] = before
        outcome["resident_after"] = {
            name: resident(pid) for name, pid in subject.processes().items()
        }
    finally:
        subject.close()
    return outcome


def idle(lab: Lab, build: Build, size: Size) -> dict[str, Any]:
    """Case e: processor time of 10,000 leases that nobody asks about; kept connections too."""
    count = 10000
    subject = Ours(lab, "idle", build, count)
    found: dict[str, Any] = {}
    try:
        subject.start()
        subject.generator.ask(f"run new 0 {count} {OUTSTANDING} 120")
        for name in ("leases", "leases and connections"):
            if name != "leases":
                subject.generator.ask(f"keep 0 8000 {OUTSTANDING}")
            before = {one: cpu_time(pid) for one, pid in subject.processes().items()}
            spent = size.idle if name == "leases" else min(size.idle, 40.0)
            time.sleep(spent)
            found[name] = {
                one: {
                    "cores": round((cpu_time(pid) - before[one]) / spent, 5),
                    "resident": resident(pid),
                }
                for one, pid in subject.processes().items()
            }
    finally:
        subject.close()
    return found


def grown(lab: Lab, build: Build, size: Size, leases: int) -> dict[str, Any]:
    """Case f: start, memory and throughput of a server that has so many leases already."""
    clients = min(size.clients, 6000)
    subject = Ours(lab, f"grown {leases}", build, clients)
    subject.pools = GROWN_POOLS
    try:
        subject.start_wireguard()
        subject.database.parent.mkdir(mode=0o700, exist_ok=True)
        make_database(subject.database, leases)
        for path in (subject.database.parent, *subject.database.parent.iterdir()):
            path.chmod(0o700 if path.is_dir() else 0o600)
            os.chown(path, FALLBACK_ID, FALLBACK_ID)
        start = subject.start_server()
        subject.wait_until_it_serves()
        memory = {name: resident(pid) for name, pid in subject.processes().items()}
        run = f"0 {clients} {OUTSTANDING}"
        new = billed(subject, lambda: subject.generator.ask(f"run new {run} 120"))
        renew = billed(subject, lambda: subject.generator.ask(f"run renew {run} {size.seconds}"))
    finally:
        subject.close()
    return {
        "leases": leases,
        "start_seconds": round(start, 2),
        "resident": memory,
        "new": new,
        "renew": renew,
    }


def stranger(lab: Lab, build: Build, peers: int, times: int) -> dict[str, Any]:
    """Case h: seconds until a peer that was added just now has its lease, among many others."""
    subject = Ours(lab, "stranger", build, peers + times)
    subject.peers = peers
    seconds: list[float] = []
    try:
        subject.start_wireguard()
        subject.start_server()
        subject.generator.ask(f"run new 0 {min(1000, peers)} {OUTSTANDING} 60")
        for number in range(peers, peers + times):
            subject.add_peers([number])
            seconds.append(round(subject.generator.ask(f"storm {number} 1")["seconds"], 2))
    finally:
        subject.close()
    return {"peers": peers, "seconds": seconds, "median_seconds": median(seconds)}


def middle(rounds: Sequence[Mapping[str, Any]], case: str, figure: str) -> float:
    """The median of a figure over the rounds."""
    return float(round(median(one[case][figure] for one in rounds), 2))


def compared(rounds: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Medians of each server, and ours as a multiple of the others'."""
    medians = {
        name: {case: middle(found, case, "per_second") for case in found[0]}
        for name, found in rounds.items()
    }
    ours = medians[OURS]
    ratios = {}
    for name, theirs in medians.items():
        if name != OURS:
            pairs = {case: (case, case) for case in ours if case in theirs}
            if "kept" not in theirs:  # without connections there is one kind of renewal
                pairs["kept"] = ("kept", "renew")
            ratios[name] = {
                case: round(ours[mine] / theirs[other], 3) for case, (mine, other) in pairs.items()
            }
    return {"per_second": medians, "ratios": ratios}


def measure_field(lab: Lab, build: Build, size: Size) -> dict[str, Any]:
    """Cases a to c of all servers in alternation, and the open loop of ours and Kea."""
    subjects = {name: kind(lab, name, build, size.clients) for name, kind in FIELD.items()}
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in subjects}
    for number in range(size.rounds):
        order = list(subjects) if number % 2 == 0 else list(reversed(subjects))
        for name in order:
            say(f"round {number + 1} of {size.rounds}: {name}")
            rounds[name].append(one_round(subjects[name], size))
    found = compared(rounds)
    latency: dict[str, Any] = {"fsync": fsync_times(subjects[OURS].directory)}
    for name, case in ((OURS, "kept"), ("Kea", "renew")):
        say(f"latency: {name}")
        latency[name] = open_loop(subjects[name], size, found["per_second"][name][case])
    for subject in subjects.values():
        subject.close()
    return found | {"latency": latency, "rounds": rounds}


def measure(size: Size) -> dict[str, Any]:
    """All cases."""
    with tempfile.TemporaryDirectory() as directory:
        build = Build(Path(directory))
        with Lab() as lab:
            found = measure_field(lab, build, size)
        storms = []
        for count in size.storms:
            for name in (OURS, "Kea"):
                say(f"storm of {count} peers: {name}")
                with Lab() as lab:
                    storms.append(storm(lab, build, name, count))
        say("idle")
        with Lab() as lab:
            rest = idle(lab, build, size)
        growth = []
        for leases in size.grown:
            say(f"growth: {leases} leases")
            with Lab() as lab:
                growth.append(grown(lab, build, size, leases))
        say("a new peer among many")
        with Lab() as lab:
            learnt = stranger(lab, build, max(size.storms), 3)
    return found | {"storms": storms, "idle": rest, "growth": growth, "new_peer": learnt}


def main() -> int:
    """Measure and record."""
    parser = argparse.ArgumentParser(prog="bench.server", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--output", type=Path, default=RESULTS / "server.json")
    arguments = parser.parse_args()
    result = origin()
    result |= measure(QUICK if arguments.quick else WHOLE)
    result["load_average_after"] = round(os.getloadavg()[0], 2)
    record(result, arguments.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
