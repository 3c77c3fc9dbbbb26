"""Key pairs, by wg(8): it is there wherever WireGuard is set up, and knows the curve.

Private keys go by pipes and memory, never by arguments or files, and are in no repr.
"""

import base64
import os
from collections.abc import Callable
from typing import Final

from wg_dynamic.errors import ConfigError
from wg_dynamic.system.tools import ToolError, ToolResult, run_tool
from wg_dynamic.wireguard.control import WireGuardControl
from wg_dynamic.wireguard.key import KEY_SIZE, parse_key

Run = Callable[..., ToolResult]
"""As `run_tool`."""
_NONE: Final = "(none)"


class KeyPair:
    """A new private key in base64, and the public key that belongs to it, 32 bytes."""

    __slots__ = ("private", "public")

    def __init__(self, private: str, public: bytes) -> None:
        self.private = private
        self.public = public


def make_pair(run: Run = run_tool) -> KeyPair:
    """A new pair. Raises ToolError."""
    private = run("wg", "genkey").check().strip()
    return KeyPair(private, _public_key(run("wg", "pubkey", text=f"{private}\n")))


def make_preshared_key() -> bytes:
    """Any 32 bytes are one."""
    return os.urandom(KEY_SIZE)


def encode_key(key: bytes) -> str:
    """As wg(8) writes keys of any kind."""
    return base64.b64encode(key).decode("ascii")


def hub_key(interface: str, control: WireGuardControl, run: Run = run_tool) -> bytes:
    """The interface's own public key. Raises ConfigError, ToolError, and as `control.device`."""
    public_key = control.device().public_key
    if public_key is not None:
        return public_key
    # WireGuard in user space tells the private key alone, which we do not want to have.
    shown = run("wg", "show", interface, "public-key")
    if shown.check().strip() == _NONE:
        msg = f"{interface} has no private key: set it up first (wg-quick up {interface})"
        raise ConfigError(msg)
    return _public_key(shown)


def _public_key(result: ToolResult) -> bytes:
    try:
        return parse_key(result.check().strip())
    except ValueError as error:
        msg = f"{result.command}: {error}"
        raise ToolError(msg) from error
