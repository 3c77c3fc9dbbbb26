"""The real daemons in hosts of a lab, as an administrator starts, watches and stops them."""

import contextlib
import errno
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path

from tools.netlab import Host, LabError, Program, wait_until
from tools.star import Member
from wg_dynamic.system.runtime import RUNTIME_ROOT, namespace_key

POOL4 = "10.44.0.0/24"
POOL6 = "fd00:44::/64"
SERVICE_ID = 60970
"""Who the network processes run as where there is no account of the package."""


@contextlib.contextmanager
def database_path() -> Iterator[Path]:
    """A file that the service account can reach, in a directory that the server has to make."""
    top = Path(tempfile.mkdtemp(prefix="wg-dynamic-leases-"))
    top.chmod(0o711)
    try:
        yield top / "state" / "leases.sqlite"
    finally:
        shutil.rmtree(top)


@dataclass
class Daemon:
    """One daemon on one interface, in the foreground, so that its output is at hand."""

    member: Member
    arguments: list[str]
    name: str = ""
    """The program's."""
    prefix: list[str] = field(default_factory=list)
    """What runs it, if not its name alone."""
    program: Program = field(init=False)

    def start(self, expected: str) -> None:
        """Start it and wait until it says `expected`."""
        self.program = self.member.host.popen(self.command("--foreground"))
        self.program.wait_for_output(expected)

    def command(self, *more: str) -> list[str]:
        """The command line."""
        program = self.prefix or [self.name]
        return [*program, self.member.interface.name, *self.arguments, *more]

    def run(self, *more: str) -> "subprocess.CompletedProcess[str]":
        """Run the command with `more` arguments to its end, as a hook of wg-quick does."""
        return self.member.host.run(self.command(*more), check=False)

    def network_process(self) -> int:
        """Wait for the helper's child and return its process ID."""
        wait_until(lambda: children(self.program.pid), what="a network process")
        return children(self.program.pid)[0]

    def stop(self) -> None:
        """Stop it as systemd does, and see that it went well."""
        self.program.process.terminate()
        status = self.program.wait(10.0)
        if status != 0:
            msg = f"{self.name} ended with {status}:\n{self.program.output()}"
            raise LabError(msg)

    def kill(self) -> None:
        """Kill the helper, as only `kill -9` or the OOM killer does; wait for both to be gone."""
        network = self.network_process()
        self.program.send_signal(signal.SIGKILL)
        self.program.wait()
        wait_until(lambda: not is_running(network), what="the end of the network process")

    def kill_both(self) -> None:
        """Kill both processes at the same time."""
        network = self.network_process()
        os.kill(network, signal.SIGSTOP)
        self.program.send_signal(signal.SIGKILL)
        os.kill(network, signal.SIGKILL)
        self.program.wait()
        wait_until(lambda: not is_running(network), what="the end of the network process")

    @property
    def runtime(self) -> Path:
        """Its runtime directory; to be asked for while the interface exists."""
        with self.member.host.netns():
            key = namespace_key()
        return RUNTIME_ROOT / f"{key}-{self.member.interface.ifindex}"


class Server(Daemon):
    """wg-dynamic-server; leases POOL4 and POOL6 unless told otherwise."""

    def __init__(self, member: Member, database: Path, *arguments: str) -> None:
        pools = [] if "--pool" in arguments else ["--pool", POOL4, "--pool", POOL6]
        more = [*pools, *arguments, "--database", str(database)]
        super().__init__(member, more, "wg-dynamic-server")
        self.database = database

    def start(self, expected: str = "serving on") -> None:
        """Start it and wait until it serves."""
        super().start(expected)

    def leased(self, client: Member) -> set[str]:
        """What the hub allows a client beyond its link-local address."""
        shown = self.member.interface.allowed_ips()[client.interface.keys.public]
        return shown - {f"{client.link_local}/128"}


class Client(Daemon):
    """wg-dynamic-client."""

    def __init__(self, member: Member, *arguments: str) -> None:
        super().__init__(member, list(arguments), "wg-dynamic-client")

    def start(self, expected: str = "leased") -> None:
        """Start it and wait until it has a lease."""
        super().start(expected)

    def leased(self) -> set[str]:
        """Its addresses inside the pools, without prefix lengths."""
        return leased_addresses(self.member)

    def wait_for_lease(self, timeout: float = 10.0) -> None:
        """Wait until both addresses are set."""
        wait_until(lambda: len(self.leased()) == 2, timeout=timeout, what="two leased addresses")


