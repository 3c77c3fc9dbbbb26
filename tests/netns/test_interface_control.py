"""The kernel's rtnetlink keeps the contract, and ip(8) and pyroute2 agree with what we read."""

import json
import select
import threading
from collections.abc import Callable, Iterator

import pytest
from pyroute2 import IPRoute

from tests.contract.interface_control import HostUnderTest, InterfaceControlContract
from tools.netlab import Host, LabError, wait_until
from wg_dynamic.address import format_address, parse_address, parse_prefix
from wg_dynamic.netlink.control import (
    FOREVER,
    Address,
    EventSource,
    InterfaceControl,
    LinkEvent,
    Overrun,
    Route,
    Rule,
)
from wg_dynamic.netlink.errors import NetlinkError
from wg_dynamic.netlink.rtnetlink import RtnetlinkControl

pytestmark = pytest.mark.kernel


class KernelHost:
    """A host with two pairs of links, of which it has both ends."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.host.ip(
            "link add one mtu 1500 type veth peer name far1",
            "link add two mtu 1500 type veth peer name far2",
            *(f"link set {name} addrgenmode none" for name in ("one", "two", "far1", "far2")),
            *(f"link set {name} up" for name in ("one", "two", "far1", "far2")),
        )
        with self.host.netns():
            self.control: InterfaceControl = RtnetlinkControl()

    def set_up(self, name: str, *, up: bool) -> None:
        self.host.ip(f"link set {name} {'up' if up else 'down'}")

    def delete(self, name: str) -> None:
        self.host.ip(f"link delete {name}")

    def remove_rules(self, priority: int) -> None:
        command = ["ip", "rule", "delete", "priority", str(priority)]
        while self.host.run(command, check=False).returncode == 0:
            pass

    def wait(self, condition: Callable[[], bool]) -> None:
        wait_until(condition, what="the state that the test waits for")

    def wait_readable(self, events: EventSource) -> None:
        if not select.select([events], [], [], 5.0)[0]:
            msg = "no event within 5 s"
            raise LabError(msg)

    def ip_json(self, *arguments: str) -> list[dict[str, object]]:
        done = self.host.run(["ip", "-json", "-details", *arguments])
        found: list[dict[str, object]] = json.loads(done.stdout or "[]")
        return found


@pytest.fixture
def host(shared_host: Host) -> Iterator[KernelHost]:
    made = KernelHost(shared_host)
    # The control's sockets are of the host's namespace for good; events() opens one more.
    with made.host.netns():
        yield made
    made.control.close()
    links = "".join(f"link delete {name}\n" for name in ("one", "two", "bridge0"))
    shared_host.run(["ip", "-force", "-batch", "-"], input=links, check=False)


class TestRtnetlinkControl(InterfaceControlContract):
    @pytest.fixture
    def host(self, host: KernelHost) -> HostUnderTest:
        return host


def test_ip_and_pyroute2_read_the_addresses_that_were_set(host: KernelHost) -> None:
    one = host.control.link("one")
    for text, valid, preferred in [
        ("10.0.0.1/32", 600, 300),
        ("10.0.0.2/24", FOREVER, FOREVER),
        ("fd00::1/128", 600, 300),
        ("fd00::2/64", FOREVER, 0),
    ]:
        host.control.set_address(Address(one.ifindex, parse_prefix(text), valid, preferred))
    (shown,) = host.ip_json("address", "show", "dev", "one")
    infos = shown["addr_info"]
    assert isinstance(infos, list)
    by_ip = {
        f"{i['local']}/{i['prefixlen']}": (i["valid_life_time"], i["preferred_life_time"])
        for i in infos
    }
    by_us = {
        str(a.prefix): (a.valid_time, a.preferred_time) for a in host.control.addresses(one.ifindex)
    }
    assert by_ip.keys() == by_us.keys()
    for text, times in by_ip.items():
        for theirs, mine in zip(times, by_us[text], strict=True):
            assert 0 <= mine - theirs <= 1, text
    assert all(i.get("noprefixroute") for i in infos)
    assert all(i.get("nodad") for i in infos if i["family"] == "inet6")
    with IPRoute() as oracle:
        by_oracle = {
            f"{m.get('IFA_LOCAL') or m.get('IFA_ADDRESS')}/{m['prefixlen']}"
            for m in oracle.get_addr(index=one.ifindex)
        }
    assert by_oracle == set(by_us)


def test_addresses_of_both_ends_of_a_link_are_told_apart(host: KernelHost) -> None:
    host.host.ip(
        "address add 10.0.0.1 peer 10.0.0.2/32 dev one",
        "address add fd00::1 peer fd00::2/128 dev one",
    )
    one = host.control.link("one")
    found = {str(a.prefix) for a in host.control.addresses(one.ifindex)}
    assert found == {"10.0.0.1/32", "fd00::1/128"}
    assert not host.control.remove_address(one.ifindex, parse_prefix("10.0.0.1/32"))


def test_ip_and_pyroute2_read_the_routes_that_were_set(host: KernelHost) -> None:
    one, two = host.control.link("one"), host.control.link("two")
    host.control.set_address(Address(one.ifindex, parse_prefix("10.0.0.1/32")))
    host.control.add_route(
        Route(parse_prefix("10.9.0.0/16"), one.ifindex, preferred_source=parse_address("10.0.0.1"))
    )
    host.control.add_route(Route(parse_prefix("fe80::/128"), one.ifindex))
    host.control.add_route(Route(parse_prefix("fe80::/128"), two.ifindex), append=True)
    host.control.add_route(
        Route(parse_prefix("fd09::/48"), one.ifindex, table=1000, metric=5, expires_time=600)
    )
    host.host.ip(
        "route add 10.8.0.0/16 via 10.9.9.9 dev one onlink proto static metric 7",
        # IPv6, for its multipath routes are in every kernel
        "route add fd07::/48 nexthop via fe80::9 dev one nexthop via fe80::9 dev two",
        "route add fd06::/48 nexthop via fe80::9 dev one nexthop via fe80::8 dev one",
        "route add 10.5.0.0/16 via inet6 fe80::9 dev one",
        "route add blackhole 10.4.0.0/16",
        "route add fd08::/48 via fe80::9 dev one",
    )
    routes = {(str(r.prefix), r.ifindex, r.table): r for r in host.control.routes()}
    assert routes["10.8.0.0/16", one.ifindex, 254].gateway == parse_address("10.9.9.9")
    assert routes["10.8.0.0/16", one.ifindex, 254].metric == 7
    assert routes["fd07::/48", 0, 254].protocol == 3
    assert routes["fd06::/48", one.ifindex, 254].protocol == 3
    assert routes["10.5.0.0/16", one.ifindex, 254].gateway == parse_address("fe80::9")
    assert routes["10.4.0.0/16", 0, 254].kind == 6
    assert routes["fd08::/48", one.ifindex, 254].gateway == parse_address("fe80::9")
    assert routes["fd09::/48", one.ifindex, 1000].expires_time in (599, 600)
    shown = host.ip_json("-4", "route", "show", "table", "all")
    shown += host.ip_json("-6", "route", "show", "table", "all")
    assert len(shown) == len(host.control.routes())
    with IPRoute() as oracle:
        by_oracle = {
            (f"{m.get('RTA_DST') or unspecified(m)}/{m['dst_len']}", m.get("RTA_TABLE"))
            for family in (2, 10)
            for m in oracle.get_routes(family=family)
        }
    assert by_oracle == {(str(r.prefix), r.table) for r in routes.values()}
    of_one = {str(r.prefix) for r in host.control.routes(one.ifindex)}
    assert {"10.9.0.0/16", "fd07::/48", "fd06::/48", "fd09::/48"} <= of_one
    assert "10.4.0.0/16" not in of_one


def unspecified(message: dict[str, int]) -> str:
    return format_address(bytes(4 if message["family"] == 2 else 16))


def test_a_route_out_of_two_interfaces_counts_for_both(host: KernelHost) -> None:
    host.host.ip("route add fd07::/48 nexthop via fe80::9 dev one nexthop via fe80::9 dev two")
    for name in ("one", "two"):
        routes = host.control.routes(host.control.link(name).ifindex)
        assert parse_prefix("fd07::/48") in {route.prefix for route in routes}


def test_ip_reads_the_rules_that_were_set_and_we_those_of_ip(host: KernelHost) -> None:
    control = host.control
    for ipv4 in (True, False):
        control.add_rule(Rule(ipv4, 1001, 51820, fwmark=0xCA6C, inverted=True))
        control.add_rule(Rule(ipv4, 1000, 254, suppress_prefix_length=0))
    host.host.ip(
        "rule add from 10.0.0.0/8 table 100 priority 900",
        "rule add iif one table 101 priority 901",
        "rule add fwmark 0x10/0xf0 table 102 priority 902",
        "rule add blackhole priority 903",
        "rule add to 10.9.0.0/16 table 104 priority 904 suppress_ifgroup 3",
        "rule add fwmark 0x10 table 1105 priority 905 protocol static",
        "rule add table main priority 906 suppress_ifgroup 3",
        "rule add uidrange 0-99 table 107 priority 907",
    )
    shown = host.host.run(["ip", "-4", "rule"]).stdout
    assert "1000:\tfrom all lookup main suppress_prefixlength 0" in shown
    assert "1001:\tnot from all fwmark 0xca6c lookup 51820" in shown
    assert "from all fwmark 0xca6c" in host.host.run(["ip", "-6", "rule"]).stdout
    rules = {rule.priority: rule for rule in control.rules() if rule.ipv4}
    by_ip = [int(line.partition(":")[0]) for line in shown.splitlines()]
    assert by_ip == list(rules)
    assert [n for n, rule in rules.items() if rule.other] == [900, 901, 902, 903, 904, 906, 907]
    assert rules[905] == Rule(True, 905, 1105, fwmark=0x10, protocol=4)
    assert rules[32766] == Rule(True, 32766, 254, protocol=2)
    with IPRoute() as oracle:
        by_oracle = [m.get("FRA_PRIORITY") or 0 for m in oracle.get_rules(family=2)]
    assert by_oracle == by_ip
    for ipv4 in (True, False):
        assert control.remove_rule(Rule(ipv4, 1001, 51820, fwmark=0xCA6C, inverted=True))
        assert control.remove_rule(Rule(ipv4, 1000, 254, suppress_prefix_length=0))
    for priority in range(900, 908):
        host.remove_rules(priority)


def test_the_kind_of_a_link_is_the_kernels_word(host: KernelHost) -> None:
    assert host.control.link("one").kind == "veth"
    assert host.control.link("lo").kind == ""


def test_a_port_that_leaves_a_bridge_is_no_link_that_is_gone(host: KernelHost) -> None:
    events = host.control.events()
    host.host.ip("link add bridge0 type bridge", "link set one master bridge0")
    host.host.ip("link set one nomaster")
    told = [event for event in events.read() if isinstance(event, LinkEvent)]
    assert any(event.link.name == "one" for event in told)
    assert not any(event.gone for event in told)
    events.close()


def test_a_refusal_of_the_kernel_says_what_it_minded(host: KernelHost) -> None:
    """The extended ack is part of the message."""
    host.host.ip("link set one down")
    route = Route(parse_prefix("10.9.0.0/24"), host.control.link("one").ifindex)
    with pytest.raises(NetlinkError, match=r"10\.9\.0\.0/24.*Network is down \(.*not up.*\)"):
        host.control.add_route(route)


def test_lost_events_are_told_as_an_overrun_and_reading_goes_on(host: KernelHost) -> None:
    events = host.control.events()
    lines = [f"address add 10.{n >> 8}.{n & 255}.1/32 dev one" for n in range(3000)]
    host.host.ip(*lines)
    told = events.read()
    while told and not isinstance(told[-1], Overrun):
        told = events.read()
    assert isinstance(told[-1], Overrun)
    assert events.read() == []
    host.host.ip("link set one mtu 1400")
    assert any(isinstance(event, LinkEvent) for event in events.read())
    assert len(host.control.addresses(host.control.link("one").ifindex)) == 3000
    events.close()


def test_without_cap_net_admin_reading_works_and_changing_is_a_privilege_error(
    host: KernelHost,
) -> None:
    program = """
