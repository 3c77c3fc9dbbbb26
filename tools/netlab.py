"""Hosts made of namespaces, joined by an underlay, for tests, the demo and the benchmarks.

A host is a network namespace with a mount namespace of its own, held by one process; so each host
can have a wg0 and, as `/run/wireguard` is its own tmpfs, its own wireguard-go behind it. So is
`/var/lib/wg-dynamic-ledger`, where a server keeps what must last longer than a test. All other
files are the machine's, `/run/wg-dynamic` among them, on purpose: what is kept there must bear two
namespaces that both have a wg0. The underlay is a bridge in one more namespace. No link is made
in the machine's namespace, nothing gets a name there, and everything ends with the processes:

    with Lab() as lab:
        alice, bob = lab.hosts("alice", "bob")
        alice.run(["ping", "-c1", bob.address])
        wg0 = alice.wireguard()

`tools.star` makes the usual hub and clients.

Leaving the `with` ends every program that was started and every process in a namespace made here,
by process ID, also after an exception, Ctrl-C or SIGTERM; after SIGKILL, holders and wireguard-go
end by themselves. The OWN_DIRECTORIES stay, empty.

Needs root (CAP_SYS_ADMIN, CAP_NET_ADMIN), iproute2, util-linux, wireguard-tools, and for WireGuard
either the kernel's or wireguard-go with /dev/net/tun. WG_DYNAMIC_TEST_BACKEND chooses between them:
`kernel`, `wireguard-go`, or `auto` (the default: the kernel's where there is one).
"""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Final, Literal, Self, cast

from tools.processes import (
    PATIENCE,
    TERM_TIME,
    CommandError,
    LabError,
    Program,
    end_all,
    environment,
    exit_on_term,
    in_main_thread,
    signals_ignored,
    wait_until,
)

__all__ = [
    "LISTEN_PORT",
    "CommandError",
    "Host",
    "Interface",
    "Keys",
    "Kind",
    "Lab",
    "LabError",
    "PeerConfig",
    "Program",
    "environment",
    "generate_keys",
    "wait_until",
]

Kind = Literal["auto", "kernel", "wireguard-go"]

BACKEND_VARIABLE: Final = "WG_DYNAMIC_TEST_BACKEND"
LISTEN_PORT: Final = 51820
WIREGUARD_RUN: Final = "/run/wireguard"
OWN_DIRECTORIES: Final = (WIREGUARD_RUN, "/var/lib/wg-dynamic-ledger")
"""Each host has its own; nothing of it outlives the host."""
_CLONE_NEWNET: Final = 0x40000000  # linux/sched.h

_AS_A_PROGRAM: Final = ("env", "--default-signal", "setpriv", "--pdeathsig", "KILL", "--")
"""What a job of a shell ignores (SIGINT) is not passed on, and the program ends with us."""

# $@: directories of which the host gets its own. The settings are those of a Debian machine,
# whatever this machine's are, but for duplicate address detection, which costs a second.
_HOLD: Final = """
set -e
mount -t sysfs sysfs /sys
for directory in "$@"; do
    mkdir -p "$directory"
    mount -t tmpfs -o mode=0755 tmpfs "$directory"
done
cd /proc/sys/net
for conf in all default; do
    echo 0 >ipv6/conf/$conf/disable_ipv6
    echo 0 >ipv6/conf/$conf/accept_dad
    echo 0 >ipv6/conf/$conf/forwarding
    echo 0 >ipv4/conf/$conf/forwarding
    echo 2 >ipv4/conf/$conf/rp_filter
done
echo 0 2147483647 >ipv4/ping_group_range
cd /
echo ready
exec cat
"""


@dataclass(frozen=True, slots=True)
class Keys:
    """A key pair as WireGuard's tools print it."""

    private: str = field(repr=False)
    public: str


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """A [Peer] section."""

    public_key: str
    allowed_ips: Sequence[str] = ()
    endpoint: str | None = None
    persistent_keepalive: int | None = None

    def lines(self) -> list[str]:
        """The section as wg(8) reads it."""
        lines = ["[Peer]", f"PublicKey = {self.public_key}"]
        if self.allowed_ips:
            lines.append(f"AllowedIPs = {', '.join(self.allowed_ips)}")
        if self.endpoint is not None:
            lines.append(f"Endpoint = {self.endpoint}")
        if self.persistent_keepalive is not None:
            lines.append(f"PersistentKeepalive = {self.persistent_keepalive}")
        return lines


