"""The order of a batch, and what is left when a step of it fails: docs/protocol.md 10.1."""

import asyncio
import logging
from dataclasses import replace
from ipaddress import ip_address

import pytest

from tests.fakes.patience import a_while, until
from tests.fakes.server import (
    ALICE,
    BOB,
    CAROL,
    LEASE_TIME,
    SOURCES,
    Server,
    ips,
    release_of,
    request_for,
)
from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.leases.pool import Pool
from wg_dynamic.leases.push import Push, PushedRoute
from wg_dynamic.leases.terms import (
    FREE_DECLINES,
    INFINITE,
    PeerName,
    PeerTerms,
    PoolTerms,
    Reservation,
)
from wg_dynamic.protocol import DeclineIP, ErrorCode, RequestIP, RequestIPReply
from wg_dynamic.server import engine as engine_module
from wg_dynamic.server.events import LeaseEvent
from wg_dynamic.server.orders import RELEASE, REVOKE, Order
from wg_dynamic.server.orders import Outcome as OrderOutcome
from wg_dynamic.server.policy import FORMER_TIME


async def test_a_grant_is_committed_then_added_then_answered() -> None:
    server = Server()
    async with server.running():
        reply = await server.request(ALICE, "192.0.2.7")
    assert server.journal == ["commit hold 192.0.2.7", "add 192.0.2.7", "answer"]
    (leased,) = reply.addresses
    assert (str(leased.ip), str(leased.network)) == ("192.0.2.7", "192.0.2.0/24")
    assert (leased.preferred_time, leased.valid_time) == (3600, 3600)
    assert reply.errno is ErrorCode.SUCCESS


async def test_a_release_is_taken_off_then_committed_then_answered() -> None:
    server = Server()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        server.journal.clear()
        reply = await server.release(ALICE, "192.0.2.7")
    assert server.journal == ["take off 192.0.2.7", "commit end 192.0.2.7", "answer"]
    assert reply.errno is ErrorCode.SUCCESS
    assert server.in_force() == server.held() == server.stored() == {}


async def test_a_renewal_is_committed_and_causes_no_helper_traffic() -> None:
    server = Server()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        server.journal.clear()
        server.clock.pass_time(1800.0)
        await server.request(ALICE, "192.0.2.7")
    assert server.journal == ["commit hold 192.0.2.7", "answer"]
    (lease,) = server.store.load(server.clock.moment())
    assert lease.ends_at == server.clock.now() + LEASE_TIME


async def test_a_lease_is_taken_off_when_its_time_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_module, "RECHECK", 0.0)
    server = Server()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        server.journal.clear()
        server.clock.pass_time(LEASE_TIME - 0.5)
        await a_while()
        assert server.journal == []
        server.clock.pass_time(0.5)
        await until(lambda: len(server.journal) == 2)
    assert server.journal == ["take off 192.0.2.7", "commit end 192.0.2.7"]


async def test_an_address_that_ends_may_go_to_another_peer_in_the_same_batch() -> None:
    server = Server("192.0.2.7/32")
    async with server.running():
        await server.request(ALICE)
        server.journal.clear()
        server.clock.pass_time(LEASE_TIME)
        reply = await server.request(BOB)
    assert ips(reply) == ["192.0.2.7"]
    assert server.journal == [
        "take off 192.0.2.7",
        "commit end 192.0.2.7, hold 192.0.2.7",
        "add 192.0.2.7",
        "answer",
    ]
    assert server.in_force() == server.stored() == {"192.0.2.7": BOB}


async def test_a_late_renewal_in_the_batch_of_the_expiry_is_added_again() -> None:
    server = Server()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        server.clock.pass_time(LEASE_TIME)
        assert ips(await server.request(ALICE, "192.0.2.7")) == ["192.0.2.7"]
    assert server.in_force() == server.stored() == {"192.0.2.7": ALICE}


async def test_a_released_address_may_go_to_another_peer_in_the_same_batch() -> None:
    server = Server("192.0.2.7/32")
    async with server.running():
        await server.request(ALICE)
        released = server.submit(ALICE, release_of())
        granted = await server.request(BOB)
        assert (await released).errno is ErrorCode.SUCCESS
    assert ips(granted) == ["192.0.2.7"]
    assert server.in_force() == server.stored() == {"192.0.2.7": BOB}


