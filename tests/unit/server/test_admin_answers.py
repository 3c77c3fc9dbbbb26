"""What administrators are told: docs/command.md."""

import json
from typing import Any

from tests.fakes.server import ALICE, BOB, CAROL, Server
from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.admin.protocol import HELD, LEASES, QUARANTINED, REMEMBERED, Request
from wg_dynamic.leases.lease import Lease
from wg_dynamic.leases.terms import INFINITE, Reservation
from wg_dynamic.record import replace
from wg_dynamic.server.admin_answers import Answers
from wg_dynamic.wireguard.key import format_key


def answers_of(server: Server) -> Answers:
    return Answers(server.engine, server.peers, server.clock, interface="wg0", database="/x.sqlite")


async def a_server() -> Server:
    """One lease held, one remembered, one in quarantine, of three peers."""
    server = Server("192.0.2.0/24", "2001:db8::/64")
    async with server.running():
        await server.request(ALICE, "192.0.2.7", "2001:db8::7")
        await server.request(BOB, "192.0.2.8")
        await server.release(BOB)
        await server.request(CAROL, "192.0.2.9")
        await server.decline(CAROL, "192.0.2.9")
    return server


def listed(server: Server, **fields: Any) -> list[dict[str, Any]]:
    rows = answers_of(server).leases(Request(LEASES, **fields))
    return [json.loads(row) for row in rows if row is not None]


async def test_each_lease_is_told_with_all_that_is_known_of_it() -> None:
    server = await a_server()
    server.engine.events.name_of = {ALICE: 'lap"top'}.get
    server.clock.pass_time(600.0)
    first, *_ = listed(server)
    assert first == {
        "address": "192.0.2.7",
        "public_key": format_key(ALICE),
        "name": 'lap"top',
        "state": "held",
        "lease_time": 3600,
        "ends_at": 1_700_003_600,
        "ends_in": 3000,
        "reserved": False,
        "peer_present": True,
    }
    assert [(one["address"], one["state"], one["name"]) for one in listed(server)] == [
        ("192.0.2.7", HELD, 'lap"top'),
        ("2001:db8::7", HELD, 'lap"top'),
        ("192.0.2.8", REMEMBERED, None),
        ("192.0.2.9", QUARANTINED, None),
    ]


async def test_filters_narrow_the_list() -> None:
    server = await a_server()
    server.engine.events.name_of = {ALICE: "laptop", BOB: "phone"}.get

    def addresses(**fields: Any) -> list[str]:
        return [one["address"] for one in listed(server, **fields)]

    alice = ["192.0.2.7", "2001:db8::7"]
    assert addresses(peer=format_key(ALICE)) == addresses(peer="laptop") == alice
    assert addresses(peer="laptop", pool=parse_prefix("192.0.2.0/24")) == ["192.0.2.7"]
    assert addresses(pool=parse_prefix("2001:db8::/32")) == ["2001:db8::7"]
    assert addresses(state=REMEMBERED) == ["192.0.2.8"]
    assert addresses(state=QUARANTINED) == ["192.0.2.9"]
    assert addresses(address=parse_address("192.0.2.7")) == ["192.0.2.7"]
    assert addresses(address=parse_address("192.0.2.7"), peer="phone") == []
    assert addresses(address=parse_address("192.0.2.70")) == []
    assert addresses(peer="nobody") == []
    assert addresses(peer=format_key(bytes(32))) == []


async def test_a_lease_without_end_has_none() -> None:
    server = Server()
    seven = parse_address("192.0.2.7")
    server.terms = replace(server.terms, reservations=(Reservation(ALICE, (seven,), INFINITE),))
    server.restart()
    async with server.running():
        await server.request(ALICE)
    (only,) = listed(server)
    assert (only["lease_time"], only["ends_at"], only["ends_in"]) == ("infinite", None, None)
    assert only["reserved"]


async def test_who_is_gone_from_the_interface_is_told_as_such() -> None:
    server = await a_server()
    server.allowed_ips.remove_peer(ALICE)
    server.peers.update(server.allowed_ips.read())
    assert [one["peer_present"] for one in listed(server, state=HELD)] == [False, False]


async def test_what_is_freed_while_it_is_listed_is_left_out() -> None:
    server = await a_server()
    rows = answers_of(server).leases(Request(LEASES))
    assert next(rows) is not None
    server.table.forget(parse_address("192.0.2.8"))
    server.table.put(Lease(BOB, parse_address("192.0.2.10"), 60.0, 9999.0))
    assert [row is None for row in rows] == [False, True, False]


async def test_the_status_says_how_the_server_stands() -> None:
    server = await a_server()
    answers = answers_of(server)
    server.clock.pass_time(90.0)
    status = json.loads(
        answers.status(connections=3, subscribers=2, troubles=[(5.0, "the disk is full")])
    )
    assert status["subscribers"] == 2
    assert status["pools"] == [
        {"network": "192.0.2.0/24", "size": 254, "held": 1, "free": 251, "lease_time": 3600.0},
        {
            "network": "2001:db8::/64",
            "size": 2**64 - 257,
            "held": 1,
            "free": 2**64 - 258,
            "lease_time": 3600.0,
        },
    ]
    assert status["leases"] == {"held": 2, "remembered_or_quarantined": 2}
    assert (status["peers"], status["connections"], status["up_for"]) == (3, 3, 90.0)
    assert status["events"]["granted"] == 4
    asked = sum(one["count"] for one in status["requests"])
    assert asked == status["times"]["request"]["count"] > 0
    assert status["store"] == {"path": "/x.sqlite", "works": True}
    assert status["troubles"] == [{"time": 5.0, "text": "the disk is full"}]
    assert (status["role"], status["interface"]) == ("server", "wg0")
