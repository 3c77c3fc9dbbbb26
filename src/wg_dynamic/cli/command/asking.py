"""What the commands that ask a server share: where it is asked, what an answer looks like."""

import argparse
import socket
from collections.abc import Iterable
from math import isfinite
from typing import Any

from wg_dynamic.address import parse_address
from wg_dynamic.admin.client import AdminClient
from wg_dynamic.admin.protocol import Request
from wg_dynamic.errors import ConfigError
from wg_dynamic.system.runtime import admin_path


def index_of(interface: str) -> int:
    """Raises ConfigError when there is none."""
    try:
        return socket.if_nametoindex(interface)
    except OSError as error:
        msg = f"no interface {interface!r} here, expected one with a server"
        raise ConfigError(msg) from error


def ask(interface: str, request: Request) -> Iterable[dict[str, Any]]:
    """The rows of a server's answer. Raises ConfigError, PrivilegeError, AdminError."""
    with AdminClient(admin_path(index_of(interface))) as client:
        yield from client.ask(request)


def read_lease_address(text: str) -> bytes:
    """For argparse."""
    try:
        return parse_address(text)
    except ValueError as error:
        msg = f"{text!r}, expected an address as in 10.44.0.7"
        raise argparse.ArgumentTypeError(msg) from error


def span(seconds: object) -> str:
    """A span for people; what is none of it is for ever."""
    if not isinstance(seconds, int | float) or not isfinite(seconds):
        return "never"
    left = int(abs(seconds))
    days, hours, minutes = left // 86400, left // 3600 % 24, left // 60 % 60
    text = f"{days}d {hours}h" if days else f"{hours}h {minutes}min" if hours else ""
    text = text or (f"{minutes}min {left % 60}s" if minutes else f"{left}s")
    return f"{text} ago" if seconds < 0 else text


def bar(share: float, width: int, full: str, empty: str) -> str:
    """A bar of so many cells, of which a share is full."""
    cells = round(min(1.0, max(0.0, share)) * width)
    return full * cells + empty * (width - cells)
