"""Let a running server read what a command has written into its file of peers.

A reload takes the administrator's own file in, too. So the server is told only when that file is
older than the server: what somebody edits at the moment is theirs to put into force.
"""

from pathlib import Path
from typing import Final

from wg_dynamic.errors import WgDynamicError
from wg_dynamic.helper.config.file import default_path
from wg_dynamic.helper.control_socket import ask_reload
from wg_dynamic.helper.server import ROLE
from wg_dynamic.system.runtime import control_path

_HOW: Final = "wg-dynamic-server --reload"


def tell_server(interface: str, ifindex: int, root: Path | None = None) -> list[str]:
    """Have the interface's server read its files again, if one runs; what to say, in lines."""
    control = control_path(ifindex, ROLE, root)
    try:
        started_at = control.stat().st_mtime
    except OSError:
        return []  # none runs: the next one reads it at its start
    own = default_path(interface)
    if own is not None and _changed_at(own) >= started_at:
        return [
            f"{own} was changed since the server started: the server goes by names and reservations"
            f" of this command after {_HOW} {interface}, and by what else is in there"
        ]
    try:
        answer = ask_reload(control)
    except WgDynamicError as error:
        return [str(error)]
    if answer is None or answer.done:
        return []
    return ["the server goes on without names and reservations of this command:"] + [
        line for line in answer.text.split("\n") if line
    ]


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return float("-inf")