def leased_addresses(member: Member) -> set[str]:
    """The host addresses of an interface inside POOL4 and POOL6."""
    return {
        address
        for address, _, length in (each.partition("/") for each in member.interface.addresses())
        if length in ("32", "128")
        and any(
            ip_network(address).subnet_of(net)  # type: ignore[arg-type]  # same version: see next
            for net in map(ip_network, (POOL4, POOL6))
            if net.version == ip_network(address).version
        )
    }


def connect(member: Member, *, port: int = 970, link_local: str | None = None) -> socket.socket:
    """A connection to the hub as a client makes it, for speaking by hand."""
    scope = member.interface.ifindex
    for _ in range(100):
        with member.host.netns():
            connection = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        # A hub that went down has forgotten the session, if it is the kernel's WireGuard; the
        # client notices after 15 s without an answer, and its next SYN comes seconds later.
        connection.settimeout(40.0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            connection.bind((link_local or member.link_local, port, 0, scope))
            connection.connect(("fe80::", 970, 0, scope))
        except OSError as error:
            connection.close()
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            time.sleep(0.02)  # the last connection from this port is still closing
        else:
            return connection
    msg = "the last connection does not close"
    raise LabError(msg)


def exchange(connection: socket.socket, request: str) -> dict[str, str]:
    """Send one request; the lines of the reply, `ip` numbered by family."""
    connection.sendall(request.encode())
    reply = b""
    while not reply.endswith(b"\n\n"):
        piece = connection.recv(4096)
        assert piece, f"closed after {reply!r}"
        reply += piece
    lines = reply.decode().splitlines()[:-1]
    fields = {}
    for name, _, value in (line.partition("=") for line in lines):
        fields[("ip6" if ":" in value else "ip4") if name == "ip" else name] = value
    return fields


def children(parent: int) -> list[int]:
    """The processes that it has started and that are still there, zombies left out."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            state, ppid = stat.read_text().rpartition(") ")[2].split()[:2]
            if int(ppid) == parent and state != "Z":
                found.append(int(stat.parent.name))
    return sorted(found)


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def snapshot(host: Host, name: str = "wg0") -> str:
    """Everything of a host that a daemon could change, as `ip` and `wg` print it.

    Without what changes by itself: lifetimes, handshakes, traffic.
    """
    text = "".join(
        host.run(["ip", "-o", *flags, "-batch", "-"], input="\n".join([*lines, ""])).stdout
        for flags, lines in (
            ((), ["address show", "link show"]),
            (("-4",), ["rule show", "route show table all"]),
            (("-6",), ["rule show", "route show table all"]),
        )
    )
    dump = host.run(["wg", "show", name, "dump"], check=False).stdout.splitlines()
    # A line of the interface: private key, public key, port, fwmark; of a peer: public key,
    # preshared key, endpoint, allowed IPs, handshake, received, sent, keepalive.
    fields = [line.split("\t") for line in dump]
    text += "\n".join(" ".join(of_link[1:]) for of_link in fields[:1])
    text += "\n".join(f"\n{peer[0]} {peer[3].replace(',', ' ')} {peer[7]}" for peer in fields[1:])
    # The wire's carrier comes and goes a moment after what it is made of.
    text = text.replace("<NO-CARRIER,", "<")
    text = re.sub(r"(@if\d+:.* state )\w+", r"\1", text)
    text = re.sub(r"(valid_lft|preferred_lft|expires) \d+sec| tentative", r"\1", text)
    lines = [" ".join(sorted(line.split())) for line in text.splitlines()]
    return "\n".join(sorted(lines))


def kept(host: Host) -> set[str]:
    """What lies below /run/wg-dynamic for this host."""
    with host.netns():
        key = namespace_key()
    tops = list(RUNTIME_ROOT.glob(f"{key}-*"))
    return {str(path) for top in tops for path in (top, *top.iterdir())}


def rows(database: Path) -> list[tuple[str, int]]:
    """Addresses and whether they are ended, read beside the server (it keeps the file locked)."""
    with tempfile.TemporaryDirectory() as copy:
        for path in database.parent.glob(f"{database.name}*"):
            shutil.copy(path, copy)
        with contextlib.closing(sqlite3.connect(Path(copy) / database.name)) as db:
            return [
                (bytes(address).hex(), ended)
                for address, ended in db.execute("SELECT address, ended FROM leases")
            ]
