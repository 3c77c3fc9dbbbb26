"""Carries requests out, in one order: take off, decide, commit, add, answer (architecture.md).

One task works on batches: whatever has arrived while the last batch was written shares the next
transaction and the next message to the helper. Nothing is acknowledged before it is on disk and
in the allowed IPs; nothing is freed before it is out of them. One task means that no two
decisions ever see different tables.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import isinf

from wg_dynamic.address import Prefix, format_address, host_prefix
from wg_dynamic.leases.lease import Lease
from wg_dynamic.leases.table import LeaseTable
from wg_dynamic.leases.terms import INFINITE
from wg_dynamic.privsep.requests import Change, PeerInfo
from wg_dynamic.protocol import FOREVER, DeclineIP, ErrorCode, RequestIP, Update
from wg_dynamic.record import dataclass
from wg_dynamic.server.churn import Churn
from wg_dynamic.server.events import RELEASED, REVOKED, Events
from wg_dynamic.server.fences import FenceWatch
from wg_dynamic.server.identity import PeerTable
from wg_dynamic.server.orders import BY_OPERATOR, Decision, Order, decide_order
from wg_dynamic.server.orders import Outcome as OrderOutcome
from wg_dynamic.server.policy import (
    MEMORIES_PER_ADDRESS,
    Asked,
    Outcome,
    Rules,
    decide,
    to_decline,
    to_release,
)
from wg_dynamic.server.proxy import HelperProxy
from wg_dynamic.server.reconcile import Reconciler
from wg_dynamic.server.replies import Answer, LeaseRequest, Replies, bare_reply
from wg_dynamic.server.timings import Timings
from wg_dynamic.store.base import LeaseStore, Moment, StoreError, StoreLostError
from wg_dynamic.system.clock import Clock
from wg_dynamic.system.log import logger
from wg_dynamic.wireguard.key import peer_label

_LOG = logger(__name__)

MAX_BATCH = 1000
"""Requests in one transaction."""
RECHECK = 30.0
"""Longest wait, seconds: asyncio's clock stands still in suspend, ours does not."""
STORE_PROBE = 1.0
"""Seconds between two tries to write when the last one failed."""
DISK_PATIENCE = 1.0
"""Seconds that a commit may take before what else is due is looked at, again and again."""
DISK_SLOW = 5.0
"""Seconds that a commit may take before the log says so."""
STORE_RETRY = 5
"""Seconds that a client is asked to wait when the store is away."""


@dataclass(frozen=True, slots=True)
class Job:
    """One request of one peer."""

    public_key: bytes
    source: bytes
    request: LeaseRequest
    done: Callable[[Answer], None]


@dataclass(frozen=True, slots=True)
class NewRules:
    """The administrator's terms are others now."""

    rules: Rules
    infos: list[PeerInfo]
    """A reading of the interface: which allowed IPs fence the new pools."""
    done: Callable[[], None]


_Item = Job | Order | list[PeerInfo] | NewRules
"""What the engine works on; a list is a new reading of the interface."""


