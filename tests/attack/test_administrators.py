"""Local users against the administration socket: outside the group, and hostile members of it.

The property: peers get and renew leases, and root is answered, whatever a member of the group does;
the server's memory, descriptors and log stay bounded. Who is outside does not get in at all.
"""

import grp
import json
import sys
from pathlib import Path

import pytest

from tests.attack.actors import ask, bill, is_untroubled, result, serve_while, wish
from tests.netns.daemons import Client, Server
from tools.netlab import Lab, Program
from tools.star import make_star
from wg_dynamic.server.admin import MAX_CONNECTIONS, MAX_OF_ROOT, MAX_OF_USER, MAX_ORDERS

pytestmark = pytest.mark.netns

PROGRAM = Path(__file__).with_name("administrators.py")
NOBODY, OTHER = 65534, 65533
GROUP = "games"
"""A group that every Debian has, and nobody is in."""
KINDS = (
    *("connections", "requests", "lists", "deaf", "followers"),
    *("garbage", "endless", "half", "orders"),
)
MEMORY = 12 * 2**20
"""Bytes by which the server may grow, whatever comes."""
PATIENCE = 10.0
"""Seconds: far more than a request of root takes."""


@pytest.fixture
def server(lab: Lab, database: Path) -> Server:
    """On a star with a peer, letting in the group."""
    star = make_star(lab, ["honest"])
    path = database.parents[1] / "wg0.toml"
    path.write_text(f"admin_group = '{GROUP}'\n[[pool]]\nnetwork = '10.44.0.0/24'\n")
    one = Server(star.hub, database, "--config", str(path))
    one.arguments = ["--config", str(path), "--database", str(database)]
    one.start()
    one.star = star  # type: ignore[attr-defined]
    return one


def as_user(server: Server, user: int, *words: str, member: bool) -> Program:
    """Run tests/attack/administrators.py as a user in the group, or in none."""
    group = grp.getgrnam(GROUP).gr_gid if member else user
    become = [f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs"]
    path = server.runtime.parent / "admin" / server.runtime.name / "socket"
    host = server.member.host
    program = server.database.parents[1] / PROGRAM.name  # where everybody can read it
    program.write_text(PROGRAM.read_text())
    program.chmod(0o755)
    python = str(Path(sys.executable).resolve())
    return host.popen(["setpriv", *become, python, str(program), *words, "--socket", str(path)])


def test_who_is_outside_the_group_reaches_nothing(server: Server) -> None:
    tries = result(as_user(server, NOBODY, "requests", "--seconds", "1", member=False))
    assert set(tries) == {"PermissionError"}
    assert is_untroubled(server)


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_member_costs_peers_and_root_nothing(server: Server, kind: str) -> None:
    star = server.star  # type: ignore[attr-defined]
    (honest,) = star.clients
    Client(honest).start()
    process = server.network_process()
    before = bill(process)
    hostile = [as_user(server, user, kind, member=True) for user in (NOBODY, OTHER)]
    most = before.files
    for took, reply in serve_while(honest, *hostile):
        assert reply.get("errno", "0") == "0"
        assert took < PATIENCE
        said = json.loads(star.hub.host.run(["wg-dynamic", "status", "wg0", "--json"]).stdout)
        assert said["connections"] >= 0
        most = max(most, bill(process).files)
    counts = [result(each) for each in hostile]
    assert all(each["connections"] > MAX_OF_USER for each in counts), "it tried to have more"
    after = bill(process)
    assert server.network_process() == process, "it is still the same"
    assert after.memory - before.memory < MEMORY
    assert most - before.files <= MAX_CONNECTIONS + MAX_OF_ROOT + 2
    log = server.program.output()
    if kind != "orders":
        assert is_untroubled(server)
    else:  # those that were taken are in the log
        assert sum(each["refused"] for each in counts) > 0
        assert log.count(f"administration: user {NOBODY}: revoke") <= MAX_ORDERS
    assert ask(honest, wish())["errno"] == "0"
