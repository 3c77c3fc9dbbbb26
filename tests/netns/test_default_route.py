"""A default route through the tunnel on a real kernel: packets, rules, nftables, and the undoing.

    world 192.0.2.1, 2001:db8:1::1
      |
----- the underlay: the client's LAN and the hub's way to the Internet -----
  |            |             |
client       neighbour      hub
  `---------- wg0 -----------'
"""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tools.netlab import Host, Lab, Program, wait_until
from tools.star import Member, make_star
from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.helper.default_route import Default, DefaultRoute, undo_default_route
from wg_dynamic.netlink.control import Address, Route
from wg_dynamic.netlink.rtnetlink import RtnetlinkControl
from wg_dynamic.privsep.ledger import Ledger
from wg_dynamic.wireguard.backend import open_control

pytestmark = pytest.mark.guest

WORLD = ("192.0.2.1", "2001:db8:1::1")
LEASED = ("10.44.0.7", "fd00:44::7")
PACKED = tuple(map(parse_address, LEASED))
BOTH = tuple(Default(packed, 600) for packed in PACKED)

TELL = """
import socket
listener = socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True)
print("listening", flush=True)
while True:
    connection, peer = listener.accept()
    connection.sendall(peer[0].removeprefix("::ffff:").encode())
    connection.close()
"""
ASK = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], 80), 5) as connection:
        print(connection.recv(100).decode())
except OSError as error:
    print(error)
"""


class Client:
    """A member of a star with a lease by hand, and its default route."""

    def __init__(self, hub: Host, member: Member, ledger: Path) -> None:
        self.hub = hub
        self.host = member.host
        self.interface = member.interface
        self.path = ledger
        with self.host.netns():
            self.interfaces = RtnetlinkControl()
            self.link = self.interfaces.link("wg0")
            self.wireguard = open_control(self.link, self.host.path("/run/wireguard"))
        for text in LEASED:
            self.interfaces.set_address(Address(self.link.ifindex, parse_prefix(text), 600, 600))

    @contextmanager
    def default_route(self) -> Iterator[DefaultRoute]:
        """As a helper that has just started has it; tools run in the host's namespace."""
        ledger = Ledger(self.path)
        with self.host.netns():
            yield DefaultRoute(self.link, self.interfaces, self.wireguard, ledger)
        ledger.close()

    def set(self) -> None:
        with self.default_route() as default_route:
            assert default_route.apply(PACKED, BOTH) == ""

    def undo(self) -> None:
        with self.default_route() as default_route:
            default_route.undo()
        assert self.path.read_text() == ""

    def ask(self, address: str) -> str:
        """As whom that host sees us."""
        return self.host.run(self.host.python("-c", ASK, address)).stdout.strip()

    def state(self) -> str:
        """All that a default route changes, byte for byte."""
        commands = (
            "ip -4 rule; ip -6 rule; ip -4 route show table all; ip -6 route show table all",
            "nft -s list ruleset; cat /proc/sys/net/ipv4/conf/all/src_valid_mark",
            "wg show wg0 fwmark; wg show wg0 allowed-ips; ip -o address show dev wg0 | cut -c -60",
        )
        text = self.host.run(["sh", "-ec", "\n".join(commands)]).stdout
        return re.sub(r"expires \d+sec", "expires", text)

    def close(self) -> None:
        self.interfaces.close()
        self.wireguard.close()


@pytest.fixture
def client(lab: Lab, tmp_path: Path) -> Iterator[Client]:
    star = make_star(lab, server_allowed_ips=("0.0.0.0/0", "::/0"), addrgenmode="none")
    made = Client(star.hub.host, star.clients[0], tmp_path / "ledger")
    key = made.interface.keys.public
    star.hub.host.run(
        ["wg", "set", "wg0", "peer", key, "allowed-ips", ",".join(("fe80::1", *LEASED))]
    )
    star.hub.host.ip("route add 10.44.0.0/24 dev wg0", "route add fd00:44::/64 dev wg0")
    yield made
    made.close()


def start_telling(host: Host) -> Program:
    program = host.popen(host.python("-c", TELL))
    wait_until(lambda: "listening" in program.output(), what="a listener")
    return program


def test_traffic_goes_through_the_hub_and_comes_back(lab: Lab, client: Client) -> None:
    world, neighbour = lab.hosts("world", "neighbour")
    hub = client.hub
    hub.forward()
    for address in WORLD:
        world.ip(f"address add {address} dev lo")
    world.ip(
        f"route add 10.44.0.0/24 via {hub.address}", f"route add fd00:44::/64 via {hub.address6}"
    )
    for host in (client.host, hub):
        host.ip(f"route add default via {world.address}", f"route add default via {world.address6}")
    neighbour.ip(f"route add {LEASED[0]} via {client.host.address}")
    for host in (world, neighbour):
        start_telling(host)
    client.host.sysctl(ipv4__conf__all__rp_filter=1, ipv4__conf__eth0__rp_filter=1)
    before = client.state()
    by_lan = [client.host.address, client.host.address6]
    assert [client.ask(address) for address in WORLD] == by_lan
    assert neighbour.ping(LEASED[0])  # nothing drops it yet

    client.set()
    assert [client.ask(address) for address in WORLD] == list(LEASED)
    assert client.ask(neighbour.address) == client.host.address
    assert client.ask(neighbour.address6) == client.host.address6
    assert not neighbour.ping(LEASED[0], timeout=1.0)
    assert client.host.ping(LEASED[0])  # from this machine itself
    there = client.state()
    rules = client.host.run(["ip", "-4", "rule"]).stdout
    assert "from all lookup main suppress_prefixlength 0" in rules
    assert "not from all fwmark 0xca6c lookup 51820" in rules

    # What others take away comes back with a renewal.
    client.host.run(["wg", "set", "wg0", "fwmark", "0"])
    client.host.run(["nft", "flush", "ruleset"])
    client.host.run(["ip", "-4", "rule", "delete", "table", "main", "suppress_prefixlength", "0"])
    client.set()
    assert client.state() == there
    client.undo()
    assert client.state() == before
    assert [client.ask(address) for address in WORLD] == by_lan