async def test_a_request_may_get_what_a_later_one_in_its_batch_releases() -> None:
    server = Server("192.0.2.7/32")
    async with server.running():
        await server.request(ALICE)
        server.journal.clear()
        requested = server.submit(BOB, request_for())
        released = server.submit(ALICE, release_of())
        granted, answer = await requested, await released
    assert isinstance(granted, RequestIPReply)
    assert ips(granted) == ["192.0.2.7"]
    assert answer.errno is ErrorCode.SUCCESS
    assert server.journal == [
        "take off 192.0.2.7",
        "commit end 192.0.2.7, hold 192.0.2.7",
        "add 192.0.2.7",
        "answer",
        "answer",
    ]
    assert server.in_force() == server.stored() == {"192.0.2.7": BOB}


async def test_when_a_batch_fails_what_it_released_for_another_stays_with_its_holder() -> None:
    server = Server("192.0.2.7/32")
    async with server.running():
        await server.request(ALICE)
        server.store.fails = True
        requested = server.submit(BOB, request_for())
        released = server.submit(ALICE, release_of())
        assert (await requested).errno is ErrorCode.STORE_DOWN
        assert (await released).errno is ErrorCode.STORE_DOWN
        assert server.in_force() == server.held() == server.stored() == {"192.0.2.7": ALICE}


async def test_a_release_after_a_request_of_the_same_peer_leaves_nothing_leased() -> None:
    """The client gave an exchange up and released: both may wait here at the same time."""
    server = Server()
    async with server.running():
        requested = server.submit(ALICE, request_for("192.0.2.7"))
        released = server.submit(ALICE, release_of())
        assert (await requested).errno is ErrorCode.SUCCESS
        assert (await released).errno is ErrorCode.SUCCESS
    assert server.in_force() == server.held() == server.stored() == {}


async def test_who_asks_once_does_not_wait_for_all_that_another_peer_asks() -> None:
    server = Server()
    async with server.running():
        many = [server.submit(ALICE, request_for("192.0.2.7")) for _ in range(5)]
        await server.request(BOB, "192.0.2.8")
        assert sum(each.done() for each in many) == 1, "of each peer one in a batch, in its order"
        await asyncio.gather(*many)


async def test_a_request_after_a_release_of_the_same_peer_leaves_the_address_leased() -> None:
    server = Server()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        released = server.submit(ALICE, release_of())
        requested = server.submit(ALICE, request_for("192.0.2.7"))
        assert (await released).errno is ErrorCode.SUCCESS
        assert (await requested).errno is ErrorCode.SUCCESS
    assert server.in_force() == server.held() == server.stored() == {"192.0.2.7": ALICE}


async def test_two_peers_that_wish_for_one_address_in_one_batch_get_two() -> None:
    server = Server()
    async with server.running():
        first = server.submit(ALICE, request_for("192.0.2.7"))
        second = server.submit(BOB, request_for("192.0.2.7"))
        third = server.submit(CAROL, request_for("192.0.2.7", version=1))
        replies = [await answer for answer in (first, second, third)]
    assert sum(entry.startswith("commit") for entry in server.journal) == 1
    assert [reply.errno for reply in replies] == [0, 0, ErrorCode.UNAVAILABLE]
    assert len(server.in_force()) == 2
    assert server.in_force()["192.0.2.7"] == ALICE
    assert server.in_force() == server.stored()


async def test_a_peer_that_moves_has_the_old_address_taken_off_next() -> None:
    server = Server()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        assert ips(await server.request(ALICE, "192.0.2.8")) == ["192.0.2.8"]
        await until(lambda: len(server.held()) == 1)
        await until(lambda: server.journal[-1] == "commit end 192.0.2.7")
    assert server.in_force() == server.stored() == {"192.0.2.8": ALICE}


