"""The server's network process. Started by the helper only: arguments are its business."""

import asyncio
import sys
from pathlib import Path

from wg_dynamic.cli.network import run_network_process
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.requests import SERVER_REPLIES, SERVER_REQUESTS, ServerStart
from wg_dynamic.privsep.sandbox import RANDOM, SERVER, Sandbox
from wg_dynamic.privsep.terms import read_terms
from wg_dynamic.record import replace
from wg_dynamic.server.daemon import serve
from wg_dynamic.store.holder import LOCKS
from wg_dynamic.store.sqlite import SqliteStore
from wg_dynamic.system.clock import SystemClock
from wg_dynamic.system.privileges import raise_file_limit

OTHER_FILES = 128
"""Descriptors that are no connections that count: database, channel, log, the loop's own, and what
is on its way in or out (server/listener.py, ACCEPTED_AT_ONCE, for a few turns of the loop)."""


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
    room = raise_file_limit() - OTHER_FILES
    clock = SystemClock()
    clock.boot_id()  # read, while files can be
    confine(sandbox, Path(start.database))
    asyncio.run(serve(start, listener, channel, SqliteStore, clock, room=room))


if __name__ == "__main__":
    sys.exit(
        run_network_process("wg-dynamic-server", sys.argv, SERVER_REQUESTS, SERVER_REPLIES, _work)
    )
