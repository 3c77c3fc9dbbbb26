"""wg-dynamic-watch beside a real server: hooks of all sorts, metrics, names by a real dnsmasq."""

import json
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.attack.actors import ask, attack, bill, result, serve_while, wish
from tests.netns.daemons import Client, Server, children
from tools.netlab import Host, Lab, Program, wait_until
from tools.packages import unpacked
from tools.processes import PATIENCE
from tools.repository import ROOT
from tools.star import Star, make_star

NOBODY = 65534
EXAMPLES = ROOT / "examples"
HOSTS = "/run/wg-dynamic-watch/wg0/hosts"
SCRIPTS = {
    "good": 'read line; echo "$WG_DYNAMIC_EVENT $WG_DYNAMIC_ADDRESS $(id -u) $line" >>$OUT/told',
    "hangs": "sleep 1000",
    "fails": "echo this is why >&2; exit 7",
    "floods": "yes flood",
    "forks": "for i in 1 2 3; do (setsid sleep 1000 &); sleep 1000 & done; exit 0",
}


class Watched:
    """A server, what runs beside it, and the file that hooks write."""

    def __init__(
        self,
        lab: Lab,
        database: Path,
        place: Path,
        hooks: str,
        *,
        clients: Sequence[str] = ("one",),
        private: Sequence[str] = (),
    ) -> None:
        private = ("/etc/wg-dynamic", "/run/dnsmasq", "/run/wg-dynamic-watch", *private)
        self.star: Star = make_star(lab, clients, private=private)
        self.out = place / "out"
        self.out.mkdir(mode=0o777)
        self.out.chmod(0o777)
        for name, script in SCRIPTS.items():
            path = place / name
            path.write_text(f"#!/bin/sh\nOUT={self.out}\n{script}\n")
            path.chmod(0o755)
        self.one = self.star.clients[0]
        self.hub = self.star.hub.host
        self.hub.path("/etc/wg-dynamic/wg0.toml").write_text(
            f"[[pool]]\nnetwork = '10.44.0.0/24'\n[[peer]]\nname = 'My Laptop'\npublic_key ="
            f" '{self.one.interface.keys.public}'\n"
            "[metrics]\nlisten = '127.0.0.1:9586'\n[names]\nsuffix = 'wg'\n" + hooks.format(place)
        )
        self.server = Server(self.star.hub, database)
        self.server.arguments = ["--database", str(database)]
        self.watch: Program

    def start(self) -> None:
        self.server.start()
        self.watch = self.hub.popen(["wg-dynamic-watch", "wg0"])
        self.watch.wait_for_output("following the server's events")

    def told(self) -> list[str]:
        path = self.out / "told"
        return path.read_text().splitlines() if path.exists() else []

    def status(self) -> Any:
        return json.loads(self.hub.run(["wg-dynamic", "status", "wg0", "--json"]).stdout)

    def agree(self) -> Any:
        """What the metrics count lies between two readings of the status; the second."""
        before, found, after = self.status(), self.metrics(), self.status()
        for kind, count in before["events"].items():
            name = f'wg_dynamic_events_total{{event="{kind}"}}'
            assert count <= found[name] <= after["events"][kind], kind
        answered = [sum(one["count"] for one in each["requests"]) for each in (before, after)]
        requests = "wg_dynamic_requests_total"
        counted = sum(number for name, number in found.items() if name.startswith(requests))
        assert answered[0] <= counted <= answered[1]
        times = [each["times"]["request"]["count"] for each in (before, after)]
        assert times[0] <= found["wg_dynamic_request_duration_seconds_count"] <= times[1]
        return after

    def metrics(self) -> dict[str, float]:
        command = "import urllib.request as u, sys; print(u.urlopen(sys.argv[1]).read().decode())"
        where = "http://127.0.0.1:9586/metrics"
        text = self.hub.run(self.hub.python("-c", command, where)).stdout
        found = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, value = re.fullmatch(r"(\S+) (\S+)", line).groups()  # type: ignore[union-attr]
                found[name] = float(value)
        return found


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that hooks can enter, whoever they are."""
    with tempfile.TemporaryDirectory(prefix="wg-dynamic-hooks-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def hook(name: str, more: str = "") -> str:
    return f"[[hook]]\ncommand = ['{{0}}/{name}']\n{more}\n"


def test_a_hook_gets_each_event_as_nobody_and_metrics_agree_with_the_status(
    lab: Lab, database: Path, place: Path
) -> None:
    watched = Watched(lab, database, place, hook("good"))
    watched.start()
    client = Client(watched.one)
    client.start()
    wait_until(client.leased, what="a lease")
    (address,) = client.leased()
    wait_until(lambda: len(watched.told()) == 1, what="that the hook was told")
    kind, told, user, line = watched.told()[0].split(" ", 3)
    assert (kind, told, user) == ("granted", address, str(NOBODY))
    event = json.loads(line)
    assert event["name"] == "My Laptop"
    assert event["public_key"] == watched.one.interface.keys.public
    (follower,) = children(watched.watch.pid)
    powers = Path(f"/proc/{follower}/status").read_text()
    assert re.search(r"^CapBnd:\t0+$", powers, re.M)
    assert re.search(r"^Uid:\t[1-9]", powers, re.M)
    found = watched.metrics()
    status = json.loads(watched.hub.run(["wg-dynamic", "status", "wg0", "--json"]).stdout)
    assert found["wg_dynamic_up"] == 1
    assert found['wg_dynamic_leases{state="held"}'] == status["leases"]["held"] == 1
    assert found['wg_dynamic_pool_held_addresses{network="10.44.0.0/24"}'] == 1
    assert found['wg_dynamic_pool_free_addresses{network="10.44.0.0/24"}'] == 253
    assert found['wg_dynamic_events_total{event="granted"}'] == status["events"]["granted"] == 1
    asked = [one["count"] for one in status["requests"] if one["command"] == "request_ip"]
    assert sum(asked) == found["wg_dynamic_request_duration_seconds_count"] > 0
    assert found['wg_dynamic_store_duration_seconds_bucket{le="+Inf"}'] >= 1
    # The server goes and comes.
    watched.server.stop()
    wait_until(lambda: watched.metrics() == {"wg_dynamic_up": 0}, what="that it is down")
    watched.server.start()
    wait_until(lambda: watched.metrics()["wg_dynamic_up"] == 1, timeout=15, what="that it is back")
    wait_until(
        lambda: watched.watch.output().count("following") == 2, timeout=15, what="that it follows"
    )
    assert client.run("--stop").returncode == 0
    wait_until(lambda: len(watched.told()) == 2, timeout=15, what="the release")
    assert watched.told()[1].startswith(f"released {address} ")
    assert json.loads(watched.told()[1].split(" ", 3)[3])["lost"] == 1
    assert watched.watch.stop() == 0


def test_hooks_that_hang_fail_flood_and_fork_cost_no_grant_and_leave_nothing(
    lab: Lab, database: Path, place: Path
) -> None:
    bad = ("hangs", "fails", "floods", "forks")
    hooks = "".join(hook(name, "timeout = '2s'") for name in bad) + hook("good")
    watched = Watched(lab, database, place, hooks)
    watched.start()
    before = bill(watched.watch.pid)
    client = Client(watched.one)
    for number in range(3):
        client.start()
        wait_until(client.leased, what="a lease")
        assert client.run("--stop").returncode == 0
        wait_until(lambda n=number: len(watched.told()) == 2 * n + 2, what="the good one")  # type: ignore[misc]
    output = watched.watch.output
    wait_until(lambda: output().count("hangs: killed after 2 s") >= 3, timeout=30, what="kills")
    wait_until(lambda: output().count("fails: ended with 7, expected 0") == 6, what="failures")
    assert "fails: this is why" in output()
    assert 1 <= output().count("floods: flood") <= 6 * 10
    wait_until(
        lambda: output().count("hangs: killed after 2 s") == 6, timeout=30, what="the last run"
    )
    assert bill(watched.watch.pid).memory - before.memory < 8 * 2**20
    # One child is left: the process that follows the server.
    wait_until(lambda: len(children(watched.watch.pid)) == 1, what="that nothing is left")
    assert watched.watch.stop() == 0


def test_under_load_metrics_agree_with_the_status_and_bad_hooks_cost_no_grant_and_no_memory(
    lab: Lab, database: Path, place: Path
) -> None:
    told = "events = ['granted', 'renewed', 'refused']\ntimeout = '2s'"
    bad = ("hangs", "floods", "forks")
    hooks = "".join(hook(name, told) for name in bad)
    watched = Watched(lab, database, place, hooks, clients=["one", "two"])
    watched.start()
    honest, hostile = watched.star.clients
    ask(honest, wish())
    follower = children(watched.watch.pid)[0]
    processes = (watched.server.network_process(), watched.watch.pid, follower)
    before = [bill(each).memory for each in processes]
    waited = []
    # As many events as a peer can cause in a minute, and as many refusals as it takes.
    storm = attack(hostile, "renewals", "--seconds", "15")
    for number, (took, _reply) in enumerate(serve_while(honest, storm)):
        waited.append(took)
        if number % 5 == 0:
            watched.agree()
    assert len(waited) > 10
    assert max(waited) < 5.0 * PATIENCE
    result(storm)
    status = watched.agree()
    assert status["events"]["renewed"] > 100
    outcomes = {one["outcome"]: one["count"] for one in status["requests"]}
    assert outcomes["rate_limited"] > 1000
    for each, old in zip(processes, before, strict=True):
        assert bill(each).memory - old < 8 * 2**20
    assert watched.watch.stop() == 0


def test_a_name_is_an_address_by_dnsmasq(lab: Lab, database: Path, place: Path) -> None:
    watched = Watched(lab, database, place, "")
    watched.start()
    hosts = watched.hub.path(HOSTS)
    wait_until(hosts.exists, what="the file")
    options = ["--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null"]
    options += ["--listen-address=127.0.0.1", "--bind-interfaces", "--user=root", "--pid-file="]
    options += [f"--hostsdir={Path(HOSTS).parent}"]
    watched.hub.popen(["dnsmasq", *options])
    client = Client(watched.one)
    client.start()
    wait_until(client.leased, what="a lease")
    (address,) = client.leased()

    wait_until(lambda: asked(watched.hub) == address, timeout=15, what="the name")
    watched.hub.ip("address add 10.44.0.1/24 dev wg0")
    assert watched.hub.ping(address)
    assert client.run("--stop").returncode == 0
    wait_until(lambda: "laptop" not in hosts.read_text(), what="that the name is gone")
    watched.watch.stop()


def asked(host: Host) -> str:
    """What the name server on a host has for my-laptop.wg; '' for nothing."""
    program = (
        "import socket\ns=socket.socket(2,2); s.settimeout(1)\n"
        "q=b'\\0\\7\\1\\0\\0\\1'+bytes(6)+b'\\x09my-laptop\\2wg\\0\\0\\1\\0\\1'\n"
        "s.sendto(q,('127.0.0.1',53)); a=s.recv(500)\n"
        "print(socket.inet_ntoa(a[-4:]) if a[7] else '')"
    )
    return host.run(host.python("-c", program), check=False).stdout.strip()


UNBOUND = (
    "unbound",
    "libevent-2.1-7",
    "libfstrm0",
    "libnghttp2-14",
    "libprotobuf-c1",
    "libpython3.11",
)
UNBOUND_CONF = """
server:
  username: ""
  chroot: ""
  do-daemonize: no
  pidfile: ""
  directory: "/etc/unbound"
  module-config: "iterator"
