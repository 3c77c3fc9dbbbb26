"""What a server's document says for wg-dynamic-watch: hooks, metrics, names. Pure.

The server reads it, so that `wg-dynamic config check` and a reload tell what is wrong, and leaves
it to the program beside it.
"""

import re
from functools import partial
from typing import TYPE_CHECKING, Final

from wg_dynamic.address import parse_address
from wg_dynamic.helper.config.values import read_domain, read_text, read_time, shown
from wg_dynamic.leases.event import KINDS, REFUSED, RENEWED
from wg_dynamic.record import dataclass

if TYPE_CHECKING:
    from wg_dynamic.helper.config.document import _Table

MAX_HOOKS: Final = 16
MAX_TIMEOUT: Final = 3600
DEFAULT_TIMEOUT: Final = 10
DEFAULT_USER: Final = "nobody"
DEFAULT_EVENTS: Final = tuple(kind for kind in KINDS if kind not in (RENEWED, REFUSED))
"""Those after which somebody has an address, or has it no more."""
_PORT: Final = re.compile(r"[0-9]{1,5}")
_MAX_PORT: Final = 65535


@dataclass(frozen=True)
class Hook:
    """A program that runs on lease events."""

    command: tuple[str, ...]
    """Its absolute path, and arguments."""
    events: tuple[str, ...] = DEFAULT_EVENTS
    user: str = DEFAULT_USER
    timeout: int = DEFAULT_TIMEOUT
    """Seconds until it is killed."""


@dataclass(frozen=True)
class Beside:
    """All of it; the defaults are nothing."""

    hooks: tuple[Hook, ...] = ()
    metrics: tuple[str, int] | None = None
    """Address and port to listen on."""
    suffix: str = ""
    """Domain of the names of peers that have a lease."""
    reserved: tuple[str, ...] = ()
    """Names that no peer gets."""


NOTHING: Final = Beside()


def read_beside(table: "_Table") -> Beside:
    """Take `[[hook]]`, `[metrics]` and `[names]`."""
    hooks = [hook for one in table.tables("hook") if (hook := _read_hook(one)) is not None]
    if len(hooks) > MAX_HOOKS:
        table.complain(f"{len(hooks)} [[hook]], expected at most {MAX_HOOKS}")
    metrics = table.table("metrics", "listen")
    listen = None
    if metrics is not None:
        listen = metrics.take("listen", read_endpoint, None, required=True)
        metrics.finish()
    names = table.table("names", "suffix and reserved")
    suffix, reserved = "", tuple[str, ...]()
    if names is not None:
        suffix = names.take("suffix", read_domain, "", required=True)
        reserved = names.take_all("reserved", read_domain)
        names.finish()
    return Beside(tuple(hooks), listen, suffix, reserved)


def _read_hook(table: "_Table") -> Hook | None:
    words = table.take_all("command", read_text, required=True)
    if words and not words[0].startswith("/"):
        table.complain(f"command: {shown(words[0])}, expected the path of a program, from /")
        words = ()
    events = table.take_list("events", _read_kind)
    user = table.take("user", read_text, DEFAULT_USER)
    timeout = table.take("timeout", partial(read_time, low=1, high=MAX_TIMEOUT), DEFAULT_TIMEOUT)
    table.finish()
    if not words:
        return None
    return Hook(words, DEFAULT_EVENTS if events is None else events, user, timeout)


def _read_kind(value: object) -> str:
    text = read_text(value)
    if text not in KINDS:
        msg = f"{shown(text)}, expected any of {', '.join(KINDS)}"
        raise ValueError(msg)
    return text


def read_endpoint(value: object) -> tuple[str, int]:
    """`127.0.0.1:9586` or `[::1]:9586`."""
    text = read_text(value)
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        parse_address(bare)
        good = (":" in bare) == (bare != host)
    except ValueError:
        good = False
    if not good or not _PORT.fullmatch(port) or not 0 < int(port) <= _MAX_PORT:
        msg = f"{shown(text)}, expected an address and a port as in 127.0.0.1:9586 or [::1]:9586"
        raise ValueError(msg)
    return bare, int(port)
