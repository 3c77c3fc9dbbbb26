"""Metrics over HTTP, for Prometheus: one small answer after the other."""

import contextlib
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Final

from wg_dynamic.watch.metrics import CONTENT_TYPE

PATH: Final = "/metrics"
TIMEOUT: Final = 5.0
"""Seconds that whoever asks may take in all; others wait meanwhile."""
BACKLOG: Final = 16


def listen(address: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family, backlog=BACKLOG)


class Exporter(HTTPServer):
    """Serves on a socket that listens already."""

    def __init__(self, listener: socket.socket, text: Callable[[], str]) -> None:
        """`text` makes the answer anew each time."""
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.text = text


class _Handler(BaseHTTPRequestHandler):
    timeout = TIMEOUT
    server: Exporter
    server_version = "wg-dynamic-watch"
    sys_version = ""

    def setup(self) -> None:
        """See BaseHTTPRequestHandler, whose timeout begins anew with each byte: here, all of it."""
        super().setup()
        self._deadline = threading.Timer(self.timeout, self._give_up)
        self._deadline.start()

    def finish(self) -> None:
        """See BaseHTTPRequestHandler."""
        self._deadline.cancel()
        super().finish()

    def _give_up(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self) -> None:
        """See BaseHTTPRequestHandler."""
        if self.path.partition("?")[0] != PATH:
            self.send_error(404, f"expected {PATH}")
            return
        body = self.server.text().encode("utf-8")
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Nobody's requests go to the log."""
        del format, args
