"""Leases against allowed IPs on a real hub: saved by wg-quick, moved by hand, left by others."""

import contextlib
import shutil
import uuid
from pathlib import Path

from tests.netns.daemons import Server, connect, exchange
from tools.netlab import LISTEN_PORT, Lab, PeerConfig, generate_keys, wait_until
from tools.star import Member, Star, make_star

ANY = "request_ip=2\nid=1\n\n"
RELEASE = "release_ip=2\nid=2\n\n"
STATIC = "10.44.0.250/32"
CONFIGURATION = "/etc/wireguard/wg0.conf"
BOOT_ID = "/proc/sys/kernel/random/boot_id"


def lease(member: Member) -> set[str]:
    """Ask for one address of each family, and get them."""
    with connect(member) as connection:
        reply = exchange(connection, ANY)
    return {f"{reply['ip4']}/32", f"{reply['ip6']}/128"}


def release(member: Member) -> None:
    with connect(member) as connection:
        assert exchange(connection, RELEASE)["errno"] == "0"


def allowed(star: Star, member: Member) -> set[str]:
    return star.hub.interface.allowed_ips()[member.interface.keys.public]


def allow(star: Star, member: Member, *prefixes: str) -> None:
    """Replace the allowed IPs of a peer, as an administrator does."""
    wanted = ",".join([f"{member.link_local}/128", *prefixes])
    public = member.interface.keys.public
    star.hub.host.run(["wg", "set", "wg0", "peer", public, "allowed-ips", wanted])


def configuration(star: Star) -> str:
    """What an administrator has written for the hub: no leases, one static address."""
    one, two = star.clients
    lines = [
        "[Interface]",
        f"PrivateKey = {star.hub.interface.keys.private}",
        f"ListenPort = {LISTEN_PORT}",
        "Address = fe80::/64",
        "SaveConfig = true",
        *PeerConfig(one.interface.keys.public, ["fe80::1/128", STATIC]).lines(),
        *PeerConfig(two.interface.keys.public, ["fe80::2/128"]).lines(),
    ]
    return "\n".join([*lines, ""])


def wg_quick_star(lab: Lab) -> Star:
    """A hub whose wg0 is made by wg-quick, which saves what it finds at `down`."""
    star = make_star(lab, ["one", "two"], private=["/etc/wireguard"])
    star.hub.interface.delete()
    star.hub.host.path(CONFIGURATION).write_text(configuration(star))
    star.hub.host.run(["wg-quick", "up", "wg0"])
    reconnect(star)
    return star


def reconnect(star: Star) -> None:
    """Let the clients begin new sessions: the hub has forgotten the old ones."""
    for member in star.clients:
        hub = PeerConfig(
            star.hub.interface.keys.public, ["fe80::/128"], f"{star.hub.host.address}:{LISTEN_PORT}"
        )
        member.interface.setconf([hub])


def reboot(star: Star, *, runtime: Path) -> None:
    """What a reboot leaves of the hub: its disk."""
    star.hub.host.ip("link delete dev wg0")
    shutil.rmtree(runtime)
    boot_id = star.hub.host.path("/etc/wireguard/boot_id")
    boot_id.write_text(f"{uuid.uuid4()}\n")
    star.hub.host.run(["mount", "--bind", "/etc/wireguard/boot_id", BOOT_ID])
    star.hub.host.run(["wg-quick", "up", "wg0"])
    reconnect(star)