async def test_a_peer_that_wishes_for_many_at_once_has_two_at_the_most_while_it_moves() -> None:
    server = Server()
    async with server.running():
        answers = [server.submit(ALICE, request_for(f"192.0.2.{n}")) for n in range(10, 16)]
        for answer in answers:
            assert (await answer).errno is ErrorCode.SUCCESS
            assert len(server.in_force()) <= 2
        await until(lambda: server.stored() == {"192.0.2.15": ALICE})  # the commit comes last
    assert server.in_force() == server.stored() == {"192.0.2.15": ALICE}


async def test_a_refused_addition_ends_the_lease_and_is_unavailable(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Server()
    server.allowed_ips.refuse[parse_prefix("192.0.2.7/32")] = "it is somebody's"
    async with server.running():
        reply = await server.request(ALICE, "192.0.2.7")
    assert reply.addresses == ()
    assert reply.errno is ErrorCode.UNAVAILABLE
    assert server.journal[-2:] == ["commit end 192.0.2.7", "answer"]
    assert server.in_force() == server.held() == server.stored() == {}
    assert "it is somebody's" in caplog.text


async def test_a_refused_addition_of_one_family_leaves_the_other_granted() -> None:
    server = Server("192.0.2.0/24", "2001:db8::/64")
    server.allowed_ips.refuse[parse_prefix("192.0.2.7/32")] = "it is somebody's"
    async with server.running():
        reply = await server.request(ALICE, "192.0.2.7", "2001:db8::7")
    assert ips(reply) == ["2001:db8::7"]
    assert reply.errno is ErrorCode.UNAVAILABLE


async def test_a_peer_whose_move_is_refused_keeps_what_it_had() -> None:
    server = Server()
    server.allowed_ips.refuse[parse_prefix("192.0.2.8/32")] = "it is somebody's"
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        assert (await server.request(ALICE, "192.0.2.8")).errno is ErrorCode.UNAVAILABLE
        await server.read_peers()
    assert server.in_force() == server.held() == server.stored() == {"192.0.2.7": ALICE}


async def test_a_store_that_fails_grants_nothing_and_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Server()
    server.store.fails = True
    async with server.running():
        for _ in range(2):
            reply = await server.request(ALICE, "192.0.2.7")
            assert (reply.errno, reply.retry_after) == (ErrorCode.STORE_DOWN, 5)
            assert reply.addresses == ()
    assert server.in_force() == server.held() == {}
    assert caplog.text.count("the disk is full") == 1


async def test_a_store_that_works_again_grants_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server = Server()
    server.store.fails = True
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        server.store.fails = False
        assert ips(await server.request(BOB, "192.0.2.7")) == ["192.0.2.7"]
    assert server.in_force() == server.stored() == {"192.0.2.7": BOB}
    assert "works again" in caplog.text


async def test_a_release_that_could_not_be_recorded_leaves_the_address_in_force() -> None:
    server = Server()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        server.store.fails = True
        reply = await server.release(ALICE)
        assert (reply.errno, reply.retry_after) == (ErrorCode.STORE_DOWN, 5)
    assert server.in_force() == server.held() == {"192.0.2.7": ALICE}


async def test_an_expired_address_stays_off_while_the_store_fails() -> None:
    server = Server()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        server.store.fails = True
        server.clock.pass_time(LEASE_TIME)
        await server.read_peers()
        await server.read_peers()
        assert server.in_force() == {}
        assert server.held() == {"192.0.2.7": ALICE}
        server.store.fails = False
        await server.read_peers()
        assert server.held() == server.stored() == {}
    assert "add 192.0.2.7" not in server.journal[3:]


async def test_a_failed_renewal_leaves_the_lease_as_it_was() -> None:
    server = Server()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        ends_at = server.table.of_peer(ALICE)[0].ends_at
        server.store.fails = True
        server.clock.pass_time(1800.0)
        assert (await server.request(ALICE, "192.0.2.7")).errno is ErrorCode.STORE_DOWN
    assert server.table.of_peer(ALICE)[0].ends_at == ends_at
    assert server.in_force() == {"192.0.2.7": ALICE}


async def test_a_store_that_fails_is_not_asked_all_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_module, "RECHECK", 0.0)
    server = Server()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        server.store.fails = True
        server.clock.pass_time(LEASE_TIME)
        await until(lambda: "take off 192.0.2.7" in server.journal)
        await a_while()
    assert server.journal.count("take off 192.0.2.7") == 1


