"""The servers that bench.server measures, each in a namespace whose interface the generator owns.

What the generator (bench/generator) writes into its TUN interface arrives at the server's kernel as
if a peer had sent it. Ours is the installed server, unmodified: the TUN is its wg0, and the
WireGuard that it asks and changes is a wireguard-go beside it, whose interface of the same name is
in a namespace of its own and carries no packet. So it has every peer, and the helper's hop, and
identity are what they are on a hub; only the encryption is not there, which no anchor has either.
"""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.crash.storm import StormServer
from tools.netlab import WIREGUARD_RUN, Host, Lab, Program, wait_until
from tools.repository import ROOT
from tools.star import Member
from wg_dynamic.system.clock import SystemClock

GENERATOR = ROOT / "bench" / "generator"
ANCHORS = ROOT / "bench" / "anchors"
POOLS = ("10.64.0.0/15", "fd00:44::/64")
"""Twice as many IPv4 addresses as there are clients, for every server."""
PEERS_AT_ONCE = 1000
_CLOCK = SystemClock()


class Build:
    """The compiled generator and the bare server."""

    def __init__(self, directory: Path) -> None:
        """Compile them."""
        self.load = directory / "load"
        self.bare = directory / "bare"
        flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-std=gnu11"]
        sources = [GENERATOR / name for name in ("load.c", "wg_dynamic.c", "dhcp.c")]
        for target, files in ((self.load, sources), (self.bare, [GENERATOR / "epoll_server.c"])):
            subprocess.run(["cc", *flags, "-o", target, *files], check=True)


