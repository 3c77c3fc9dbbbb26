"""A QR code of a text, drawn by a process of its own: a library of others never runs as root.

The library is segno (Debian: python3-segno). It is not needed for anything else.
"""

import os
import sys
from collections.abc import Callable
from typing import Final

from wg_dynamic.cli.command.qr_child import MISSING
from wg_dynamic.errors import WgDynamicError
from wg_dynamic.system.tools import ToolResult, run_tool

MODULE: Final = "wg_dynamic.cli.command.qr_child"


class NoCodeError(WgDynamicError):
    """There is no code, and why."""


def draw(text: str, run: Callable[..., ToolResult] = run_tool) -> str:
    """The code as lines of block characters. Raises NoCodeError, ToolError."""
    directory, program = os.path.split(sys.executable)
    result = run(program, "-I", "-m", MODULE, text=text, path=(directory,))
    if result.status == MISSING:
        msg = "no QR code: Python has no segno, install it (apt install python3-segno,"
        msg += f" or for {sys.executable}: pip install segno)"
        raise NoCodeError(msg)
    if result.status:
        msg = f"no QR code: {result.words}"
        raise NoCodeError(msg)
    return result.output