async def test_a_database_that_was_removed_is_written_anew_unasked(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine_module, "STORE_PROBE", 0.0)
    server = Server()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        await server.request(BOB, "192.0.2.8")
        server.store.lost = True
        server.engine.peers_read(server.allowed_ips.read())  # as it comes now and then
        await until(lambda: not server.store.lost)
        await until(lambda: "works again" in caplog.text)
    assert server.stored() == server.in_force() == {"192.0.2.7": ALICE, "192.0.2.8": BOB}
    assert caplog.text.count("it was removed; nothing is granted") == 1


async def test_a_removed_database_that_cannot_be_made_anew_grants_nothing() -> None:
    server = Server()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        server.store.lost = server.store.fails = True
        for _ in range(2):
            assert (await server.request(BOB)).errno is ErrorCode.STORE_DOWN
        server.store.fails = False
        assert ips(await server.request(BOB, "192.0.2.8")) == ["192.0.2.8"]
    assert server.stored() == server.in_force() == {"192.0.2.7": ALICE, "192.0.2.8": BOB}


async def test_while_a_commit_hangs_what_ends_leaves_the_allowed_ips_in_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine_module, "DISK_PATIENCE", 0.0)
    server = Server()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        await server.request(BOB, "192.0.2.8")
        server.clock.pass_time(LEASE_TIME - 1.0)
        server.store.hangs.clear()
        renewal = server.submit(ALICE, request_for("192.0.2.7"))
        await a_while()
        assert server.in_force() == {"192.0.2.7": ALICE, "192.0.2.8": BOB}
        server.clock.pass_time(6.0)
        await until(lambda: not server.in_force())  # a renewal counts from when it is on disk
        server.store.hangs.set()
        assert (await renewal).errno is ErrorCode.SUCCESS
        assert server.in_force() == {"192.0.2.7": ALICE}
        await server.read_peers()
    assert server.stored() == server.held() == {"192.0.2.7": ALICE}
    assert caplog.text.count("takes more than 5 s to write") == 1


async def test_a_source_that_became_another_peers_is_not_permitted() -> None:
    server = Server()
    async with server.running():
        await server.request(BOB, "192.0.2.7")
        answer = await server.submit(ALICE, request_for(), source=SOURCES[BOB])
        assert answer.errno is ErrorCode.NOT_PERMITTED
        await server.request(ALICE, "192.0.2.8")
        for address in ("192.0.2.7", "192.0.2.8"):  # its own neither
            released = await server.submit(ALICE, release_of(address), source=SOURCES[BOB])
            assert released.errno is ErrorCode.NOT_PERMITTED
    assert server.in_force() == {"192.0.2.7": BOB, "192.0.2.8": ALICE}


async def test_another_peers_address_is_not_released() -> None:
    server = Server()
    async with server.running():
        await server.request(BOB, "192.0.2.7")
        reply = await server.release(ALICE, "192.0.2.7")
    assert reply.errno is ErrorCode.NOT_PERMITTED
    assert reply.errmsg == "Not permitted"
    assert server.in_force() == {"192.0.2.7": BOB}


async def test_version_1_is_told_the_servers_clock() -> None:
    server = Server()
    async with server.running():
        reply = await server.request(ALICE, version=1)
    assert (reply.version, reply.lease_start) == (1, int(server.clock.wall()))


async def test_a_batch_shares_one_commit() -> None:
    server = Server()
    async with server.running():
        answers = [server.submit(key, request_for()) for key in SOURCES]
        await asyncio.gather(*answers)
    assert sum(entry.startswith("commit") for entry in server.journal) == 1
    assert len(server.in_force()) == 3


async def test_a_batch_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "MAX_BATCH", 2)
    server = Server()
    async with server.running():
        answers = [server.submit(key, request_for()) for key in SOURCES]
        await asyncio.gather(*answers)
    assert sum(entry.startswith("commit") for entry in server.journal) == 2


# --- decline, caps, memories --------------------------------------------------------------------


