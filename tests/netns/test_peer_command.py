"""`wg-dynamic peer` on a real hub, and devices that come online by what it prints."""

import json
import os
import signal
import subprocess
from dataclasses import dataclass

import pytest
import segno

from tests.netns.daemons import POOL4, POOL6
from tools.netlab import LISTEN_PORT, Host, Lab, Program, generate_keys, wait_until
from wg_dynamic.cli.command.keys import encode_key, make_pair
from wg_dynamic.system.tools import ToolResult, run_tool

PRIVATE = ("/etc/wireguard", "/etc/wg-dynamic", "/run", "/var/lib/wg-dynamic")
HUB4 = "10.44.0.1"
CONF = "/etc/wireguard/wg0.conf"
PEERS = "/etc/wg-dynamic/wg0.peers.toml"


@dataclass
class Hub:
    """A machine with wg-quick's wg0 and, as far as a test wants one, a server."""

    host: Host
    typed: str

    def conf(self) -> str:
        return self.host.path(CONF).read_text()

    def peers(self) -> str:
        path = self.host.path(PEERS)
        return path.read_text() if path.exists() else ""

    def live(self) -> dict[str, str]:
        """Allowed IPs by public key, as wg(8) shows them."""
        shown = self.host.run(["wg", "show", "wg0", "allowed-ips"]).stdout
        return dict(line.split("\t") for line in shown.splitlines())

    def everything(self) -> tuple[str, str, dict[str, str]]:
        return self.conf(), self.peers(), self.live()

    def command(self, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
        return self.host.run(["wg-dynamic", *words], check=False, **more)  # type: ignore[arg-type]

    def peer(self, *words: str, **more: str) -> str:
        """What it prints."""
        done = self.command("peer", *words, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *words: str) -> str:
        """Run what is to fail without changing a thing; why it did."""
        before = self.everything()
        done = self.command("peer", *words)
        assert done.returncode == 2, done
        assert self.everything() == before
        assert done.stdout == ""
        return done.stderr

    def serve(self) -> Program:
        command = ["wg-dynamic-server", "wg0", "--foreground", "--pool", POOL4, "--pool", POOL6]
        program = self.host.popen(command)
        program.wait_for_output("serving on")
        return program


def make_hub(lab: Lab, *interface: str) -> Hub:
    host = lab.host("hub", private=PRIVATE)
    lines = [
        "# the administrator's own words",
        "[Interface]",
        f"PrivateKey = {generate_keys().private}",
        f"Address = fe80::/64, {HUB4}/24, fd00:44::1/64",
        f"ListenPort={LISTEN_PORT}  # as in the firewall",
        *interface,
        "",
        "[Peer]",
        f"PublicKey = {generate_keys().public}",
        "AllowedIPs = fe80::77/128",
        "",
    ]
    typed = "\n".join(lines)
    host.path(CONF).write_text(typed)
    host.path(CONF).chmod(0o640)
    host.run(["wg-quick", "up", "wg0"])
    return Hub(host, typed)


@pytest.fixture
def hub(lab: Lab) -> Hub:
    return make_hub(lab)


def online(laptop: Host) -> str:
    """Wait for its leased IPv4 address, ping the hub from it, and return it."""

    def leased() -> str:
        shown = laptop.run(["ip", "-4", "-o", "address", "show", "dev", "wg0"]).stdout.split()
        return shown[3].partition("/")[0] if shown else ""

    wait_until(lambda: bool(leased()), timeout=15, what="a leased address")
    assert laptop.ping(HUB4, source=leased())
    return leased()


@pytest.mark.guest
def test_a_laptop_is_online_by_what_was_printed(lab: Lab, hub: Hub) -> None:
    server = hub.serve()
    laptop = lab.host("laptop", private=PRIVATE)
    printed = hub.peer("add", "laptop", "--endpoint", f"{hub.host.address}:{LISTEN_PORT}")
    laptop.path(CONF).write_text(printed)
    laptop.path(CONF).chmod(0o600)
    laptop.run(["wg-dynamic-quick", "up", "wg0"])
    address = online(laptop)

    (listed,) = [
        one for one in json.loads(hub.peer("list", "--json"))["peers"] if one["name"] == "laptop"
    ]
    assert address in listed["addresses"]
    assert listed["latest_handshake"] > 1_700_000_000
    assert listed["endpoint"].startswith(f"{laptop.address}:")
    (line,) = [line for line in hub.peer("list").splitlines() if "laptop" in line]
    assert address in line
    assert "name=laptop" in server.output()  # it was told before the laptop came
    assert "ago" in line or "now" in line

    server.wait_for_output("working by the new configuration")
    private = printed.split("PrivateKey = ")[1].split("\n")[0]
    assert private not in hub.conf() + hub.peers() + server.output()
    # The hub is made again from its file: the peer is there, and so is its lease.
    hub.host.run(["wg-quick", "down", "wg0"])
    hub.host.run(["wg-quick", "up", "wg0"])
    wait_until(lambda: address in str(hub.live()), timeout=15, what="the lease, in force again")
    assert laptop.ping(HUB4, source=address, timeout=30)

    done = hub.command("peer", "remove", "LAPTOP")
    assert done.returncode == 0
    assert "it has fe80" not in done.stderr
    assert f"{address}/32" in done.stderr
    assert listed["public_key"] not in hub.live()
    assert hub.conf() == hub.typed
    assert "laptop" not in hub.peers()
    assert hub.host.path(CONF).stat().st_mode & 0o777 == 0o640


def test_without_the_word_auto_a_plain_wg_quick_brings_it_online(lab: Lab, hub: Hub) -> None:
    hub.serve()
    laptop = lab.host("laptop", private=PRIVATE)
    keys = generate_keys()
    words = ("--public-key", "-", "--endpoint", hub.host.address, "--no-auto", "--preshared-key")
    printed = hub.peer("add", *words, input=f"{keys.public}\n")
    assert "PrivateKey = " not in printed.replace("# PrivateKey", "")
    typed = printed.replace("[Interface]", f"[Interface]\nPrivateKey = {keys.private}")
    laptop.path(CONF).write_text(typed)
    laptop.run(["wg-quick", "up", "wg0"])
    online(laptop)
    shown = hub.host.run(["wg", "show", "wg0", "preshared-keys"]).stdout
    (preshared,) = [line.split("\t")[1] for line in shown.splitlines() if keys.public in line]
    assert f"PresharedKey = {preshared}\n" in printed
    assert f"PresharedKey = {preshared}\n" in hub.conf()
    # The next life of the interface has it, too.
    hub.host.run(["wg-quick", "down", "wg0"])
    hub.host.run(["wg-quick", "up", "wg0"])
    again = hub.host.run(["wg", "show", "wg0", "preshared-keys"]).stdout
    assert sorted(shown.splitlines()) == sorted(again.splitlines())


def test_a_device_without_wg_dynamic_has_an_address_for_good(lab: Lab, hub: Hub) -> None:
    phone = lab.host("phone", private=PRIVATE)
    words = ("--address", "10.44.0.9", "--allowed-ips", POOL4, "--endpoint", hub.host.address)
    phone.path(CONF).write_text(hub.peer("add", "phone", *words))
    phone.run(["wg-quick", "up", "wg0"])
    assert phone.ping(HUB4, source="10.44.0.9")
    error = hub.refused("add", "tablet", "--address", "10.44.0.9")
    assert "10.44.0.9/32 is an allowed IP of peer phone already" in error


def test_what_is_there_already_is_refused_and_nothing_changes(hub: Hub) -> None:
    keys, other = generate_keys(), generate_keys()
    hub.peer("add", "laptop", "--public-key", keys.public)
    (own,) = hub.host.run(["wg", "show", "wg0", "public-key"]).stdout.split()
    assert "is the name of peer" in hub.refused("add", "Laptop", "--public-key", other.public)
    assert "already, named laptop" in hub.refused("add", "desk", "--public-key", keys.public)
    assert "key of wg0 itself" in hub.refused("add", "hub", "--public-key", own)
    assert "no peer 'nobody'" in hub.refused("remove", "nobody")
    link_local = hub.command("lladdr", other.public).stdout.strip()
    hub.host.run(["wg", "set", "wg0", "peer", keys.public, "allowed-ips", link_local])
    error = hub.refused("add", "desk", "--public-key", other.public)
    assert f"{link_local} is an allowed IP of peer laptop already" in error


def test_files_that_are_broken_are_refused_and_nothing_changes(hub: Hub) -> None:
    hub.peer("add", "laptop")
    path = hub.host.path(PEERS)
    good = path.read_text()
    path.write_text(f"{good}[[peer]\n")
    assert "not understood as TOML" in hub.refused("add", "phone")
    path.write_text(good)
    hub.host.path(CONF).chmod(0o666)
    assert "may be written by others" in hub.refused("add", "phone")
    hub.host.path(CONF).chmod(0o600)
    hub.host.path(CONF).write_text(hub.conf().replace("\nPublicKey", "\n[Peer]\nPublicKey"))
    assert "take it out by hand" in hub.refused("remove", "laptop")


def test_wg_quick_saves_what_it_saves_by_itself(lab: Lab) -> None:
    hub = make_hub(lab, "SaveConfig = true")
    done = hub.command("peer", "add", "laptop")
    assert "says SaveConfig = true" in done.stderr
    assert hub.conf() == hub.typed
    hub.host.run(["wg-quick", "down", "wg0"])
    hub.host.run(["wg-quick", "up", "wg0"])
    listed = json.loads(hub.peer("list", "--json"))["peers"]
    assert [one["on_interface"] for one in listed if one["name"] == "laptop"] == [True]
    hub.peer("remove", "laptop")
    assert "laptop" not in hub.peer("list")


def test_a_command_that_was_killed_while_it_waited_leaves_nothing(hub: Hub) -> None:
    """It is stopped where it prints, which is when all but the last step is done."""
    before = hub.everything()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b" " * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)
    program = hub.host.popen(["wg-dynamic", "peer", "add", "laptop"], stdout=writing)
    wait_until(lambda: hub.live() != before[2], what="the new peer")
    program.send_signal(signal.SIGKILL)
    program.wait()
    os.close(reading)
    os.close(writing)
    assert "being added" in hub.peers()
    done = hub.command("peer", "add", "laptop")
    assert done.returncode == 0, done.stderr
    assert "peer laptop, which an earlier command did not finish, was taken back" in done.stderr
    assert len(hub.live()) == len(before[2]) + 1
    assert hub.conf().count("[Peer]") == 2
    assert "being added" not in hub.peers()
    hub.peer("remove", "laptop")
    assert (hub.conf(), hub.live()) == (before[0], before[2])


