"""Show a lease come, be renewed, released and kept: `make demo`, as root, on this machine alone.

A hub and two clients in network namespaces, each with a wg0 and directories of its own for what
WireGuard and wg-dynamic write (tools.netlab); the commands are those that README.md names. Each
step says what was seen; the exit status is 0 only if every step was seen to work. Whatever was
made is removed at the end, also after Ctrl-C, SIGTERM or SIGHUP.
"""

import contextlib
import io
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Final, NoReturn

from tools.demo_names import (
    DIRECTORY,
    DNSMASQ,
    RESOLV_CONF,
    ask_the_hub,
    configuration,
    name_service,
)
from tools.narrator import Narrator, StepError, expect, look_until
from tools.netlab import LISTEN_PORT, Host, Lab, LabError, PeerConfig, generate_keys
from tools.processes import end_all
from tools.repository import ROOT
from wg_dynamic.address import format_address
from wg_dynamic.store.base import Moment
from wg_dynamic.store.sqlite import SqliteStore
from wg_dynamic.system.clock import SystemClock
from wg_dynamic.wireguard.key import parse_key, peer_label

POOLS: Final = ("10.44.0.0/24", "fd00:44::/64")
LEASE_TIME: Final = 60
CONFIGURATION: Final = "/etc/wireguard/wg0.conf"
SERVER_LOG: Final = "/var/log/wg-dynamic-server.log"
CLIENT_LOG: Final = "/var/log/wg-dynamic-client.log"
DATABASE: Final = "/var/lib/wg-dynamic/wg0.sqlite"
TERMS: Final = "/etc/wireguard/wg-dynamic.toml"
"""/etc/wg-dynamic/wg0.toml elsewhere: the demo makes no directory outside its namespaces."""
SERVER: Final = (
    f"wg-dynamic-server wg0 --config {TERMS} --pool {POOLS[0]} --pool {POOLS[1]}"
    f" --lease-time {LEASE_TIME} --log-file {SERVER_LOG}"
)
WATCH: Final = f"wg-dynamic-watch wg0 --config {TERMS}"
COMMAND_TIME: Final = 20.0
"""Seconds that one command may take."""
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Member:
    """A host of the demo and what is known about it."""

    host: Host
    link_local: str
    private_key: str
    public_key: str
    addresses: dict[str, int] = field(default_factory=dict)
    """Leased to it, with the seconds they are valid."""

    @property
    def name(self) -> str:
        """The host's."""
        return self.host.name

    @property
    def label(self) -> str:
        """How the server's log names it."""
        return peer_label(parse_key(self.public_key))

    def log(self, path: str) -> list[str]:
        """The lines of a log file, none when it does not exist."""
        try:
            return self.host.path(path).read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []


class Demo:
    """The story; `run` tells it."""

    def __init__(self, lab: Lab, tell: Narrator) -> None:
        self._lab = lab
        self._tell = tell
        hosts = lab.hosts("hub", "laptop", "phone", private=private_directories())
        keys = [generate_keys() for _ in hosts]
        self.members = [
            Member(host, link_local, pair.private, pair.public)
            for host, link_local, pair in zip(
                hosts, ("fe80::", "fe80::1", "fe80::2"), keys, strict=True
            )
        ]
        self._hub, self._laptop, self._phone = self.members

    def run(self) -> None:
        """Raises StepError, LabError."""
        with self._tell.step("The hub: each client is a peer with a link-local address, no other"):
            self._bring_up_hub()
        with self._tell.step("A laptop, its configuration as wg-quick knows it, and two hooks"):
            self._configure_client(self._laptop, ("fe80::/128",))
            self._bring_up_client(self._laptop)
        with self._tell.step("A phone, whose administrator also allows the networks beforehand"):
            self._configure_client(self._phone, ("fe80::/128", *POOLS))
            self._bring_up_client(self._phone)
        with self._tell.step("The hub's WireGuard enforces what was leased"):
            self._show_hub()
        with self._tell.step("Laptop and phone talk to each other by leased addresses"):
            self._ping(self._laptop, self._phone)
        with self._tell.step("… and by name: the hub's dnsmasq knows who has a lease"):
            self._ping_by_name(self._phone, self._laptop)
        with self._tell.step("A lease is renewed, and the same addresses go on"):
            self._tell.say(
                f"By itself the client asks at half the lease, here after {LEASE_TIME // 2} s."
                " It also asks when the link comes up, so:"
            )
            self._renew(self._laptop)
        with self._tell.step("wg-quick down releases: the hub takes the addresses off at once"):
            self._release(self._laptop)
        with self._tell.step("The server is killed and started again: leases are on disk"):
            self._kill_server()
            self._start_server()
            self._expect_allowed(self._phone, [*self._phone.addresses])
            self._renew(self._phone)
        with self._tell.step("The laptop comes back and gets the same addresses"):
            self._come_back(self._laptop)

    # --- steps ----------------------------------------------------------------------------------

    def _bring_up_hub(self) -> None:
        peers = [
            (member.name, PeerConfig(member.public_key, [f"{member.link_local}/128"]))
            for member in (self._laptop, self._phone)
        ]
        self._configure(self._hub, [f"ListenPort = {LISTEN_PORT}", "Address = fe80::/64"], peers)
        self._run(self._hub, "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
        self._run(self._hub, "wg-quick up wg0")
        self._tell.tick(f"wg0 is up; WireGuard here is {self._kind()}")
        text = configuration({one.name: one.public_key for one in (self._laptop, self._phone)})
        self._write(self._hub, TERMS, text)
        self._start_server()

    def _kind(self) -> str:
        shown = self._hub.host.run(["ip", "-d", "-j", "link", "show", "dev", "wg0"]).stdout
        kind = json.loads(shown)[0]["linkinfo"]["info_kind"]
        return "the kernel's" if kind == "wireguard" else "wireguard-go"

    def _start_server(self) -> None:
        lines = self._run(self._hub, SERVER)
        serving = [line for _, line in lines if "serving on" in line]
        expect(holds=bool(serving), expected="a line 'serving on'", seen=_text(lines))
        self._tell.output(serving[0])
        self._tell.tick(f"serving, {_milliseconds(lines[-1][0])} after the command")

    def _configure_client(self, member: Member, allowed_ips: tuple[str, ...]) -> None:
        interface = [
            f"Address = {member.link_local}/128",
            f"PostUp = wg-dynamic-client %i --log-file {CLIENT_LOG}",
            "PreDown = wg-dynamic-client --stop %i",
        ]
        endpoint = f"{self._hub.host.address}:{LISTEN_PORT}"
        peer = PeerConfig(self._hub.public_key, allowed_ips, endpoint)
        self._configure(member, interface, [("hub", peer)])

    def _bring_up_client(self, member: Member) -> None:
        lines = self._run(member, "wg-quick up wg0")
        began = [at for at, line in lines if line.startswith("[#] wg-dynamic-client wg0")]
        leased = [(at, line) for at, line in lines if line.startswith("wg0: leased")]
        expect(
            holds=len(began) == 1 and len(leased) == 1,
            expected="wg-dynamic-client to run and to say 'wg0: leased …'",
            seen=_text(lines),
        )
        self._tell.output(leased[0][1])
        member.addresses = self._leased(member)
        expect(
            holds=sum(":" in one for one in member.addresses) == 1 and len(member.addresses) == 2,  # noqa: PLR2004
            expected="one IPv4 and one IPv6 address with a lifetime on wg0",
            seen=member.addresses,
        )
        expect(
            holds=all(0 < left <= LEASE_TIME for left in member.addresses.values()),
            expected=f"lifetimes of at most {LEASE_TIME} s",
            seen=member.addresses,
        )
        took = _milliseconds(leased[0][0] - began[0])
        everything = _milliseconds(lines[-1][0])
        self._tell.tick(
            f"{member.name} has {' and '.join(member.addresses)}: {took} from running"
            f" wg-dynamic-client to the lease (wg-quick up took {everything} in all)"
        )

    def _show_hub(self) -> None:
        self._tell.command("hub", "wg show wg0")
        notes = {self._laptop.public_key: "laptop", self._phone.public_key: "phone"}
        self._tell.output(self._hub.host.run(["wg", "show", "wg0"]).stdout, notes)
        for member in (self._laptop, self._phone):
            self._expect_allowed(member, [*member.addresses])
        self._tell.tick("each peer may use its link-local and its leased addresses, and no other")

    def _ping(self, source: Member, target: Member) -> None:
        for address in target.addresses:
            lines = self._run(source, f"ping -n -c 1 -w 5 {address}")
            answers = [line for _, line in lines if "bytes from" in line]
            expect(holds=len(answers) == 1, expected="an answer", seen=_text(lines))
            self._tell.output(answers[0])
        self._tell.tick(f"{target.name} answers {source.name} over the hub, by IPv4 and by IPv6")

    def _ping_by_name(self, source: Member, target: Member) -> None:
        ask_the_hub(source.host)
        self._tell.command("hub", f"{WATCH} &")
        self._tell.command("hub", f"{DNSMASQ} &")
        with name_service(self._hub.host, WATCH) as hosts:
            self._tell.command("hub", f"cat {DIRECTORY}/hosts")
            self._tell.output(hosts)
            self._write(source, "/etc/resolv.conf", RESOLV_CONF, there=True)
            for option, address in zip("46", target.addresses, strict=True):
                lines = self._run(source, f"ping -{option} -c 1 -w 5 {target.name}.wg")
                answers = [line for _, line in lines if f"{address}" in line and "from" in line]
                expect(holds=len(answers) == 1, expected=f"{address}", seen=_text(lines))
                self._tell.output(answers[0])
        self._tell.tick(f"{target.name}.wg is {' and '.join(target.addresses)}")

    def _renew(self, member: Member) -> None:
        """By a link that goes down and up: T1, half the lease, would be a long wait."""
        before = look_until(
            lambda: self._leased(member),
            lambda seen: max(seen.values(), default=0) <= LEASE_TIME - 2,
            expected="lifetimes on wg0 that run down",
        )
        known = self._count(member, "renewed")
        downs = _count_lines(member.log(CLIENT_LOG), "wg0 is down")
        self._run(member, "ip link set wg0 down")
        look_until(
            lambda: member.log(CLIENT_LOG),
            lambda seen: _count_lines(seen, "wg0 is down") > downs,
            expected="the client to notice",
        )
        self._run(member, "ip link set wg0 up")
        look_until(
            lambda: self._count(member, "renewed"),
            lambda seen: seen == known + len(member.addresses),
            expected=f"'renewed' in the server's log for both addresses of {member.name}",
        )
        after = look_until(
            lambda: self._leased(member),
            lambda seen: (
                seen.keys() == member.addresses.keys()
                and all(seen[one] > before.get(one, 0) for one in seen)
            ),
            expected=f"the same addresses with longer lifetimes than {before}",
        )
        self._tell.output("\n".join(self._about(member)[-len(member.addresses) :]))
        left, renewed = min(before.values()), min(after.values())
        self._tell.tick(f"{member.name}: {left} s were left, now {renewed} s; same addresses")

    def _release(self, member: Member) -> None:
        lines = self._run(member, "wg-quick down wg0")
        look_until(
            lambda: self._count(member, "released"),
            lambda seen: seen == len(member.addresses),
            expected=f"'released' in the server's log for both addresses of {member.name}",
        )
        self._tell.command("hub", "wg show wg0 allowed-ips")
        notes = {self._laptop.public_key: "laptop", self._phone.public_key: "phone"}
        shown = self._hub.host.run(["wg", "show", "wg0", "allowed-ips"]).stdout
        self._tell.output(shown.replace("\t", " "), notes)
        self._expect_allowed(member, [])
        self._expect_allowed(self._phone, [*self._phone.addresses])
        left = look_until(
            lambda: programs_in(member.host), lambda seen: not seen, expected="no program left"
        )
        expect(holds=not left, expected="no program left", seen=left)
        self._tell.tick(
            f"{member.name} has its link-local left; no daemon and no wg0 there any more"
            f" ({_milliseconds(lines[-1][0])})"
        )

    def _kill_server(self) -> None:
        pid = int(self._one_file("/run/wg-dynamic/*/lock").read_text().split()[0])
        expect(
            holds=pid in programs_in(self._hub.host),
            expected="the server's PID in its lock file",
            seen=pid,
        )
        self._run(self._hub, f"kill -KILL {pid}")
        look_until(
            lambda: [name for name in programs_in(self._hub.host).values() if "python" in name],
            lambda seen: not seen,
            expected="both processes of the server to end",
        )
        rows = self._rows()
        phone = [row for row in rows if row.startswith(f"held  {self._phone.label}")]
        expect(
            holds=len(phone) == len(self._phone.addresses)
            and all(any(one in row for row in phone) for one in self._phone.addresses),
            expected="the phone's leases in the database",
            seen="\n".join(rows),
        )
        self._tell.say(f"{DATABASE} has:")
        self._tell.output("\n".join(rows))
        self._ping_quietly(self._phone)
        self._tell.tick("without its server the tunnel stands: the phone still reaches the hub")

    def _come_back(self, member: Member) -> None:
        before = [*member.addresses]
        self._bring_up_client(member)
        expect(
            holds=[*member.addresses] == before,
            expected=f"the same addresses as before, {before}",
            seen=member.addresses,
        )
        self._expect_allowed(member, before)
        self._tell.tick("the same public key, the same addresses, as long as the pool has room")

    # --- looking and doing ----------------------------------------------------------------------

    def _configure(
        self, member: Member, interface: list[str], peers: list[tuple[str, PeerConfig]]
    ) -> None:
        lines = ["[Interface]", f"PrivateKey = {member.private_key}", *interface]
        for name, peer in peers:
            section = peer.lines()
            lines += ["", f"{section[0]}  # {name}", *section[1:]]
        self._write(member, CONFIGURATION, "\n".join([*lines, ""]))

    def _write(self, member: Member, name: str, text: str, *, there: bool = False) -> None:
        """Make a file, unless it is `there`, and show it."""
        if not there:
            path = member.host.path(name)
            path.touch(mode=0o600)
            path.write_text(text)
        self._tell.command(member.name, f"cat {name}")
        self._tell.output(text.replace(member.private_key, "(hidden)"))

    def _run(self, member: Member, command: str) -> list[tuple[float, str]]:
        """Type a command at a host; the lines it prints, each with the seconds after its start.

        The last one is empty: when the command had ended. Raises StepError unless that was with
        status 0.
        """
        self._tell.command(member.name, command)
        began = time.monotonic()
        program = member.host.popen(["sh", "-c", f"exec {command} 2>&1"], stdout=subprocess.PIPE)
        lines: list[tuple[float, str]] = []
        rest = b""
        try:
            while piece := _read(program.process.stdout, began + COMMAND_TIME - time.monotonic()):
                now = time.monotonic() - began
                *whole, rest = (rest + piece).split(b"\n")
                lines += [(now, line.decode(errors="replace")) for line in whole]
            status = program.wait()
        finally:
            program.process.kill()
            end_all([program.process], 1.0)
        lines.append((time.monotonic() - began, rest.decode(errors="replace")))
        expect(
            holds=status == 0,
            expected=f"status 0 of {command!r} on {member.name}",
            seen=f"status {status}:\n{_text(lines)}",
        )
        return lines

    def _leased(self, member: Member) -> dict[str, int]:
        """The addresses on wg0 that have a lifetime, and the seconds that are left."""
        shown = member.host.run(["ip", "-j", "address", "show", "dev", "wg0"]).stdout
        return {
            info["local"]: int(info["valid_life_time"])
            for link in json.loads(shown)
            for info in link.get("addr_info", ())
            if info.get("dynamic")
        }

    def _expect_allowed(self, member: Member, leased: list[str]) -> None:
        """The hub's allowed IPs of a client: its link-local and what it leases, nothing else."""
        hosts = [member.link_local, *leased]
        wanted = {f"{one}/{128 if ':' in one else 32}" for one in hosts}

        def allowed() -> set[str]:
            for line in self._hub.host.run(["wg", "show", "wg0", "allowed-ips"]).stdout.split("\n"):
                key, _, prefixes = line.partition("\t")
                if key == member.public_key:
                    return set(prefixes.split())
            return set()

        expected = f"{' '.join(sorted(wanted))} as the allowed IPs of {member.name} at the hub"
        look_until(allowed, lambda seen: seen == wanted, expected=expected, timeout=2.0)

    def _ping_quietly(self, member: Member) -> None:
        expect(
            holds=member.host.ping("fe80::%wg0"),
            expected=f"an answer of fe80::%wg0 to {member.name}",
            seen="none",
        )

    def _about(self, member: Member) -> list[str]:
        return [line for line in self._hub.log(SERVER_LOG) if member.public_key in line]

    def _count(self, member: Member, what: str) -> int:
        return _count_lines(self._about(member), f"event={what} ")

    def _rows(self) -> list[str]:
        """The leases in the database, as text."""
        copy = self._lab.directory / "leases.sqlite"
        for end in ("", "-wal"):  # a copy: SQLite would follow /proc/PID/root to the machine's own
            with contextlib.suppress(FileNotFoundError):
                content = self._hub.host.path(DATABASE + end).read_bytes()
                copy.with_name(copy.name + end).write_bytes(content)
        clock = SystemClock()
        moment = Moment(clock.now(), clock.wall(), clock.boot_id())
        with contextlib.closing(SqliteStore(copy)) as store:
            leases = sorted(store.load(moment), key=lambda lease: (lease.ended, lease.address))
        return [
            f"{'ended' if lease.ended else 'held '} {peer_label(lease.public_key)}"
            f" {format_address(lease.address)}"
            f"{'' if lease.ended else f', {lease.ends_at - moment.now:.0f} s left'}"
            for lease in leases
        ]

    def _one_file(self, pattern: str) -> Path:
        root = self._hub.host.path("/")
        found = [*root.glob(pattern.lstrip("/"))]
        expect(holds=len(found) == 1, expected=f"one file {pattern}", seen=found)
        return found[0]

    def logs(self) -> str:
        """What everybody has logged, for the report of a failure."""
        shown = []
        for member in self.members:
            for path in (SERVER_LOG, CLIENT_LOG):
                if lines := member.log(path):
                    shown += [f"--- {member.name}: {path}", *lines]
        return "\n".join(shown)


class Interruption:
    """Turns signals into one exception, and only where it does no harm."""

    def __init__(self) -> None:
        """From here on SIGNALS do not end the process by themselves."""
        self.number = 0
        """The signal that came first."""
        self._raises = False
        for number in SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                signal.signal(number, self._handle)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.number = self.number or number
        if self._raises:
            self._stop()

    def _stop(self) -> NoReturn:
        self._raises = False
        raise InterruptedError(signal.Signals(self.number).name)

    @contextlib.contextmanager
    def allowed(self) -> Iterator[None]:
        """Raise InterruptedError inside when a signal came or comes; elsewhere it waits."""
        self._raises = True
        try:
            if self.number:
                self._stop()
            yield
        finally:
            self._raises = False


def private_directories() -> list[str]:
    """Where what the demo writes is its hosts' alone.

    Directories that every machine has, so that none is left behind; what they hold is hidden from
    the demo, hence something narrower where this checkout or its interpreter lies inside.
    """
    needed = [ROOT, Path(sys.prefix), Path(sys.base_prefix)]
    return [
        f"{top}/wg-dynamic" if any(path.is_relative_to(top) for path in needed) else top
        for top in ("/etc/wireguard", "/run", "/var/lib", "/var/log")
    ]


def programs_in(host: Host) -> dict[int, str]:
    """The programs that run in a host: process IDs and command lines."""
    spaces = [os.fstat(fd) for fd in host.namespaces.values()]
    found = {}
    for pid in (int(name) for name in os.listdir("/proc") if name.isdecimal()):
        with contextlib.suppress(OSError):  # it ended meanwhile
            inside = any(
                os.path.samestat(os.stat(f"/proc/{pid}/ns/{kind}"), space)
                for kind, space in zip(host.namespaces, spaces, strict=True)
            )
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            if inside and command and pid not in (os.getpid(), host.pid):
                found[pid] = command.strip()
    return found


def still_running(programs: Mapping[int, str]) -> dict[int, str]:
    """Those of the programs that have not ended."""
    left = {}
    for pid, command in programs.items():
        with contextlib.suppress(OSError):
            now = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            if now.strip() == command:
                left[pid] = command
    return left


def _read(stream: IO[str] | None, patience: float) -> bytes:
    if stream is None:  # never: it is a pipe
        return b""
    ready, _, _ = select.select([stream], [], [], max(0.0, patience))
    if not ready:
        what = f"an end within {COMMAND_TIME:g} s"
        raise StepError(what, "none")
    return os.read(stream.fileno(), 65536)


def _text(lines: Iterable[tuple[float, str]]) -> str:
    return "\n".join(line for _, line in lines).strip()


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _count_lines(lines: Iterable[str], text: str) -> int:
    return sum(text in line for line in lines)


def show(tell: Narrator, interruption: Interruption) -> dict[int, str]:
    """Tell the story in a lab of its own; the programs that were running at its end."""
    with Lab() as lab:
        programs: dict[int, str] = {}
        demo = None
        try:
            with interruption.allowed():
                demo = Demo(lab, tell)
                demo.run()
        except (StepError, LabError):
            if demo is not None:
                tell.output(f"\n{demo.logs()}")
            raise
        finally:
            for member in demo.members if demo is not None else ():
                programs.update(programs_in(member.host))
    return programs


def main() -> int:
    """Show it all; 0 when every step was seen to work."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    tell = Narrator(sys.stdout)
    interruption = Interruption()
    began = time.monotonic()
    try:
        tell.title(
            "wg-dynamic: addresses that WireGuard peers lease, inside the tunnel",
            "A hub and two clients on this machine, in network namespaces; each has its own wg0.",
        )
        left = still_running(show(tell, interruption))
        if left:
            tell.cross(f"still running: {left}")
            return 1
        took = time.monotonic() - began
        tell.title(f"\nAll {tell.seen} steps were seen to work, in {took:.1f} s.")
        tell.tick("removed: namespaces, interfaces, programs, files")
    except InterruptedError as error:
        tell.cross(f"{error}: stopped; what was made is removed")
        return 128 + interruption.number
    except (StepError, LabError) as error:
        if tell.steps == 0:
            tell.cross(str(error))
        else:
            tell.cross(f"step {tell.steps} failed; what was made is removed")
        return 1
    except BrokenPipeError:  # `make demo | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
