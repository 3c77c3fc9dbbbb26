"""wg-dynamic-quick with the real wg-quick, client and server: up, lease, save, down, as before."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.netns.daemons import POOL4, Server, snapshot
from tools.demo import programs_in
from tools.netlab import LISTEN_PORT, Host, Keys, Lab, PeerConfig, generate_keys, wait_until
from tools.star import Member

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

    def quick(
        self, verb: str, target: str = "wg0", **more: str
    ) -> "subprocess.CompletedProcess[str]":
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
        return (
            {path.name for path in top.glob("*/*") if path.suffix != ".lock"}
            if top.exists()
            else set()
        )

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
    wait_until(lambda: not programs_in(host), what=f"the end of {programs_in(host)}")


def hosts(laptop: Laptop) -> set[str]:
    """What the hub lets the laptop use."""
    return laptop.hub.interface.allowed_ips()[laptop.keys.public]


@pytest.mark.guest
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


@pytest.mark.usefixtures("server")
def test_saving_keeps_the_word_and_leaves_out_what_is_leased(laptop: Laptop) -> None:
    host = laptop.host
    other = generate_keys()
    path = laptop.write(
        laptop.configuration(
            "fe80::/128",
            "SaveConfig = true",
            "ListenPort = 4711",
            "MTU = 1400",
            "PostUp = ip -o address show dev %i dynamic >/run/post-up && true & wait",
            "PreDown = ip -o address show dev %i dynamic >/run/pre-down",
            "PostDown = cp /etc/wireguard/%i.conf /run/post-down",
            address="AUTO, fe80::1/128\nAddress = 192.0.2.7/24",
        )
    )
    path.chmod(0o640)
    host.run(["chown", "7:8", f"{ETC}/wg0.conf"])
    laptop.quick("up")
    leased = laptop.leased()
    assert POOL4 in " ".join(*laptop_allowed(laptop))  # the client has widened the allowed IPs
    for address in leased.values():  # the user's PostUp sees what is leased
        assert address in laptop.path("/run/post-up").read_text()
    host.run(["wg", "set", "wg0", "peer", other.public, "allowed-ips", "192.0.2.8/32"])
    host.ip("address add 192.0.2.9/24 dev wg0")
    hooks = [line for line in path.read_text().splitlines() if line.startswith(("Post", "Pre"))]

    laptop.quick("save")
    check_saved(laptop, path, hooks, other.public)
    assert laptop.leased() == leased
    first = path.read_text()
    host.run(["wg", "set", "wg0", "peer", other.public, "persistent-keepalive", "25"])
    laptop.quick("down")
    check_saved(laptop, path, hooks, other.public)
    again_saved = path.read_text().replace("PersistentKeepalive = 25\n", "")
    assert sections(again_saved) == sections(first)
    assert laptop.path("/run/post-down").read_text() == path.read_text()
    for address in leased.values():  # the user's PreDown still sees it
        assert address in laptop.path("/run/pre-down").read_text()
    again = laptop.quick("up")
    assert "wg0: leased" in again.stdout + again.stderr
    assert laptop.leased() == leased
    laptop.quick("down")
    check_saved(laptop, path, hooks, other.public)


def sections(text: str) -> list[str]:
    """Those of a file, in one order: wireguard-go gives its peers in any."""
    return sorted(part.strip() for part in text.split("\n["))


def check_saved(laptop: Laptop, path: Path, hooks: list[str], other: str) -> None:
    text = path.read_text()
    lines = text.splitlines()
    assert lines.count("[Interface]") == 1
    assert [line for line in lines if line.startswith("Address")] == [
        "Address = 192.0.2.7/24",
        "Address = 192.0.2.9/24",
        "Address = fe80::1/128, auto",
    ]
    assert "MTU = 1400" in lines
    assert "ListenPort = 4711" in lines
    assert "SaveConfig = true" in lines
    assert f"PublicKey = {other}" in lines
    assert sorted(line for line in lines if line.startswith("AllowedIPs")) == [
        "AllowedIPs = 192.0.2.8/32",
        "AllowedIPs = fe80::/128",
    ]
    assert [line for line in lines if line.startswith(("Post", "Pre", "Private"))] == [
        *hooks,
        f"PrivateKey = {laptop.keys.private}",
    ]
    assert "wg-dynamic" not in text
    shown = path.stat()
    assert (shown.st_mode & 0o777, shown.st_uid, shown.st_gid) == (0o640, 7, 8)
    assert [each.name for each in laptop.path(ETC).iterdir()] == ["wg0.conf"]


def laptop_allowed(laptop: Laptop) -> list[set[str]]:
    shown = laptop.host.run(["wg", "show", "wg0", "allowed-ips"]).stdout
    return [set(line.split()[1:]) for line in shown.splitlines()]


@pytest.mark.usefixtures("server")
def test_what_fails_leaves_nothing_and_is_passed_on(laptop: Laptop) -> None:
    host = laptop.host
    good = laptop.configuration()
    path = laptop.write(good)
    before = laptop.everything()

    def fails(verb: str, expected: str, status: int = 1, **env: str) -> None:
        done = laptop.try_quick(verb, **env)
        assert done.returncode == status, done.stderr
        assert expected in done.stdout + done.stderr
        assert laptop.everything() == before
        assert laptop.kept() == set()
        no_programs(host)

    path.write_text(laptop.configuration("fe80::/128", "PostUp = echo no >&2; exit 7"))
    fails("up", "leased", 7)  # after ours, and with its status
    path.write_text(good.replace(laptop.keys.private, "nonsense"))
    fails("up", "Key is not the correct length or format")
    path.write_text(good.replace("fe80::/128", "192.0.2.0/24"))
    fails("up", "has fe80::/128 in its allowed IPs", 3)
    path.write_text(good)
    fails("up", "wg-dynamic-client is neither in PATH nor in", PATH=without_client(laptop))
    fails("down", "wg0' is not a WireGuard interface")
    fails("save", "no interface 'wg0'")


@pytest.mark.usefixtures("server")
def test_what_is_kept_while_it_is_up_decides(laptop: Laptop) -> None:
    host = laptop.host
    good = laptop.configuration()
    path = laptop.write(good)
    before = laptop.everything()
    both = [
        host.popen(["wg-dynamic-quick", "up", "wg0"], stdout=subprocess.DEVNULL) for _ in range(2)
    ]
    assert sorted(program.wait(20) for program in both) == [0, 1]
    (loser,) = [program.output() for program in both if program.wait()]
    assert "wg0 is there already: wg-dynamic-quick down wg0 first" in loser
    leased = laptop.leased()
    assert len(leased) == 2
    # Down fails by the user's hook: all stands as it stood, and a second one may try again.
    (made,) = laptop.path(QUICK).glob("*/wg0.conf")
    text = made.read_text()
    made.write_text(text.replace("PreDown", "PreDown = exit 9\nPreDown", 1))
    assert laptop.try_quick("down").returncode == 9
    assert laptop.leased() == leased
    # A file that is not of this wg0 counts for nothing: the user's is taken.
    made.with_name("wg0.ifindex").write_text("999\n")
    laptop.quick("down")
    assert laptop.everything() == before

    laptop.quick("up")
    for kept in made.parent.glob("wg0*"):  # as when /run was emptied under a living interface
        kept.unlink()
    laptop.quick("down")
    assert laptop.everything() == before
    laptop.quick("up")
    path.unlink()
    laptop.quick("down")
    path.touch(mode=0o600)
    path.write_text(good)
    assert laptop.everything() == before
    wait_until(lambda: hosts(laptop) == {"fe80::1/128"}, what="the release")


def without_client(laptop: Laptop) -> str:
    """A PATH that has our script, by itself, and the system's programs."""
    script = laptop.host.run(["sh", "-c", "readlink -f $(command -v wg-dynamic-quick)"]).stdout
    laptop.host.run(["sh", "-c", f"mkdir -p /run/bin; cp {script.strip()} /run/bin"])
    return "/run/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@pytest.mark.usefixtures("server")
