"""The server's network process. Started by the helper only: arguments are its business."""

import asyncio
import sys

from wg_dynamic.cli.network import run_network_process
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.requests import SERVER_REPLIES, SERVER_REQUESTS, ServerStart
from wg_dynamic.privsep.terms import read_terms
from wg_dynamic.record import replace
from wg_dynamic.server.daemon import serve
from wg_dynamic.store.sqlite import SqliteStore
from wg_dynamic.system.clock import SystemClock
from wg_dynamic.system.privileges import raise_file_limit

OTHER_FILES = 64
"""Descriptors that are no connections: database, channel, log, the loop's own."""


def _work(channel: Channel) -> None:
    start, listener = channel.wait_for(ServerStart)
    if listener is None:
        msg = "the helper sent no listening socket"
        raise RuntimeError(msg)
    start = replace(start, terms=read_terms(channel, start.terms))
    room = raise_file_limit() - OTHER_FILES
    asyncio.run(serve(start, listener, channel, SqliteStore, SystemClock(), room=room))


if __name__ == "__main__":
    sys.exit(
        run_network_process("wg-dynamic-server", sys.argv, SERVER_REQUESTS, SERVER_REPLIES, _work)
    )
