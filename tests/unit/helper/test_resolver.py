"""What the tools are told, and which of them; the real ones are in tests/netns."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from wg_dynamic.helper import resolver as module
from wg_dynamic.helper.resolver import (
    NoResolverError,
    Resolvconf,
    Resolved,
    find_resolver,
    resolver_named,
)
from wg_dynamic.netlink.control import Link
from wg_dynamic.system.tools import ToolError, ToolResult

LINK = Link(7, "wg0", "wireguard", True, 1420)
ABSENT = 1 << 30


class Tools:
    """Notes what is run, and answers."""

    def __init__(self, status: int = 0) -> None:
        self.ran: list[tuple[tuple[str, ...], str]] = []
        self.status = status
        self.outputs: dict[str, str] = {}
        """By the tool's first argument."""

    def __call__(self, *command: str, text: str = "") -> ToolResult:
        self.ran.append((command, text))
        output = self.outputs.get(command[1], "")
        return ToolResult(" ".join(command), self.status, output, "no such thing")


@pytest.fixture
def tools() -> Tools:
    return Tools()


def a_link(name: str) -> Link:
    return Link(7, name, "wireguard", True, 1420)


# --- resolvconf --------------------------------------------------------------------------------


def test_resolvconf_is_told_what_wg_quick_tells_it(tools: Tools, tmp_path: Path) -> None:
    resolvconf = Resolvconf(tools, tmp_path / "none")
    resolvconf.set("wg0", ("10.0.0.1", "fd00::1"), ("corp.example", "example"))
    resolvconf.set("wg0", ("10.0.0.1",), ())
    resolvconf.remove("tun.wg0")
    command = ("resolvconf", "-a", "wg0", "-m", "0", "-x")
    assert tools.ran == [
        (command, "nameserver 10.0.0.1\nnameserver fd00::1\nsearch corp.example example\n"),
        (command, "nameserver 10.0.0.1\n"),
        (("resolvconf", "-d", "tun.wg0", "-f"), ""),
    ]


@pytest.mark.parametrize(
    ("order", "record"),
    [
        ("lo.inet6\nlo\ntun*\ntap*\n", "tun.wg0"),
        ("# tun*\n tap* \n", "tap.wg0"),
        ("lo.!(pdns)\nem+([0-9])*\n*\n", "wg0"),
        ("-a*\n../x*\n", "wg0"),
        ("", "wg0"),
    ],
)
def test_the_record_has_the_prefix_that_wg_quick_gives_it(
    tools: Tools, tmp_path: Path, order: str, record: str
) -> None:
    (tmp_path / "order").write_text(order)
    assert Resolvconf(tools, tmp_path / "order").record(LINK) == record
    assert Resolvconf(tools, tmp_path / "absent").record(LINK) == "wg0"


@pytest.mark.parametrize("name", ["-wg0", ".wg0", "wg 0", "wg;0", "wg\n0", "wg*", "wgé", ""])
def test_a_name_that_resolvconf_could_misunderstand_is_refused(
    tools: Tools, tmp_path: Path, name: str
) -> None:
    with pytest.raises(NoResolverError, match="expected letters"):
        Resolvconf(tools, tmp_path / "none").record(a_link(name))


def test_every_name_that_wg_quick_takes_is_one(tools: Tools, tmp_path: Path) -> None:
    for name in ("wg0", "a_=+.-b", "0", "x" * 15):
        assert Resolvconf(tools, tmp_path / "none").record(a_link(name)) == name


def test_a_record_of_resolvconf_is_found_by_its_heading(tools: Tools) -> None:
    resolvconf = Resolvconf(tools)
    tools.outputs["-l"] = "# resolv.conf from eth0.dhclient\nnameserver 10.0.0.1\n"
    assert not resolvconf.has("eth0")
    assert resolvconf.has("eth0.dhclient")
    tools.status = 2  # openresolv's, when there is none
    tools.outputs["-l"] = ""
    assert not resolvconf.has("wg0")


def test_what_resolvconf_refuses_is_an_error() -> None:
    resolvconf = Resolvconf(Tools(status=1))
    calls: list[Callable[[], None]] = [
        lambda: resolvconf.set("wg0", ("10.0.0.1",), ()),
        lambda: resolvconf.remove("wg0"),
    ]
    for call in calls:
        with pytest.raises(ToolError, match=r"resolvconf -[ad] wg0 .*status 1: no such thing"):
            call()


# --- systemd-resolved --------------------------------------------------------------------------


