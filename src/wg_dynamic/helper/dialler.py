"""Connections to the server, made by root: the network process can neither bind nor connect."""

import contextlib
import errno
import os
import socket
from typing import Final

from wg_dynamic.address import SERVER_ADDRESS, format_address
from wg_dynamic.netlink.control import Link

PORT: Final = 970
"""docs/protocol.md section 2: the server's, and the client's own."""
PUSH_PORTS: Final = range(600, PORT)
"""Where subscriptions come from: below 1024, and not what requests come from."""
PUSH_PORT_TRIES: Final = 8


class Dialler:
    """Makes connections from one link-local address."""

    def __init__(self, link_local: bytes) -> None:
        self._own = format_address(link_local)
        self._last = os.getpid()
        """Counts through PUSH_PORTS: what was closed a moment ago is not free at once."""

    def connect(self, link: Link, *, pushes: bool) -> socket.socket:
        """Begin to connect to [fe80::%link]:970, without waiting. Raises OSError."""
        if not pushes:
            return self._connect_from(link, PORT)
        for left in reversed(range(PUSH_PORT_TRIES)):
            self._last += 1
            try:
                return self._connect_from(link, PUSH_PORTS[self._last % len(PUSH_PORTS)])
            except OSError as error:
                if not left or error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
                    raise
        raise AssertionError  # the last try returns or raises

    def _connect_from(self, link: Link, port: int) -> socket.socket:
        scope = link.ifindex
        connection = socket.socket(socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            connection.bind((self._own, port, 0, scope))
            with contextlib.suppress(BlockingIOError):
                connection.connect((format_address(SERVER_ADDRESS), PORT, 0, scope))
        except BaseException:  # whatever it was: the port is not kept
            connection.close()
            raise
        return connection

    def explain(self, link: Link, error: OSError) -> str:
        """Why it could not be made, for people."""
        name, own = link.name, self._own
        if error.errno == errno.EADDRINUSE:
            return f"[{own}%{name}]:{PORT} is in use: another client, or our last connection"
        if error.errno == errno.EADDRNOTAVAIL:
            return f"[{own}%{name}]:{PORT} is not free yet, or {own} is not on {name} any more"
        if error.errno == errno.ENETUNREACH:
            return f"there is no route to fe80::%{name}"
        return f"connecting to [fe80::%{name}]:{PORT}: {error.strerror}"
