"""Allowed IPs that another server has left become leases, and nothing else does."""

import logging
from dataclasses import replace

import pytest

from tests.fakes.server import ALICE, BOB, CAROL, LEASE_TIME, Server, ips
from wg_dynamic.address import format_address, parse_address, parse_prefix
from wg_dynamic.leases.lease import Lease
from wg_dynamic.leases.terms import INFINITE, AddressRange, Reservation
from wg_dynamic.server.adopt import adopt
from wg_dynamic.store.base import StoreError


class Adopting(Server):
    """A server whose helper takes what is adopted for ours, as helper/allowed_ips.py does."""

    async def adopt(self) -> None:
        infos = await self.proxy.read_peers()
        moment = self.clock.moment()
        await adopt(infos, self.rules, self.table, self.store, self.proxy, moment=moment)


async def test_each_becomes_a_lease_committed_before_it_is_ours() -> None:
    server = Adopting("192.0.2.0/24", "2001:db8::/64")
    server.allowed_ips.add_peer(ALICE, parse_prefix("192.0.2.7"), parse_prefix("2001:db8::7"))
    server.allowed_ips.add_peer(BOB, parse_prefix("192.0.2.8"))
    await server.adopt()
    commit, *adds = server.journal[1:]
    assert commit == "commit hold 192.0.2.7, hold 2001:db8::7, hold 192.0.2.8"
    assert adds == ["add 192.0.2.7", "add 2001:db8::7", "add 192.0.2.8"]
    assert server.stored() == server.held()
    assert server.held() == {"192.0.2.7": ALICE, "2001:db8::7": ALICE, "192.0.2.8": BOB}
    (lease,) = server.table.of_peer(BOB)
    assert lease.ends_at == server.clock.now() + LEASE_TIME


async def test_a_client_that_renews_keeps_it_and_one_that_does_not_loses_it() -> None:
    server = Adopting()
    server.allowed_ips.add_peer(ALICE, parse_prefix("192.0.2.7"))
    server.allowed_ips.add_peer(BOB, parse_prefix("192.0.2.8"))
    await server.adopt()
    async with server.running():
        server.clock.pass_time(LEASE_TIME / 2)
        assert ips(await server.request(ALICE)) == ["192.0.2.7"]
        server.clock.pass_time(LEASE_TIME / 2)
        await server.read_peers()
    assert server.in_force() == server.held() == {"192.0.2.7": ALICE}


async def test_what_is_no_address_to_lease_stays_as_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    server = Adopting("192.0.2.0/24")
    server.store.commit(
        [Lease(BOB, parse_address("192.0.2.9"), 60.0, server.clock.now() + 60.0)],
        server.clock.moment(),
    )
    server.restart()
    server.journal.clear()
    kept = ("192.0.2.9/32", "192.0.2.255/32", "192.0.2.64/26", "198.51.100.7/32", "0.0.0.0/0")
    server.allowed_ips.add_peer(ALICE, *map(parse_prefix, kept))
    await server.adopt()
    assert server.held() == {"192.0.2.9": BOB}
    assert not [entry for entry in server.journal if entry.startswith("add")]
    assert caplog.text.count("not adopted: that address is not leased to this peer") == 2
    assert "0 allowed IPs adopted, 2 left" in caplog.text


async def test_each_has_the_time_of_its_reservation_or_its_pool() -> None:
    server = Adopting("192.0.2.0/24", "198.51.100.0/24", "2001:db8::/64")
    first, *others = server.terms.pools
    address = parse_address
    server.terms = replace(
        server.terms,
        pools=(replace(first, lease_time=600), *others),
        reservations=(
            Reservation(ALICE, (address("192.0.2.7"),), 7200),
            Reservation(BOB, (address("192.0.2.8"),)),
            Reservation(CAROL, (address("198.51.100.9"),), INFINITE),
        ),
    )
    server.restart()
    server.allowed_ips.add_peer(ALICE, *map(parse_prefix, ("192.0.2.7", "2001:db8::7")))
    server.allowed_ips.add_peer(BOB, *map(parse_prefix, ("192.0.2.8", "192.0.2.18")))
    server.allowed_ips.add_peer(CAROL, parse_prefix("198.51.100.9"))
    await server.adopt()
    now = server.clock.now()
    expected = {
        "192.0.2.7": 7200.0,
        "192.0.2.8": 600.0,
        "192.0.2.18": 600.0,
        "198.51.100.9": INFINITE,
        "2001:db8::7": LEASE_TIME,
    }
    stored = {format_address(one.address): one for one in server.store.load(server.clock.moment())}
    assert {text: lease.lease_time for text, lease in stored.items()} == expected
    assert {text: lease.ends_at - now for text, lease in stored.items()} == expected


async def test_what_is_excluded_or_reserved_for_another_stays_as_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Adopting()
    (pool,) = server.terms.pools
    excluded = AddressRange(parse_address("192.0.2.7"), parse_address("192.0.2.9"))
    server.terms = replace(
        server.terms,
        pools=(replace(pool, excluded=(excluded,)),),
        reservations=(Reservation(BOB, tuple(map(parse_address, ("192.0.2.8", "192.0.2.18")))),),
    )
    server.restart()
    server.allowed_ips.add_peer(ALICE, *map(parse_prefix, ("192.0.2.7", "192.0.2.18")))
    server.allowed_ips.add_peer(BOB, parse_prefix("192.0.2.8"))
    await server.adopt()
    assert server.stored() == server.held() == {"192.0.2.8": BOB}
    for address in ("192.0.2.7", "192.0.2.18"):
        assert f"{address} peer(AQEB…BAQE): not adopted: that address is not leased" in caplog.text


async def test_what_the_store_does_not_take_is_not_ours() -> None:
    server = Adopting()
    server.allowed_ips.add_peer(ALICE, parse_prefix("192.0.2.7"))
    server.store.fails = True
    with pytest.raises(StoreError):
        await server.adopt()
    assert "add 192.0.2.7" not in server.journal


async def test_what_the_helper_refuses_is_told(caplog: pytest.LogCaptureFixture) -> None:
    server = Adopting()
    server.allowed_ips.add_peer(ALICE, parse_prefix("192.0.2.7"))
    server.allowed_ips.refuse[parse_prefix("192.0.2.7")] = "it moved"
    await server.adopt()
    assert "192.0.2.7 peer(AQEB…BAQE): not adopted: it moved" in caplog.text