def killed_after(steps: int, client: Client, work: Callable[[DefaultRoute], object]) -> bool:
    """Do it in a child that is killed before it would make one more change; whether it was."""
    child = os.fork()
    if child == 0:
        left = steps

        def counted(call: Callable[..., object], *arguments: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments)

        for owner, names in (
            (client.interfaces, ("add_rule", "add_route", "remove_rule", "remove_route")),
            (client.wireguard, ("set_fwmark",)),
        ):
            for name in names:
                setattr(owner, name, partial(counted, getattr(owner, name)))
        with client.default_route() as default_route:
            for name in ("_run",):
                setattr(default_route, name, partial(counted_run, counted, default_route._run))
            default_route._firewall._run = default_route._run
            work(default_route)
        os._exit(0)
    _pid, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def counted_run(
    counted: Callable[..., object], run: Callable[..., object], *command: str, text: str = ""
) -> object:
    return counted(partial(run, text=text), *command)


def test_a_kill_at_any_step_leaves_nothing_that_the_next_start_does_not_undo(
    client: Client,
) -> None:
    client.host.run(["nft", "add", "table", "ip", "theirs"])
    client.host.ip("rule add from 10.9.0.0/16 table 100 priority 100")
    before = client.state()
    steps = 0
    while killed_after(steps, client, lambda one: one.apply(PACKED, BOTH)):
        client.undo()
        assert client.state() == before, steps
        steps += 1
    assert steps >= 10
    assert client.state() != before
    steps = 0
    while killed_after(steps, client, lambda one: one.undo()):
        client.undo()
        assert client.state() == before, steps
        client.set()
        steps += 1
    assert steps >= 8
    assert client.state() == before


def test_what_wg_quick_has_made_stays_and_the_lease_is_guarded(lab: Lab, client: Client) -> None:
    """The steps of wg-quick's add_default, as it does them."""
    client.host.run(["wg", "set", "wg0", "fwmark", "51820"])
    client.host.ip(
        "route add 0.0.0.0/0 dev wg0 table 51820",
        "rule add not fwmark 51820 table 51820",
        "rule add table main suppress_prefixlength 0",
    )
    neighbour = lab.host("neighbour")
    neighbour.ip(f"route add {LEASED[0]} via {client.host.address}")
    before = client.state()
    assert neighbour.ping(LEASED[0])
    with client.default_route() as default_route:
        assert default_route.apply(PACKED, BOTH[:1]) == ""
    assert not neighbour.ping(LEASED[0], timeout=1.0)
    ruleset = client.host.run(["nft", "list", "ruleset"]).stdout
    there = client.state()
    assert there.replace(ruleset, "") == before
    client.undo()
    assert client.state() == before


def test_of_an_interface_that_is_gone_the_rest_is_undone(client: Client) -> None:
    other = client.host.wireguard("wg1", client.interface.kind)
    before = client.host.run(["sh", "-c", "ip rule; ip -6 rule; nft list ruleset"]).stdout
    client.set()
    client.interface.delete()
    ledger = Ledger(client.path)
    with client.host.netns():
        undo_default_route(client.link.ifindex, client.interfaces, ledger)
        assert client.interfaces.routes(other.ifindex) == []
        assert not client.interfaces.remove_route(Route(parse_prefix("0.0.0.0/0"), 99, table=51820))
    ledger.close()
    assert client.host.run(["sh", "-c", "ip rule; ip -6 rule; nft list ruleset"]).stdout == before
    assert client.path.read_text() == ""


def test_without_nft_the_reason_is_said_and_nothing_is_changed(client: Client) -> None:
    before = client.state()
    program = f"""
from pathlib import Path
from wg_dynamic.helper.default_route import Default, DefaultRoute
from wg_dynamic.netlink.rtnetlink import RtnetlinkControl
from wg_dynamic.privsep.ledger import Ledger
from wg_dynamic.wireguard.backend import open_control
interfaces = RtnetlinkControl()
link = interfaces.link("wg0")
one = DefaultRoute(link, interfaces, open_control(link), Ledger(Path({str(client.path)!r})))
print(one.apply((), [Default(bytes([10, 44, 0, 7]), 600)]))
"""
    with_none = ["unshare", "--mount", "sh", "-ec"]
    hide = 'mount --bind /dev/null "$(readlink -f "$(command -v nft)")"; exec "$@"'
    done = client.host.run([*with_none, hide, "sh", *client.host.python("-c", program)])
    assert "no nft in /usr/sbin" in done.stdout, done
    assert "install nftables" in done.stdout
    assert client.state() == before
    assert subprocess.run(["nft", "--version"], check=False, capture_output=True).returncode == 0
