"""The weight of a client: from exec to an address, memory, and what it does while idle. Root.

    python -m bench.client --starts 40 --minutes 5

Real server and real wireguard-go in namespaces, over a tunnel that is warm. In turn with ours: a
bare interpreter, and, where they are installed (isc-dhcp-client, udhcpc, dnsmasq-base), dhclient
and udhcpc against dnsmasq over a veth of the same two hosts, with a script that sets the address
and nothing else. With --other BIN, the wg-dynamic-client of another checkout too.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from bench.machine import RESULTS, origin, record
from tests.netns.daemons import Server, children, database_path
from tools.netlab import Host, Lab
from tools.repository import ROOT
from tools.star import Star, make_star

SCRIPT = """#!/bin/sh
case "$reason$1" in
BOUND | REBOOT) exec ip address add "$new_ip_address/24" dev dhcp0 ;;
bound) exec ip address add "$ip/24" dev dhcp0 ;;
esac
"""
"""Of dhclient (`reason`) and of udhcpc (`$1`)."""


def summary(values: list[float]) -> dict[str, float]:
    """What is told of many."""
    tenths = quantiles(values, n=10)
    return {
        "fastest": round(min(values), 1),
        "median": round(median(values), 1),
        "p90": round(tenths[-1], 1),
    }


def inside(host: Host, wanted: dict[str, object], timeout: float) -> Any:
    """Run bench.client_inside in a host."""
    command = host.python("-m", "bench.client_inside", json.dumps(wanted))
    return json.loads(host.run(command, timeout=timeout, cwd=ROOT).stdout)


def make_dhcp(star: Star) -> dict[str, list[str]]:
    """A veth with dnsmasq at the hub; the clients' command lines, of those that are installed."""
    hub, client = star.hub.host, star.clients[0].host
    found = {name: shutil.which(name, path="/usr/sbin:/sbin") for name in ("dhclient", "udhcpc")}
    dnsmasq = shutil.which("dnsmasq", path="/usr/sbin:/sbin")
    if dnsmasq is None or not any(found.values()):
        return {}
    hub.ip(
        f"link add dhcp0 type veth peer name dhcp0 netns {client.pid}",
        "address add 192.0.2.1/24 dev dhcp0",
        "link set dhcp0 up",
    )
    client.ip("link set dhcp0 up")
    own = hub.lab.directory
    for name in ("dhclient.conf", "resolv.conf"):
        (own / name).touch()
    script = own / "script"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    client.run(["mount", "--bind", str(own / "resolv.conf"), "/etc/resolv.conf"])
    server = [dnsmasq, "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root"]
    server += ["--interface=dhcp0", "--bind-interfaces", "--dhcp-range=192.0.2.10,192.0.2.200,1h"]
    server += ["--no-ping", "--dhcp-authoritative", "--dhcp-option=3", "--dhcp-option=6"]
    files = [f"--dhcp-leasefile={own}/dnsmasq.leases", f"--pid-file={own}/dnsmasq.pid"]
    hub.popen([*server, *files, "--log-facility=-"]).wait_for_output("started")
    commands = {}
    if program := found["dhclient"]:
        options = ["-d", "-1", "-4", "-sf", str(script), "-cf", str(own / "dhclient.conf")]
        files = ["-lf", f"{own}/dhclient.leases", "-pf", f"{own}/dhclient.pid"]
        commands["dhclient"] = [program, *options, *files, "dhcp0"]
    if program := found["udhcpc"]:
        commands["udhcpc"] = [program, "-f", "-s", str(script), "-i", "dhcp0"]
    return commands


def measure(star: Star, server: Server, arguments: argparse.Namespace) -> dict[str, object]:
    """Starts, then quiet."""
    client = star.clients[0].host
    ours = {"this": str(Path(sys.executable).with_name("wg-dynamic-client"))}
    if arguments.other:
        ours["other"] = arguments.other
    wanted: dict[str, object] = {
        "ours": ours,
        "theirs": make_dhcp(star),
        "starts": arguments.starts,
    }
    client.ping("fe80::%wg0")
    found = inside(client, wanted, 60 + arguments.starts * 5)
    helper = server.program.pid
    servers = {"server_helper": helper, "server_network": children(helper)[0]}
    seconds = arguments.minutes * 60
    quiet = inside(client, {"ours": ours, "servers": servers, "idle": seconds}, seconds + 60)
    times = found["times"]
    return {
        "milliseconds": {
            name: {what: summary(values) for what, values in each.items()}
            for name, each in times.items()
        },
        "to_address_by_bare_python": {
            name: round(median(times[name]["both_addresses"]) / median(times["python"]["ended"]), 2)
            for name in ours
        },
        "memory_after_start_kB": found["memory"],
        "idle": quiet,
    }


def main() -> int:
    """Measure and record."""
    parser = argparse.ArgumentParser(prog="bench.client")
    parser.add_argument("--starts", type=int, default=40)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long to look at it idle")
    parser.add_argument("--other", metavar="BIN", help="wg-dynamic-client of another checkout")
    parser.add_argument("--output", type=Path, default=RESULTS / "client.json")
    arguments = parser.parse_args()
    result = origin()
    result["starts"] = arguments.starts
    with Lab() as lab, database_path() as database:
        star = make_star(lab, persistent_keepalive=25)
        star.hub.host.ip("address add 10.44.0.1/24 dev wg0", "address add fd00:44::1/64 dev wg0")
        server = Server(star.hub, database, "--lease-time", "3600")
        server.start()
        result.update(measure(star, server, arguments))
        server.stop()
    print(record(result, arguments.output))
    return 0


if __name__ == "__main__":
    sys.exit(main())