def test_a_file_elsewhere_with_table_off_is_saved_and_reloaded(laptop: Laptop) -> None:
    before = laptop.everything()
    path = laptop.path("/run/some where/wg0.conf")
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o644)
    path.write_text(laptop.configuration("fe80::/128", "Table = off").replace("\n", "\r\n"))
    done = laptop.quick("up", "/run/some where/wg0.conf")
    assert "world accessible" not in done.stderr  # its directory is not
    assert laptop.host.ping(HUB6, source=laptop.leased()["inet6"])
    laptop.quick("save", "/run/some where/wg0.conf")
    assert "Address = fe80::1/128, auto" in path.read_text().splitlines()
    allowed = laptop_allowed(laptop)
    assert len(allowed[0]) == 3
    path.write_text(path.read_text() + "PersistentKeepalive = 25\n")
    laptop.quick("reload", "/run/some where/wg0.conf")
    assert laptop_allowed(laptop) == allowed
    assert "\t25" in laptop.host.run(["wg", "show", "wg0", "dump"]).stdout
    laptop.quick("down")  # known by its name
    assert laptop.everything() == before


@pytest.mark.guest
def test_two_interfaces_stand_side_by_side(laptop: Laptop, server: Server) -> None:
    """Both have fe80::/128 in their allowed IPs, for which wg-quick makes the same route."""
    hub, host = laptop.hub.host, laptop.host
    host.sysctl(
        ipv6__conf__default__addr_gen_mode=1
    )  # as the kernel's WireGuard: no automatic fe80::/64
    keys = generate_keys()
    wg1 = hub.wireguard("wg1", addrgenmode="none")
    wg1.setconf([PeerConfig(keys.public, ["fe80::1/128"])], listen_port=4711)
    hub.ip(
        "address add fe80::/64 dev wg1 nodad",
        "address add 10.45.0.1/24 dev wg1",
        "link set dev wg1 up",
    )
    database = server.database.with_name("second.sqlite")
    second = Server(Member(hub, wg1, "fe80::"), database, "--pool", "10.45.0.0/24")
    second.start()
    laptop.write(laptop.configuration())
    peer = PeerConfig(wg1.keys.public, ["198.51.100.0/24", "fe80::/128"], f"{hub.address}:4711")
    interface = f"[Interface]\nPrivateKey = {keys.private}\nAddress = fe80::1/128"
    stock = "\n".join([interface, *peer.lines(), ""])
    laptop.write(stock.replace("/128", "/128, auto", 1), "wg1")
    before = laptop.everything()
    laptop.quick("up")
    assert "fe80:: dev wg0" in laptop.host.run(["ip", "-6", "route"]).stdout
    # What stock wg-quick says:
    laptop.path("/run/stock").mkdir()
    laptop.path("/run/stock/wg1.conf").write_text(stock)
    done = host.run(["wg-quick", "up", "/run/stock/wg1.conf"], check=False)
    assert done.returncode != 0
    assert "File exists" in done.stderr
    laptop.quick("up", "wg1")
    assert len(laptop.leased("wg0")) == 2
    assert host.ping("10.45.0.1", source=laptop.leased("wg1")["inet"])
    assert host.ping(HUB4, source=laptop.leased("wg0")["inet"])
    (allowed,) = host.run(["wg", "show", "wg1", "allowed-ips"]).stdout.splitlines()
    assert set(allowed.split()[1:]) == {"198.51.100.0/24", "fe80::/128", "10.45.0.0/24"}
    laptop.quick("save", "wg1")
    assert (
        "AllowedIPs = 198.51.100.0/24, fe80::/128\n" in laptop.path(f"{ETC}/wg1.conf").read_text()
    )
    laptop.quick("down", "wg0")
    assert host.ping("10.45.0.1", source=laptop.leased("wg1")["inet"])
    laptop.quick("down", "wg1")
    assert laptop.everything() == before
