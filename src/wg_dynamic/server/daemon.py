"""The server's network process, wired together."""

import asyncio
import contextlib
import gc
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

from wg_dynamic.leases.lease import Lease
from wg_dynamic.leases.table import LeaseTable
from wg_dynamic.leases.terms import LeaseTerms
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.requests import NewTerms, PeerInfo, Ready, ServerStart, TermsTaken
from wg_dynamic.server.admin import AdminServer
from wg_dynamic.server.admin_answers import Answers
from wg_dynamic.server.admin_history import Troubles
from wg_dynamic.server.adopt import adopt
from wg_dynamic.server.engine import Engine, NewRules
from wg_dynamic.server.identity import PeerTable
from wg_dynamic.server.listener import MAX_CONNECTIONS, Listener
from wg_dynamic.server.peer_reader import PeerReader
from wg_dynamic.server.policy import Rules
from wg_dynamic.server.proxy import HelperGoneError, HelperProxy
from wg_dynamic.store.base import LeaseStore, Moment, StoreError
from wg_dynamic.system.clock import Clock
from wg_dynamic.system.log import logger, watch

_LOG = logger(__name__)


class Reloader:
    """Takes over the administrator's terms whenever they are others."""

    def __init__(
        self,
        helper: HelperProxy,
        reader: PeerReader,
        engine: Engine,
        rules: Callable[[NewTerms], Rules],
    ) -> None:
        """`rules` lays terms out."""
        self._helper = helper
        self._reader = reader
        self._engine = engine
        self._rules = rules

    async def run(self) -> None:
        """Wait for new terms until cancelled. Raises HelperGoneError, ChannelError."""
        while True:
            new = await self._helper.new_terms()
            await self._reader.read_for(partial(self._switch, self._rules(new)))
            self._helper.tell(TermsTaken(new.number))
            _LOG.info("working by the new configuration")

    async def _switch(self, rules: Rules, infos: list[PeerInfo]) -> None:
        done = asyncio.Event()
        self._engine.change_rules(NewRules(rules, infos, done.set))
        await done.wait()


class _StoppedError(Exception):
    """Ends the task group: the helper said Stop."""


async def serve(
    start: ServerStart,
    listener: socket.socket,
    channel: Channel,
    open_store: Callable[[Path], LeaseStore],
    clock: Clock,
    *,
    room: int = MAX_CONNECTIONS,
    admin: socket.socket | None = None,
) -> None:
    """Serve until the helper says Stop, `room` connections at a time at the most.

    Administrators are served on `admin`, which listens.

    Raises:
        StoreError: the database cannot be opened.
        HelperGoneError: the helper went away.
    """
    store = open_store(Path(start.database))
    helper = HelperProxy(channel)
    try:
        peers = PeerTable([each.pool for each in start.terms.pools])
        rules = _rules(start.terms, peers, start.own)
        table = rules.new_table()
        moment = Moment(clock.now(), clock.wall(), clock.boot_id())
        _load(store, rules, table, moment)
        engine = Engine(rules, table, store=store, helper=helper, peers=peers, clock=clock)
        reader = PeerReader(helper, peers, engine.peers_read, clock)
        infos = await reader.read_first()
        if start.adopt:
            await adopt(infos, rules, table, store, helper, moment=moment)
        _spare_garbage_collection()
        await engine.turn()  # the leases are in force before anybody hears that we serve
        shared = Listener(engine, peers, start.ifindex, clock, reader.soon, room=room)
        server = shared.open(listener)
        _LOG.info("%d leases in %s", len(table), start.database)
        helper.tell(Ready())
        reloader = Reloader(helper, reader, engine, lambda new: _rules(new.terms, peers, new.own))
        try:
            with _administration(start, engine, peers, clock) as administration:
                administration.served = lambda: len(shared.connections)
                administration.told = lambda: len(shared.subscribers)
                serve_admin = partial(administration.run, admin)
                works = (engine.run, reader.run, reloader.run, shared.subscribers.run, serve_admin)
                await _until_stopped(helper, *works)
        finally:
            server.close()
            for connection in list(shared.connections):
                connection.end()
    finally:
        helper.close()
        store.close()


def _spare_garbage_collection() -> None:
    """Look for garbage seldom, and never among what is there already: the leases and the code.

    A request makes hundreds of objects and no cycle that lasts; Python's defaults look through all
    that is young after each 700 of them, and every so often through a million leases.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def _rules(terms: LeaseTerms, peers: PeerTable, own: tuple[bytes, ...]) -> Rules:
    return Rules(terms, secrets.randbelow, peers.is_open, own)


def _load(store: LeaseStore, rules: Rules, table: LeaseTable, moment: Moment) -> None:
    """Put what the store has into the table. Raises StoreError."""
    changed: list[Lease] = []

    def bounded() -> Iterator[Lease]:
        for stored in store.read(moment):
            lease = rules.bounded(stored, moment.now)
            if lease is not stored:
                changed.append(lease)
            yield lease

    table.load(bounded())
    if changed:
        with contextlib.suppress(StoreError):  # the next start does it again
            store.commit(changed, moment)


@contextlib.contextmanager
def _administration(
    start: ServerStart, engine: Engine, peers: PeerTable, clock: Clock
) -> Iterator[AdminServer]:
    """What administrators ask, and what they are told of: the warnings from now on."""
    troubles = Troubles(clock)
    interface, database = start.interface, start.database
    answers = Answers(engine, peers, clock, interface=interface, database=database)
    watch(troubles.add)
    try:
        yield AdminServer(engine, answers, clock, interface, troubles)
    finally:
        watch(None)


async def _run(work: Callable[[], Awaitable[None]]) -> None:
    await work()


async def _until_stopped(helper: HelperProxy, *works: Callable[[], Awaitable[None]]) -> None:
    """Do all of it until the helper says Stop. Raises HelperGoneError."""

    async def wait() -> None:
        await helper.stopped
        raise _StoppedError

    gone: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            for work in (*works, wait):
                group.create_task(_run(work))
    except* _StoppedError:
        pass
    except* HelperGoneError as group:
        gone = group.exceptions[0]  # whoever noticed first: all of them say the same
    if gone is not None:
        raise gone
