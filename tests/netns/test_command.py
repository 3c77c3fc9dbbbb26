"""wg-dynamic against a real server, as root and as a user outside the group."""

import json
from pathlib import Path

from tests.netns.daemons import Client, Server
from tools.netlab import Host, Lab
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
    events = command(hub, "events", "--last", "10").splitlines()
    assert [json.loads(line)["event"] for line in events] == ["granted", "granted", "revoked"]
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