class Generator:
    """The program that owns the interface, driven by lines."""

    def __init__(self, host: Host, build: Build, kind: str, interface: str, clients: int) -> None:
        """Start it; the interface is there, and down, when this returns."""
        self._program = host.popen(
            [str(build.load), kind, interface, str(clients)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._read()
        host.ip(
            f"link set dev {interface} addrgenmode none",
            f"link set dev {interface} mtu 1420 txqueuelen 100000 up",
        )

    def ask(self, command: str) -> Any:
        """Give one command and wait for what it came to."""
        assert self._program.process.stdin is not None  # noqa: S101 - a pipe
        self._program.process.stdin.write(command + "\n")
        self._program.process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._program.process.stdout is not None  # noqa: S101 - a pipe
        return json.loads(self._program.process.stdout.readline())


def cpu_time(pid: int) -> float:
    """Seconds that a process has computed, user and system."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """Bytes of memory of a process."""
    lines = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return int(lines["VmRSS"].split()[0]) * 1024


class Subject:
    """One server: `start` begins with no lease, `stop` ends it."""

    kind = "dhcp"
    interface = "dhcp0"

    def __init__(self, lab: Lab, name: str, build: Build, clients: int) -> None:
        """Make its namespace, and the generator."""
        self.name = name
        self.build = build
        self.clients = clients
        self.host = lab.host(name.replace(" ", "-"))
        self.generator = Generator(self.host, build, self.kind, self.interface, clients)
        self.directory = Path(tempfile.mkdtemp(prefix="wg-dynamic-bench-"))
        self.directory.chmod(0o711)
        self.program: Program | None = None
        self.prepare()

    def prepare(self) -> None:
        """Addresses."""
        self.host.ip(f"address add 10.255.0.1/8 dev {self.interface}")

    def start(self) -> None:
        """Start anew, without leases."""
        for path in self.directory.iterdir():
            path.unlink()
        self.generator.ask("forget")
        self.program = self.host.popen(self.command())
        self.wait_until_it_serves()

    def command(self) -> Sequence[str]:
        """What to run."""
        raise NotImplementedError

    def wait_until_it_serves(self) -> None:
        """Ask until there is an answer."""
        for _ in range(50):
            if self.generator.ask(f"run new {self.clients - 1} 1 1 0.2")["done"]:
                return
        msg = f"{self.name} does not answer: {self.program and self.program.output()}"
        raise RuntimeError(msg)

    def processes(self) -> dict[str, int]:
        """What to bill."""
        assert self.program is not None  # noqa: S101 - it was started
        return {self.name: self.program.pid}

    def stop(self) -> None:
        """End it; connections that stay are closed first, by who opened them."""
        if self.program is not None:
            if self.kind != "dhcp":
                self.generator.ask(f"drop 0 {self.clients}")
            self.program.stop()
            self.program = None

    def close(self) -> None:
        """Remove its files."""
        self.stop()
        shutil.rmtree(self.directory)


class Kea(Subject):
    """Kea DHCPv4 from Debian's package, leases in memory and appended to a file, never synced."""

    multi = False

    def command(self) -> Sequence[str]:
        """See Subject."""
        text = (ANCHORS / "kea-memfile.json").read_text()
        text = text.replace("INTERFACE", self.interface).replace("DIRECTORY", str(self.directory))
        text = text.replace("MULTI", "true" if self.multi else "false")
        path = self.directory / "kea.json"
        path.write_text(text)
        environment = [f"KEA_LOCKFILE_DIR={self.directory}", f"KEA_PIDFILE_DIR={self.directory}"]
        return ["env", *environment, "kea-dhcp4", "-c", str(path)]


class KeaThreads(Kea):
    """The same with two packet threads."""

    multi = True


class Dnsmasq(Subject):
    """dnsmasq from Debian's package."""

    def command(self) -> Sequence[str]:
        """See Subject."""
        options = ["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root"]
        options += [f"--interface={self.interface}", "--bind-interfaces", "--no-ping"]
        options += [
            "--dhcp-authoritative",
            f"--dhcp-lease-max={2 * self.clients}",
            "--log-facility=-",
        ]
        options += ["--dhcp-range=10.64.0.1,10.65.255.254,255.0.0.0,1h", "--quiet-dhcp"]
        files = [f"--dhcp-leasefile={self.directory}/leases", f"--pid-file={self.directory}/pid"]
        return ["dnsmasq", *options, *files]


class Bare(Subject):
    """The ceiling: accept, read, answer the same bytes."""

    kind = "wg-dynamic"
    interface = "wg0"

    def prepare(self) -> None:
        """Addresses."""
        self.host.ip(f"address add fe80::/64 dev {self.interface} nodad")

    def command(self) -> Sequence[str]:
        """See Subject."""
        return [str(self.build.bare), self.interface]


class Ours(Subject):
    """wg-dynamic-server, both its processes, and wireguard-go with every peer."""

    kind = "wg-dynamic"
    interface = "wg0"
    peers = -1
    """How many peers WireGuard has; -1 for as many as there are clients."""
    pools = POOLS

    def prepare(self) -> None:
        """Addresses; WireGuard is started with the server."""
        self.host.ip(f"address add fe80::/64 dev {self.interface} nodad")
        # As docs/operations.md says for a hub of many thousand peers.
        self.host.run(["sysctl", "-qw", "net.core.somaxconn=65535"])
        self.wireguard: Program | None = None
        self.server: StormServer | None = None
        self.preload = ""

    def start(self) -> None:
        """Start anew, without leases, with every peer."""
        self.start_wireguard()
        self.generator.ask("forget")
        for path in self.directory.glob("state/*"):
            path.unlink()
        self.start_server()
        self.wait_until_it_serves()

    def start_server(self) -> float:
        """Start it with the database that is there; seconds until it serves."""
        words = [word for pool in self.pools for word in ("--pool", pool)]
        member: Any = Member(self.host, _Named(self.interface), "fe80::")  # type: ignore[arg-type]
        self.server = StormServer(member, self.database, *words)
        begin = _CLOCK.now()
        self.server.start()
        self.program = self.server.program
        return _CLOCK.now() - begin

    @property
    def database(self) -> Path:
        """The lease database."""
        return self.directory / "state" / "leases.sqlite"

    def start_wireguard(self) -> None:
        """A new wireguard-go, whose interface is in a namespace of its own, with the peers."""
        command = ["unshare", "-n", "wireguard-go", "--foreground", self.interface]
        self.wireguard = self.host.popen(command, env={"LOG_LEVEL": "error"})
        path = self.host.path(f"{WIREGUARD_RUN}/{self.interface}.sock")
        wait_until(lambda: _connects(path), what=f"an answer of {path}")
        count = self.clients if self.peers < 0 else self.peers
        for first in range(0, count, PEERS_AT_ONCE):
            self.add_peers(range(first, min(first + PEERS_AT_ONCE, count)))

    def add_peers(self, numbers: Sequence[int]) -> None:
        """Let WireGuard have these clients as peers, each with its link-local address."""
        path = self.host.path(f"{WIREGUARD_RUN}/{self.interface}.sock")
        lines = "".join(
            f"public_key={sha256(b'%d' % number).hexdigest()}\n"
            f"allowed_ip=fe80::{(0x10000 + number) >> 16:x}:{number & 0xFFFF:x}/128\n"
            for number in numbers
        )
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(f"set=1\n{lines}\n".encode())
            answer = connection.recv(100)
        if answer != b"errno=0\n\n":
            msg = f"wireguard-go: {answer!r}"
            raise RuntimeError(msg)

    def processes(self) -> dict[str, int]:
        """See Subject."""
        assert self.server is not None  # noqa: S101 - it was started
        assert self.wireguard is not None  # noqa: S101 - and so was that
        return {
            "network process": self.server.network_process(),
            "helper": self.server.program.pid,
            "wireguard-go": self.wireguard.pid,
        }

    def stop_server(self) -> None:
        """End the server alone."""
        if self.server is not None:
            self.generator.ask(f"drop 0 {self.clients}")
            self.server.stop()
            self.server = None
            self.program = None

    def stop(self) -> None:
        """See Subject."""
        self.stop_server()
        if self.wireguard is not None:
            self.wireguard.stop()
            self.wireguard = None

    def held(self) -> int:
        """Leases of IPv4 in the database."""
        with sqlite3.connect(f"file:{self.database}?mode=ro&immutable=1", uri=True) as database:
            query = "SELECT count(*) FROM leases WHERE ended = 0 AND length(address) = 4"
            return int(database.execute(query).fetchone()[0])


class _Named:
    """What a Member needs of an interface that is not netlab's."""

    def __init__(self, name: str) -> None:
        self.name = name


def _connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
