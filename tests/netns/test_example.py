"""The example of docs/library.md, against a real server."""

from pathlib import Path

from tests.netns.daemons import Server
from tools.netlab import Lab
from tools.repository import ROOT
from tools.star import make_star

EXAMPLE = ROOT / "examples" / "ask_for_a_lease.py"


def test_forty_lines_get_a_lease(lab: Lab, database: Path) -> None:
    star = make_star(lab, ["one"])
    (one,) = star.clients
    server = Server(star.hub, database, "--pool", "10.44.0.7/32")
    server.start()
    command = [*one.host.python()[:1], str(EXAMPLE), "wg0", one.link_local]
    assert one.host.run(command).stdout == "10.44.0.7 for 3600 s, to be renewed\n"
    assert server.leased(one) == {"10.44.0.7/32"}
    assert len(EXAMPLE.read_text().splitlines()) <= 40


def test_a_refusal_is_told(lab: Lab, database: Path) -> None:
    star = make_star(lab, ["one", "two"])
    one, two = star.clients
    Server(star.hub, database, "--pool", "10.44.0.7/32").start()
    for member, status in ((one, 0), (two, 1)):
        command = [*member.host.python()[:1], str(EXAMPLE), "wg0", member.link_local]
        done = member.host.run(command, check=False)
        assert done.returncode == status
    assert done.stderr == "error 4: No free address left\n"