from wg_dynamic.address import parse_prefix
from wg_dynamic.errors import PrivilegeError
from wg_dynamic.netlink.control import Address
from wg_dynamic.netlink.errors import NetlinkError
from wg_dynamic.netlink.rtnetlink import RtnetlinkControl
control = RtnetlinkControl()
one = control.link("one")
events = control.events()
try:
    control.set_address(Address(one.ifindex, parse_prefix("10.0.0.1/32")))
except PrivilegeError as error:
    print(error)
"""
    command = ["setpriv", "--bounding-set=-net_admin", *host.host.python("-c", program)]
    done = host.host.run(command)
    assert "set address 10.0.0.1/32" in done.stdout
    assert "CAP_NET_ADMIN" in done.stdout


def test_dumps_bear_changes_by_others_at_the_same_time(host: KernelHost) -> None:
    one = host.control.link("one")
    host.host.ip(*(f"address add 10.1.{n >> 8}.{n & 255}/32 dev one" for n in range(600)))
    stop = threading.Event()

    def change() -> None:
        with host.host.netns(), IPRoute() as other:
            while not stop.is_set():
                other.addr("add", index=one.ifindex, address="10.2.0.1", prefixlen=32)
                other.addr("del", index=one.ifindex, address="10.2.0.1", prefixlen=32)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(8):
            found = {str(a.prefix) for a in host.control.addresses(one.ifindex)}
            assert len(found - {"10.2.0.1/32"}) == 600
    finally:
        stop.set()
        thread.join(10)
