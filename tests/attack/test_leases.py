"""What a hostile peer may do with leases: take many, take others', wear the disk.

The property: with whatever one key asks, it holds one address of each family, everybody else's
leases stay as they are, and there is one left for the next honest peer.
"""

from pathlib import Path

import pytest

from tests.attack.actors import ask, is_untroubled, wish
from tests.netns.daemons import Server, connect, exchange, rows
from tools.netlab import Lab, PeerConfig, wait_until
from tools.star import make_star
from wg_dynamic.leases.terms import DEFAULT_MAX_NEW_ADDRESSES, FREE_DECLINES
from wg_dynamic.server.listener import MAX_REQUESTS
from wg_dynamic.server.policy import MEMORIES_PER_ADDRESS

pytestmark = pytest.mark.netns

POOL4 = "10.44.0.0/29"
"""Six addresses, from .1 to .6."""
POOL6 = "fd00:44::/64"


def size(database: Path) -> int:
    """Bytes of the database and what belongs to it."""
    return sum(path.stat().st_size for path in database.parent.iterdir())


def test_one_key_gets_no_more_than_its_share(lab: Lab, database: Path) -> None:
    star = make_star(lab, ["honest", "hostile", "late"])
    hub, (honest, hostile, late) = star.hub, star.clients
    names = ["fe80::2", *(f"fe80::2:{number:x}" for number in range(1, 6))]
    hub.interface.add_peers(
        PeerConfig(hostile.interface.keys.public, [f"{each}/128" for each in names])
    )
    hostile.host.ip(*(f"address add {each}/128 dev wg0 nodad" for each in names[1:]))
    server = Server(hub, database, "--pool", POOL4, "--pool", POOL6)
    server.start()
    mine = ask(honest, wish())
    held = server.leased(honest)
    assert len(held) == 2

    # Many link-locals of one key, each asking for an address of its own: they are one peer.
    for number, name in enumerate(names, start=1):
        with connect(hostile, link_local=name) as connection:
            exchange(connection, wish(f"10.44.0.{number}", f"fd00:44::{number}"))
        wait_until(  # what it gave up for that goes at once, but not in the same batch
            lambda: len(server.leased(hostile) - {f"{each}/128" for each in names}) == 2,
            what="two addresses, whoever of them asks",
        )
    assert server.leased(honest) == held

    # What another holds is neither released nor declined, alone or among one's own.
    others = [mine["ip4"], mine["ip6"]]
    own = ask(hostile, wish())["ip4"]
    with connect(hostile) as connection:
        for command in ("release_ip", "decline_ip"):
            for named in ([others[0]], [others[1]], [own, *others]):
                assert exchange(connection, wish(*named, command=command))["errno"] == "6"
        # Declining all that one gets takes one address out of the pool, and no more.
        codes = []
        for _ in range(8):
            given = exchange(connection, wish("0.0.0.0"))  # noqa: S104
            codes.append(given["errno"])
            if "ip4" in given:
                declined = exchange(connection, wish(given["ip4"], command="decline_ip"))
                codes.append(declined["errno"])
    assert codes.count("0") == 2 * (1 + FREE_DECLINES), "so many were given, and declined"
    assert server.leased(honest) == held
    assert set(ask(late, wish())) >= {"ip4", "ip6"}, "and there is one left for who comes late"
    assert is_untroubled(server)


def test_a_peer_wears_the_disk_only_so_fast(lab: Lab, database: Path) -> None:
    star = make_star(lab, ["honest", "hostile"])
    hub, (honest, hostile) = star.hub, star.clients
    server = Server(hub, database)
    server.start()
    ask(honest, wish())
    given = set()
    with connect(hostile) as connection:
        for number in range(DEFAULT_MAX_NEW_ADDRESSES + 10):  # another one each time
            reply = exchange(connection, wish(f"fd00:44::{number + 1:x}"))
            assert reply["errno"] == "0"  # over the limit, it gets what it had
            given.add(reply["ip6"])
        assert len(given) == DEFAULT_MAX_NEW_ADDRESSES
        kept = len(rows(database))
        assert kept <= 2 + 2 * (1 + MEMORIES_PER_ADDRESS)
        worn = size(database)
        for _ in range(MAX_REQUESTS):  # and renewals, as fast as they go
            last = exchange(connection, wish())
    assert last["errno"] == "5"
    assert 0 < int(last["retry_after"]) <= 60
    assert size(database) - worn < MAX_REQUESTS * 3 * 4096, "two or three pages a renewal"
    assert len(rows(database)) <= kept + 1
    assert ask(honest, wish())["errno"] == "0"
    assert is_untroubled(server)