def generate_keys() -> Keys:
    """Make a key pair."""
    private = subprocess.run(["wg", "genkey"], capture_output=True, text=True, check=True).stdout
    public = subprocess.run(
        ["wg", "pubkey"], input=private, capture_output=True, text=True, check=True
    ).stdout
    return Keys(private.strip(), public.strip())


class Interface:
    """A WireGuard interface in a host."""

    def __init__(
        self, host: "Host", name: str, kind: Literal["kernel", "wireguard-go"], keys: Keys
    ) -> None:
        self.host = host
        self.name = name
        self.kind = kind
        self.keys = keys
        self.program: Program | None = None
        """wireguard-go, or None for the kernel's WireGuard."""

    def setconf(
        self, peers: Sequence[PeerConfig] = (), *, listen_port: int | None = LISTEN_PORT
    ) -> None:
        """Replace the WireGuard configuration (not addresses) by this one, as wg-quick does."""
        lines = ["[Interface]", f"PrivateKey = {self.keys.private}"]
        if listen_port is not None:
            lines.append(f"ListenPort = {listen_port}")
        self._configure("setconf", lines, peers)

    def add_peers(self, *peers: PeerConfig) -> None:
        """Add peers, or replace the allowed IPs of those that are there (`wg addconf`)."""
        self._configure("addconf", [], peers)

    def remove_peer(self, public_key: str) -> None:
        """Remove a peer."""
        self.host.run(["wg", "set", self.name, "peer", public_key, "remove"])

    def up(self) -> None:
        """Set the link up."""
        self.host.ip(f"link set dev {self.name} up")

    def down(self) -> None:
        """Set the link down; the kernel then forgets its IPv6 addresses."""
        self.host.ip(f"link set dev {self.name} down")

    def delete(self) -> None:
        """Delete the interface; wireguard-go then ends by itself."""
        self.host.ip(f"link delete dev {self.name}")
        if self.program is not None:
            self.program.wait()

    @property
    def ifindex(self) -> int:
        """Its index, asked for anew each time."""
        with self.host.netns():
            return socket.if_nametoindex(self.name)

    def allowed_ips(self) -> dict[str, set[str]]:
        """Allowed IPs by public key, as `wg show` reports them."""
        shown: dict[str, set[str]] = {}
        for line in self.host.run(["wg", "show", self.name, "allowed-ips"]).stdout.splitlines():
            public_key, _, prefixes = line.partition("\t")
            shown[public_key] = set(prefixes.split()) - {"(none)"}
        return shown

    def addresses(self) -> set[str]:
        """Its addresses with their prefix lengths, as `ip address` reports them."""
        lines = self.host.run(["ip", "-o", "address", "show", "dev", self.name]).stdout.splitlines()
        return {line.split()[3] for line in lines}

    def _configure(self, verb: str, lines: Sequence[str], peers: Sequence[PeerConfig]) -> None:
        text = "\n".join([*lines, *(line for peer in peers for line in peer.lines()), ""])
        self.host.run(["wg", verb, self.name, "/dev/stdin"], input=text)


