"""What a peer that was just added gets: a whole configuration for its wg-quick. Pure."""

import re
from collections.abc import Sequence
from enum import Enum
from typing import Final

from wg_dynamic.address import SERVER_ADDRESS, host_prefix, parse_address
from wg_dynamic.record import dataclass

_HOST: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_NAME: Final = re.compile(
    r"(?=.{1,63}\Z)[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
)
_MAX_PORT: Final = 65535
SERVER_IP: Final = str(host_prefix(SERVER_ADDRESS))


class Start(Enum):
    """How the client's lease is asked for."""

    AUTO = "auto"
    """By the word in the list of addresses (wg-dynamic-quick)."""
    HOOKS = "hooks"
    """By PostUp and PreDown, which any wg-quick knows."""
    NONE = "none"
    """Not at all: its addresses are in the file."""


@dataclass(frozen=True)
class ClientFile:
    """All that goes into it; secret keys are given to `text`, which keeps nothing."""

    name: str
    """Of the client; '' is none."""
    addresses: Sequence[str]
    """With lengths, the link-local one first."""
    start: Start
    hub_key: str
    endpoint: str
    """HOST:PORT; '' where it is to be filled in."""
    port: int
    """The hub's, for what is to be filled in."""
    allowed_ips: Sequence[str]
    """Besides fe80::/128."""
    keepalive: int
    """Seconds; 0 is off."""

    def text(self, private_key: str, preshared_key: str) -> str:
        """The file; without the private key ('') it says where it goes."""
        lines = [f"# {self.name}"] if self.name else []
        lines.append("[Interface]")
        if private_key:
            lines.append(f"PrivateKey = {private_key}")
        else:
            lines.append("# PrivateKey = the one that the public key was made of")
        auto = ["auto"] if self.start is Start.AUTO else []
        lines.append(f"Address = {', '.join([*self.addresses, *auto])}")
        if self.start is Start.HOOKS:
            lines.append("PostUp = wg-dynamic-client %i")
            lines.append("PreDown = wg-dynamic-client --stop %i")
        lines += ["", "[Peer]", f"PublicKey = {self.hub_key}"]
        if preshared_key:
            lines.append(f"PresharedKey = {preshared_key}")
        if self.endpoint:
            lines.append(f"Endpoint = {self.endpoint}")
        else:
            lines.append(
                f"# Endpoint = where the hub is to be reached, as in 192.0.2.1:{self.port}"
            )
        lines.append(f"AllowedIPs = {', '.join([SERVER_IP, *self.allowed_ips])}")
        if self.keepalive:
            lines.append(f"PersistentKeepalive = {self.keepalive}")
        return "\n".join([*lines, ""])


def read_name(text: str) -> str:
    """A peer's name. It becomes a host name elsewhere. Raises ValueError."""
    if not _NAME.fullmatch(text):
        msg = f"name {text[:80]!r}, expected up to 63 letters, digits and inner hyphens,"
        msg += " in parts with dots between them if you like, as in laptop or laptop.alice"
        raise ValueError(msg)
    return text


def read_endpoint(text: str, port: int) -> str:
    """`HOST:PORT`, with `port` where none is said. Raises ValueError."""
    host, colon, number = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, number = text, str(port)
    elif ":" in host and not host.startswith("["):  # a bare IPv6 address
        host, number = f"[{text}]", str(port)
    if not _is_host(host) or not _is_port(number):
        msg = f"endpoint {text[:80]!r}, expected HOST:PORT as in hub.example.org:51820,"
        msg += " 192.0.2.1:51820 or [2001:db8::1]:51820"
        raise ValueError(msg)
    return f"{host}:{number}"


def _is_host(text: str) -> bool:
    if not text.startswith("["):
        return _HOST.fullmatch(text) is not None
    try:
        return text.endswith("]") and ":" in text and bool(parse_address(text[1:-1]))
    except ValueError:
        return False


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= _MAX_PORT  # noqa: PLR2004
