"""Leases against allowed IPs, after each reading of the peers."""

import pytest

from tests.fakes.server import ALICE, BOB, LEASE_TIME, Server, ips
from wg_dynamic.address import parse_prefix


async def test_leases_that_are_not_in_force_are_added() -> None:
    server = Server()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        server.allowed_ips.leased.clear()  # wg syncconf
        await server.read_peers()
    assert server.in_force() == {"192.0.2.7": ALICE}


async def test_after_a_restart_the_leases_are_put_in_force_again() -> None:
    server = Server()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
    server.allowed_ips.leased.clear()
    server.restart()
    async with server.running():
        await server.read_peers()
        assert server.in_force() == {"192.0.2.7": ALICE}
        assert ips(await server.request(ALICE)) == ["192.0.2.7"]


async def test_a_lease_that_ended_while_the_server_was_away_is_never_put_in_force() -> None:
    server = Server()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
    server.allowed_ips.leased.clear()
    server.journal.clear()
    server.clock.pass_time(LEASE_TIME)
    server.restart()
    async with server.running():
        await server.read_peers()
    assert not [entry for entry in server.journal if entry.startswith("add")]
    assert server.stored() == {}


async def test_what_the_ledger_has_and_no_lease_says_is_taken_off() -> None:
    server = Server()
    server.allowed_ips.leased[parse_prefix("192.0.2.7/32")] = ALICE
    async with server.running():
        await server.read_peers()
    assert server.in_force() == {}


async def test_what_an_administrator_set_is_never_taken_off() -> None:
    server = Server()
    static = parse_prefix("192.0.2.9/32")
    server.allowed_ips.add_peer(ALICE, static)
    async with server.running():
        await server.read_peers()
    assert server.allowed_ips.static[static] == ALICE
    assert server.journal == []


async def test_a_lease_that_an_administrator_made_static_needs_no_adding() -> None:
    server = Server()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        server.allowed_ips.leased.clear()
        server.allowed_ips.add_peer(ALICE, parse_prefix("192.0.2.7/32"))  # SaveConfig=true
        server.journal.clear()
        await server.read_peers()
    assert server.journal == []


async def test_a_peer_that_is_gone_keeps_its_lease_until_it_is_back() -> None:
    server = Server()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        server.allowed_ips.remove_peer(ALICE)
        await server.read_peers()
        assert server.held() == server.stored() == {"192.0.2.7": ALICE}
        assert "192.0.2.7" not in ips(await server.request(BOB, "192.0.2.7"))
        server.allowed_ips.add_peer(ALICE, parse_prefix("fe80::a/128"))
        await server.read_peers()
    assert server.in_force()["192.0.2.7"] == ALICE


async def test_a_lease_that_cannot_be_put_in_force_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Server()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        server.allowed_ips.leased.clear()
        server.allowed_ips.refuse[parse_prefix("192.0.2.7/32")] = "it is somebody's"
        for _ in range(3):
            await server.read_peers()
        assert caplog.text.count("is not in force: it is somebody's") == 1
        server.allowed_ips.refuse.clear()
        await server.read_peers()
        assert server.in_force() == {"192.0.2.7": ALICE}
        server.allowed_ips.leased.clear()
        server.allowed_ips.refuse[parse_prefix("192.0.2.7/32")] = "again"
        await server.read_peers()
    assert "is not in force: again" in caplog.text


async def test_what_is_in_line_already_causes_no_helper_traffic() -> None:
    server = Server()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        server.journal.clear()
        await server.read_peers()
    assert server.journal == []
