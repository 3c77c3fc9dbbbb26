"""Run the commands that docs/command.md shows, and write down what they print.

    python -m tools.command_output [--check]

(root). In a block ```console of that page a line `hub# …` or `laptop# …` is a command; what follows
is what it printed. They are run from the first to the last, in a hub and a laptop made of network
namespaces with real WireGuard. The laptop comes online, by the configuration that `peer add` has
printed, before its first command. --check does not write: what is shown and what is printed must be
of one shape (tests/netns/test_command_output.py).
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tools.netlab import LISTEN_PORT, Host, Lab, generate_keys, wait_until
from tools.repository import ROOT

PAGE: Final = ROOT / "docs/command.md"
HOME: Final = "/etc/wg-dynamic"
"""Where commands are typed: a directory of the stage's own that no checkout lies below."""
PRIVATE: Final = (
    *("/etc/wireguard", "/etc/wg-dynamic", "/run", "/var/lib/wg-dynamic", "/var/log"),
)
CONFIGURATION: Final = "/etc/wireguard/wg0.conf"
ENDPOINT: Final = "hub.example.org"
POOLS: Final = '[[pool]]\nnetwork = "10.44.0.0/24"\n\n[[pool]]\nnetwork = "fd00:44::/64"\n'
WRONG: Final = '[[pool]]\nnetwork = "10.44.0.1/24"\n\n[[reservations]]\naddresses = []\n'
_BLOCK: Final = re.compile(r"^```console\n(.*?)^```$", re.M | re.S)
_TYPED: Final = re.compile(r"(hub|laptop)# (.*)")
_SECRET: Final = re.compile(r"((?:Private|Preshared)Key = )[\w+/]{43}=")
_KEY: Final = re.compile(r"[\w+/]{43}=")
_ADDRESS: Final = re.compile(
    r"\b\d+\.\d+\.\d+\.\d+\b|\b[0-9a-f]{1,4}:[0-9a-f:]*:[0-9a-f:]*[0-9a-f]\b|\bfe80::(?![\w:])"
)
_UNIT: Final = r"\d+ ?(?:days?|d|hours?|h|minutes?|min|seconds?|s)\b"
_SPAN: Final = re.compile(rf"\b{_UNIT}(?:,? {_UNIT})?(?: ago)?|\bnow\b")
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")

Run = Callable[[str, str], str]
"""Runs on the host of this name what is typed there, and returns what it prints."""


def shape(text: str) -> list[str]:
    """What stays of an output when keys, addresses, spans and numbers are others."""
    text = _KEY.sub("KEY", text)
    text = _ADDRESS.sub("ADDRESS", text)
    text = _SPAN.sub("SPAN", text)
    text = _NUMBER.sub("N", text)
    return [" ".join(line.split()) for line in text.splitlines()]


def commands(block: str) -> list[tuple[str, str, str]]:
    """(host, what is typed, what is shown) of a block."""
    found: list[tuple[str, str, str]] = []
    for line in block.splitlines():
        typed = _TYPED.fullmatch(line)
        if typed:
            found.append((typed[1], typed[2], ""))
        elif not found:
            msg = f"{line!r}, expected a command first: hub# …"
            raise ValueError(msg)
        else:
            host, command, shown = found[-1]
            found[-1] = host, command, f"{shown}{line}\n"
    return found


def rewritten(page: str, run: Run) -> str:
    """The page with what its commands print now."""

    def again(block: re.Match[str]) -> str:
        text = "".join(
            f"{host}# {command}\n{run(host, command)}" for host, command, _ in commands(block[1])
        )
        return f"```console\n{text}```"

    return _BLOCK.sub(again, page)


def differences(page: str, run: Run) -> list[str]:
    """For each command that prints something of another shape, what is shown and what came."""
    found = []
    for block in _BLOCK.findall(page):
        for host, command, shown in commands(block):
            came = run(host, command)
            if shape(came) != shape(shown):
                found.append(f"{host}# {command}\nshown:\n{shown}came:\n{came}")
    return found


BOTH = 2
"""Leases of the one client, of either family."""


class Stage:
    """The two hosts, as the page has them."""

    def __init__(self, lab: Lab) -> None:
        hub, laptop = lab.hosts("hub", "laptop", private=PRIVATE)
        self._hosts = {"hub": hub, "laptop": laptop}
        self._printed = ""
        self._online = False
        lines = [
            "[Interface]",
            f"PrivateKey = {generate_keys().private}",
            f"ListenPort = {LISTEN_PORT}",
            "Address = fe80::/64, 10.44.0.1/24, fd00:44::1/64",
            "",
        ]
        _write(hub, CONFIGURATION, "\n".join(lines))
        _write(hub, "/etc/wg-dynamic/wg0.toml", POOLS)
        _write(hub, f"{HOME}/wrong.toml", WRONG)
        hub.run(["wg-quick", "up", "wg0"])
        hub.run(["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
        hub.run(["wg-dynamic-server", "wg0"])

    def run(self, name: str, command: str) -> str:
        """What a command prints on both of its streams; secrets are left out."""
        if name == "laptop" and not self._online:
            self._bring_online()
        said = self._hosts[name].run(["sh", "-c", f"({command}) 2>&1"], check=False, cwd=HOME)
        if self._printed == "" and "[Peer]" in said.stdout:
            self._printed = said.stdout
        if "lease revoke" in command:
            self._wait_for_both_leases()
        return _SECRET.sub(r"\1(44 characters)", said.stdout)

    def _wait_for_both_leases(self) -> None:
        """The client is told at once, and asks for another: what comes next is to see that."""
        hub = self._hosts["hub"]
        wait_until(
            lambda: hub.run(["wg-dynamic", "leases", "--json"]).stdout.count('"address"') == BOTH,
            timeout=15,
            what="two leases again",
        )

    def _bring_online(self) -> None:
        hub, laptop = self._hosts.values()
        text = re.sub(r"^wg-dynamic peer: .*\n", "", self._printed, flags=re.M)
        _write(laptop, CONFIGURATION, text.replace(ENDPOINT, hub.address))
        laptop.run(["wg-dynamic-quick", "up", "wg0"])
        wait_until(
            lambda: "10.44.0." in laptop.run(["ip", "-4", "address", "show", "wg0"]).stdout,
            timeout=15,
            what="a leased address",
        )
        wait_until(
            lambda: '"subscribers": 1' in hub.run(["wg-dynamic", "status", "--json"]).stdout,
            timeout=15,
            what="a client that is told of changes",
        )
        self._online = True


def _write(host: Host, name: str, text: str) -> None:
    path = host.path(name)
    path.touch(0o600)
    path.write_text(text)


def main(path: Path = PAGE) -> int:
    """Write the page anew, or check it."""
    page = path.read_text("utf-8")
    with Lab() as lab:
        stage = Stage(lab)
        if sys.argv[1:] == ["--check"]:
            found = differences(page, stage.run)
            print(*found, sep="\n", end="\n" if found else "")
            return 1 if found else 0
        path.write_text(rewritten(page, stage.run), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
