"""wg-dynamic-quick with the real wg-quick, client and server: up, lease, save, down, as before."""

import re
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.netns.daemons import POOL4, POOL6, Server, leased_addresses, snapshot
from tools.netlab import LISTEN_PORT, Host, Keys, Lab, PeerConfig, generate_keys, wait_until
from tools.star import Member
from wg_dynamic.address import parse_prefix

ETC = "/etc/wireguard"
QUICK = "/run/wg-dynamic/quick"
HUB4, HUB6 = "10.44.0.1", "fd00:44::1"


@dataclass
class Laptop:
    """A host without wg0; its files below /etc/wireguard and /run are its own."""

    host: Host
    hub: Member
    keys: Keys

    def configuration(
        self, allowed: str = "fe80::/128", *interface: str, address: str = "fe80::1/128, auto"
    ) -> str:
        lines = [f"PrivateKey = {self.keys.private}", f"Address = {address}", *interface]
        endpoint = f"{self.hub.host.address}:{LISTEN_PORT}"
        peer = PeerConfig(self.hub.interface.keys.public, [allowed], endpoint)
        return "\n".join(["[Interface]", *lines, *peer.lines(), ""])

    def write(self, text: str, name: str = "wg0") -> Path:
        path = self.path(f"{ETC}/{name}.conf")
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def path(self, path: str) -> Path:
        return self.host.path(path)

    def quick(self, verb: str, target: str = "wg0", **more: str) -> "subprocess.CompletedProcess[str]":
        """Run it, and see that its status is 0."""
        done = self.try_quick(verb, target, **more)
        assert done.returncode == 0, done.stderr
        return done

    def try_quick(
        self, verb: str, target: str = "wg0", **env: str
    ) -> "subprocess.CompletedProcess[str]":
        return self.host.run(["wg-dynamic-quick", verb, target], check=False, env=env)

    def everything(self) -> str:
        """What an administrator would look at."""
        more = [
            self.host.run(["sh", "-c", command]).stdout
            for command in ("wg show", "nft list ruleset", "cat /etc/resolv.conf", f"ls {ETC}")
        ]
        return "\n".join([snapshot(self.host), *more])

    def kept(self) -> set[str]:
        """Names in our directories below /run, the lock left out."""
        top = self.path(QUICK)
        return {
            path.name for path in top.glob("*/*") if path.suffix != ".lock"
        } if top.exists() else set()

    def leased(self, name: str = "wg0") -> dict[str, str]:
        """Leased address by family."""
        shown = self.host.run(["ip", "-o", "address", "show", "dev", name, "dynamic"]).stdout
        return {
            words[2]: words[3].partition("/")[0] for words in map(str.split, shown.splitlines())
        }


@pytest.fixture
def laptop(lab: Lab) -> Laptop:
    hub = lab.host("hub")
    host = lab.host("laptop", private=(ETC, "/run"))
    keys = generate_keys()
    wg0 = hub.wireguard(addrgenmode="none")
    wg0.setconf([PeerConfig(keys.public, ["fe80::1/128"])])
    hub.ip(
        "address add fe80::/64 dev wg0 nodad",
        f"address add {HUB4}/24 dev wg0",
        f"address add {HUB6}/64 dev wg0 nodad",
        "link set dev wg0 up",
    )
    return Laptop(host, Member(hub, wg0, "fe80::"), keys)


@pytest.fixture
def server(laptop: Laptop, database: Path) -> Server:
    server = Server(laptop.hub, database)
    server.start()
    return server


def no_programs(host: Host) -> None:
    from tools.demo import programs_in

    wait_until(lambda: not programs_in(host), what=f"the end of {programs_in(host)}")


def hosts(laptop: Laptop) -> set[str]:
    """What the hub lets the laptop use."""
    return laptop.hub.interface.allowed_ips()[laptop.keys.public]


@pytest.mark.kernel
@pytest.mark.parametrize("allowed", ["0.0.0.0/0, ::/0", "fe80::/128"])
def test_the_specification_s_configurations_work_as_typed(
    laptop: Laptop, server: Server, allowed: str
) -> None:
    typed = laptop.configuration(allowed)
    path = laptop.write(typed)
    before = laptop.everything()
    laptop.quick("up")
    leased = laptop.leased()
    assert leased.keys() == {"inet", "inet6"}
    for family, target in (("inet", HUB4), ("inet6", HUB6)):
        assert laptop.host.ping(target, source=leased[family])
    made = laptop.path(QUICK)
    (generated,) = made.glob("*/wg0.conf")
    assert generated.stat().st_mode & 0o777 == 0o600
    assert generated.parent.stat().st_mode & 0o777 == made.stat().st_mode & 0o777 == 0o700
    assert "auto" not in generated.read_text().split()
    assert path.read_text() == typed

    server.stop()
    assert laptop.leased() == leased
    assert laptop.host.ping(HUB4, source=leased["inet"])
    server.start()
    laptop.host.ip("link set wg0 down", "link set wg0 up")  # makes it ask
    wait_until(lambda: "renewed" in server.program.output(), timeout=20, what="a renewal")
    assert laptop.leased().items() >= {("inet", leased["inet"])}

    path.write_text("# spoilt\n")  # what was brought up is what is brought down
    laptop.quick("down")
    path.write_text(typed)
    assert laptop.everything() == before
    assert laptop.kept() == set()
    wait_until(lambda: hosts(laptop) == {"fe80::1/128"}, what="the release")
    no_programs(laptop.host)
