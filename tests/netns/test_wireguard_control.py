"""Real WireGuard keeps the contract, by both backends, and wg(8) and pyroute2 agree with us.

WG_DYNAMIC_TEST_BACKEND chooses as for the lab: `kernel`, `wireguard-go`, or both where the kernel
has WireGuard.
"""

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from typing import Final, Literal

import pytest
from pyroute2 import WireGuard

from tests.contract.wireguard_control import (
    ALICE,
    BOB,
    CAROL,
    WireGuardControlContract,
    WireGuardUnderTest,
    a_peer,
    adding,
    read_allowed_ips,
    removing,
)
from tools.netlab import Host, Lab, PeerConfig, generate_keys
from wg_dynamic.address import format_address, parse_prefix
from wg_dynamic.netlink.errors import NetlinkError
from wg_dynamic.netlink.rtnetlink import RtnetlinkControl
from wg_dynamic.netlink.socket import NETLINK_GENERIC, NetlinkSocket
from wg_dynamic.wireguard.backend import open_control
from wg_dynamic.wireguard.control import NotWireGuardError, WireGuardControl, WireGuardError
from wg_dynamic.wireguard.device import Endpoint, Peer
from wg_dynamic.wireguard.genetlink import GenetlinkControl
from wg_dynamic.wireguard.key import format_key, parse_key
from wg_dynamic.wireguard.uapi import UapiControl

pytestmark = pytest.mark.kernel

Backend = Literal["kernel", "wireguard-go"]

SOCKETS: Final = "/run/wireguard"


def backends() -> list[Backend]:
    """What can be tested here; a machine without WireGuard in its kernel is no failure."""
    chosen = os.environ.get("WG_DYNAMIC_TEST_BACKEND", "auto")
    if chosen == "kernel":
        return ["kernel"]
    if chosen == "wireguard-go" or not kernel_has_wireguard():
        return ["wireguard-go"]
    return ["wireguard-go", "kernel"]


