"""wg-dynamic against a real server, as root and as a user outside the group."""

import json
from pathlib import Path

from tests.netns.daemons import Client, Server
from tools.netlab import Host, Lab, wait_until
from tools.star import make_star

NOBODY = 65534


def command(host: Host, *words: str) -> str:
    return host.run(["wg-dynamic", *words]).stdout


def test_leases_are_seen_and_ended(lab: Lab, database: Path) -> None:
    star = make_star(lab, ["one"])
    server, client = Server(star.hub, database), Client(star.clients[0])
    server.start()
    client.start()
    hub = star.hub.host
    assert "role: server" in command(hub, "status")
    rows = json.loads(command(hub, "leases", "--json"))
    assert {row["address"] for row in rows} == client.leased()
    address = next(row["address"] for row in rows if "." in row["address"])
    command(hub, "lease", "revoke", address)
    assert f"{address}/32" not in server.leased(star.clients[0])
    (row,) = json.loads(command(hub, "lease", "show", address, "--json"))
    assert row["state"] == "quarantined"
    command(hub, "lease", "release", address)
    # The client is told at once, and asks for another.
    wait_until(lambda: len(client.leased() - {address}) == 2, timeout=15, what="another address")
    events = command(hub, "events", "--last", "10").splitlines()
    kinds = [json.loads(line)["event"] for line in events]
    assert kinds == ["granted", "granted", "revoked", "granted"]
    assert command(hub, "reload").strip() == "nothing has changed"
    refused = hub.run(
        [
            *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "cat"),
            str(server.runtime.parent / "admin" / server.runtime.name / "socket"),
        ],
        check=False,
    )
    assert "Permission denied" in refused.stderr
    client.stop()
    server.stop()


def test_both_daemons_are_shown_where_they_run(lab: Lab, database: Path) -> None:
    star = make_star(lab, ["one"])
    server, client = Server(star.hub, database), Client(star.clients[0])
    server.start()
    client.start()
    laptop = star.clients[0].host
    shown = command(laptop, "status")
    assert "state: has a lease" in shown
    assert all(f"address: {one}/" in shown for one in client.leased())
    (found,) = json.loads(command(laptop, "status", "--json"))
    assert found["role"] == "client"
    assert json.loads(command(star.hub.host, "status", "wg0", "--json"))["role"] == "server"
    lines = laptop.run(
        ["timeout", "--signal=INT", "2", "wg-dynamic", "status", "--json", "--watch", "0.3"],
        check=False,
    ).stdout.splitlines()
    assert len(lines) >= 2
    assert all(json.loads(line)[0]["state"] == "bound" for line in lines)
    client.stop()
    gone = laptop.run(["wg-dynamic", "status"], check=False)
    assert gone.returncode == 6
    assert "no daemon of wg-dynamic runs here" in gone.stderr


def test_what_is_exported_is_reserved_for_good(lab: Lab, database: Path) -> None:
    star = make_star(lab, ["one", "two"], private=("/etc/wg-dynamic",))
    config = star.hub.host.path("/etc/wg-dynamic/wg0.toml")
    config.write_text("[[pool]]\nnetwork = '10.44.0.0/24'\n")
    server = Server(star.hub, database)
    server.arguments = ["--database", str(database)]
    server.start()
    one, two = map(Client, star.clients)
    one.start()
    (address,) = one.leased()
    hub = star.hub.host
    hub.path("/etc/wg-dynamic/leases.csv").write_text(
        command(hub, "lease", "export", "--format", "csv")
    )
    assert one.run("--stop").returncode == 0
    assert command(hub, "leases", "--json").strip() == "[]"
    imported = command(hub, "lease", "import", "/etc/wg-dynamic/leases.csv")
    assert imported == "1 address of wg0 reserved\n"
    key = star.clients[1].interface.keys.public
    command(hub, "lease", "reserve", key, "10.44.0.77")
    two.start()
    assert two.leased() == {"10.44.0.77"}
    refused = hub.run(["wg-dynamic", "lease", "reserve", key, address], check=False)
    assert refused.returncode == 2
    assert f"{address} is reserved in" in refused.stderr
    (row,) = json.loads(command(hub, "lease", "show", "10.44.0.77", "--json"))
    assert row["reserved"]
    command(hub, "lease", "revoke", "--peer", key)
    assert f"{address}/32" not in server.leased(star.clients[1])


def test_a_static_address_becomes_a_lease_without_a_gap(lab: Lab, database: Path) -> None:
    """docs/howto.md: move from static addresses."""
    star = make_star(lab, ["one"], private=("/etc/wg-dynamic",))
    (one,) = star.clients
    hub, key = star.hub.host, one.interface.keys.public
    hub.ip("address add 10.44.0.1/24 dev wg0")
    hub.path("/etc/wg-dynamic/wg0.toml").write_text("[[pool]]\nnetwork = '10.44.0.0/24'\n")
    hub.run(["wg", "set", "wg0", "peer", key, "allowed-ips", "fe80::1/128,10.44.0.17/32"])
    server = Server(star.hub, database)
    server.arguments = ["--database", str(database)]
    server.start()
    assert "reserved" in command(hub, "lease", "reserve", key, "10.44.0.17")
    client = Client(one)
    client.start()
    assert client.leased() == {"10.44.0.17"}
    assert hub.ping("10.44.0.17")
    hub.run(["wg", "set", "wg0", "peer", key, "allowed-ips", "fe80::1/128"])
    wait_until(
        lambda: "10.44.0.17/32" in server.leased(one), timeout=15, what="the lease in force again"
    )
    assert hub.ping("10.44.0.17")
    assert client.run("--stop").returncode == 0
    assert "10.44.0.17/32" not in server.leased(one)