remote-control:
  control-enable: yes
  control-use-cert: no
  control-interface: /run/unbound/control
"""


def test_a_name_is_an_address_by_unbound(lab: Lab, database: Path, place: Path) -> None:
    private = ("/etc/unbound", "/run/unbound")
    watched = Watched(lab, database, place, "", private=private)
    lay_over(watched.hub, UNBOUND)
    watched.hub.path("/etc/unbound/unbound.conf").write_text(UNBOUND_CONF)
    watched.hub.popen(["unbound", "-c", "/etc/unbound/unbound.conf"])
    wait_until(watched.hub.path("/run/unbound/control").exists, timeout=15, what="unbound")
    watched.start()
    hosts = watched.hub.path(HOSTS)
    client = Client(watched.one)
    client.start()
    (address,) = client.leased()
    wait_until(lambda: hosts.exists() and "laptop" in hosts.read_text(), timeout=15, what="it")
    command = [str(EXAMPLES / "hosts-to-unbound"), HOSTS, "wg"]
    assert asked(watched.hub) == ""
    watched.hub.run(command)
    assert asked(watched.hub) == address
    assert client.run("--stop").returncode == 0
    wait_until(lambda: "laptop" not in hosts.read_text(), what="that the name is gone")
    watched.hub.run(command)
    assert asked(watched.hub) == ""
    watched.watch.stop()


RECEIVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        print(self.rfile.read(int(self.headers["Content-Length"])).decode(), flush=True)
        self.send_response(204); self.end_headers()
http.server.HTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
"""