def test_without_a_reader_nothing_is_added(hub: Hub) -> None:
    before = hub.everything()
    reading, writing = os.pipe()
    os.close(reading)
    program = hub.host.popen(["wg-dynamic", "peer", "add", "laptop"], stdout=writing)
    os.close(writing)
    assert program.wait() == 1
    conf, peers, live = hub.everything()
    assert (conf, live) == (before[0], before[2])
    assert "laptop" not in peers


def test_the_code_is_what_segno_makes_of_the_configuration(hub: Hub) -> None:
    """The process that draws it is one that has given up root (see tests/unit)."""
    printed = json.loads(hub.peer("add", "phone", "--qr", "--json"))
    bare = [line for line in printed["configuration"].split("\n") if line and line[0] != "#"]
    rows = [list(row) for row in segno.make("\n".join(bare), micro=False).matrix_iter(border=2)]
    lines = printed["qr"].split("\n")[:-1]
    assert [len(line) for line in lines] == [len(rows[0])] * ((len(rows) + 1) // 2)
    for number, row in enumerate(rows):
        dark = [letter in (" ▄", " ▀")[number % 2] for letter in lines[number // 2]]
        assert dark == list(map(bool, row))


@pytest.mark.parametrize(
    ("private", "public"),
    [
        (
            "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
            "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
        ),
        (
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
        ),
    ],
)
def test_wg_makes_the_public_keys_of_rfc_7748_section_6_1(private: str, public: str) -> None:
    def run(*command: str, text: str = "") -> ToolResult:
        if command == ("wg", "genkey"):
            return ToolResult("wg genkey", 0, f"{encode_key(bytes.fromhex(private))}\n", "")
        return run_tool(*command, text=text)

    assert make_pair(run).public == bytes.fromhex(public)