class Engine:
    """All leases of one server."""

    def __init__(
        self,
        rules: Rules,
        table: LeaseTable,
        *,
        store: LeaseStore,
        helper: HelperProxy,
        peers: PeerTable,
        clock: Clock,
    ) -> None:
        self._rules = rules
        self._replies = Replies(rules, clock)
        self._churn = Churn(rules.terms.max_new_addresses)
        self.events = Events(clock, self._network)
        """Who wants to know of leases listens here."""
        self.events.name_of = self._name_of
        self._fence_watch = FenceWatch()
        self._table = table
        self._store = store
        self._helper = helper
        self._peers = peers
        self._clock = clock
        self._boot_id = clock.boot_id()
        self._waiting: deque[_Item] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "store")
        self._store_failed = False
        self._store_lost = False
        """The database was removed under us: it is written anew, from the table."""
        self._reconciler = Reconciler(table, helper, peers, clock)
        self.noticed: Callable[[Iterable[bytes] | None], None] = lambda _keys: None
        """Called with the keys of peers whose leases began or ended, and with None when the rules
        are others."""
        self.timings = Timings()
        """For who asks how the server stands."""

    @property
    def rules(self) -> Rules:
        """What it leases by now."""
        return self._rules

    @property
    def table(self) -> LeaseTable:
        """All leases: to be read, between two turns of the event loop."""
        return self._table

    def standing(self, public_key: bytes, serial: int) -> Update:
        """All that holds for a peer, as a push."""
        now = self._clock.now()
        leases = [one for one in self._table.of_peer(public_key) if not one.is_over(now)]
        return self._replies.standing(public_key, leases, serial)

    @property
    def store_works(self) -> bool:
        """Whether the last commit went well."""
        return not self._store_failed

    @property
    def is_busy(self) -> bool:
        """Whether more waits than goes into the next transaction."""
        return len(self._waiting) > MAX_BATCH

    def submit(self, job: Job) -> None:
        """Queue a request; its `done` is called with the reply."""
        self._waiting.append(job)
        self._arrived.set()

    def order(self, order: Order) -> None:
        """Queue an operator's order; its `done` is called with what became of it."""
        self._waiting.append(order)
        self._arrived.set()

    def peers_read(self, infos: list[PeerInfo]) -> None:
        """Queue a new reading of the interface: leases and allowed IPs are compared."""
        self._waiting.append(infos)
        self._arrived.set()

    def change_rules(self, new: NewRules) -> None:
        """Queue new rules: what was queued before is decided by the old ones; no lease is dropped.

        Its `done` is called when they are in force.
        """
        self._waiting.append(new)
        self._arrived.set()

    async def run(self) -> None:
        """Work until cancelled. Raises HelperGoneError."""
        try:
            while True:
                await self.turn()
        finally:
            self._thread.shutdown(wait=True)

    async def turn(self) -> None:
        """Wait for something to do, and do it. For `run`, and once before it."""
        items = await self._gather()
        begin = self._clock.now()
        await self._batch(items)
        jobs = sum(isinstance(item, Job) for item in items)
        if jobs:
            self.timings.request.add(self._clock.now() - begin, jobs)

    async def _gather(self) -> list[_Item]:
        """What waits; at the latest when a lease ends, with nothing.

        New rules are a batch of their own. Two jobs of one peer never share one: which came first
        matters (a batch handles its releases first), and the second may undo what the first would
        be told.
        """
        if not self._waiting:
            await self._wait()
        items: list[_Item] = []
        later: list[_Item] = []
        seen: set[bytes] = set()
        while self._waiting and len(items) < MAX_BATCH:
            item = self._waiting.popleft()
            if isinstance(item, NewRules):
                if items or later:
                    later.append(item)
                else:
                    items.append(item)
                break
            if isinstance(item, Job) and item.public_key in seen:
                later.append(item)  # and nobody behind it waits for that
                continue
            if isinstance(item, Job):
                seen.add(item.public_key)
            items.append(item)
        self._waiting.extendleft(reversed(later))
        return items

    async def _wait(self) -> None:
        end = self._table.next_end()
        wait = RECHECK if end is None else min(RECHECK, max(0.0, end - self._clock.now()))
        if self._store_failed:
            wait = STORE_PROBE  # ended leases are due all the time: do not spin on a full disk
        self._arrived.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._arrived.wait()

    async def _batch(self, items: list[_Item]) -> None:
        await self._prepare(items)
        jobs = [item for item in items if isinstance(item, Job)]
        orders = [item for item in items if isinstance(item, Order)]
        now = self._clock.now()
        self._table.begin()
        ordered = {id(order): self._decide_order(order, now) for order in orders}
        returns = {
            id(job): self._leases_given_back(job, now)
            for job in jobs
            if not isinstance(job.request, RequestIP)
        }
        ending = {lease.address: lease.end(now) for lease in self._table.due(now)}
        released = {lease.address: lease for leases, _ in returns.values() for lease in leases}
        ending.update(released)
        by_order = {lease.address: lease for one in ordered.values() for lease in one.ending}
        ending.update(by_order)
        given_back = {address: self._table.get(address) for address in ending}
        await self._take_off(ending.values())
        self._lift(ordered.values())
        outcomes = [self._decide(job, now) for job in jobs]
        fresh = self._fresh(outcomes, ending.keys())
        self._forget_oldest({lease.public_key for lease in ending.values()}, now)
        before, after = self._table.before(), self._table.after()
        # An address that ended may have a new holder already: the store is told both, in order.
        held = [lease for lease in after.values() if lease is not None and not lease.ended]
        changes = [*ending.values(), *held]
        forgotten = [address for address, lease in after.items() if lease is None]
        if not await self._commit(changes, forgotten):
            await self._put_back([one for one in given_back.values() if one], now)
            self._fail(jobs, orders)
            return
        for job, outcome in zip(jobs, outcomes, strict=True):
            self._churn.add(job.public_key, outcome.new)
        refused = await self._put_on(fresh, before)
        new = {lease.address for lease in fresh}
        told = [lease for lease in changes if lease.ended or lease.address not in refused]
        self._tell(told, now, new, released, by_order)
        # Nobody looks at these where nobody has subscribed.
        self.noticed(one.public_key for one in told if one.ended or one.address in new)
        for order in orders:
            done = ordered[id(order)]
            order.done(OrderOutcome((*done.ending, *done.lifted), stored=True))
        for job, outcome in zip(jobs, outcomes, strict=True):
            if isinstance(job.request, RequestIP):
                self._answer(job, job.request, outcome, refused)
            else:
                self._done(job, bare_reply(job.request, returns[id(job)][1]))

    async def _prepare(self, items: list[_Item]) -> None:
        """Do what comes before the requests of a batch."""
        for item in items:
            if isinstance(item, NewRules):
                await self._change_rules(item)
            elif isinstance(item, list):
                await self._compare(item)

    async def _compare(self, infos: list[PeerInfo]) -> None:
        self._fence_watch.look(self._peers.fences(), self._table, self._clock.now())
        await self._reconciler.compare(infos)

    async def _change_rules(self, new: NewRules) -> None:
        """Work by other rules from now on, with the same leases."""
        self._rules = new.rules
        self._replies = Replies(new.rules, self._clock)
        self._churn.limit = new.rules.terms.max_new_addresses
        new.rules.change_table(self._table)
        self._peers.change_pools(new.rules.pools)
        self._peers.update(new.infos)
        now = self._clock.now()
        self._table.begin()
        bounded = [new.rules.bounded(lease, now) for lease in self._table.endless()]
        bounded = [lease for lease in bounded if not isinf(lease.ends_at)]
        for lease in bounded:
            self._table.put(lease)
        if bounded:
            await self._commit(bounded)  # if that fails, the next start does it again
        await self._compare(new.infos)
        self.noticed(None)
        new.done()

    def _fail(self, jobs: Iterable[Job], orders: Iterable[Order]) -> None:
        """Nothing of the batch is on disk."""
        for job in jobs:
            self._done(job, bare_reply(job.request, ErrorCode.STORE_DOWN, STORE_RETRY))
        for order in orders:
            order.done(OrderOutcome((), stored=False))

    def _tell(
        self,
        changes: Iterable[Lease],
        now: float,
        new: Collection[bytes],
        released: Mapping[bytes, Lease],
        ordered: Mapping[bytes, Lease],
    ) -> None:
        """Tell what has happened.

        Args:
            changes: leases as they are now.
            now: CLOCK_BOOTTIME seconds.
            new: addresses that are in the allowed IPs only now.
            released: leases, by their addresses, that their holders gave back.
            ordered: those that an operator ended.
        """
        for lease in changes:
            if ordered.get(lease.address) is lease:
                self.events.tell(REVOKED if lease.declined else RELEASED, lease, BY_OPERATOR)
            else:
                given_back = released.get(lease.address) is lease
                self.events.changed(lease, now, fresh=lease.address in new, released=given_back)

    def _name_of(self, public_key: bytes) -> str | None:
        return self._rules.name_of(public_key)  # likewise

    def _network(self, address: bytes) -> Prefix:
        return self._rules.network(address)  # of the rules of now

    # --- the steps of a batch -------------------------------------------------------------------

    def _leases_given_back(self, job: Job, now: float) -> tuple[list[Lease], ErrorCode]:
        """What is released or declined, as it will be, and the code of the answer."""
        request = job.request
        if isinstance(request, RequestIP):
            return [], ErrorCode.SUCCESS
        if self._peers.owner(job.source) != job.public_key:
            return [], ErrorCode.NOT_PERMITTED
        addresses = [address.packed for address in request.addresses]
        if isinstance(request, DeclineIP):
            leases, code = to_decline(self._table, job.public_key, addresses, now)
            until = now + self._rules.terms.quarantine_time
            return [lease.decline(until) for lease in leases], code
        leases, code = to_release(self._table, job.public_key, addresses)
        return [lease.end(now) for lease in leases if not lease.is_over(now)], code

    def _decide_order(self, order: Order, now: float) -> Decision:
        return decide_order(self._table, order, now, self._rules.terms.quarantine_time)

    def _lift(self, decisions: Iterable[Decision]) -> None:
        for lease in (lease for one in decisions for lease in one.lifted):
            self._table.forget(lease.address)

    def _forget_oldest(self, public_keys: Iterable[bytes], now: float) -> None:
        """Keep a bounded number of memories of each peer: with an IPv6 pool it has no end."""
        limit = MEMORIES_PER_ADDRESS * self._rules.terms.addresses_per_peer
        for key in public_keys:
            for address in self._table.excess(key, limit, now):
                self._table.forget(address)

    async def _take_off(self, memories: Collection[Lease]) -> None:
        """Off the allowed IPs, then ended in the table."""
        await self._helper.change([_change(lease, add=False) for lease in memories])
        for memory in memories:
            self._table.put(memory)

    async def _put_back(self, leases: Iterable[Lease], now: float) -> None:
        """What was given back, and could not be recorded, is still leased."""
        held = [lease for lease in leases if not lease.is_over(now)]
        await self._helper.change([_change(lease, add=True) for lease in held])

    def _decide(self, job: Job, now: float) -> Outcome:
        if not isinstance(job.request, RequestIP):
            return Outcome()
        if self._peers.owner(job.source) != job.public_key:
            return Outcome(code=ErrorCode.NOT_PERMITTED)  # the address moved to another peer
        asked = Asked(
            job.public_key,
            tuple(wish.packed for wish in job.request.wishes),
            job.request.version,
            _lease_time(job.request.valid_time),
            self._churn.left(job.public_key, now),
        )
        return decide(self._table, asked, self._rules, now)

    def _fresh(self, outcomes: Iterable[Outcome], taken_off: Collection[bytes]) -> list[Lease]:
        """What was granted and is not in the allowed IPs yet: all but the renewals."""
        before = self._table.before()
        fresh: list[Lease] = []
        for outcome in outcomes:
            for lease in outcome.leases:
                old = before.get(lease.address)
                stands = old is not None and not old.ended and old.public_key == lease.public_key
                if not stands or lease.address in taken_off:
                    fresh.append(lease)
        return fresh

    async def _commit(self, changes: list[Lease], forgotten: Collection[bytes] = ()) -> bool:
        """Make the changes durable; False, and the table as before, when that fails."""
        loop = asyncio.get_running_loop()
        write = self._writing(changes, list(forgotten))
        begin = self._clock.now()
        try:
            await self._wait_for_disk(loop.run_in_executor(self._thread, write))
        except StoreError as error:
            self._table.rollback()
            if not self._store_failed:
                _LOG.error(
                    "%s; nothing is granted, renewed or released until it works again", error
                )
            self._store_failed = True
            self._store_lost = self._store_lost or isinstance(error, StoreLostError)
            return False
        if changes:
            self.timings.store.add(self._clock.now() - begin)
        self._store_lost = False
        if self._store_failed:
            _LOG.warning("the lease database works again")
            self._store_failed = False
        return True

    def _writing(self, changes: list[Lease], forgotten: list[bytes]) -> Callable[[], None]:
        """What the store has to do for the changes; after a failure, be there any or not."""
        moment = Moment(self._clock.now(), self._clock.wall(), self._boot_id)
        if self._store_lost:
            return partial(self._store.rebuild, list(self._table.all()), moment)
        if changes or forgotten or self._store_failed:
            return partial(self._store.commit, changes, moment, forgotten)
        return self._store.look

    async def _wait_for_disk(self, write: asyncio.Future[None]) -> None:
        """Wait for a write, however long; what ends meanwhile leaves the allowed IPs in time.

        It stays held until the next batch. A renewal counts from when it is on disk: until then
        its lease ends when it would have without.
        """
        begin, told = self._clock.now(), False
        off: set[bytes] = set()
        try:
            while not (await asyncio.wait([write], timeout=DISK_PATIENCE))[0]:
                now = self._clock.now()
                if now - begin > DISK_SLOW and not told:
                    _LOG.error("the lease database takes more than %.0f s to write", DISK_SLOW)
                    told = True
                old = [lease for lease in self._table.before().values() if lease is not None]
                over = [lease for lease in [*self._table.due(now), *old] if lease.is_over(now)]
                over = [lease for lease in over if not lease.ended and lease.address not in off]
                await self._helper.change([_change(lease, add=False) for lease in over])
                off.update(lease.address for lease in over)
        finally:
            write.cancel()  # not the thread: it ends in its own time
        write.result()
        renewed = [lease for address in off if (lease := self._table.get(address))]
        await self._put_back(renewed, self._clock.now())

    async def _put_on(self, fresh: list[Lease], before: Mapping[bytes, Lease | None]) -> set[bytes]:
        """Into the allowed IPs; the addresses refused there, whose leases were ended again.

        What such a peer gave up for the refused address, it keeps.
        """
        if not fresh:
            return set()
        begin = self._clock.now()
        refusals = await self._helper.change([_change(lease, add=True) for lease in fresh])
        now = self._clock.now()
        self.timings.wireguard.add(now - begin)
        if not refusals:
            return set()
        self._table.begin()
        changes: dict[bytes, Lease] = {}
        for one in refusals:
            memory = fresh[one.index].end(now)
            _LOG.error(
                "%s for %s was refused: %s",
                format_address(memory.address),
                peer_label(memory.public_key),
                one.reason,
            )
            changes[memory.address] = memory
            changes.update((lease.address, lease) for lease in self._given_up(memory, before, now))
        for lease in changes.values():
            self._table.put(lease)
        await self._commit(list(changes.values()))
        return {fresh[one.index].address for one in refusals}

    def _given_up(
        self, refused: Lease, before: Mapping[bytes, Lease | None], now: float
    ) -> Iterable[Lease]:
        """The leases, as they were, that ended in this batch only to move to the refused one."""
        for address, old in before.items():
            if old is None or old.is_over(now) or len(address) != len(refused.address):
                continue
            current = self._table.get(address)
            mine = old.public_key == refused.public_key and address != refused.address
            if mine and current is not None and current.is_over(now) and not current.ended:
                yield old

    # --- answers --------------------------------------------------------------------------------

    def _answer(
        self, job: Job, request: RequestIP, outcome: Outcome, refused: Collection[bytes]
    ) -> None:
        reply = self._replies.reply(
            job.public_key, request, outcome, refused, churn_ends_at=self._churn.ends_at
        )
        self._done(job, reply)

    def _done(self, job: Job, reply: Answer) -> None:
        self.events.answered(job.public_key, job.request.command, reply.errno)
        job.done(reply)


def _lease_time(valid_time: int | None) -> float | None:
    return INFINITE if valid_time == FOREVER else valid_time


def _change(lease: Lease, *, add: bool) -> Change:
    prefix: Prefix = host_prefix(lease.address)
    return Change(lease.public_key, prefix, add)