def test_the_examples_do_what_they_say(lab: Lab, database: Path, place: Path) -> None:
    sets = "'inet', 'filter', 'leases4', 'leases6'"
    programs = Path(sys.executable).parent  # where a package has them, hooks find them
    nft_hook = place / "leases-to-nft"
    nft_hook.write_text(f'#!/bin/sh\nPATH={programs}:$PATH exec {EXAMPLES}/leases-to-nft "$@"\n')
    nft_hook.chmod(0o755)
    hooks = (
        f"[[hook]]\ncommand = ['{nft_hook}', {sets}]\nuser = 'root'\n"
        f"[[hook]]\ncommand = ['{place}/post', 'http://127.0.0.1:8080/x']\n"
    )
    post = place / "post"  # where nobody can read it, unlike a checkout below /root
    post.write_text((EXAMPLES / "post-to-webhook").read_text())
    post.chmod(0o755)
    watched = Watched(lab, database, place, hooks)
    nft = "add table inet filter; add set inet filter leases4 { type ipv4_addr; };"
    watched.hub.run(["nft", f"{nft} add set inet filter leases6 {{ type ipv6_addr; }}"])
    receiver = watched.hub.popen(watched.hub.python("-c", RECEIVER))
    watched.start()

    def elements() -> str:
        return watched.hub.run(["nft", "list", "set", "inet", "filter", "leases4"]).stdout

    client = Client(watched.one)
    client.start()
    wait_until(client.leased, what="a lease")
    (address,) = client.leased()
    wait_until(lambda: address in elements(), what="the element")
    wait_until(lambda: address in receiver.output(), what="the post")
    (line,) = [line for line in receiver.output().splitlines() if line.startswith("{")]
    assert json.loads(line)["event"] == "granted"
    assert client.run("--stop").returncode == 0
    wait_until(lambda: address not in elements(), what="that it is out")
    # Some events were missed: all that is leased is in the set, and nothing else.
    watched.hub.run(["nft", "add element inet filter leases4 { 192.0.2.1 }"])
    client.start()
    wait_until(client.leased, what="a lease")
    (address,) = client.leased()
    variables = {
        "WG_DYNAMIC_EVENT": "renewed",
        "WG_DYNAMIC_ADDRESS": address,
        "WG_DYNAMIC_INTERFACE": "wg0",
        "WG_DYNAMIC_LOST": "1",
    }
    command = [str(EXAMPLES / "leases-to-nft"), "inet", "filter", "leases4", "leases6"]
    watched.hub.run(command, env=variables)
    assert address in elements()
    assert "192.0.2.1" not in elements()
    watched.watch.stop()


