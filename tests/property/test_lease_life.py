"""Engine and store against a plain dict of what was acknowledged, through crashes at any await.

The model knows only what clients were told. Held against it: no address is acknowledged to two,
what is acknowledged is durable, nothing is given that is excluded, fenced, reserved for another,
in quarantine or in its grace time, caps are kept, and once all is settled the allowed IPs are
exactly what is leased.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from ipaddress import ip_address
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.fakes.helper import FakeHelperProxy
from tests.fakes.server import ALICE, BOB, CAROL, Server
from wg_dynamic.address import format_address, host_prefix, parse_address, parse_prefix
from wg_dynamic.leases.pool import parse_pool
from wg_dynamic.leases.terms import FREE_DECLINES, AddressRange, LeaseTerms, PoolTerms, Reservation
from wg_dynamic.privsep.requests import Change, Refusal
from wg_dynamic.protocol import (
    DeclineIP,
    ErrorCode,
    ReleaseIP,
    RequestIP,
    RequestIPReply,
)
from wg_dynamic.server import engine as engine_module
from wg_dynamic.server.replies import Answer, LeaseRequest

POOL, SECOND = "192.0.2.0/29", "198.51.100.0/30"
RESERVED = parse_address("192.0.2.3")
ADDRESSES = [f"192.0.2.{n}" for n in range(1, 7)] + ["198.51.100.1", "198.51.100.2"]


def terms(second: bool, excluded: str, **others: Any) -> LeaseTerms:
    address = parse_address(excluded)
    pools = [PoolTerms(parse_pool(POOL), excluded=(AddressRange(address, address),))]
    if second:
        pools.append(PoolTerms(parse_pool(SECOND), lease_time=600.0))
    return LeaseTerms(tuple(pools), quarantine_time=5000.0, max_new_addresses=10**6, **others)


TERMS = [
    terms(True, "192.0.2.5", reservations=(Reservation(ALICE, (RESERVED,)),)),
    terms(True, "192.0.2.5", addresses_per_peer=2, grace_time=300.0),
    terms(False, "192.0.2.2"),
    terms(False, "192.0.2.3", reservations=(Reservation(BOB, (RESERVED,)),), grace_time=300.0),
    # Too few for all: what one gives back is what another waits for.
    LeaseTerms((PoolTerms(parse_pool(SECOND)),), quarantine_time=5000.0, max_new_addresses=10**6),
]
KEYS = st.sampled_from([ALICE, BOB, CAROL])
WISHES = st.lists(
    st.sampled_from(["0.0.0.0", "0.0.0.0", *ADDRESSES, "203.0.113.1"]),  # noqa: S104 - no bind
    min_size=1,
    max_size=2,
)
REQUESTS = st.tuples(
    KEYS,
    st.builds(
        lambda version, wishes: RequestIP(
            version,
            wishes=tuple(ip_address(wish) for wish in (wishes[:1] if version == 1 else wishes)),
        ),
        st.sampled_from([1, 2, 2]),
        WISHES,
    ),
)


class AtOnce(Executor):
    """Does what it is given in the caller's thread: the same story runs the same way twice."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - all that may come is for the one who waits
            done.set_exception(error)
        return done


class SlowHelper(FakeHelperProxy):
    """Lets others have a turn, or a crash come, before and after each change."""

    async def change(self, changes: Sequence[Change]) -> list[Refusal]:
        await asyncio.sleep(0)
        refusals = await super().change(changes)
        await asyncio.sleep(0)
        return refusals


