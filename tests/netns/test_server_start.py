"""When the server refuses to start: one line that says why and what to do, nothing changed."""

import os
import re
import shutil
import socket
import sqlite3
import subprocess
from pathlib import Path

import pytest

from tests.netns.conftest import HubAndClient
from tests.netns.daemons import POOL4, SERVICE_ID, Client, Server, kept, snapshot
from tools.netlab import Host, Lab, PeerConfig
from tools.star import make_star

pytestmark = pytest.mark.guest


def refused(
    host: Host, status: int, expected: str, *arguments: str, interface: str = "wg0"
) -> None:
    """Start the server in the background, as wg-quick does; it says no and changes nothing."""
    before, runtime = snapshot(host, interface), kept(host)
    command = ["wg-dynamic-server", interface, *arguments]
    done = host.run(command, check=False)
    check_refusal(done, status, expected)
    assert snapshot(host, interface) == before
    assert kept(host) == runtime, "a start that failed leaves nothing below /run"


def check_refusal(done: "subprocess.CompletedProcess[str]", status: int, expected: str) -> None:
    assert re.search(expected, done.stderr), done.stderr
    assert done.returncode == status, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("wg-dynamic-server: ")
    assert done.stdout == ""


def test_pools_that_make_no_sense_are_refused(hub_and_client: HubAndClient, database: Path) -> None:
    host = hub_and_client.hub.host
    host.ip("address add 172.31.5.1/24 dev eth0", "route add 172.30.0.0/16 via 10.99.0.9 dev eth0")
    path = ("--database", str(database))
    for pool, expected in (
        ("10.44.0.0", "no prefix length, expected one as in 10.44.0.0/24"),
        ("10.44.0.1/24", "has host bits set, expected 10.44.0.0/24"),
        ("fe80::/64", "is link-local"),
    ):
        refused(host, 2, expected, "--pool", pool, *path)
    for pool, expected in (
        ("172.31.5.0/24", "collides with the route to 172.31.5.0/24 over eth0, expected"),
        ("172.30.0.0/16", "collides with the route to 172.30.0.0/16"),
        ("fd99::/64", "collides with the route to fd99::/64"),
    ):
        refused(host, 3, expected, "--pool", pool, *path)
    overlap = ("--pool", "10.44.0.0/16", "--pool", "10.44.7.0/24")
    refused(host, 2, "10.44.7.0/24 overlaps pool 10.44.0.0/16", *overlap, *path)
    refused(host, 3, "no pool: wg0 has no on-link route .* --pool 10.44.0.0/24", *path)
    assert not database.parent.exists()


def test_an_interface_that_does_not_qualify_is_refused(lab: Lab, database: Path) -> None:
    host = lab.host("hub")
    arguments = ("--pool", POOL4, "--database", str(database))
    refused(host, 3, "no interface 'wg0' .* make it first", *arguments)
    host.ip("link add veth0 type veth peer name veth1", "tuntap add dev tun0 mode tun")
    for name in ("veth0", "tun0", "lo"):
        refused(host, 3, f"{name} is not a WireGuard interface", *arguments, interface=name)
    wg0 = host.wireguard(addrgenmode="none")
    wg0.setconf()
    refused(host, 3, "wg0 is down, expected it up: ip link set wg0 up", *arguments)
    wg0.up()
    add = "ip address add fe80::/64 dev wg0"
    refused(host, 3, f"wg0 has no link-local address, expected fe80::/64.*{add}", *arguments)
    host.ip("address add fe80::1/64 dev wg0 nodad")
    refused(host, 3, f"wg0 has fe80::1/64, expected fe80::/64.*{add}", *arguments)
    host.forward()  # the kernel takes fe80:: for anycast, as another fe80::x/64 was there first
    host.ip("address add fe80::/64 dev wg0 nodad")
    refused(host, 3, "holds fe80:: on wg0 as its own anycast address", *arguments)
    host.ip(  # what the message says
        "address delete fe80::/64 dev wg0",
        "address delete fe80::1/64 dev wg0",
        "address add fe80::/64 dev wg0",
    )
    with host.netns():
        taken = socket.socket(socket.AF_INET6)
    with taken:
        taken.bind(("::", 970))
        taken.listen()
        refused(
            host,
            3,
            r"cannot listen on \[fe80::%wg0\]:970: Address already in use, .*ss -6ltnp",
            *arguments,
        )


def test_a_database_that_cannot_be_used_is_refused(
    hub_and_client: HubAndClient, database: Path
) -> None:
    host = hub_and_client.hub.host
    directory = database.parent
    directory.mkdir(mode=0o755)
    arguments = ("--pool", POOL4, "--database", str(database))
    expected = "cannot open .*expected a file in a directory that the service user may write in"
    refused(host, 3, expected, *arguments)
    os.chown(directory, SERVICE_ID, SERVICE_ID)
    database.write_bytes(b"")
    database.chmod(0)
    refused(host, 3, "cannot open the lease database", *arguments)
    database.chmod(0o600)
    os.chown(database, SERVICE_ID, SERVICE_ID)
    database.write_text("Dear diary, " * 400)
    refused(host, 3, "not a database; restore it from a backup", *arguments)
    database.unlink()
    database.mkdir()
    refused(host, 3, "cannot open the lease database", *arguments)
    database.rmdir()
    with sqlite3.connect(database) as db:
        db.execute("CREATE TABLE letters (text)")
    db.close()
    os.chown(database, SERVICE_ID, SERVICE_ID)
    refused(host, 3, "is a database of another program", *arguments)
    database.unlink()
    server = Server(hub_and_client.hub, database)
    server.start()
    server.stop()
    with sqlite3.connect(database) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    refused(host, 3, "has version 99, .* written by a newer wg-dynamic", *arguments)
    missing = database.parent / "a" / "b" / "leases.sqlite"
    refused(host, 3, "cannot prepare .*/a/b", "--pool", POOL4, "--database", str(missing))
    shutil.rmtree(directory)
    directory.write_text("a file")
    refused(host, 3, f"cannot prepare {directory}|cannot open", *arguments)