async def test_a_declined_address_is_taken_off_recorded_and_nobodys_for_a_time() -> None:
    server = Server("192.0.2.7/32")
    server.terms = replace(server.terms, quarantine_time=5000.0)
    server.restart()
    async with server.running():
        await server.request(ALICE)
        server.journal.clear()
        assert (await server.decline(ALICE, "192.0.2.7")).errno is ErrorCode.SUCCESS
        assert server.journal == ["take off 192.0.2.7", "commit decline 192.0.2.7", "answer"]
        assert server.in_force() == server.held() == server.stored() == {}
        assert (await server.request(BOB)).errno is ErrorCode.EXHAUSTED
        assert (await server.request(ALICE)).errno is ErrorCode.EXHAUSTED
    server.restart()
    async with server.running():
        server.clock.pass_time(4999.0)
        assert (await server.request(BOB)).errno is ErrorCode.EXHAUSTED
        server.clock.pass_time(1.0)
        assert ips(await server.request(BOB)) == ["192.0.2.7"]


async def test_a_peer_cannot_empty_the_pool_by_declining() -> None:
    server = Server("192.0.2.0/28")
    async with server.running():
        for _ in range(20):
            for address in ips(await server.request(ALICE)):
                await server.decline(ALICE, address)
    declined = [one for one in server.store.load(server.clock.moment()) if one.declined]
    assert len(declined) == server.terms.addresses_per_peer + FREE_DECLINES


async def test_another_peers_address_is_not_declined() -> None:
    server = Server()
    async with server.running():
        await server.request(BOB, "192.0.2.7")
        for address in ("192.0.2.7", "192.0.2.8"):
            assert (await server.decline(ALICE, address)).errno is ErrorCode.NOT_PERMITTED
        answer = await server.submit(
            ALICE, DeclineIP(addresses=(ip_address("192.0.2.7"),)), source=SOURCES[BOB]
        )
        assert answer.errno is ErrorCode.NOT_PERMITTED
    assert server.in_force() == server.stored() == {"192.0.2.7": BOB}


async def test_a_decline_that_could_not_be_recorded_leaves_the_address_in_force() -> None:
    server = Server()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        server.store.fails = True
        reply = await server.decline(ALICE, "192.0.2.7")
        assert (reply.errno, reply.retry_after) == (ErrorCode.STORE_DOWN, 5)
    assert server.in_force() == server.held() == {"192.0.2.7": ALICE}


async def test_a_peer_gets_so_many_new_addresses_and_is_told_when_to_come_again() -> None:
    server = Server()
    server.terms = replace(server.terms, max_new_addresses=2)
    server.restart()
    async with server.running():
        for n in (1, 2):
            assert ips(await server.request(ALICE, f"192.0.2.{n}")) == [f"192.0.2.{n}"]
        assert ips(await server.request(ALICE, "192.0.2.3")) == ["192.0.2.2"]
        server.clock.pass_time(600.0)
        assert ips(await server.request(ALICE, "192.0.2.1")) == ["192.0.2.1"]  # it had it
        for n in (4, 5):
            assert ips(await server.request(BOB, f"192.0.2.{n}")) == [f"192.0.2.{n}"]
        assert (await server.decline(BOB, "192.0.2.5")).errno is ErrorCode.SUCCESS
    server.terms = replace(server.terms, max_new_addresses=0)
    server.restart()
    async with server.running():
        reply = await server.request(CAROL)
        assert (reply.errno, reply.retry_after) == (ErrorCode.RATE_LIMITED, 3600)


async def test_a_grant_that_the_store_refused_is_not_counted_as_new() -> None:
    server = Server()
    server.terms = replace(server.terms, max_new_addresses=1)
    server.restart()
    async with server.running():
        server.store.fails = True
        for _ in range(3):
            assert (await server.request(ALICE)).errno is ErrorCode.STORE_DOWN
        server.store.fails = False
        assert (await server.request(ALICE)).errno is ErrorCode.SUCCESS


async def test_a_peer_with_ever_new_wishes_leaves_a_bounded_number_of_memories() -> None:
    server = Server("2001:db8::/64")
    async with server.running():
        for n in range(1, 40):
            assert ips(await server.request(ALICE, f"2001:db8::{n:x}")) == [f"2001:db8::{n:x}"]
            server.clock.pass_time(1.0)
        await server.release(ALICE)
    stored = server.store.load(server.clock.moment())
    assert [one.address[-1] for one in stored] == list(range(32, 40))
    assert server.table.of_peer(ALICE) != []
    assert len(server.table.of_peer(ALICE)) == len(stored)


