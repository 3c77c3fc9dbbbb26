"""Who is told of what, and when: docs/protocol.md 6.9."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from tests.fakes.patience import a_while, until
from tests.fakes.server import ALICE, BOB, SOURCES, Server, ips
from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.leases.push import Push, PushedRoute
from wg_dynamic.leases.terms import PeerTerms, Reservation
from wg_dynamic.protocol import Update
from wg_dynamic.record import replace
from wg_dynamic.server.orders import REVOKE, Order
from wg_dynamic.server.subscribers import AT_ONCE, MAX_OF_PEER, Subscribers

PUSH = Push((PushedRoute(parse_prefix("10.20.0.0/16")),))


class One:
    """A connection that takes what it is told."""

    def __init__(self, key: bytes, source: bytes | None = None) -> None:
        self.owner = key
        self.source = source or SOURCES[key]
        self.is_full = False
        self.got: list[Update] = []
        self.ended = False

    def push(self, update: Update) -> None:
        self.got.append(update)

    def end(self) -> None:
        self.ended = True


class World:
    """A server's engine, and its subscribers."""

    def __init__(self, **options: int) -> None:
        self.server = Server()
        self.them = Subscribers(self.server.engine, self.server.peers, self.server.clock, **options)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self.server.running(), asyncio.TaskGroup() as group:
            task = group.create_task(self.them.run())
            try:
                yield
            finally:
                task.cancel()

    def add(self, key: bytes, source: bytes | None = None) -> One:
        one = One(key, source)
        one.got.append(self.them.add(one))
        return one

    async def push(self, push: Push, **more: Any) -> None:
        self.server.terms = replace(self.server.terms, push=push, **more)
        await self.server.change_terms()


def addresses(update: Update) -> list[str]:
    return [str(one.ip) for one in update.addresses]


async def test_at_first_it_is_told_all_that_holds() -> None:
    world = World()
    async with world.running():
        granted = await world.server.request(ALICE)
        (update,) = world.add(ALICE).got
        assert (addresses(update), update.reset) == (ips(granted), True)
        assert addresses(world.add(BOB).got[0]) == []


async def test_new_terms_are_told_to_those_for_whom_they_say_something_else() -> None:
    world = World()
    async with world.running():
        for key in (ALICE, BOB):
            await world.server.request(key)
        alice, bob = world.add(ALICE), world.add(BOB)
        await world.push(Push(), peers=(PeerTerms(ALICE, PUSH),))
        await until(lambda: len(alice.got) == 2)
        assert [str(one.network) for one in alice.got[1].routes] == ["10.20.0.0/16"]
        assert alice.got[1].serial > alice.got[0].serial
        await world.push(PUSH, peers=(PeerTerms(ALICE, PUSH),))
        await until(lambda: len(bob.got) == 2)
        assert len(alice.got) == 2
        await world.push(Push(), peers=())
        await until(lambda: len(alice.got) == len(bob.got) == 3)
        assert bob.got[2].routes == ()


async def test_a_renewal_is_no_news_and_another_address_is() -> None:
    world = World()
    async with world.running():
        await world.server.request(ALICE, "192.0.2.7")
        one = world.add(ALICE)
        world.server.clock.pass_time(1000.0)
        await world.server.request(ALICE, "192.0.2.7")
        await a_while()
        assert len(one.got) == 1
        await world.server.release(ALICE, "192.0.2.7")
        await until(lambda: len(one.got) == 2)
        assert addresses(one.got[1]) == []
        await world.server.request(ALICE, "192.0.2.8")
        await until(lambda: len(one.got) == 3)
        assert addresses(one.got[2]) == ["192.0.2.8"]