def test_what_wg_quick_saved_is_taken_off_when_its_lease_has_ended(
    lab: Lab, database: Path
) -> None:
    star = wg_quick_star(lab)
    hub, (one, two) = star.hub.host, star.clients
    server = Server(star.hub, database)
    server.start()
    ones, twos = lease(one), lease(two)
    # Down and up: wg-quick saves what is leased, and makes the interface with it.
    hub.run(["wg-quick", "down", "wg0"])
    server.program.wait_for_output("waiting for wg0 to come back")
    saved = hub.path(CONFIGURATION).read_text()
    assert all(address in saved for address in ones | twos)
    hub.run(["wg-quick", "up", "wg0"])
    reconnect(star)
    wait_until(lambda: server.program.output().count("serving on") == 2, what="service")
    assert allowed(star, one) == {"fe80::1/128", STATIC, *ones}
    release(one)
    assert allowed(star, one) == {"fe80::1/128", STATIC}, "ours, though it came from the file"
    # A power cut: the file still has what was leased, and the ledger in /run is gone.
    runtime = server.runtime
    server.kill_both()
    reboot(star, runtime=runtime)
    assert allowed(star, one) == {"fe80::1/128", STATIC, *ones}
    server.start()
    assert allowed(star, one) == {"fe80::1/128", STATIC}
    assert allowed(star, two) == {"fe80::2/128", *twos}
    assert lease(two) == twos
    release(two)
    assert allowed(star, two) == {"fe80::2/128"}
    # What an administrator gives while the interface stands is static from then on.
    allow(star, two, *twos)
    server.stop()
    server.start()
    assert allowed(star, two) == {"fe80::2/128", *twos}
    hub.run(["wg-quick", "save", "wg0"])
    server.stop()
    hub.run(["wg-quick", "down", "wg0"])
    hub.run(["wg-quick", "up", "wg0"])
    server.start()
    assert allowed(star, two) == {"fe80::2/128", *twos}
    assert allowed(star, one) == {"fe80::1/128", STATIC}


def test_allowed_ips_of_another_server_are_adopted_on_request_only(
    lab: Lab, database: Path
) -> None:
    star = make_star(lab, ["one", "two"])
    one, two = star.clients
    allow(star, one, "10.44.0.7/32", "fd00:44::7/128", "192.0.2.7/32")
    allow(star, two, "10.44.0.8/32", "10.44.0.64/26")
    before = star.hub.interface.allowed_ips()
    server = Server(star.hub, database)
    server.start()
    release(one)
    server.stop()
    assert star.hub.interface.allowed_ips() == before
    adopting = Server(star.hub, database, "--adopt")
    adopting.start()
    assert "3 allowed IPs adopted, 0 left" in adopting.program.output()
    assert star.hub.interface.allowed_ips() == before
    assert lease(one) == {"10.44.0.7/32", "fd00:44::7/128"}
    release(one)
    assert allowed(star, one) == {"fe80::1/128", "192.0.2.7/32"}
    adopting.stop()
    database.unlink()  # nothing is leased any more: what was adopted ends, and nothing else
    server.start()
    wait_until(
        lambda: allowed(star, two) == {"fe80::2/128", "10.44.0.64/26"}, what="the end of the lease"
    )


def test_an_administrator_who_takes_a_leased_address_is_told_and_keeps_it(
    lab: Lab, database: Path
) -> None:
    star = make_star(lab, ["one", "two"])
    one, two = star.clients
    server = Server(star.hub, database)
    server.start()
    leased = lease(one)
    (taken,) = (address for address in leased if address.endswith("/32"))
    allow(star, two, taken)  # WireGuard moves it without a word
    server.program.wait_for_output("is not in force", timeout=40)
    told = [line for line in server.program.output().splitlines() if "is not in force" in line]
    keys = [member.interface.keys.public for member in star.clients]
    assert all(key[:4] in told[0] for key in keys), told
    assert allowed(star, two) == {"fe80::2/128", taken}
    again = lease(one)
    assert taken not in again
    assert again & leased, "the other family is renewed"
    wait_until(lambda: allowed(star, one) == {"fe80::1/128", *again}, what="what one has now")
    release(two)
    assert allowed(star, two) == {"fe80::2/128", taken}
    assert server.program.output().count("is not in force") == 1
    # Given back: a peer that is removed and made again has its lease without asking.
    star.hub.interface.remove_peer(one.interface.keys.public)
    with contextlib.suppress(KeyError):
        wait_until(lambda: not allowed(star, one), what="its end")
    other = min({"10.44.0.249/32", "10.44.0.250/32", "10.44.0.251/32"} - again - {taken})
    star.hub.interface.add_peers(
        PeerConfig(generate_keys().public, [other]),
        PeerConfig(one.interface.keys.public, ["fe80::1/128"]),
    )
    wait_until(
        lambda: allowed(star, one) == {"fe80::1/128", *again}, timeout=40, what="the lease again"
    )
    server.stop()