async def test_a_lease_without_end_is_4294967295_seconds_in_version_2_alone() -> None:
    server = Server()
    reservation = Reservation(ALICE, (parse_prefix("192.0.2.9/32").packed,), INFINITE)
    server.terms = replace(server.terms, reservations=(reservation,), max_lease_time=86400.0)
    server.restart()
    async with server.running():
        (leased,) = (await server.request(ALICE)).addresses
        assert (leased.valid_time, leased.preferred_time) == (4294967295, 4294967295)
        assert server.table.next_end() is None
        (leased,) = (await server.request(ALICE, version=1)).addresses
        assert leased.valid_time == 86400


async def test_a_wished_lease_time_is_met_within_bounds() -> None:
    server = Server()
    async with server.running():
        for wished, given in ((600, 600), (1, 60), (4294967295, 365 * 86400)):
            reply = await server.submit(ALICE, RequestIP(valid_time=wished))
            assert isinstance(reply, RequestIPReply)
            assert [one.valid_time for one in reply.addresses] == [given]


async def test_a_lease_that_a_static_allowed_ip_came_in_the_way_of_is_told_and_not_renewed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Server()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        server.allowed_ips.add_peer(BOB, parse_prefix("192.0.2.0/29"))
        await server.read_peers()
        await server.read_peers()
        assert server.in_force() == {"192.0.2.7": ALICE}
        (moved,) = ips(await server.request(ALICE, "192.0.2.7"))
        assert moved not in {f"192.0.2.{n}" for n in range(8)}
    assert caplog.text.count("192.0.2.7 is leased to") == 1


PUSH = Push((PushedRoute(parse_prefix("10.20.0.0/16")),), mtu=1420, search=("corp.example",))


async def test_grants_and_renewals_tell_what_is_pushed() -> None:
    server = Server()
    server.terms = replace(server.terms, push=PUSH, peers=(PeerTerms(BOB, Push(mtu=1280)),))
    server.restart()
    async with server.running():
        granted = await server.request(ALICE)
        renewed = await server.request(ALICE, *ips(granted))
        others = await server.request(BOB)
    for reply in (granted, renewed):
        assert [str(route.network) for route in reply.routes] == ["10.20.0.0/16"]
        assert ([dns.search for dns in reply.dns], reply.mtu) == ([("corp.example",)], 1420)
    assert renewed.routes is granted.routes
    assert (len(others.routes), others.mtu) == (1, 1280)


async def test_version_1_is_told_nothing() -> None:
    server = Server()
    server.terms = replace(server.terms, push=PUSH)
    server.restart()
    async with server.running():
        reply = await server.request(ALICE, version=1)
    assert len(reply.addresses) == 1
    assert (reply.routes, reply.dns, reply.mtu) == ((), (), None)


async def test_who_gets_no_address_is_told_nothing() -> None:
    server = Server()
    server.terms = replace(server.terms, push=PUSH)
    server.restart()
    server.allowed_ips.refuse[parse_prefix("192.0.2.7/32")] = "it is somebody's"
    async with server.running():
        refused = await server.request(ALICE, "192.0.2.7")
        server.store.fails = True
        failed = await server.request(BOB)
    for reply in (refused, failed):
        assert reply.errno is not ErrorCode.SUCCESS
        assert (reply.addresses, reply.routes, reply.dns, reply.mtu) == ((), (), (), None)


async def test_a_family_that_was_refused_has_no_routes() -> None:
    server = Server("192.0.2.0/24", "2001:db8::/64")
    route6 = PushedRoute(parse_prefix("fd00:20::/48"))
    server.terms = replace(server.terms, push=replace(PUSH, routes=(*(PUSH.routes or ()), route6)))
    server.restart()
    server.allowed_ips.refuse[parse_prefix("192.0.2.7/32")] = "it is somebody's"
    async with server.running():
        reply = await server.request(ALICE, "192.0.2.7", "2001:db8::7")
    assert [str(route.network) for route in reply.routes] == ["fd00:20::/48"]