class LeaseLife(RuleBasedStateMachine):
    @initialize(number=st.integers(0, len(TERMS) - 1), seed=st.integers(0, 2**32))
    def begin(self, number: int, seed: int) -> None:
        self.patch = patch.object(engine_module, "MEMORIES_PER_ADDRESS", 2)
        self.patch.start()
        self.loop = asyncio.new_event_loop()
        self.server = Server(POOL, SECOND)
        self.server.random_below = Random(seed).randrange  # noqa: S311 - not a secret
        self.server.on_answer = self.told
        self.pending: dict[bytes, list[LeaseRequest]] = {ALICE: [], BOB: [], CAROL: []}
        self.leased: dict[bytes, tuple[bytes, float]] = {}
        """Address -> who was told to have it, and until when."""
        self.ended: dict[bytes, tuple[bytes, float]] = {}
        self.quarantined: dict[bytes, tuple[bytes, float]] = {}
        self.unsure: dict[bytes, float] = {}
        """Who may hold what is not known here, and until when."""
        self.foreseen: set[bytes] = set()
        """Whose release or decline is carried out, as another's answer shows, and not answered."""
        self.awaited: list[asyncio.Future[Answer]] = []
        self.faults: list[str] = []
        self.start(number)

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.close()
            self.patch.stop()

    def start(self, number: int) -> None:
        server = self.server
        if TERMS[number].grace_time > server.terms.grace_time:
            self.ended.clear()  # without a time of grace some may have been forgotten
        server.terms = TERMS[number]
        server.restart()
        server.engine._thread.shutdown()
        self.at_once(server.engine)
        server.engine._helper = SlowHelper(server.allowed_ips, server.journal)

    @staticmethod
    def at_once(engine: Any) -> None:
        engine._thread = AtOnce()

    @property
    def now(self) -> float:
        return self.server.clock.now()

    # --- what peers do --------------------------------------------------------------------------

    def submit(self, key: bytes, request: LeaseRequest) -> None:
        async def do() -> None:
            self.awaited.append(self.server.submit(key, request))

        self.pending[key].append(request)
        self.loop.run_until_complete(do())

    @rule(asked=st.lists(REQUESTS, min_size=1, max_size=4), settled=st.booleans())
    def ask(self, asked: list[tuple[bytes, RequestIP]], settled: bool) -> None:
        for key, request in asked:
            self.submit(key, request)
        if settled:
            self.settle()

    @rule(asked=st.lists(REQUESTS, min_size=3, max_size=6), seconds=st.sampled_from([10.0, 3599.0]))
    def ask_and_wait(self, asked: list[tuple[bytes, RequestIP]], seconds: float) -> None:
        self.ask(asked, settled=True)
        self.wait(seconds)

    @rule(asked=st.lists(REQUESTS, min_size=1, max_size=2), givers=st.lists(KEYS, max_size=2))
    def ask_and_release(self, asked: list[tuple[bytes, RequestIP]], givers: list[bytes]) -> None:
        self.ask(asked, settled=False)
        for key in givers:
            self.release(key)
        self.settle()

    @rule(key=KEYS)
    def release(self, key: bytes) -> None:
        self.submit(key, ReleaseIP())

    @rule(key=KEYS, address=st.sampled_from(ADDRESSES))
    def decline(self, key: bytes, address: str) -> None:
        self.submit(key, DeclineIP(addresses=(ip_address(address),)))

    @rule(key=KEYS)
    def decline_what_it_has(self, key: bytes) -> None:
        mine = [address for address, (owner, _) in self.leased.items() if owner == key]
        if mine:
            self.submit(key, DeclineIP(addresses=(ip_address(min(mine)),)))

    # --- what happens to them -------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1.0, 100.0, 400.0, 1800.0, 3599.0, 6000.0]))
    def wait(self, seconds: float) -> None:
        self.settle()
        self.server.clock.pass_time(seconds)
        for address, (key, ends_at) in list(self.leased.items()):
            if ends_at <= self.now:
                self.end(address, key, ends_at)

    @rule(fails=st.booleans())
    def store(self, fails: bool) -> None:
        self.server.store.fails = fails

    @rule(address=st.sampled_from(ADDRESSES), refused=st.booleans())
    def refuse(self, address: str, refused: bool) -> None:
        self.settle()
        prefix = parse_prefix(f"{address}/32")
        there = self.server.allowed_ips
        if not refused and prefix not in there.static:
            there.refuse.pop(prefix, None)
        elif refused and prefix not in there.leased:
            there.refuse[prefix] = "so told"

    @rule(address=st.sampled_from(ADDRESSES), key=KEYS)
    def administrator_gives(self, address: str, key: bytes) -> None:
        """As WireGuard does it: whoever had it has it no more."""
        self.settle()
        prefix, there = parse_prefix(f"{address}/32"), self.server.allowed_ips
        there.leased.pop(prefix, None)
        there.static[prefix] = key
        there.refuse[prefix] = "it is another peer's"
        self.settle()

    @rule(address=st.sampled_from(ADDRESSES))
    def administrator_takes(self, address: str) -> None:
        self.settle()
        prefix, there = parse_prefix(f"{address}/32"), self.server.allowed_ips
        if there.static.pop(prefix, None):
            there.refuse.pop(prefix, None)
        self.settle()

    @rule(turns=st.integers(0, 12), number=st.integers(0, len(TERMS) - 1))
    def crash(self, turns: int, number: int) -> None:
        """The engine is dropped at whatever it waits for; the next one may have other terms."""

        async def do() -> None:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(self.server.engine.run())
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()

        self.loop.run_until_complete(do())
        self.awaited.clear()
        assert not self.faults
        self.give_quarantine_up()  # the next terms may reserve nothing
        for key, requests in self.pending.items():
            if requests:  # nobody knows what became of it, but what the store says
                self.forget_all_of(key)
                requests.clear()
        self.start(number)
        self.check_durable()

    @precondition(lambda self: any(self.pending.values()))
    @rule()
    def settle(self) -> None:
        """Everything is answered, and compared with the interface."""

        async def do() -> None:
            async with self.server.running(), asyncio.timeout(10):
                for answer in self.awaited:
                    await answer
                await self.server.read_peers()
                await self.server.read_peers()

        self.loop.run_until_complete(do())
        self.awaited.clear()
        assert not self.faults
        self.check_durable()
        self.check_in_force()

    # --- what is found --------------------------------------------------------------------------

    def told(self, key: bytes, answer: Answer) -> None:
        if not self.pending[key]:
            return  # the fake's own
        request = self.pending[key].pop(0)
        if isinstance(answer, RequestIPReply):
            self.granted(key, answer)
            return
        assert not isinstance(request, RequestIP)
        foreseen = key in self.foreseen
        self.foreseen.discard(key)
        if foreseen and answer.errno != ErrorCode.SUCCESS:
            self.faults.append(f"{answer.errno} to {key[0]}, whose address another has")
        elif not foreseen and answer.errno == ErrorCode.SUCCESS:
            self.give_back(key, request)

    def give_back(self, key: bytes, request: ReleaseIP | DeclineIP) -> None:
        named = {address.packed for address in request.addresses}
        for address, (owner, _) in list(self.leased.items()):
            if owner == key and (not named or address in named):
                self.end(address, key, self.now)
        if isinstance(request, DeclineIP):
            for address in named:
                self.quarantined[address] = (key, self.now + 5000.0)

    def foresee(self, key: bytes, address: bytes) -> None:
        """A batch carries out what is given back first, and answers in the order of arrival.

        So the new holder may be told before the old one, but in the same breath: no task has a
        turn between the two.
        """
        owner = self.leased.get(address, (key, 0.0))[0]
        request = self.pending[owner][0] if self.pending[owner] else None
        if owner == key or request is None or isinstance(request, RequestIP):
            return
        if not request.addresses or ip_address(address) in request.addresses:
            self.give_back(owner, request)
            self.foreseen.add(owner)
            self.loop.call_soon(self.check_foreseen)

    def check_foreseen(self) -> None:
        self.faults += [f"{key[0]} lost an address before it was told" for key in self.foreseen]

    def granted(self, key: bytes, reply: RequestIPReply) -> None:
        addresses = [one.ip.packed for one in reply.addresses]
        for address in addresses:
            self.foresee(key, address)
        self.give_quarantine_up()
        for one in reply.addresses:
            fault = self.fault(key, one.ip.packed)
            if fault:
                self.faults.append(f"{one.ip} to {key[0]}: {fault}")
        self.give_up(key, addresses, certain=reply.errno == ErrorCode.SUCCESS)
        for one in reply.addresses:
            self.leased[one.ip.packed] = (key, self.now + one.valid_time)
            self.ended.pop(one.ip.packed, None)
            self.quarantined.pop(one.ip.packed, None)
        if addresses:
            mine = sum(owner == key for owner, _ in self.leased.values())
            if mine > self.room(key):
                self.faults.append(f"{mine} addresses for {key[0]}")

    def fault(self, key: bytes, address: bytes) -> str:
        """Why nobody should have been given this address."""
        owner, prefix = self.reserved(address), host_prefix(address)
        faults = {
            "reserved for another": owner not in (None, key),
            "another peer's static one": self.server.allowed_ips.static.get(prefix, key) != key,
            "another peer's lease": self.leased.get(address, (key, 0.0))[0] != key,
            "not durable": self.server.stored().get(format_address(address)) != key,
        }
        if owner is None:
            faults |= self.faults_of_the_unreserved(key, address)
        return ", ".join(text for text, is_so in faults.items() if is_so)

    def faults_of_the_unreserved(self, key: bytes, address: bytes) -> dict[str, bool]:
        terms, never = self.server.terms, (bytes(32), float("-inf"))
        last, at = self.ended.get(address, never)
        return {
            "in no pool": not any(one.pool.leases(address) for one in terms.pools),
            "excluded": any(hole.holds(address) for one in terms.pools for hole in one.excluded),
            "in quarantine": self.quarantined.get(address, never)[1] > self.now,
            "in its grace time": last != key and at + terms.grace_time > self.now,
        }

    def reserved(self, address: bytes) -> bytes | None:
        reservations = self.server.terms.reservations
        return next((one.public_key for one in reservations if address in one.addresses), None)

    def room(self, key: bytes) -> int:
        quarantined = sum(
            owner == key and until > self.now for owner, until in self.quarantined.values()
        )
        room = self.server.terms.addresses_per_peer - max(0, quarantined - FREE_DECLINES)
        reserved = any(one.public_key == key for one in self.server.terms.reservations)
        return max(room, 1 if reserved else 0)

    def give_up(self, key: bytes, granted: list[bytes], *, certain: bool) -> None:
        """What the peer has beside what it was granted, and may not keep, it has no more."""
        others = [
            (ends_at, address)
            for address, (owner, ends_at) in self.leased.items()
            if owner == key and address not in granted
        ]
        others.sort(reverse=True)
        keeps = max(0, self.room(key) - len(granted)) if granted else len(others)
        for place, (ends_at, address) in enumerate(others):
            tie = keeps and (
                any(end == ends_at and one != address for end, one in others)
                or ends_at <= self.unsure.get(key, 0.0)
            )
            if not granted:
                continue
            if place >= keeps or tie:
                self.end(address, key, self.now)
                if tie:
                    self.unsure[key] = max(ends_at, self.unsure.get(key, 0.0))
                if tie or not certain:
                    self.ended.pop(address, None)

    def give_quarantine_up(self) -> None:
        """Whom an address is reserved for may take it, though it was declined once.

        It may also have been refused in the allowed IPs then, or not been told before a crash:
        only the store tells.
        """
        for lease in self.server.store.load(self.server.clock.moment()):
            if not lease.declined and self.reserved(lease.address) == lease.public_key:
                self.quarantined.pop(lease.address, None)

    def end(self, address: bytes, key: bytes, at: float) -> None:
        del self.leased[address]
        self.ended[address] = (key, at)

    def forget_all_of(self, key: bytes) -> None:
        for kept in (self.leased, self.ended):
            for address in [one for one, (owner, _) in kept.items() if owner == key]:
                del kept[address]
        self.unsure[key] = self.now + 3600.0

    def check_durable(self) -> None:
        """What was acknowledged and has not ended is in the store."""
        stored = self.server.stored()
        for address, (key, ends_at) in self.leased.items():
            assert ends_at <= self.now or stored.get(format_address(address)) == key

    def check_in_force(self) -> None:
        """The allowed IPs are what is leased, less what is in an administrator's way."""
        server = self.server
        held = {
            host_prefix(lease.address): lease.public_key
            for lease in server.table.held()
            if not lease.is_over(self.now)
        }
        expected = dict(held)
        there = server.allowed_ips
        for prefix in there.refuse:
            if prefix not in there.leased:
                expected.pop(prefix, None)
        assert there.leased == expected
        if not server.store.fails:
            assert held == {
                parse_prefix(f"{address}/32"): key for address, key in server.stored().items()
            }


