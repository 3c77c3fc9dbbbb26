"""Follows what a server tells: passes events on, keeps the file of names, answers with metrics.

It has no privileges, and gets its connections to the server from the process that has started it.
"""

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from wg_dynamic.admin.client import AdminClient
from wg_dynamic.admin.protocol import EVENTS, HELD, LEASES, STATUS, AdminError, Request
from wg_dynamic.errors import WgDynamicError
from wg_dynamic.system.log import logger
from wg_dynamic.system.replacing import replace_file
from wg_dynamic.watch.link import CONNECT, MAX_DATAGRAM, event_datagram
from wg_dynamic.watch.metrics import exposition
from wg_dynamic.watch.names import Names

_LOG = logger(__name__)

RETRY: Final = 1.0
"""Seconds between two tries to reach a server."""
GATHERED: Final = 0.2
"""Seconds for which changes of names are gathered before the file is written."""
_FILE_MODE: Final = 0o644


class GoneError(WgDynamicError):
    """The process that has started us is gone."""


class Server:
    """Connections to the server, from the other process. Used by several threads."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._lock = threading.Lock()

    def connect(self) -> AdminClient | None:
        """A new one; None when no server is there. Raises GoneError."""
        with self._lock:
            try:
                self._link.send(CONNECT)
                data, descriptors, _, _ = socket.recv_fds(self._link, MAX_DATAGRAM, 1)
            except OSError as error:
                raise GoneError from error
        if not data:
            raise GoneError
        if not descriptors:
            return None
        return AdminClient(socket.socket(fileno=descriptors[0]))

    def metrics(self) -> str:
        """The text; that the server is down when it does not answer. Raises GoneError."""
        try:
            client = self.connect()
            if client is None:
                return exposition(None)
            with client:
                (status,) = client.ask(Request(STATUS))
            return exposition(status)
        except (AdminError, KeyError, TypeError, ValueError) as error:
            _LOG.warning("no metrics: %s", error)
            return exposition(None)


class NamesFile:
    """Writes the names a moment after they have changed."""

    def __init__(self, names: Names, path: Path) -> None:
        self.names = names
        self.changed = threading.Event()
        self._path = path
        self._lock = threading.Lock()

    def replace(self, rows: list[dict[str, Any]]) -> None:
        """All leases that are held."""
        with self._lock:
            self.names.replace(rows)
        self.changed.set()

    def tell(self, event: dict[str, Any]) -> None:
        """One event."""
        with self._lock:
            if self.names.tell(event):
                self.changed.set()

    def write(self) -> None:
        """Write it now."""
        with self._lock:
            text = self.names.text()
        try:
            replace_file(self._path, text.encode("ascii"), _FILE_MODE)
        except OSError as error:
            _LOG.error("%s cannot be written: %s", self._path, error.strerror)

    def run(self) -> None:
        """Write it whenever it has changed, for ever."""
        gathering = threading.Event()
        while self.changed.wait():
            gathering.wait(GATHERED)
            self.changed.clear()
            self.write()


def follow(
    server: Server,
    link: socket.socket,
    names: NamesFile | None,
    pause: Callable[[float], object],
) -> None:
    """Pass events on for ever. Raises GoneError."""
    reached = True
    lost = 1  # at least: what happens while nobody follows, before the start, too
    while True:
        client = server.connect()
        if client is None:
            if reached:
                _LOG.info("no server answers; waiting for one")
            reached = False
        else:
            reached = True
            with contextlib.suppress(AdminError), client:
                _follow_one(server, client, link, names, lost)
            lost = 1
        pause(RETRY)


def _follow_one(
    server: Server,
    client: AdminClient,
    link: socket.socket,
    names: NamesFile | None,
    lost: int,
) -> None:
    """One connection, until the server ends it; `lost` events were missed before.

    Raises AdminError, GoneError.
    """
    client.send(Request(EVENTS, follow=True))
    _read_all(server, names)  # after that, so that nothing falls between the two
    _LOG.info("following the server's events")
    for row in client.rows():
        if "lost" in row:
            lost += int(row["lost"])
            _read_all(server, names)
            continue
        if names is not None:
            names.tell(row)
        if lost:
            row["lost"] = lost
        lost = 0 if _pass_on(link, row) else lost + 1


def _read_all(server: Server, names: NamesFile | None) -> None:
    if names is None:
        return
    client = server.connect()
    if client is not None:
        with client:
            names.replace(list(client.ask(Request(LEASES, state=HELD))))


def _pass_on(link: socket.socket, row: dict[str, Any]) -> bool:
    """Whether the other process has room for it."""
    datagram = event_datagram(row)
    if len(datagram) > MAX_DATAGRAM:
        return False
    try:
        link.send(datagram, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError as error:
        raise GoneError from error
    return True