def kernel_has_wireguard() -> bool:
    command = ["unshare", "--net", "ip", "link", "add", "dev", "wg0", "type", "wireguard"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture(params=backends())
def backend(request: pytest.FixtureRequest) -> Backend:
    chosen: Backend = request.param
    return chosen


class RealWireGuard:
    """An interface in a host, with wg(8) as the administrator."""

    def __init__(self, host: Host, backend: Backend) -> None:
        self.host = host
        self.backend = backend
        self.interface = self.host.wireguard("wg0", backend)
        self.interface.setconf()
        self.interface.up()
        self.control: WireGuardControl = self.open()

    def open(self) -> WireGuardControl:
        with self.host.netns():
            interfaces = RtnetlinkControl()
            try:
                return open_control(interfaces.link("wg0"), self.host.path(SOCKETS))
            finally:
                interfaces.close()

    def put_peer(self, peer: Peer) -> None:
        command = ["wg", "set", "wg0", "peer", format_key(peer.public_key)]
        command += ["allowed-ips", ",".join(map(str, peer.allowed_ips))]
        if peer.endpoint is not None:
            address = format_address(peer.endpoint.packed)
            address = f"[{address}]" if ":" in address else address
            command += ["endpoint", f"{address}:{peer.endpoint.port}"]
        command += ["persistent-keepalive", str(peer.persistent_keepalive)]
        self.host.run(command)

    def remove_peer(self, public_key: bytes) -> None:
        self.interface.remove_peer(format_key(public_key))

    def allowed_ips(self) -> dict[bytes, set[str]]:
        return {parse_key(key): found for key, found in self.interface.allowed_ips().items()}

    def delete(self) -> None:
        self.interface.delete()

    def close(self) -> None:
        """Leave the host as it was."""
        self.control.close()
        self.host.ip("link delete wg0", check=False)
        if self.interface.program is not None:
            self.interface.program.wait()


@pytest.fixture
def wireguard(shared_host: Host, backend: Backend) -> Iterator[RealWireGuard]:
    made = RealWireGuard(shared_host, backend)
    yield made
    made.close()


class TestRealWireGuard(WireGuardControlContract):
    @pytest.fixture
    def wireguard(self, wireguard: RealWireGuard) -> WireGuardUnderTest:
        return wireguard


def test_the_backend_is_chosen_by_the_kind_of_the_link(wireguard: RealWireGuard) -> None:
    expected = GenetlinkControl if wireguard.backend == "kernel" else UapiControl
    assert isinstance(wireguard.control, expected)


def test_the_device_reads_as_wg_shows_it(wireguard: RealWireGuard) -> None:
    wireguard.host.run(["wg", "set", "wg0", "listen-port", "5555", "fwmark", "0x1234"])
    wireguard.put_peer(Peer(ALICE, (), Endpoint(bytes([127, 0, 0, 1]), 9), 0.0, 25))
    wireguard.put_peer(a_peer(BOB, "10.0.0.0/24", "fd00::/64"))
    device = wireguard.control.device()
    shown = wireguard.host.run(["wg", "show", "wg0", "dump"]).stdout.splitlines()
    interface, *peers = [line.split("\t") for line in shown]
    assert (device.listen_port, device.fwmark) == (int(interface[2]), int(interface[3], 16))
    if wireguard.backend == "kernel":
        assert device.public_key == parse_key(interface[1])
    else:
        assert device.public_key is None
    by_wg = {
        parse_key(key): (endpoint, set(allowed.split(",")) - {"(none)"}, keepalive)
        for key, _preshared, endpoint, allowed, _handshake, _rx, _tx, keepalive in peers
    }
    by_us = {
        peer.public_key: (
            f"127.0.0.1:{peer.endpoint.port}" if peer.endpoint else "(none)",
            {str(prefix) for prefix in peer.allowed_ips},
            str(peer.persistent_keepalive or "off"),
        )
        for peer in device.peers
    }
    assert by_us == by_wg


def test_a_handshake_is_seen_in_time_and_endpoint(lab: Lab, backend: Backend) -> None:
    here = RealWireGuard(lab.host("here"), backend)
    there = lab.host("there")
    far = there.wireguard("wg0", backend)
    far.setconf()
    here.put_peer(
        a_peer(parse_key(far.keys.public), "10.0.0.2/32"),
    )
    command = ["wg", "set", "wg0", "peer", here.interface.keys.public, "allowed-ips", "10.0.0.1/32"]
    there.run([*command, "endpoint", f"{here.host.address}:51820"])
    here.host.ip("address add 10.0.0.1/24 dev wg0")
    there.ip("address add 10.0.0.2/24 dev wg0", "link set wg0 up")
    assert there.ping("10.0.0.1")
    (peer,) = here.control.device().peers
    shown = here.host.run(["wg", "show", "wg0", "latest-handshakes"]).stdout.split()
    assert int(peer.latest_handshake) == int(shown[1]) > 0
    assert peer.endpoint is not None
    assert format_address(peer.endpoint.packed) == there.address
    assert peer.endpoint.port == 51820
    here.control.close()


def test_pyroute2_reads_the_allowed_ips_that_were_set(lab: Lab, backend: Backend) -> None:
    if backend != "kernel":
        return  # pyroute2 speaks to the kernel alone
    wireguard = RealWireGuard(lab.host("host"), backend)
    for public_key in (ALICE, BOB):
        wireguard.put_peer(a_peer(public_key))
    changes = adding(ALICE, "10.0.0.1/32", "fd00::/64") + adding(BOB, "10.0.0.2/32")
    wireguard.control.change_allowed_ips(changes)
    found: dict[bytes, set[str]] = {}
    with wireguard.host.netns(), WireGuard() as oracle:
        for message in oracle.info("wg0"):
            for peer in message.get("WGDEVICE_A_PEERS") or ():
                public_key = parse_key(peer.get("WGPEER_A_PUBLIC_KEY").decode())
                allowed = {item["addr"] for item in peer.get("WGPEER_A_ALLOWEDIPS") or ()}
                found.setdefault(public_key, set()).update(allowed)
    assert found == read_allowed_ips(wireguard.control)
    wireguard.control.close()


def test_a_private_or_preshared_key_is_nowhere_in_what_was_read(wireguard: RealWireGuard) -> None:
    secret = generate_keys().private
    command = ["wg", "set", "wg0", "peer", format_key(ALICE), "preshared-key", "/dev/stdin"]
    wireguard.host.run(command, input=secret)
    secrets = [parse_key(key) for key in (secret, wireguard.interface.keys.private)]
    read = repr(wireguard.control.device())
    for key in secrets:
        assert repr(key)[2:-1] not in read
        assert key.hex() not in read


def test_wg_shows_the_peer_that_was_made_and_its_preshared_key(wireguard: RealWireGuard) -> None:
    preshared = generate_keys().private  # any 32 bytes
    endpoint = Endpoint(bytes([192, 0, 2, 9]), 4000)
    peer = Peer(ALICE, (parse_prefix("fe80::7/128"),), endpoint, persistent_keepalive=21)
    wireguard.control.add_peer(peer, parse_key(preshared))
    shown = wireguard.host.run(["wg", "show", "wg0", "dump"]).stdout.splitlines()[1].split("\t")
    assert shown[:4] == [format_key(ALICE), preshared, "192.0.2.9:4000", "fe80::7/128"]
    assert shown[7] == "21"
    wireguard.control.add_peer(Peer(ALICE))
    again = wireguard.host.run(["wg", "show", "wg0", "dump"]).stdout.splitlines()[1].split("\t")
    assert again[:4] == shown[:4]


def test_no_peer_is_left_behind_by_removals(wireguard: RealWireGuard) -> None:
    for number, public_key in enumerate((ALICE, BOB, CAROL)):
        wireguard.put_peer(a_peer(public_key, f"10.0.{number}.1/32"))
    for _ in range(3):
        wireguard.control.change_allowed_ips(
            removing(ALICE, "10.0.0.1/32") + adding(BOB, "10.0.0.1/32")
        )
        wireguard.control.change_allowed_ips(
            removing(BOB, "10.0.0.1/32") + adding(ALICE, "10.0.0.1/32")
        )
    assert set(wireguard.allowed_ips()) == {ALICE, BOB, CAROL}
    assert read_allowed_ips(wireguard.control)[ALICE] == {"10.0.0.1/32"}


def test_other_allowed_ips_are_there_all_the_time_that_one_comes_and_goes(
    wireguard: RealWireGuard,
) -> None:
    wireguard.put_peer(a_peer(ALICE, "fe80::1/128"))
    watcher = wireguard.open()
    stop = threading.Event()
    missing: list[object] = []

    def watch() -> None:
        while not stop.is_set():
            found = read_allowed_ips(watcher)
            if "fe80::1/128" not in found.get(ALICE, ()):
                missing.append(found)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        for _ in range(60):
            wireguard.control.change_allowed_ips(adding(ALICE, "10.0.0.1/32"))
            wireguard.control.change_allowed_ips(removing(ALICE, "10.0.0.1/32"))
    finally:
        stop.set()
        thread.join(10)
        watcher.close()
    assert missing == []


def test_ten_thousand_peers_are_read_and_changed_as_wg_shows_them(
    wireguard: RealWireGuard,
) -> None:
    """A dump of hundreds of parts; one peer's allowed IPs go on in the parts that follow."""
    keys = [b"\x21" + number.to_bytes(4, "big") + bytes(26) + b"\x11" for number in range(10_000)]
    texts = {
        key: [f"fe80::{number:x}/128", f"10.{number >> 8}.{number & 255}.1/32"]
        for number, key in enumerate(keys)
    }
    texts[keys[5000]] += [f"2001:db8::{number:x}/128" for number in range(1500)]
    wireguard.interface.add_peers(
        *(PeerConfig(format_key(key), allowed) for key, allowed in texts.items())
    )
    few = keys[::20]  # in messages of hundreds of peers
    changes = [
        change for key in few for change in adding(key, texts[key][0].replace(":", ":9:", 1))
    ]
    wireguard.control.change_allowed_ips(changes)
    for key in few:
        texts[key].append(texts[key][0].replace(":", ":9:", 1))
    expected = {key: {str(parse_prefix(text)) for text in found} for key, found in texts.items()}
    assert read_allowed_ips(wireguard.control) == expected
    assert wireguard.allowed_ips() == expected


def test_without_cap_net_admin_it_is_a_privilege_error(wireguard: RealWireGuard) -> None:
    wireguard.put_peer(a_peer(ALICE))
    program = """
import os
from pathlib import Path
from wg_dynamic.errors import PrivilegeError
from wg_dynamic.netlink.rtnetlink import RtnetlinkControl
from wg_dynamic.netlink.socket import NETLINK_GENERIC, NetlinkSocket
from wg_dynamic.wireguard.backend import open_control
link = RtnetlinkControl().link("wg0")
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)  # with all imported: the checkout may be root's alone
for attempt in (lambda control: control.device(), lambda control: control.change_allowed_ips([])):
    try:
        attempt(open_control(link, Path("/run/wireguard")))
    except PrivilegeError as error:
        print(error)
        break
"""
    done = wireguard.host.run(wireguard.host.python("-c", program))
    assert "permitted" in done.stdout.lower() or "denied" in done.stdout.lower(), done


def test_a_refusal_of_the_kernel_says_what_it_minded(wireguard: RealWireGuard) -> None:
    """The extended ack is part of the message: the errno alone is the same for everything."""
    if wireguard.backend != "kernel":
        return  # wireguard-go answers an errno and nothing else
    with wireguard.host.netns():
        sockets = NetlinkSocket(NETLINK_GENERIC)
        control = GenetlinkControl(wireguard.interface.ifindex)
    family = control._family
    name = b"\x05\x00\x02\x00x\0\0\0"  # WGDEVICE_A_IFNAME of one byte that is not a NUL
    with pytest.raises(NetlinkError, match=r"^read it: Invalid argument \(.+\)$"):
        sockets.dump(family, b"\x00\x01\x00\x00" + name, "read it")
    sockets.close()
    control.close()


def test_an_interface_that_is_no_wireguard_is_refused(lab: Lab) -> None:
    host = lab.host("host")
    host.ip("tuntap add dev tun0 mode tun")
    sockets = host.path(SOCKETS)
    with host.netns():
        interfaces = RtnetlinkControl()
        for name, wanted in [("eth0", "kind 'veth'"), ("tun0", "no WireGuard at"), ("lo", "at")]:
            with pytest.raises(NotWireGuardError, match=wanted):
                open_control(interfaces.link(name), sockets)
        interfaces.close()


def test_the_kernel_says_when_an_interface_is_not_its_wireguard(lab: Lab) -> None:
    host = lab.host("host")
    with host.netns():
        ifindex = socket.if_nametoindex("eth0")
        if not kernel_has_wireguard():
            with pytest.raises(WireGuardError, match="knows no WireGuard"):
                GenetlinkControl(ifindex)
            return
        control = GenetlinkControl(ifindex)
    with pytest.raises(NotWireGuardError, match=f"interface {ifindex} is not a WireGuard one"):
        control.device()
    control.close()


def test_a_socket_left_behind_is_not_taken_for_wireguard(lab: Lab) -> None:
    host = lab.host("host")
    host.ip("tuntap add dev tun0 mode tun")
    path = host.path(f"{SOCKETS}/tun0.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    assert path.is_socket()
    with host.netns():
        interfaces = RtnetlinkControl()
        with pytest.raises(NotWireGuardError, match="Connection refused"):
            open_control(interfaces.link("tun0"), path.parent)
        interfaces.close()


def test_a_restarted_wireguard_go_is_found_again(lab: Lab) -> None:
    wireguard = RealWireGuard(lab.host("host"), "wireguard-go")
    assert wireguard.control.device().peers == ()
    wireguard.delete()
    wireguard.interface = wireguard.host.wireguard("wg0", "wireguard-go")
    wireguard.put_peer(a_peer(ALICE, "10.0.0.1/32"))
    assert read_allowed_ips(wireguard.control) == {ALICE: {"10.0.0.1/32"}}
    wireguard.control.close()