def give(server: Server, verb: str, **what: bytes) -> asyncio.Future[OrderOutcome]:
    outcome: asyncio.Future[OrderOutcome] = asyncio.get_running_loop().create_future()
    server.engine.order(Order(verb, outcome.set_result, **what))
    return outcome


async def test_what_an_operator_revokes_is_off_at_once_and_not_its_holder_s_again() -> None:
    server = Server()
    events: list[LeaseEvent] = []
    server.engine.events.listen(events.append)
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        server.journal.clear()
        outcome = await give(server, REVOKE, address=parse_address("192.0.2.7"))
        assert server.journal == ["take off 192.0.2.7", "commit decline 192.0.2.7"]
        assert server.in_force() == server.held() == server.stored() == {}
        for key in (ALICE, BOB):
            assert ips(await server.request(key, "192.0.2.7")) != ["192.0.2.7"]
    assert outcome.stored
    assert [lease.declined for lease in outcome.leases] == [True]
    assert [(one.kind, one.reason) for one in events[:2]] == [
        ("granted", ""),
        ("revoked", "by an administrator"),
    ]


async def test_what_an_operator_releases_is_remembered_and_its_quarantine_ends() -> None:
    server = Server()
    events: list[LeaseEvent] = []
    server.engine.events.listen(events.append)
    seven = parse_address("192.0.2.7")
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        await give(server, RELEASE, public_key=ALICE)
        assert server.in_force() == server.stored() == {}
        assert ips(await server.request(ALICE)) == ["192.0.2.7"]
        await server.decline(ALICE, "192.0.2.7")
        assert ips(await server.request(BOB, "192.0.2.7")) != ["192.0.2.7"]
        outcome = await give(server, RELEASE, address=seven)
        assert len(outcome.leases) == 1
        assert server.table.get(seven) is None
        assert [lease.address for lease in server.store.load(server.clock.moment())] != [seven]
        assert ips(await server.request(CAROL, "192.0.2.7")) == ["192.0.2.7"]
    assert [one.kind for one in events] == ["granted", "released", "granted", "declined"] + [
        "granted"
    ] * 2


async def test_a_renewal_in_the_batch_of_its_revocation_gets_another_address() -> None:
    server = Server()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        outcome = give(server, REVOKE, address=parse_address("192.0.2.7"))
        reply = await server.request(ALICE, "192.0.2.7")
        assert (await outcome).stored
    assert ips(reply) != ["192.0.2.7"]
    assert list(server.in_force()) == ips(reply)


async def test_an_order_that_could_not_be_recorded_changes_nothing() -> None:
    server = Server()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        server.store.fails = True
        for verb in (REVOKE, RELEASE):
            outcome = await give(server, verb, address=parse_address("192.0.2.7"))
            assert outcome == OrderOutcome((), stored=False)
        assert server.in_force() == server.held() == server.stored() == {"192.0.2.7": ALICE}


async def test_an_order_about_nothing_says_so() -> None:
    server = Server()
    async with server.running():
        outcome = await give(server, REVOKE, address=parse_address("192.0.2.7"))
    assert outcome == OrderOutcome((), stored=True)
    assert server.journal == []


# --- other terms -----------------------------------------------------------------------------


def pool_terms(*networks: str) -> tuple[PoolTerms, ...]:
    return tuple(PoolTerms(Pool(parse_prefix(network))) for network in networks)


async def test_other_terms_count_at_once_and_no_lease_is_dropped() -> None:
    server = Server()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        pools = pool_terms("192.0.2.0/24", "198.51.100.0/24")
        server.terms = replace(server.terms, pools=pools, lease_time=60.0)
        await server.change_terms()
        assert server.held() == server.in_force() == {"192.0.2.7": ALICE}
        reply = await server.request(ALICE, "192.0.2.7")
        assert [one.valid_time for one in reply.addresses] == [60]
        assert ips(await server.request(BOB, "198.51.100.9")) == ["198.51.100.9"]


