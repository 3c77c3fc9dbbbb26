"""The server's network process. Started by the helper only: arguments are its business."""

import asyncio
import socket
from pathlib import Path

from wg_dynamic.cli.network import run_network_process
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.codec import ChannelError
from wg_dynamic.privsep.requests import (
    SERVER_REPLIES,
    SERVER_REQUESTS,
    AdminListener,
    ReadAdmin,
    ServerStart,
    Stop,
)
from wg_dynamic.privsep.sandbox import RANDOM, SERVER, Sandbox
from wg_dynamic.privsep.terms import read_terms
from wg_dynamic.record import replace
from wg_dynamic.server.daemon import serve
from wg_dynamic.store.holder import LOCKS
from wg_dynamic.store.sqlite import SqliteStore
from wg_dynamic.system.clock import SystemClock
from wg_dynamic.system.privileges import raise_file_limit

OTHER_FILES = 160
"""Descriptors that are no connections that count: database, channel, log, the loop's own, those of
administrators (server/admin.py, MAX_CONNECTIONS), and what is on its way in or out
(server/listener.py, ACCEPTED_AT_ONCE, for a few turns of the loop)."""


def confine(sandbox: Sandbox, database: Path) -> None:
    """Leave the server its database's directory, and what it needs to say who has it locked."""
    directory = database.parent
    sandbox.close(
        SERVER,
        # With the one above: a directory that was removed and made again is written in as before.
        # There the file's permissions say what is the account's, and nothing else is.
        work=(directory, directory.parent) if directory.parent != Path("/") else (directory,),
        readable=(RANDOM, LOCKS),
    )


def _work(channel: Channel, sandbox: Sandbox) -> None:
    start, listener = channel.wait_for(ServerStart)
    if listener is None:
        msg = "the helper sent no listening socket"
        raise RuntimeError(msg)
    start = replace(start, terms=read_terms(channel, start.terms))
    admin = _admin_listener(channel)
    room = raise_file_limit() - OTHER_FILES
    clock = SystemClock()
    clock.boot_id()  # read, while files can be
    confine(sandbox, Path(start.database))
    asyncio.run(serve(start, listener, channel, SqliteStore, clock, room=room, admin=admin))


def _admin_listener(channel: Channel) -> socket.socket | None:
    """The administration socket. Raises EOFError, ChannelError."""
    channel.send(ReadAdmin())
    message, attached = channel.wait_for(object)
    if isinstance(message, Stop):
        raise EOFError
    if not isinstance(message, AdminListener):
        msg = f"{type(message).__name__} instead of the administration socket"
        raise ChannelError(msg)
    return attached


def main(words: list[str]) -> int:
    """The process; returns its exit status."""
    return run_network_process("wg-dynamic-server", words, SERVER_REQUESTS, SERVER_REPLIES, _work)
