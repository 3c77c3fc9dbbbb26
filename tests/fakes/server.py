"""A server's engine among fakes: a store that can fail, a helper that can refuse, a clock."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from ipaddress import ip_address

from tests.fakes.clock import FakeClock
from tests.fakes.helper import FakeAllowedIPs, FakeHelperProxy
from wg_dynamic.address import format_address, parse_address, parse_prefix
from wg_dynamic.leases.lease import Lease
from wg_dynamic.leases.pool import Pool
from wg_dynamic.leases.terms import LeaseTerms, PoolTerms
from wg_dynamic.protocol import (
    DeclineIP,
    DeclineIPReply,
    ReleaseIP,
    ReleaseIPReply,
    RequestIP,
    RequestIPReply,
)
from wg_dynamic.server.engine import Engine, Job, NewRules
from wg_dynamic.server.identity import PeerTable
from wg_dynamic.server.policy import Rules
from wg_dynamic.server.replies import Answer, LeaseRequest
from wg_dynamic.store.base import Moment, StoreError, StoreLostError
from wg_dynamic.store.memory import MemoryStore

ALICE, BOB, CAROL = (bytes([number]) * 32 for number in (1, 2, 3))
SOURCES = {
    ALICE: parse_address("fe80::a"),
    BOB: parse_address("fe80::b"),
    CAROL: parse_address("fe80::c"),
}
LEASE_TIME = 3600.0


class JournalStore(MemoryStore):
    """Writes down each commit, and fails when it is told to."""

    def __init__(self, journal: list[str]) -> None:
        super().__init__()
        self.journal = journal
        self.fails = False
        self.lost = False
        """As if its file had been removed: until it is made anew."""
        self.hangs = threading.Event()
        """Set unless a commit is to take its time."""
        self.hangs.set()

    def look(self) -> None:
        if self.lost:
            msg = "it was removed"
            raise StoreLostError(msg)

    def rebuild(self, leases: Sequence[Lease], moment: Moment) -> None:
        if self.lost and not self.fails:
            self._rows.clear()
            self.lost = False
        self.look()
        self.commit(leases, moment)

    def commit(
        self, leases: Sequence[Lease], moment: Moment, forgotten: Sequence[bytes] = ()
    ) -> None:
        self.look()
        if self.fails:
            msg = "the disk is full"
            raise StoreError(msg)
        self.hangs.wait(10.0)
        super().commit(leases, moment, forgotten)
        words = [f"{_verb(lease)} {format_address(lease.address)}" for lease in leases]
        words += [f"forget {format_address(address)}" for address in forgotten]
        self.journal.append(f"commit {', '.join(words)}")


def _verb(lease: Lease) -> str:
    if lease.declined:
        return "decline"
    return "end" if lease.ended else "hold"


class Server:
    """An engine among fakes, with what is needed to look at it."""

    def __init__(self, *pools: str) -> None:
        self.journal: list[str] = []
        self.on_answer: Callable[[bytes, Answer], None] = lambda _key, _reply: None
        """Called at the very moment of an answer, before anything else goes on."""
        self.clock = FakeClock()
        self.allowed_ips = FakeAllowedIPs()
        for key, source in SOURCES.items():
            self.allowed_ips.add_peer(key, parse_prefix(f"{format_address(source)}/128"))
        self.store = JournalStore(self.journal)
        networks = [parse_prefix(pool) for pool in pools or ("192.0.2.0/24",)]
        self.terms = LeaseTerms(
            tuple(PoolTerms(Pool(network)) for network in networks),
            lease_time=LEASE_TIME,
            max_new_addresses=1_000_000,
        )
        """Changed ones count from the next `restart`, or `change_terms`, on."""
        self.random_below: Callable[[int], int] = lambda _: 0
        self.peers = PeerTable([one.pool for one in self.terms.pools])
        self.peers.update(self.allowed_ips.read())
        self.restart()

    def restart(self) -> None:
        """A new engine and table, on what the store has."""
        self.rules = Rules(self.terms, self.random_below, self.peers.is_open)
        self.table = self.rules.new_table()
        self.table.load(self.store.load(self.clock.moment()))
        self.proxy = FakeHelperProxy(self.allowed_ips, self.journal)
        self.engine = Engine(
            self.rules,
            self.table,
            store=self.store,
            helper=self.proxy,
            peers=self.peers,
            clock=self.clock,
        )

    async def change_terms(self) -> None:
        """What a reload does: `terms` count from now on, in the engine that runs."""
        rules = Rules(self.terms, self.random_below, self.peers.is_open)
        done = asyncio.Event()
        self.engine.change_rules(NewRules(rules, self.allowed_ips.read(), done.set))
        await done.wait()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.engine.run())
            try:
                yield
            finally:
                task.cancel()

    def submit(
        self, key: bytes, request: LeaseRequest, source: bytes | None = None
    ) -> asyncio.Future[Answer]:
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def done(reply: Answer) -> None:
            self.journal.append("answer")
            self.on_answer(key, reply)
            answer.set_result(reply)

        self.engine.submit(Job(key, source or SOURCES[key], request, done))
        return answer

    async def request(self, key: bytes, *wishes: str, version: int = 2) -> RequestIPReply:
        reply = await self.submit(key, request_for(*wishes, version=version))
        assert isinstance(reply, RequestIPReply)
        return reply

    async def release(self, key: bytes, *addresses: str) -> ReleaseIPReply:
        reply = await self.submit(key, release_of(*addresses))
        assert isinstance(reply, ReleaseIPReply)
        return reply

    async def decline(self, key: bytes, *addresses: str) -> DeclineIPReply:
        ips = tuple(ip_address(address) for address in addresses)
        reply = await self.submit(key, DeclineIP(addresses=ips))
        assert isinstance(reply, DeclineIPReply)
        return reply

    async def read_peers(self) -> None:
        """What the PeerReader does; returns when the engine has compared."""
        infos = self.allowed_ips.read()
        self.peers.update(infos)
        self.engine.peers_read(infos)
        await self.submit(CAROL, release_of("203.0.113.1"))  # comes after it
        assert self.journal.pop() == "answer"

    def in_force(self) -> dict[str, bytes]:
        return {
            format_address(prefix.packed): key for prefix, key in self.allowed_ips.leased.items()
        }

    def held(self) -> dict[str, bytes]:
        return {format_address(lease.address): lease.public_key for lease in self.table.held()}

    def stored(self) -> dict[str, bytes]:
        return {
            format_address(lease.address): lease.public_key
            for lease in self.store.load(self.clock.moment())
            if not lease.ended
        }


def request_for(*wishes: str, version: int = 2) -> RequestIP:
    return RequestIP(version=version, wishes=tuple(ip_address(wish) for wish in wishes))


def release_of(*addresses: str) -> ReleaseIP:
    return ReleaseIP(addresses=tuple(ip_address(address) for address in addresses))


def ips(reply: RequestIPReply) -> list[str]:
    return [str(one.ip) for one in reply.addresses]
