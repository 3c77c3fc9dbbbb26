"""This guest as a machine with systemd: our units in it, and the other ends of its tunnels.

The guest's own namespace, which systemd, udev and networkd look after, has wg0, the hub's, and wg1,
a client's. Their other ends are in the network namespace `far`. They were made here and moved
there, so that their packets go over this namespace's loopback.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tools.netlab import Keys, PeerConfig, generate_keys
from tools.processes import PATIENCE, environment
from tools.repository import ROOT

FAR: Final = "far"
UNITS: Final = Path("/etc/systemd/system")
PACKAGING: Final = ROOT / "packaging"
_HOMES: Final = tuple(map(Path, ("/home", "/root", "/run/user", "/tmp", "/var/tmp")))  # noqa: S108
"""What the units do not see."""
_PLACES: Final = (
    (PACKAGING / "systemd", "*", Path("/etc/systemd/system")),
    (PACKAGING / "sysusers.d", "*.conf", Path("/usr/lib/sysusers.d")),
    (PACKAGING / "tmpfiles.d", "*.conf", Path("/usr/lib/tmpfiles.d")),
    (ROOT / "docs/man", "*.8", Path("/usr/local/share/man/man8")),
)


def run(*command: str, check: bool = True, text: str = "") -> str:
    """Run a command and return what it printed, both streams."""
    done = subprocess.run(
        command,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment({"SYSTEMD_PAGER": ""}),
        check=False,
        timeout=120,
    )
    assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
    return done.stdout


def ip(*lines: str, namespace: str | None = None) -> None:
    """Give lines to `ip -batch`."""
    where = ("-n", namespace) if namespace else ()
    run("ip", *where, "-batch", "-", text="\n".join([*lines, ""]))


def install() -> None:
    """What a package does. The programs are those of the checkout, as a drop-in tells the units."""
    for source, pattern, target in _PLACES:
        target.mkdir(parents=True, exist_ok=True)
        for path in source.glob(pattern):
            (target / path.name).write_bytes(path.read_bytes())
    run("systemd-sysusers", "wg-dynamic.conf")
    run("systemd-tmpfiles", "--create", "wg-dynamic.conf")
    for program in ("wg-dynamic-server", "wg-dynamic-client", "wg-dynamic-watch"):
        drop_in(f"{program}@.service", "checkout", *_checkout(program))


def drop_in(unit: str, name: str, *lines: str) -> Path:
    """Write a drop-in, as `systemctl edit` does, and let systemd know."""
    directory = UNITS / f"{unit}.d"
    directory.mkdir(exist_ok=True)
    path = directory / f"{name}.conf"
    path.write_text("\n".join(["[Service]", *lines, ""]))
    run("systemctl", "daemon-reload")
    return path


def _checkout(program: str) -> Iterator[str]:
    installed, here = f"=/usr/sbin/{program} ", f"={Path(sys.executable).parent / program} "
    unit = (ROOT / "packaging/systemd" / f"{program}@.service").read_text()
    for line in unit.splitlines():
        if installed in line:
            yield line.partition("=")[0] + "="
            yield line.replace(installed, here)
    hidden = [home for home in _HOMES if ROOT.is_relative_to(home)]
    if hidden:
        yield "ProtectHome=tmpfs"
        yield f"BindReadOnlyPaths={ROOT}"


@dataclass(frozen=True)
class Unit:
    """An instance of one of our units."""

    name: str

    def show(self, name: str) -> str:
        """One property."""
        return run("systemctl", "show", "--value", f"--property={name}", self.name).strip()

    def state(self) -> tuple[str, str]:
        """Whether it is active, and how it ended last."""
        return self.show("ActiveState"), self.show("Result")

    def wait_for(self, state: str = "active", timeout: float = 15.0) -> None:
        """Wait for its active state."""
        self._wait("ActiveState", state.__eq__, timeout)

    def wait_for_status(self, text: str, timeout: float = 15.0) -> None:
        """Wait until its status text, as `systemctl status` shows it, has `text`."""
        self._wait("StatusText", lambda value: text in value, timeout)

    def wait_for_restart(self, count: int = 1) -> None:
        """Wait until systemd has started it again so many times."""
        self._wait("NRestarts", lambda value: int(value) >= count, 20.0)

    def _wait(self, name: str, good: Callable[[str], bool], timeout: float) -> None:
        deadline = time.monotonic() + timeout * PATIENCE
        while not good(value := self.show(name)):
            assert time.monotonic() < deadline, f"{name} is {value!r}\n{self.status()}"
            time.sleep(0.1)  # each look is a program

    def status(self) -> str:
        """For people."""
        return run("systemctl", "status", "--full", "--lines=40", self.name, check=False)

    def journal(self, *more: str) -> list[str]:
        """The messages that the daemon itself has written, since the boot."""
        command = ["journalctl", "--quiet", "--output=cat", f"--unit={self.name}", *more]
        return run(*command).splitlines()

    def cursor(self) -> str:
        """Where its journal is now, as an option for `journal`."""
        shown = run("journalctl", f"--unit={self.name}", "--lines=1", "--show-cursor")
        return f"--after-cursor={shown.splitlines()[-1].removeprefix('-- cursor: ')}"

    def processes(self) -> list[int]:
        """All of them, the helper first."""
        group = Path(f"/sys/fs/cgroup{self.show('ControlGroup')}/cgroup.procs")
        helper = int(self.show("MainPID"))
        return sorted(map(int, group.read_text().split()), key=lambda pid: pid != helper)

    def systemctl(self, verb: str) -> None:
        """start, stop, restart, enable, …"""
        run("systemctl", verb, self.name)


@dataclass
class End:
    """One end of a tunnel: a WireGuard interface to be made, again and again."""

    name: str
    address: str
    port: int
    namespace: str | None = None
    keys: Keys = field(default_factory=generate_keys)
    peer: PeerConfig | None = None
    program: str = ""
    """What makes it, if the kernel does not."""

    def make(self) -> None:
        """Make it, configured and up, link-local address first."""
        self.add()
        self.configure()

    def add(self) -> None:
        """Make it, as nothing but a name."""
        if self.program:
            run(self.program, self.name)
        else:
            ip(f"link add {self.name} type wireguard")

    def configure(self) -> None:
        """Give it its configuration, address and namespace."""
        lines = [
            *("[Interface]", f"PrivateKey = {self.keys.private}", f"ListenPort = {self.port}"),
            *(self.peer.lines() if self.peer else []),
        ]
        run("wg", "setconf", self.name, "/dev/stdin", text="\n".join([*lines, ""]))
        if self.namespace:
            ip(f"link set {self.name} netns {self.namespace}")
        ip(
            f"address add {self.address} dev {self.name} nodad",
            f"link set {self.name} up",
            namespace=self.namespace,
        )

    def delete(self) -> None:
        """Delete it."""
        ip(f"link delete {self.name}", namespace=self.namespace)

    def addresses(self) -> list[str]:
        """Its addresses, link-local ones left out."""
        where = ["-n", self.namespace] if self.namespace else []
        shown = run("ip", *where, "-o", "address", "show", "dev", self.name, "scope", "global")
        return sorted(line.split()[3] for line in shown.splitlines())

    def allowed_ips(self) -> list[str]:
        """Those of its only peer."""
        where = ["ip", "netns", "exec", self.namespace] if self.namespace else []
        return sorted(run(*where, "wg", "show", self.name, "allowed-ips").split()[1:])


def tunnel(hub: End, client: End) -> None:
    """Let two ends know each other."""
    hub.peer = PeerConfig(client.keys.public, [client.address])
    client.peer = PeerConfig(hub.keys.public, ["fe80::/128"], f"127.0.0.1:{hub.port}")


def start_far(unit: str, program: str, *arguments: str) -> Unit:
    """Start a daemon in the namespace `far`, by a unit made for the occasion."""
    run(
        *("systemd-run", "--quiet", f"--unit={unit}", "--property=Type=notify"),
        f"--property=NetworkNamespacePath=/run/netns/{FAR}",
        *(str(Path(sys.executable).parent / program), "--foreground", *arguments),
    )
    return Unit(f"{unit}.service")


def snapshot() -> str:
    """What daemons could change in this guest's own namespace, without what changes by itself."""
    commands: Sequence[str] = (
        *("ip -o address show", "ip -o link show", "ip rule show", "ip -6 rule show"),
        *("ip route show table all", "ip -6 route show table all", "wg show all allowed-ips"),
    )
    text = "\n".join(run(*command.split()) for command in commands)
    return "\n".join(sorted(re.sub(r"(_lft|expires) \d+sec", r"\1", text).splitlines()))


def in_guest() -> bool:
    """Whether this is a guest of tools/guest.py with systemd, to be changed at will."""
    systemd = Path("/proc/1/comm").read_text().strip() == "systemd"
    return systemd and "WG_DYNAMIC_GUEST" in os.environ and Path("/run/guest").is_dir()
