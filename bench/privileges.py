"""What each process of both daemons may do, and what that costs at the start. Root.

    python -m bench.privileges --starts 40

The processes are read from outside, in /proc, while a lease stands: capabilities, open files,
namespace. The system calls are those that the filter names; where none is in force, all of them. A
start is timed from the command to its exit with a lease, in the background, as wg-quick's hook
waits for it; with --other PYTHON, that of another checkout in turn with ours.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

from bench.machine import RESULTS, origin, record
from tests.netns.daemons import Client, Daemon, Server, database_path
from tools.netlab import Lab
from tools.star import Star, make_star
from wg_dynamic.privsep.sandbox import CLIENT, SERVER
from wg_dynamic.privsep.seccomp import allowed_calls, this_machine

CAPABILITIES = ("CapPrm", "CapEff", "CapInh", "CapBnd", "CapAmb")


def fields(pid: int) -> dict[str, str]:
    """The lines of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: " ".join(value.split()) for name, _, value in (x.partition(":") for x in lines)}


def open_files(pid: int) -> list[str]:
    """What the process has open, without the numbers of sockets and pipes."""
    found = []
    for path in sorted(Path(f"/proc/{pid}/fd").iterdir(), key=lambda p: int(p.name)):
        target = os.readlink(path)
        found.append(re.sub(r":\[\d+\]$|/tmp/wg-dynamic-(lab|leases)-\w+|(?<=/)n\d+-", "", target))
    return found


def look_at(pid: int, host_namespace: str, calls: list[str]) -> dict[str, object]:
    """One process; `calls` are those of its filter, if it has one."""
    status = fields(pid)
    return {
        "user": status["Uid"].split()[1],
        **{name: status[name] for name in CAPABILITIES},
        "no_new_privs": status["NoNewPrivs"] == "1",
        "system_calls": calls if int(status.get("Seccomp_filters", "0")) else "all",
        "host_network": os.readlink(f"/proc/{pid}/ns/net") == host_namespace,
        "resident_kB": int(status["VmRSS"].split()[0]),
        "open_files": open_files(pid),
    }


def look_at_daemon(daemon: Daemon) -> dict[str, object]:
    """Both of its processes."""
    helper, network = daemon.program.pid, daemon.network_process()
    namespace = os.readlink(f"/proc/{helper}/ns/net")
    rules = CLIENT if isinstance(daemon, Client) else SERVER
    calls = allowed_calls(rules.rules(network), this_machine())
    return {"helper": look_at(helper, namespace, []), "network": look_at(network, namespace, calls)}


def look_at_daemons(star: Star, python: str) -> dict[str, object]:
    """A server and a client with a lease, of the checkout whose interpreter this is."""
    with database_path() as database:
        server, client = Server(star.hub, database), Client(star.clients[0])
        for daemon in (server, client):
            module = daemon.name.removeprefix("wg-dynamic-")
            daemon.prefix = [python, "-m", f"wg_dynamic.cli.{module}"]
            daemon.start()
        found: dict[str, object] = {
            "server": look_at_daemon(server),
            "client": look_at_daemon(client),
        }
        client.stop()
        server.stop()
    return found


WALLS = """
import os
from time import process_time
began = process_time()
from wg_dynamic.privsep.sandbox import CLIENT, Sandbox
imported = process_time()
from wg_dynamic.system.privileges import Account, drop_privileges
ready = process_time()
lacks = drop_privileges(Account(60970, 60970))
dropped = process_time()
Sandbox(lacks, tell=True).close(CLIENT)
closed = process_time()
print(*[(b - a) * 1000 for a, b in ((began, imported), (ready, dropped), (dropped, closed))])
"""
"""What the network process does besides, in an interpreter that has imported what it needs."""


def time_walls(count: int) -> dict[str, object]:
    """Milliseconds of a processor that a client's network process spends on its walls."""
    code = f"import wg_dynamic.system.log, wg_dynamic.record, ctypes, resource\n{WALLS}"
    rows = []
    for _ in range(count):
        done = subprocess.run(
            [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
        )
        rows.append([float(word) for word in done.stdout.split()])
    columns = dict(
        zip(("import", "drop_privileges", "close"), zip(*rows, strict=True), strict=True)
    )
    return {
        name: {"fastest_ms": round(min(each), 2), "median_ms": round(median(each), 2)}
        for name, each in columns.items()
    }


def time_start(client: Client) -> float:
    """Milliseconds from the command to its end with a lease."""
    begin = perf_counter()
    done = client.run()
    took = perf_counter() - begin
    if done.returncode != 0 or "leased" not in done.stdout:
        sys.exit(f"no lease: {done.stdout}{done.stderr}")
    client.run("--stop")
    return took * 1000


def time_starts(clients: dict[str, Client], count: int) -> dict[str, object]:
    """So many of each, in turn."""
    times: dict[str, list[float]] = {name: [] for name in clients}
    for _ in range(count):
        for name, client in clients.items():
            times[name].append(time_start(client))
    return {
        name: {
            "starts": count,
            "median_ms": round(median(each), 1),
            "fastest_ms": round(min(each), 1),
            "p90_ms": round(quantiles(each, n=10)[-1], 1),
        }
        for name, each in times.items()
    }


def main() -> int:
    """Look, time and record."""
    parser = argparse.ArgumentParser(prog="bench.privileges")
    parser.add_argument("--starts", type=int, default=40)
    parser.add_argument("--other", metavar="PYTHON", help="the interpreter of another checkout")
    parser.add_argument("--output", type=Path, default=RESULTS / "privileges.json")
    arguments = parser.parse_args()
    result = origin()
    pythons = {"this": sys.executable}
    if arguments.other:
        pythons["other"] = arguments.other
    with Lab() as lab:
        star = make_star(lab)
        for name, python in pythons.items():
            result[name] = look_at_daemons(star, python)
        with database_path() as database:
            server = Server(star.hub, database)
            server.start()
            clients = {name: Client(star.clients[0]) for name in pythons}
            for name, client in clients.items():
                client.prefix = [pythons[name], "-m", "wg_dynamic.cli.client"]
            result["client_start"] = time_starts(clients, arguments.starts)
            server.stop()
    result["walls_of_a_client"] = time_walls(arguments.starts)
    print(record(result, arguments.output))
    return 0


if __name__ == "__main__":
    sys.exit(main())