FRR = ("frr", "libyang2", "libc-ares2", "libjson-c5", "libreadline8")
"""Debian's."""
DAEMONS = ("zebra", "staticd", "bgpd")
BGP = """
router bgp {own}
 no bgp ebgp-requires-policy
 neighbor {neighbor} remote-as {other}
 neighbor {neighbor} timers connect 1
 address-family ipv4 unicast
  redistribute static route-map leases
route-map leases permit 10
 match tag 970
"""


def lay_over(host: Host, packages: Sequence[str]) -> None:
    """Give a host the programs of Debian's packages: installed, they would start daemons here."""
    layers = ":".join(str(unpacked(package) / "usr") for package in packages)
    host.run(["mount", "-t", "overlay", "-o", f"lowerdir={layers}:/usr", "overlay", "/usr"])


class Router:
    """FRR on a host."""

    def __init__(self, host: Host, own: int, neighbor: str, other: int) -> None:
        self.host = host
        lay_over(host, FRR)
        group = "sed /^frr/d /etc/group >/run/frr/group; echo frrvty:x:60971:root >>/run/frr/group;"
        host.run(["sh", "-ec", f"{group} mount --bind /run/frr/group /etc/group"])
        host.path("/etc/frr/frr.conf").write_text(
            BGP.format(own=own, neighbor=neighbor, other=other)
        )
        host.path("/etc/frr/vtysh.conf").write_text(
            "service integrated-vtysh-config\nusername root nopassword\n"
        )
        for name in DAEMONS:
            host.popen([f"/usr/lib/frr/{name}", "-u", "root", "-g", "root", "--log", "stdout"])
            wait_until(host.path(f"/run/frr/{name}.vty").exists, timeout=15.0, what=name)
        host.run(["vtysh", "-b"])

    def routes(self) -> dict[str, str]:
        """What it has learnt: destination -> gateway."""
        shown = self.host.run(["ip", "-json", "route", "show", "proto", "bgp"]).stdout
        return {each["dst"]: each["gateway"] for each in json.loads(shown or "[]")}


