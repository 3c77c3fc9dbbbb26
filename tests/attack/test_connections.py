"""A hostile peer's connections: many, slow, half-open, deaf, gone.

The property: the honest peer's every request is answered, and the server's memory, descriptors and
log stay bounded, whatever the others do. Run with WG_DYNAMIC_ATTACK_CONNECTIONS=100000 (make soak
does), the flood is that long.
"""

import contextlib
import os
from pathlib import Path

import pytest

from tests.attack.actors import ask, attack, bill, is_untroubled, result, serve_while, wish
from tests.netns.daemons import Client, Server, connect
from tools.netlab import Lab, PeerConfig, wait_until
from tools.star import make_star
from wg_dynamic.server.listener import ACCEPTED_AT_ONCE, MAX_PER_PEER, MESSAGE_TIME

pytestmark = pytest.mark.netns

CONNECTIONS = int(os.environ.get("WG_DYNAMIC_ATTACK_CONNECTIONS", "8000"))
MEMORY = 24 * 2**20
"""Bytes by which the server may grow, whatever comes."""
PATIENCE = 20.0
"""Seconds: far more than any honest request takes, far less than for ever."""


def test_floods_cost_the_honest_peer_nothing_and_the_server_little(
    lab: Lab, database: Path
) -> None:
    star = make_star(lab, ["honest", "first", "second"])
    hub, (honest, first, second) = star.hub, star.clients
    # A source of its own that is no address of its host: nothing answers the server's SYN-ACK.
    owned = ["fe80::3/128", "fe80::33/128"]
    hub.interface.add_peers(PeerConfig(second.interface.keys.public, owned))
    server = Server(hub, database)
    server.start()
    ask(honest, wish())
    process = server.network_process()
    before = bill(process)
    half = ("--attempts", str(CONNECTIONS // 2), "--seconds", str(CONNECTIONS / 100))
    floods = [
        (attack(first, "connections", *half), attack(second, "unprivileged", *half)),
        (attack(first, "pings"), attack(second, "half-open", source="fe80::33")),
        (attack(first, "wishes"), attack(second, "deaf")),
    ]
    waited, most = [], before.files
    for programs in floods:
        for took, reply in serve_while(honest, *programs):
            assert "errno" not in reply or reply["errno"] == "0"
            waited.append(took)
            most = max(most, bill(process).files)
    counts = [result(program, CONNECTIONS / 50) for programs in floods for program in programs]
    attempts = sum(each["connections"] for each in counts[:2])
    assert attempts >= 0.9 * CONNECTIONS
    after = bill(server.network_process())
    assert server.network_process() == process, "it is still the same"
    assert max(waited) < PATIENCE
    assert after.memory - before.memory < MEMORY
    # Two peers with all that they may have, and what is on its way in or out.
    assert most - before.files <= 2 * MAX_PER_PEER + 8 * ACCEPTED_AT_ONCE
    assert is_untroubled(server)
    assert "too many messages, no new connections for now" in server.program.output()
    Client(honest).start()


def test_who_is_slow_deaf_or_gone_holds_a_few_connections_and_not_for_long(
    lab: Lab, database: Path
) -> None:
    star = make_star(lab, ["honest", "slow", "gone"])
    hub, (honest, slow, gone) = star.hub, star.clients
    server = Server(hub, database)
    server.start()
    process = server.network_process()
    before = bill(process)
    # One that never ends what it has begun, with all the connections that it may have, …
    lorises = attack(slow, "slow", "--seconds", "4")
    # … and one whose tunnel vanishes in the middle of a message.
    left = [connect(gone, port=100 + number) for number in range(MAX_PER_PEER)]
    for each in left:
        each.sendall(b"request_ip=2\nid=")
    gone.host.ip("link delete wg0")
    hub.interface.remove_peer(gone.interface.keys.public)
    for _, reply in serve_while(honest, lorises):
        assert "errno" not in reply or reply["errno"] == "0"
        assert bill(process).files - before.files <= 2 * MAX_PER_PEER + 4
    assert result(lorises)["connections"] > MAX_PER_PEER, "it tried to have more"
    wait_until(
        lambda: bill(process).files == before.files,
        timeout=MESSAGE_TIME + 5,
        what="the end of all hostile connections",
    )
    for each in left:
        with contextlib.suppress(OSError):
            each.close()
    assert is_untroubled(server)