class Host:
    """One host of a lab; `Lab.host` makes it."""

    def __init__(self, lab: "Lab", name: str, number: int, holder: "subprocess.Popen[str]") -> None:
        self.lab = lab
        self.name = name
        self.address = f"10.99.{number >> 8}.{number & 255}"
        """Its IPv4 address on the underlay (eth0, /16)."""
        self.address6 = f"fd99::{number:x}"
        """Its IPv6 address on the underlay (eth0, /64)."""
        self.holder = holder
        self.namespaces: dict[str, int] = {}
        """Descriptors of the namespaces, net and mnt: while open, their inode numbers are ours."""

    def ready(self) -> None:
        """Wait until the namespaces are there, and keep hold of them."""
        assert self.holder.stdout is not None  # noqa: S101  # a pipe: see Lab._hold
        line = self.holder.stdout.readline()
        if line != "ready\n":
            msg = f"{self.name}: no namespaces: {line.strip() or 'no answer'}"
            raise LabError(msg)
        for kind in ("net", "mnt"):
            fd = os.open(f"/proc/{self.pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
            self.namespaces[kind] = fd
            if os.path.samestat(os.fstat(fd), os.stat(f"/proc/self/ns/{kind}")):
                msg = f"{self.name}: its {kind} namespace is the machine's"
                raise LabError(msg)

    def release(self) -> None:
        """Let go of the namespaces."""
        while self.namespaces:
            os.close(self.namespaces.popitem()[1])

    @property
    def pid(self) -> int:
        """The process that holds the namespaces: `nsenter -t PID -n -m` looks around in them."""
        return self.holder.pid

    def path(self, path: str) -> Path:
        """A file of this host, to be opened from outside."""
        return Path(f"/proc/{self.pid}/root") / path.lstrip("/")

    def run(
        self,
        command: Sequence[str],
        *,
        check: bool = True,
        input: str | None = None,  # noqa: A002  # as subprocess.run names it
        timeout: float = 20.0,
        env: Mapping[str, str] | None = None,
        cwd: str | Path = "/",
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command in this host and return what it printed.

        Its environment is `environment()` and nothing else; `env` is added to that.

        Raises:
            CommandError: it ended with another status than 0, and `check` is set.
            LabError: it ran for more than `timeout` seconds; it was ended.
        """
        try:
            done = subprocess.run(
                self._entered(command, cwd),
                input="" if input is None else input,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout * PATIENCE,
                env=environment(env),
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            msg = f"{self.name}: {' '.join(command)!r} ran for more than {timeout} s"
            raise LabError(msg) from error
        done.args = list(command)
        if check and done.returncode != 0:
            raise CommandError(self.name, done)
        return done

    def popen(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | Path = "/",
        stdin: int | IO[str] | None = subprocess.DEVNULL,
        stdout: int | IO[str] | None = None,
    ) -> Program:
        """Start a program in this host; the lab ends it at the latest when it closes.

        What it prints goes to a file, `Program.log`; stdout elsewhere (such as subprocess.PIPE) if
        `stdout` says so. The kernel kills it should the calling thread end before it.
        """
        log = self.lab.new_log(f"{self.name}-{Path(command[0]).name}")
        with log.open("w") as stream:
            process = subprocess.Popen(
                self._entered([*_AS_A_PROGRAM, *command], cwd),
                stdin=stdin,
                stdout=stream if stdout is None else stdout,
                stderr=stream,
                text=True,
                env=environment(env),
                start_new_session=True,
            )
        program = Program(process, log)
        self.lab.programs.append(program)
        return program

    def python(self, *arguments: str) -> list[str]:
        """A command line for this interpreter, to be given to `run` or `popen`."""
        return [sys.executable, *arguments]

    def ip(self, *lines: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Give lines to `ip -batch`, such as `address add fe80::/64 dev wg0`."""
        return self.run(["ip", "-batch", "-"], input="\n".join([*lines, ""]), check=check)

    def sysctl(self, **settings: str | int) -> None:
        """Set variables below net/, named as `ipv4__ip_forward="1"` for net/ipv4/ip_forward."""
        lines = [
            f"echo {value} >/proc/sys/net/{name.replace('__', '/')}"
            for name, value in settings.items()
        ]
        self.run(["sh", "-ec", "\n".join(lines)])

    def forward(self) -> None:
        """Let this host forward packets, both families."""
        self.sysctl(ipv4__ip_forward=1, ipv6__conf__all__forwarding=1)

    def ping(self, target: str, *, timeout: float = 5.0, source: str | None = None) -> bool:
        """True when `target` (fe80::%wg0, 192.0.2.1) answers within `timeout` seconds.

        Name the `source` where an interface has several: a hub whose wg0 has the automatic
        fe80::/64 of wireguard-go beside fe80:: may take that one, and no peer accepts it.
        """
        timeout *= PATIENCE
        command = ["ping", "-n", "-q", "-c", "1", "-w", str(max(1, round(timeout)))]
        if source is not None:
            command += ["-I", source]
        return self.run([*command, target], check=False, timeout=timeout + 5).returncode == 0

    @contextlib.contextmanager
    def netns(self) -> Iterator[None]:
        """Move the calling thread into this host's network namespace (not its files) and back.

        A socket that is opened inside stays the host's.
        """
        with Path("/proc/thread-self/ns/net").open() as back:
            _setns(self.namespaces["net"])
            try:
                yield
            finally:
                _setns(back.fileno())

    def wireguard(
        self,
        name: str = "wg0",
        kind: Kind = "auto",
        *,
        keys: Keys | None = None,
        addrgenmode: Literal["none", "eui64", "random"] | None = None,
    ) -> Interface:
        """Make a WireGuard interface, down and without configuration.

        `addrgenmode` is the link's; None leaves the kernel's default, with which a wireguard-go
        interface gets a random fe80::/64 when it comes up, as on a user's machine.
        """
        wanted = self.lab.kind if kind == "auto" else kind
        keys = generate_keys() if keys is None else keys
        made = wanted != "wireguard-go" and self._add_kernel(name, wanted)
        interface = Interface(self, name, "kernel" if made else "wireguard-go", keys)
        if not made:
            interface.program = self.start_wireguard_go(name)
        if addrgenmode is not None:
            self.ip(f"link set dev {name} addrgenmode {addrgenmode}")
        return interface

    def start_wireguard_go(self, name: str) -> Program:
        """Start wireguard-go for a new interface and wait until its socket answers."""
        program = self.popen(["wireguard-go", "--foreground", name], env={"LOG_LEVEL": "error"})
        path = self.path(f"{WIREGUARD_RUN}/{name}.sock")

        def answers() -> bool:
            if not program.is_running():
                msg = f"{self.name}: wireguard-go {name} ended:\n{program.output()}"
                raise LabError(msg)
            with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
                probe.connect(str(path))
                return True
            return False

        wait_until(answers, what=f"an answer of {path}")
        return program

    def _add_kernel(self, name: str, wanted: Kind) -> bool:
        done = self.run(["ip", "link", "add", "dev", name, "type", "wireguard"], check=False)
        if done.returncode == 0:
            return True
        unsupported = "Unknown device type" in done.stderr or "not supported" in done.stderr
        if wanted == "kernel" or not unsupported:
            raise CommandError(self.name, done)
        return False

    def _entered(self, command: Sequence[str], cwd: str | Path) -> list[str]:
        return ["nsenter", "-t", str(self.pid), "-n", "-m", f"--wdns={cwd}", "--", *command]


class Lab:
    """Hosts on one underlay, from `with Lab() as lab:` to the end of the block."""

    def __init__(self, *, kind: Kind | None = None) -> None:
        """Prepare a lab.

        Args:
            kind: what `auto` means for its interfaces; WG_DYNAMIC_TEST_BACKEND unless given.
        """
        chosen = os.environ.get(BACKEND_VARIABLE, "auto") if kind is None else kind
        if chosen not in ("auto", "kernel", "wireguard-go"):
            msg = f"{BACKEND_VARIABLE} is {chosen!r}, expected auto, kernel or wireguard-go"
            raise LabError(msg)
        self.kind = cast("Kind", chosen)
        self.programs: list[Program] = []
        self.directory = Path()
        """Where the logs of programs are; gone when the lab is closed."""
        self._wire: Host | None = None
        self._hosts: list[Host] = []
        self._logs = 0
        self._old_handler: signal.Handlers | Callable[[int, FrameType | None], object] | None = None

    def __enter__(self) -> Self:
        """Start catching SIGTERM, and make the underlay."""
        if os.geteuid() != 0:
            msg = "a lab needs root: it makes namespaces and links"
            raise LabError(msg)
        if in_main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self._old_handler = signal.SIG_DFL
            signal.signal(signal.SIGTERM, exit_on_term)
        try:
            self.directory = Path(tempfile.mkdtemp(prefix="wg-dynamic-lab-"))
            self._wire = self._hold("wire", 0, ())
            self._wire.ready()
            self._wire.ip("link set lo up", "link add br0 type bridge", "link set br0 up")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the lab, whatever happened."""
        self.close()

    def host(self, name: str, *, private: Sequence[str] = ()) -> Host:
        """Make a host with `lo` and `eth0` up.

        `private` names more directories than OWN_DIRECTORIES that shall be an empty tmpfs of this
        host alone; they are made where they do not exist.
        """
        return self.hosts(name, private=private)[0]

    def hosts(self, *names: str, private: Sequence[str] = ()) -> list[Host]:
        """Make several hosts at a time."""
        if self._wire is None:
            msg = "the lab is not open: use it as `with Lab() as lab:`"
            raise LabError(msg)
        first = len(self._hosts) + 1
        made = []
        for number, name in enumerate(names, start=first):
            made.append(self._hold(name, number, (*OWN_DIRECTORIES, *private)))
            self._hosts.append(made[-1])
        for host in made:
            host.ready()
        ports = [f"port{number}" for number in range(first, first + len(made))]
        self._wire.ip(
            *(
                f"link add {port} type veth peer name eth0 netns {host.pid}"
                for port, host in zip(ports, made, strict=True)
            ),
            *(f"link set {port} master br0 up" for port in ports),
        )
        for host in made:
            host.ip(
                "link set lo up",
                f"address add {host.address}/16 dev eth0",
                f"address add {host.address6}/64 dev eth0 nodad",
                "link set eth0 up",
            )
        return made

    def new_log(self, name: str) -> Path:
        """A fresh file name below `directory`."""
        self._logs += 1
        return self.directory / f"{self._logs:03}-{name}.log"

    def logs(self) -> str:
        """What all programs have printed, each under its name: for the report of a failure."""
        shown = [
            f"--- {program.log.stem}\n{program.output()}"
            for program in self.programs
            if program.log.exists()
        ]
        return "\n".join(shown)

    def close(self) -> None:
        """End all programs and hosts. Calling it twice is fine."""
        with signals_ignored():
            for program in self.programs:
                program.process.terminate()
            end_all([program.process for program in self.programs], TERM_TIME)
            holders = [host for host in [*self._hosts, self._wire] if host is not None]
            _end_strays(holders)
            for host in holders:
                host.holder.kill()
            end_all([host.holder for host in holders], TERM_TIME)
            for host in holders:
                host.release()
            self.programs, self._hosts, self._wire = [], [], None
            if self.directory != Path():
                shutil.rmtree(self.directory, ignore_errors=True)
        if self._old_handler is not None:
            signal.signal(signal.SIGTERM, self._old_handler)
            self._old_handler = None

    def _hold(self, name: str, number: int, private: Sequence[str]) -> Host:
        command = ["unshare", "--net", "--mount", "sh", "-c", _HOLD, "hold", *private]
        holder = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # at its end, ours included, the holder ends
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
            start_new_session=True,
        )
        return Host(self, name, number, holder)


def _end_strays(hosts: Sequence[Host]) -> None:
    """Kill what still runs in the namespaces: daemons that went into the background, say.

    Only what was started here can be there. A process is known by either namespace, as a daemon may
    have left the network one.
    """
    spaces = {_identity(fd) for host in hosts for fd in host.namespaces.values()}
    keep = {os.getpid(), *(host.pid for host in hosts)}
    deadline = time.monotonic() + TERM_TIME
    while spaces and time.monotonic() < deadline:
        pids = {int(entry) for entry in os.listdir("/proc") if entry.isdecimal()}
        if not sum(_kill_if_inside(pid, spaces) for pid in pids - keep):
            return
        time.sleep(0.005)


def _kill_if_inside(pid: int, spaces: set[tuple[int, int]]) -> bool:
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    try:  # the handle first, then the look: the number cannot change hands in between
        inside = any(_identity(f"/proc/{pid}/ns/{kind}") in spaces for kind in ("net", "mnt"))
        if inside:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except OSError:
        return False
    else:
        return inside
    finally:
        os.close(handle)


def _identity(namespace: int | str) -> tuple[int, int]:
    status = os.stat(namespace)
    return status.st_dev, status.st_ino


def _setns(fd: int) -> None:
    """setns(2), which the os module has since Python 3.12."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")