async def test_an_order_is_told_to_the_holder_alone() -> None:
    world = World()
    async with world.running():
        for key in (ALICE, BOB):
            await world.server.request(key, {ALICE: "192.0.2.7", BOB: "192.0.2.8"}[key])
        alice, bob = world.add(ALICE), world.add(BOB)
        done = asyncio.Event()
        order = Order(REVOKE, lambda _: done.set(), parse_address("192.0.2.7"))
        world.server.engine.order(order)
        await done.wait()
        await until(lambda: len(alice.got) == 2)
        assert addresses(alice.got[1]) == []
        assert len(bob.got) == 1


async def test_a_lease_that_ends_is_told() -> None:
    world = World()
    async with world.running():
        await world.server.request(ALICE)
        one = world.add(ALICE)
        world.server.clock.pass_time(4000.0)
        await world.server.request(BOB)
        await until(lambda: len(one.got) == 2)
        assert addresses(one.got[1]) == []


async def test_another_network_around_an_address_is_news() -> None:
    world = World()
    async with world.running():
        await world.server.request(ALICE)
        one = world.add(ALICE)
        (pool,) = world.server.terms.pools
        smaller = replace(pool, network_length=25)
        await world.push(Push(), pools=(smaller,))
        await until(lambda: len(one.got) == 2)
        assert [str(each.network) for each in one.got[1].addresses] == ["192.0.2.0/25"]


async def test_one_that_does_not_read_is_told_the_last_state_when_it_does() -> None:
    world = World()
    async with world.running():
        await world.server.request(ALICE)
        one = world.add(ALICE)
        one.is_full = True
        for mtu in (1300, 1400, 1420):
            await world.push(Push(mtu=mtu))
        await a_while()
        assert len(one.got) == 1
        one.is_full = False
        world.them.again(one)
        await until(lambda: len(one.got) == 2)
        assert one.got[1].mtu == 1420


async def test_an_address_that_became_another_peers_is_told_nothing() -> None:
    world = World()
    async with world.running():
        await world.server.request(ALICE)
        stranger = world.add(ALICE, SOURCES[BOB])
        await world.push(PUSH)
        await until(lambda: stranger.ended)
        assert len(stranger.got) == 1


async def test_the_oldest_of_too_many_of_a_peer_has_to_go() -> None:
    world = World()
    async with world.running():
        many = [world.add(ALICE) for _ in range(MAX_OF_PEER + 1)]
        assert [one.ended for one in many] == [True] + [False] * MAX_OF_PEER
        other = world.add(BOB)
        world.them.remove(many[0])
        world.them.remove(many[0])
        assert len(world.them) == MAX_OF_PEER + 1
        assert not other.ended


async def test_there_is_room_for_so_many_and_for_who_is_there_already() -> None:
    world = World(most=1)
    async with world.running():
        one = world.add(ALICE)
        assert world.them.has_room(one)
        assert not world.them.has_room(One(BOB))
        world.them.remove(one)
        assert world.them.has_room(One(BOB))


async def test_many_are_told_in_turns() -> None:
    world = World()
    async with world.running():
        await world.server.request(ALICE)
        many = [One(ALICE) for _ in range(AT_ONCE * 3)]
        for one in many:
            world.them.add(one)
        many[5].end = lambda: world.them.remove(many[5])  # type: ignore[method-assign]
        await world.push(PUSH)
        await until(lambda: all(len(one.got) == 1 for one in many))


async def test_one_that_ended_before_its_turn_is_told_nothing() -> None:
    world = World()
    async with world.running():
        await world.server.request(ALICE)
        one = world.add(ALICE)
        world.them.notice(None)
        world.them.remove(one)
        world.them.again(one)
        await world.push(PUSH)
        await a_while()
        assert len(one.got) == 1


async def test_a_reservation_is_no_news_before_it_is_leased() -> None:
    world = World()
    async with world.running():
        await world.server.request(ALICE, "192.0.2.7")
        one = world.add(ALICE)
        reservation = Reservation(ALICE, (parse_address("192.0.2.9"),), None)
        await world.push(Push(), reservations=(reservation,))
        await a_while()
        assert len(one.got) == 1
