"""A hostile hub against the real client.

The property: whatever the hub answers, the client goes on, its pace and its CPU time are bounded,
and nothing is on its interface but what one reply, judged by its policy, has given it.
What the policy refuses is tests/netns/test_client_policy.py.
"""

import pytest

from tests.attack import hub as scripts
from tests.attack.actors import bill
from tests.attack.hub import HostileHub, Script
from tests.netns.daemons import Client, leased_addresses
from tools.netlab import Lab, wait_until
from tools.star import make_star

pytestmark = pytest.mark.netns

WINDOW = 10.0
"""Seconds in which the pace is counted."""
CPU = 2.0
"""Seconds that a client may have used when everybody's window is over, 15 s from its start on: an
eighth of one core, measured by coverage or not."""
SENT = 8 * 2**20
"""Bytes that a client takes of a hub in that time, what waits in both kernels included."""
SCRIPTS: dict[str, tuple[Script, int, str]] = {
    # How often the client connects in WINDOW at the most: at 0, 1, 3, 7, 15 s, a tenth sooner for
    # the jitter; twice as often when each try is made with either version; every 5 s when a lease
    # is for 10. With a lease it wants to subscribe, too: at 0 and, failing, at 2.5 and 7.5 s at the
    # soonest.
    "close_at_once": (scripts.close_at_once, 4, "without an answer"),
    "dribble": (scripts.dribble, 2, "no answer within 10 s"),
    "endless": (scripts.endless, 4, "is not understood"),
    "parts": (scripts.parts, 4, "more than 16 parts"),
    "pongs": (scripts.pongs, 4, "is not understood"),
    "updates": (scripts.updates, 4, "push without subscription"),
    "storm": (scripts.storm, 4, "errno 5"),
    "downgrade": (scripts.downgrade, 8, "does not speak version"),
    "in_use": (scripts.in_use, 13, "declined, asking"),  # four times, and asked for anew
    "no_time": (scripts.leases(0), 4, "leases for less than 10 s"),
    "one_second": (scripts.leases(1), 4, "leases for less than 10 s"),
    "ten_seconds": (scripts.leases(10), 6, "leased"),
    "many": (scripts.leases(10, 128), 6, "leased"),
    # Once asked, once subscribed; asked anew at once, and after 10 s.
    "pushes": (scripts.pushes, 2, "leased"),
    "takes_back": (scripts.takes_back, 4, "took back"),
}


def test_no_answer_makes_a_client_run_hot_or_hold_what_it_should_not(lab: Lab) -> None:
    star = make_star(lab, [name.replace("_", "-") for name in SCRIPTS])
    names = {member.link_local: name for member, name in zip(star.clients, SCRIPTS, strict=True)}
    clients = {name: Client(member) for member, name in zip(star.clients, SCRIPTS, strict=True)}
    answers = {link_local: SCRIPTS[name][0] for link_local, name in names.items()}
    with HostileHub(star.hub, answers) as hub:
        in_use = clients["in_use"].member.host
        in_use.ip(f"address add {scripts.IN_USE}/32 dev lo")
        for client in clients.values():
            client.program = client.member.host.popen(client.command("--foreground"))
        for name, client in clients.items():
            client.program.wait_for_output(SCRIPTS[name][2], timeout=20.0)
        wait_until(
            lambda: all(
                hub.span(link_local) > WINDOW
                or name in ("dribble", "in_use", "pushes", "takes_back")
                for link_local, name in names.items()
            ),
            timeout=90.0,
            what="another connection of everybody after the window",
        )
        for link_local, name in names.items():
            client = clients[name]
            cost = bill(client.network_process())
            assert cost.cpu < CPU, name
            assert hub.within(link_local, WINDOW) <= SCRIPTS[name][1], name
            assert hub.sent[link_local] < SENT, name
            expected = {"ten_seconds": 1, "many": 64, "pushes": 1, "takes_back": 1}.get(name, 0)
            assert len(leased_addresses(client.member)) <= expected, name
            assert client.program.is_running(), name
            assert len(client.program.output().splitlines()) < 30, name
            assert "Traceback" not in client.program.output(), name
        for client in clients.values():
            client.program.process.terminate()
        for name, client in clients.items():
            assert client.program.wait(15.0) == 0, name
            assert not leased_addresses(client.member), name
