"""The process of wg-dynamic-watch that may start programs as other users; it reads no server.

It gives the other process its connections, and starts hooks with the events that come from there.
"""

import select
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from wg_dynamic.admin.client import NotRunningError, connect
from wg_dynamic.errors import WgDynamicError
from wg_dynamic.system.log import logger
from wg_dynamic.watch.hooks import Hooks
from wg_dynamic.watch.link import CONNECT, MAX_DATAGRAM, NO, read_event

_LOG = logger(__name__)

TICK: Final = 1.0
"""Seconds after which deadlines are looked at at the latest."""
MAX_AT_ONCE: Final = 100
"""Datagrams that are taken before runs have their turn."""


class Spawner:
    """Serves one child."""

    def __init__(self, link: socket.socket, where: Callable[[], Path], hooks: Hooks) -> None:
        """`where` the server's administration socket is; it raises WgDynamicError."""
        self._link = link
        self._where = where
        self._hooks = hooks

    def run(self, signals: int) -> bool:
        """Work until a signal comes (True), or the child is gone (False)."""
        while True:
            poll = select.poll()
            poll.register(signals, select.POLLIN)
            poll.register(self._link, select.POLLIN)
            for run in self._hooks.runs():
                poll.register(run.pidfd, select.POLLIN)
                if run.fileno() >= 0:
                    poll.register(run.fileno(), select.POLLIN)
            ready = {descriptor for descriptor, _ in poll.poll(TICK * 1000)}
            if signals in ready:
                return True
            if self._link.fileno() in ready and not self._take():
                return False
            self._hooks.look()

    def _take(self) -> bool:
        """Take what the child has sent; False when it is gone."""
        for _ in range(MAX_AT_ONCE):
            try:
                datagram = self._link.recv(MAX_DATAGRAM + 1, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not datagram:
                return False
            if datagram == CONNECT:
                if not self._connect():
                    return False
                continue
            event = read_event(datagram)
            if event is None:
                _LOG.warning("what came from the other process is no event, passed over")
            else:
                self._hooks.tell(event)
        return True

    def _connect(self) -> bool:
        """Give the child a connection, or none."""
        try:
            with connect(self._where()) as connection:
                socket.send_fds(self._link, [CONNECT], [connection.fileno()])
            return True
        except NotRunningError:
            pass
        except WgDynamicError as error:
            _LOG.warning("%s", error)
        except OSError:
            return False
        try:
            self._link.send(NO)
        except OSError:
            return False
        return True