def test_resolved_is_told_the_index_and_a_domain_for_all(tools: Tools) -> None:
    resolved = Resolved(tools)
    record = resolved.record(LINK)
    resolved.set(record, ("10.0.0.1", "fd00::1"), ("corp.example",))
    resolved.remove(record)
    assert [" ".join(command) for command, _ in tools.ran] == [
        "resolvectl dns 7 10.0.0.1 fd00::1",
        "resolvectl domain 7 corp.example ~.",
        "resolvectl revert 7",
    ]


@pytest.mark.parametrize(
    ("dns", "domain", "has"),
    [
        ("Link 7 (wg0):\n", "Link 7 (wg0):\n", False),
        ("Link 7 (wg0): 192.0.2.1\n", "Link 7 (wg0):\n", True),
        ("Link 7 (wg0):\n", "Link 7 (wg0): ~corp\n", True),
        ("", "", False),
    ],
)
def test_what_resolved_has_for_a_link_is_seen(
    tools: Tools, dns: str, domain: str, has: bool
) -> None:
    tools.outputs = {"dns": dns, "domain": domain}
    assert Resolved(tools).has("7") == has


def test_an_interface_that_is_gone_has_nothing_left_with_resolved() -> None:
    resolved = Resolved(Tools(status=1))
    resolved.remove(str(ABSENT))
    with pytest.raises(ToolError, match="no such thing"):
        resolved.remove(str(socket.if_nametoindex("lo")))
    with pytest.raises(ToolError, match="resolvectl dns"):
        resolved.has("7")


# --- which of them -----------------------------------------------------------------------------


class Machine:
    """Where tools and files are."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.resolv_conf = root / "resolv.conf"
        self.installed: dict[str, str] = {}
        monkeypatch.setattr(module, "find_tool", self.installed.get)
        monkeypatch.setattr(module, "_RESOLVED_RUN", f"{root}/run/")
        monkeypatch.setattr(module, "_DEBIAN_MARK", root / "list-records")
        monkeypatch.setattr(module, "_DEBIAN_FILE", f"{root}/debian.conf")

    def install(self, *names: str) -> None:
        for name in names:
            (self.root / name).write_text("")
            self.installed[name] = str(self.root / name)

    def link(self, target: str) -> None:
        self.resolv_conf.symlink_to(self.root / target)

    def find(self) -> str:
        return find_resolver(resolv_conf=self.resolv_conf).name


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


@pytest.mark.parametrize("target", ["run/stub-resolv.conf", "run/resolv.conf"])
def test_resolved_is_taken_when_the_file_is_its_own(machine: Machine, target: str) -> None:
    machine.install("resolvconf", "resolvectl")
    machine.link(target)
    assert machine.find() == "resolved"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("search x\nnameserver 127.0.0.53\n", "resolved"),
        ("nameserver 127.0.0.5\n# nameserver 127.0.0.53\n", "resolvconf"),
        ("", "resolvconf"),
    ],
)
def test_a_file_that_names_the_stub_is_resolveds(machine: Machine, text: str, found: str) -> None:
    machine.install("resolvconf", "resolvectl")
    machine.resolv_conf.write_text(text)
    assert machine.find() == found


def test_resolvconf_is_taken_when_it_is_there_and_the_file_is_not_resolveds(
    machine: Machine,
) -> None:
    machine.install("resolvconf", "resolvectl")
    assert machine.find() == "resolvconf"


def test_a_resolvconf_that_is_resolvectl_is_resolved(machine: Machine) -> None:
    machine.install("resolvectl")
    link = machine.root / "resolvconf"
    link.symlink_to(machine.root / "resolvectl")
    machine.installed["resolvconf"] = str(link)
    machine.resolv_conf.write_text("nameserver 192.0.2.1\n")
    assert machine.find() == "resolved"


def test_debians_resolvconf_counts_when_the_file_is_its_own(machine: Machine) -> None:
    machine.install("resolvconf", "list-records")
    machine.resolv_conf.write_text("nameserver 192.0.2.1\n")
    with pytest.raises(NoResolverError, match="resolvconf does not write"):
        machine.find()
    machine.resolv_conf.unlink()
    machine.link("debian.conf")
    assert machine.find() == "resolvconf"


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda machine: machine.install("resolvectl"), "nobody takes name servers"),
        (lambda _machine: None, "nobody takes name servers"),
        (lambda machine: machine.link("run/stub-resolv.conf"), "there is no resolvectl"),
    ],
)
def test_without_either_it_is_said_what_to_do(
    machine: Machine, prepare: Callable[[Machine], None], reason: str
) -> None:
    prepare(machine)
    with pytest.raises(NoResolverError, match=reason):
        machine.find()


def test_a_resolver_is_known_by_its_word() -> None:
    for kind in (Resolvconf, Resolved):
        assert isinstance(resolver_named(kind.name), kind)
    with pytest.raises(ValueError, match="expected resolvconf or resolved"):
        resolver_named("systemd")