# --- stories that were found once ---------------------------------------------------------------


@pytest.fixture
def life() -> Iterator[LeaseLife]:
    life = LeaseLife()
    yield life
    life.teardown()


def wish_for(address: str) -> RequestIP:
    return RequestIP(version=1, wishes=(ip_address(address),))


def test_one_who_asked_before_a_release_may_get_what_it_gives_back(life: LeaseLife) -> None:
    life.begin(0, seed=0)
    life.ask([(BOB, wish_for("198.51.100.1")), (CAROL, wish_for("198.51.100.2"))], settled=True)
    life.ask([(BOB, wish_for("198.51.100.2"))], settled=False)
    life.release(CAROL)
    life.settle()
    assert life.leased[parse_address("198.51.100.2")][0] == BOB


def test_one_who_asked_before_a_decline_may_get_what_is_reserved_for_it(life: LeaseLife) -> None:
    life.begin(2, seed=0)
    life.ask([(BOB, wish_for("192.0.2.3"))], settled=True)
    life.crash(0, number=0)  # from now on it is Alice's
    life.ask([(ALICE, wish_for("192.0.2.3"))], settled=False)
    life.decline(BOB, "192.0.2.3")
    life.settle()
    assert life.leased[RESERVED][0] == ALICE
    life.crash(0, number=2)
    life.ask([(ALICE, wish_for("192.0.2.3"))], settled=True)  # hers, whatever Bob declined
    assert life.leased[RESERVED][0] == ALICE


@pytest.mark.parametrize("turns", range(12))
def test_one_may_hold_what_it_declined_when_it_was_reserved_for_it(
    life: LeaseLife, turns: int
) -> None:
    life.begin(3, seed=0)
    life.ask([(BOB, wish_for("192.0.2.3"))], settled=True)
    life.decline(BOB, "192.0.2.3")
    life.settle()
    life.ask([(BOB, wish_for("192.0.2.3"))], settled=False)
    life.crash(turns, number=1)  # it may have it, and not know; it is not reserved any more
    life.ask([(BOB, wish_for("192.0.2.3"))], settled=True)


LeaseLife.TestCase.settings = settings(max_examples=300, stateful_step_count=30)
TestLeaseLife: Any = LeaseLife.TestCase