def test_one_interface_has_one_daemon(hub_and_client: HubAndClient, database: Path) -> None:
    hub = hub_and_client.hub
    server = Server(hub, database)
    server.start()
    second = database.with_name("second.sqlite")
    arguments = ("--pool", "10.45.0.0/24", "--database", str(second))
    pid = server.program.pid
    already = rf"wg-dynamic-server wg0 \(PID {pid}\) runs on this interface already: stop it first"
    check_refusal(hub.host.run(["wg-dynamic-server", "wg0", *arguments], check=False), 3, already)
    assert not second.exists()
    client = hub.host.run(["wg-dynamic-client", "--stop", "wg0"], check=False)
    assert client.returncode == 3
    assert (
        f"no wg-dynamic-client to stop on wg0: wg-dynamic-server wg0 (PID {pid})" in client.stderr
    )
    assert server.program.is_running(), "a client's --stop stops no server"
    hub.host.ip("address delete fe80::/64 dev wg0", "address add fe80::9/128 dev wg0")
    public_key = hub_and_client.client.interface.keys.public
    hub.interface.add_peers(PeerConfig(public_key, ["fe80::1/128", "fe80::/128"]))
    # Now it would qualify as a client's.
    client = hub.host.run(["wg-dynamic-client", "--foreground", "wg0"], check=False)
    assert client.returncode == 3
    assert re.search(already, client.stderr)
    server.stop()


def test_a_client_s_interface_is_no_server_s(lab: Lab, database: Path) -> None:
    star = make_star(lab)
    server = Server(star.hub, database)
    server.start()
    client = Client(star.clients[0])
    client.start()
    host = client.member.host
    host.ip("address add fe80::/64 dev wg0 nodad")
    second = database.with_name("second.sqlite")
    done = host.run(
        ["wg-dynamic-server", "wg0", "--pool", "10.45.0.0/24", "--database", str(second)],
        check=False,
    )
    check_refusal(done, 3, rf"wg-dynamic-client wg0 \(PID {client.program.pid}\) runs on this")


def test_two_servers_do_not_share_a_database(lab: Lab, database: Path) -> None:
    star = make_star(lab)
    server = Server(star.hub, database)
    server.start()
    other = star.clients[0].host
    other.ip("address delete fe80::1/128 dev wg0", "address add fe80::/64 dev wg0 nodad")
    done = other.run(
        ["wg-dynamic-server", "wg0", "--pool", "10.45.0.0/24", "--database", str(database)],
        check=False,
    )
    # In a guest all files are below an overlay, and the kernel names locked files in its own way.
    who = r"( \(.*PID \d+\))?" if "WG_DYNAMIC_GUEST" in os.environ else r" \(.*PID \d+\)"
    check_refusal(
        done, 3, rf"another process{who} has it open: give each server its own --database"
    )


def test_the_command_line_is_checked_before_anything_else(
    hub_and_client: HubAndClient, database: Path
) -> None:
    host = hub_and_client.hub.host
    pool = ("--pool", POOL4, "--database", str(database))
    for value in ("59", "31536001"):
        refused(
            host, 2, f"'{value}', expected 60 to 31536000 seconds", "--lease-time", value, *pool
        )
    refused(host, 2, "unrecognized arguments: --frobnicate", "--frobnicate")
    done = host.run(["wg-dynamic-server"], check=False)
    check_refusal(done, 2, "required: interface; see wg-dynamic-server --help")
    refused(host, 3, "no account 'nobody-here' on this machine", "--user", "nobody-here", *pool)
    refused(host, 3, "account 'root' is root", "--user", "root", *pool)
    refused(host, 3, "--log-file /nowhere/log: No such file", "--log-file", "/nowhere/log", *pool)
    refused(host, 3, "--log-file /etc: Is a directory", "--log-file", "/etc", *pool)
    for program in ("wg-dynamic-server", "wg-dynamic-client"):
        module = program.replace("wg-dynamic-", "wg_dynamic.cli.")
        # Imported as root: a checkout below /root is nobody else's to read.
        code = f"import os, {module} as m; os.setuid(65534); raise SystemExit(m.main(['wg0']))"
        done = host.run(host.python("-c", code), check=False)
        assert done.returncode == 4
        assert "runs as user 65534, expected root" in done.stderr
        assert done.stderr.count("\n") == 1
        assert host.run([program, "--version"]).stdout.startswith(f"{program} ")
        assert "usage" in host.run([program, "--help"]).stdout


def test_without_a_pool_the_networks_of_the_interface_are_leased(
    hub_and_client: HubAndClient, database: Path
) -> None:
    hub = hub_and_client.hub
    hub.host.ip("address add 10.46.0.1/24 dev wg0", "address add fd00:46::1/64 dev wg0 nodad")
    before = snapshot(hub.host)
    done = hub.host.run(["wg-dynamic-server", "wg0", "--database", str(database)])
    assert done.stdout.startswith(
        "wg0: serving on [fe80::%wg0]:970, leasing 10.46.0.0/24, fd00:46::/64"
    )
    assert snapshot(hub.host) == before