async def test_a_lease_outside_the_pools_of_now_stands_and_is_not_renewed() -> None:
    server = Server()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        server.terms = replace(server.terms, pools=pool_terms("198.51.100.0/24"))
        await server.change_terms()
        assert server.in_force() == {"192.0.2.7": ALICE}
        (address,) = ips(await server.request(ALICE, "192.0.2.7"))
        assert address.startswith("198.51.100.")
        await until(lambda: server.in_force() == {address: ALICE})


async def test_what_was_asked_before_is_decided_by_the_terms_of_then() -> None:
    server = Server()
    async with server.running():
        first = server.submit(ALICE, request_for("192.0.2.7"))
        second = server.submit(ALICE, request_for("192.0.2.7"))
        server.terms = replace(server.terms, lease_time=60.0)
        await server.change_terms()
        after = await server.request(ALICE, "192.0.2.7")
    times = []
    for answer in (await first, await second, after):
        assert isinstance(answer, RequestIPReply)
        times += [one.valid_time for one in answer.addresses]
    assert times == [LEASE_TIME, LEASE_TIME, 60]


async def test_what_clients_are_told_and_how_many_new_addresses_they_get_is_as_said_now() -> None:
    server = Server()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        server.terms = replace(server.terms, push=Push(mtu=1400), max_new_addresses=1)
        await server.change_terms()
        reply = await server.request(ALICE, "192.0.2.7")
        assert reply.mtu == 1400
        await server.release(ALICE)
        assert ips(await server.request(ALICE, "192.0.2.8")) == ["192.0.2.7"]


async def test_a_static_allowed_ip_in_a_new_pool_is_given_to_nobody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Server()
    server.allowed_ips.add_peer(BOB, parse_prefix("198.51.100.9/32"))
    async with server.running():
        server.terms = replace(server.terms, pools=pool_terms("198.51.100.8/30"))
        await server.change_terms()
        assert ips(await server.request(ALICE, "198.51.100.9")) == ["198.51.100.10"]
        assert ips(await server.request(BOB, "198.51.100.9")) == ["198.51.100.9"]
    assert caplog.text == ""


async def test_a_lease_for_ever_that_is_reserved_no_more_gets_an_end() -> None:
    server = Server()
    address = parse_address("192.0.2.7")
    server.terms = replace(server.terms, reservations=(Reservation(ALICE, (address,), INFINITE),))
    server.restart()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        await server.change_terms()
        (lease,) = server.table.held()
        assert lease.ends_at == INFINITE, "it is reserved still"
        server.terms = replace(server.terms, reservations=())
        await server.change_terms()
    for kept in (*server.table.held(), *server.store.load(server.clock.moment())):
        assert kept.ends_at == server.clock.now() + FORMER_TIME


async def test_when_that_cannot_be_written_the_next_start_does_it() -> None:
    server = Server()
    address = parse_address("192.0.2.7")
    server.terms = replace(server.terms, reservations=(Reservation(ALICE, (address,), INFINITE),))
    server.restart()
    async with server.running():
        await server.request(ALICE, "192.0.2.7")
        server.store.fails = True
        server.terms = replace(server.terms, reservations=())
        await server.change_terms()
        (lease,) = server.table.held()
        assert lease.ends_at == INFINITE
        server.store.fails = False


async def test_events_and_the_log_name_the_peer() -> None:
    server = Server()
    server.terms = replace(server.terms, names=(PeerName(ALICE, "laptop"),))
    server.restart()
    events: list[LeaseEvent] = []
    server.engine.events.listen(events.append)
    async with server.running():
        await server.request(ALICE)
        await server.request(BOB)
    assert [one.name for one in events] == ["laptop", None]


async def test_it_is_busy_while_more_waits_than_goes_into_a_transaction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_module, "MAX_BATCH", 1)
    server = Server()
    many = [server.submit(key, request_for()) for key in (ALICE, BOB)]
    assert server.engine.is_busy
    async with server.running():
        await asyncio.gather(*many)
        assert not server.engine.is_busy


async def test_what_takes_time_is_timed_batch_by_batch() -> None:
    server = Server()
    async with server.running():
        await asyncio.gather(server.request(ALICE), server.request(BOB))
        await server.request(ALICE)  # in the allowed IPs already
    told = server.engine.timings
    assert told.request.told()["count"] == 3
    assert told.store.told()["count"] == 2
    assert told.wireguard.told()["count"] == 1
