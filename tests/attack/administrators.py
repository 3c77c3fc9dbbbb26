"""A hostile member of the group for administration, as a program: what it did is printed as JSON.

    python tests/attack/administrators.py lists --socket PATH --seconds 5

It imports nothing of ours: whoever it runs as may not be let into the checkout.

Kinds: `connections` opens as many as it gets, and asks nothing; `requests` asks for the status
again and again without waiting, on all that it gets, `lists` for all leases; `deaf` asks for lists
and reads nothing; `followers` follows events and reads nothing; `garbage` says what is no request,
`endless` a line without an end, `half` begins lines and stays; `orders` ends leases that are not
there.
"""

import argparse
import contextlib
import json
import random
import selectors
import socket
import sys
import time
from collections import Counter

ALLOWED = 8
"""Connections of a user (server/admin.py)."""
ATTEMPTS = 16
"""Connections that are wanted at a time."""
BURST = 50
RETRY = 0.005
REQUESTS = {
    "requests": b'{"request": "status"}\n' * BURST,
    "lists": b'{"request": "leases"}\n' * BURST,
    "deaf": b'{"request": "leases"}\n' * BURST,
    "followers": b'{"request": "events", "follow": true, "last": 1000}\n',
    "endless": b'{"request": "' + b"x" * 3000,
    "half": b'{"requ',
    "orders": b'{"request": "revoke", "address": "10.44.0.250"}\n' * BURST,
}
_CHANCE = random.Random(6)  # noqa: S311 - which garbage


class Attack:
    """One user's connections to the socket."""

    def __init__(self, kind: str, path: str) -> None:
        self.counts: Counter[str] = Counter()
        self._kind = kind
        self._path = path
        self._selector = selectors.DefaultSelector()

    def run(self, seconds: float) -> None:
        """Go on for so long."""
        end = time.monotonic() + seconds  # noqa: TID251 - nothing of ours is at hand
        while time.monotonic() < end:  # noqa: TID251
            while len(self._selector.get_map()) < ATTEMPTS and self._open():
                pass
            if not self._selector.get_map():
                self._selector.select(RETRY)
            for key, events in self._selector.select(RETRY):
                self._serve(key.fileobj, events)  # type: ignore[arg-type]

    def _open(self) -> bool:
        connection = socket.socket(socket.AF_UNIX)
        connection.setblocking(False)
        try:
            connection.connect(self._path)
        except OSError as error:
            connection.close()
            self.counts[type(error).__name__] += 1
            return False
        self.counts["connections"] += 1
        events = selectors.EVENT_READ
        if self._kind != "connections":
            events |= selectors.EVENT_WRITE
        self._selector.register(connection, events, 0)
        return True

    def _serve(self, connection: socket.socket, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                self._say(connection)
            if events & selectors.EVENT_READ and not self._listen(connection):
                self._end(connection)
        except BlockingIOError:
            return
        except OSError:
            self._end(connection)

    def _say(self, connection: socket.socket) -> None:
        data = REQUESTS.get(self._kind) or _CHANCE.randbytes(100)
        self.counts["bytes"] += connection.send(data)
        if self._kind in ("followers", "half"):
            self._selector.modify(connection, selectors.EVENT_READ)

    def _listen(self, connection: socket.socket) -> bool:
        """Take what has come; False when it was the end. Who is deaf looks for the end only."""
        if self._kind in ("deaf", "followers"):
            data = connection.recv(1, socket.MSG_PEEK)
            if data:
                self._selector.modify(connection, selectors.EVENT_WRITE)
            return bool(data)
        data = connection.recv(1 << 16)
        self.counts["refused"] += data.count(b'"error"')
        self.counts["lines"] += data.count(b"\n")
        return bool(data)

    def _end(self, connection: socket.socket) -> None:
        self.counts["ended"] += 1
        self._selector.unregister(connection)
        with contextlib.suppress(OSError):
            connection.close()


def main() -> int:
    """See the module's description."""
    parser = argparse.ArgumentParser(prog="administrators")
    parser.add_argument("kind", choices=(*REQUESTS, "connections", "garbage"))
    parser.add_argument("--socket", required=True)
    parser.add_argument("--seconds", type=float, default=4.0)
    arguments = parser.parse_args()
    attack = Attack(arguments.kind, arguments.socket)
    attack.run(arguments.seconds)
    sys.stdout.write(json.dumps(attack.counts) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