def test_a_lease_is_announced_by_frr(lab: Lab, database: Path, place: Path) -> None:
    programs = Path(sys.executable).parent  # where a package has them, hooks find them
    script = place / "lease-to-frr"
    script.write_text(f'#!/bin/sh\nPATH={programs}:$PATH exec {EXAMPLES}/lease-to-frr "$@"\n')
    script.chmod(0o755)
    hooks = f"[[hook]]\ncommand = ['{script}', '970']\nuser = 'root'\n"
    more = ("/etc/frr", "/run/frr")
    watched = Watched(lab, database, place, hooks, clients=["one", "router"], private=more)
    hub, other = watched.hub, watched.star.clients[1].host
    Router(hub, 65001, other.address, 65002)
    router = Router(other, 65002, hub.address, 65001)
    watched.start()
    client = Client(watched.one)
    client.start()
    (address,) = client.leased()
    told = {address: hub.address}
    wait_until(lambda: router.routes() == told, timeout=30.0, what="the route")
    assert client.run("--stop").returncode == 0
    wait_until(lambda: router.routes() == {}, timeout=30.0, what="that it is gone")
    # Some events were missed: what is leased is announced, and nothing else of ours.
    hub.run(["vtysh", "-c", "configure terminal", "-c", "ip route 192.0.2.1/32 wg0 tag 970"])
    client.start()
    (address,) = client.leased()
    wait_until(lambda: "192.0.2.1" in router.routes(), timeout=30.0, what="the stale route")
    variables = {
        "WG_DYNAMIC_EVENT": "renewed",
        "WG_DYNAMIC_ADDRESS": address,
        "WG_DYNAMIC_INTERFACE": "wg0",
        "WG_DYNAMIC_LOST": "1",
    }
    hub.run([str(EXAMPLES / "lease-to-frr"), "970"], env=variables)
    told = {address: hub.address}
    wait_until(lambda: router.routes() == told, timeout=30.0, what="its end")
    watched.watch.stop()


@pytest.mark.parametrize(
    ("text", "status", "expected"),
    [
        ("", 2, "nothing to do"),
        ("[[hook]]\ncommand = ['/no/such/one']\n", 3, "/no/such/one is no program"),
        ("[[hook]]\ncommand = ['/bin/true']\nuser = 'no-such-user'\n", 3, "no account"),
        ("[[hook]]\ncommand = ['true']\n", 2, "expected the path of a program"),
    ],
)
def test_what_cannot_be_is_told_at_the_start(
    text: str, status: int, expected: str, lab: Lab
) -> None:
    (hub,) = lab.hosts("hub", private=("/etc/wg-dynamic",))
    hub.path("/etc/wg-dynamic/wg0.toml").write_text(text)
    done = hub.run(["wg-dynamic-watch", "wg0"], check=False)
    assert done.returncode == status
    assert expected in done.stderr
