"""`wg-dynamic top`: a live view of a server, drawn by a process of its own.

Theory of operation. This process may be root: it asks the server, and the interface when the
handshakes' ages are its to know, and writes each reading as a line of JSON into a pipe. The view is
drawn by textual, a library of others, in a child that has become nobody before it imports that
(top_child.py); what the server says is made harmless there (top_view.py).
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from io import RawIOBase
from itertools import islice
from typing import Any, Final

from wg_dynamic.admin.client import NotRunningError
from wg_dynamic.admin.protocol import EVENTS, LEASES, STATUS, Request
from wg_dynamic.cli.command.arguments import Nouns, add_verb
from wg_dynamic.cli.command.asking import ask, index_of
from wg_dynamic.cli.command.device import control_of
from wg_dynamic.cli.command.top_view import MISSING
from wg_dynamic.cli.status import FAILED, NOT_RUNNING, OK
from wg_dynamic.errors import WgDynamicError
from wg_dynamic.system.clock import Clock, SystemClock
from wg_dynamic.system.log import complain
from wg_dynamic.wireguard.key import format_key

PROGRAM: Final = "wg-dynamic"
MODULE: Final = "wg_dynamic.cli.top_child"
EVERY: Final = 1.0
"""Seconds between two readings."""
SHARE: Final = 10
"""Readings take a tenth of the time at the most: a hub of many thousands is read less often."""
MAX_ROWS: Final = 500
"""Leases that are shown; of the others it is said how many they are."""
LAST: Final = 30
"""Events that are shown."""


def add_parser(nouns: Nouns) -> None:
    """See the module's docstring."""
    top = add_verb(nouns, "top", _top, "watch a server: pools, leases, events")
    top.add_argument("interface", help="the server's")


def _top(arguments: argparse.Namespace) -> int:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        complain(PROGRAM, "top needs a terminal; for programs: wg-dynamic status --json --watch")
        return FAILED
    index_of(arguments.interface)
    try:
        first = read(arguments.interface)
    except NotRunningError as error:
        complain(PROGRAM, f"{arguments.interface}: {error}")
        return NOT_RUNNING
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb", buffering=0) as pipe:  # nothing is left to write at its end
        child = subprocess.Popen(  # noqa: S603 - no shell, our own arguments
            [sys.executable, "-I", "-m", MODULE, str(reading)], pass_fds=(reading,)
        )
        os.close(reading)
        _feed(child, pipe, arguments.interface, first)
    if child.wait() == MISSING:
        text = "top needs textual, which Python does not have here: pip install textual, for"
        complain(PROGRAM, f"{text} {sys.executable}")
        return FAILED
    return OK if child.returncode == 0 else FAILED


def _feed(
    child: "subprocess.Popen[bytes]",
    pipe: RawIOBase,
    interface: str,
    reading: Mapping[str, Any],
    clock: Clock | None = None,
) -> None:
    """Give the child a reading after the other until one of us has ended."""
    clock = clock or SystemClock()
    wait = EVERY
    while True:
        try:
            _write(pipe, f"{json.dumps(reading)}\n".encode())
        except BrokenPipeError:
            return
        try:
            child.wait(wait)
        except subprocess.TimeoutExpired:
            pass
        except KeyboardInterrupt:  # the child's to answer, which has the terminal
            continue
        else:
            return
        begin = clock.now()
        reading = read_again(interface, reading)
        wait = max(EVERY, SHARE * (clock.now() - begin))


def _write(pipe: RawIOBase, data: bytes) -> None:
    while data:
        data = data[pipe.write(data) :]


def read_again(interface: str, before: Mapping[str, Any]) -> dict[str, Any]:
    """The next reading; the one before and the reason when there is none."""
    try:
        return read(interface)
    except WgDynamicError as error:  # the server is away, or the interface
        return {**before, "error": str(error)}


def read(interface: str) -> dict[str, Any]:
    """One reading (top_view.py). Raises ConfigError, PrivilegeError, AdminError."""
    (status,) = ask(interface, Request(STATUS))
    rows = iter(ask(interface, Request(LEASES)))
    shown = list(islice(rows, MAX_ROWS))
    return {
        "status": status,
        "leases": shown,
        "more": sum(1 for _ in rows),
        "events": list(ask(interface, Request(EVENTS, last=LAST))),
        "handshakes": _handshakes(interface),
    }


def _handshakes(interface: str) -> dict[str, float]:
    """Seconds since the latest one, by public key; nothing where only root may know."""
    if os.geteuid() != 0:
        return {}
    now = SystemClock().wall()
    try:
        with control_of(interface) as (control, _):
            peers = control.device().peers
    except WgDynamicError:
        return {}
    return {
        format_key(one.public_key): max(0.0, now - one.latest_handshake)
        for one in peers
        if one.latest_handshake
    }
