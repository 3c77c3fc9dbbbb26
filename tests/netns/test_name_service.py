"""Name servers by the real resolvconf programs, in a namespace with files of its own.

The packages are unpacked and laid over the host's /usr and /etc, for installing them would change
this machine's own resolv.conf. systemd-resolved needs systemd: tests/systemd.
"""

import signal
from collections.abc import Iterator
from typing import Final

import pytest

from tools.netlab import Host, Lab
from tools.packages import unpacked

STATIC: Final = "nameserver 192.0.2.53\noptions edns0\n"
LEDGER: Final = "/run/ledger"
PROGRAM: Final = """
import logging, os, signal, sys
from pathlib import Path
from wg_dynamic.address import parse_address
from wg_dynamic.helper.name_service import NameService
from wg_dynamic.netlink.control import Link
from wg_dynamic.privsep.ledger import Ledger
logging.basicConfig(format="%(message)s")
service = NameService(Link(999999, "wg0", "wireguard", True, 1420), Ledger(Path("/run/ledger")))
servers = [parse_address(text) for text in ("10.44.0.1", "fd00:44::1")]
search = ("corp.example", "example")
os.umask(0o077)
def dying(self, record, *names):
    truly(self, record, *names)
    os.kill(os.getpid(), signal.SIGKILL)
from wg_dynamic.helper.resolver import Resolvconf
truly = Resolvconf.set
"""


class Machine:
    """A host with one of the two packages on it."""

    def __init__(self, host: Host, package: str | None) -> None:
        self.host = host
        self.package = package
        self.name = "tun.wg0" if package == "resolvconf" else "wg0"
        above = f"{unpacked(package)}/" if package else ""
        self.sh("mount -t tmpfs tmpfs /run", "mkdir /run/up /run/work")
        if above:
            self.sh(f"mount -t overlay -o lowerdir={above}usr:/usr overlay /usr")
        lower = f"{above}etc:/etc" if above else "/etc"
        options = f"lowerdir={lower},upperdir=/run/up,workdir=/run/work"
        self.sh(f"mount -t overlay -o {options} overlay /etc")
        self.write_static()
        if package == "resolvconf":  # as its tmpfiles.d and postinst leave it
            self.sh(
                "mkdir -p /run/resolvconf/interface; touch /run/resolvconf/enable-updates",
                "printf 'nameserver 192.0.2.53\\n' | resolvconf -a eth0.inet",
                "ln -sf /run/resolvconf/resolv.conf /etc/resolv.conf",
            )

    def write_static(self) -> None:
        """A file of an administrator's own."""
        self.sh("rm -f /etc/resolv.conf")
        self.host.run(["tee", "/etc/resolv.conf"], input=STATIC)

    def sh(self, *lines: str) -> str:
        return self.host.run(["sh", "-ec", "\n".join(lines)]).stdout

    def python(self, *lines: str, check: bool = True) -> str:
        command = self.host.python("-c", PROGRAM + "\n".join(lines))
        done = self.host.run(command, check=False)
        assert done.returncode == (0 if check else -signal.SIGKILL), done
        return done.stdout + done.stderr

    def resolv_conf(self) -> str:
        return self.sh("cat /etc/resolv.conf")

    def state(self) -> str:
        """The file, whose it is, and all records."""
        return self.sh(
            "cat /etc/resolv.conf; stat -L -c %a /etc/resolv.conf; resolvconf -l || true",
            f"cat {LEDGER} || true",
        )


@pytest.fixture(scope="module", params=["openresolv", "resolvconf"])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    with Lab() as lab:
        yield Machine(lab.host("host"), request.param)


def test_name_servers_are_set_changed_and_undone(machine: Machine) -> None:
    before = machine.state()
    assert machine.python("print(service.apply(servers, search))") == "\n"
    lines = machine.resolv_conf().splitlines()
    servers = [line for line in lines if line.startswith("nameserver")]
    assert servers[:2] == ["nameserver 10.44.0.1", "nameserver fd00:44::1"]
    assert "search corp.example example" in lines
    assert f"# resolv.conf from {machine.name}" in machine.sh("resolvconf -l")
    assert machine.sh("stat -L -c %a /etc/resolv.conf") == "644\n"  # our umask is 077
    machine.python("service.apply(servers[1:], ())")
    assert "10.44.0.1" not in machine.resolv_conf()
    assert "corp.example" not in machine.resolv_conf()
    machine.python("service.undo()", "service.undo()")
    assert machine.state() == before


def test_what_a_killed_one_left_is_undone(machine: Machine) -> None:
    before = machine.state()
    machine.python("Resolvconf.set = dying", "service.apply(servers, search)", check=False)
    assert "10.44.0.1" in machine.resolv_conf()
    machine.python("service.undo()")
    assert machine.state() == before
    lines = ("Resolvconf.set = lambda *_: os.kill(os.getpid(), 9)", "service.apply(servers, ())")
    machine.python(*lines, check=False)
    assert machine.sh(f"cat {LEDGER}") == f"+ dns resolvconf {machine.name}\n"
    machine.python("service.undo()")
    assert machine.state() == before


def test_what_wg_quick_has_set_stays(machine: Machine) -> None:
    machine.sh(f"echo nameserver 192.0.2.7 | resolvconf -a {machine.name} -m 0 -x")
    before = machine.state()
    said = machine.python("for _ in range(2): print(service.apply(servers, ()))", "service.undo()")
    assert said.count("somebody else set") == 3  # two answers, one line in the log
    assert machine.state() == before
    machine.sh(f"resolvconf -d {machine.name} -f")


def test_debians_resolvconf_beside_a_file_that_it_does_not_write_is_not_used(lab: Lab) -> None:
    machine = Machine(lab.host("host"), "resolvconf")
    machine.write_static()
    before = machine.state()
    assert "resolvconf does not write /etc/resolv.conf" in machine.python(
        "service.apply(servers, ())"
    )
    assert machine.state() == before


def test_without_either_nothing_is_changed(lab: Lab) -> None:
    machine = Machine(lab.host("host"), None)
    before = machine.resolv_conf()
    said = machine.python("for _ in range(3): service.apply(servers, search)")
    assert said.count("nobody takes name servers per interface here") == 1
    assert machine.resolv_conf() == before == STATIC
