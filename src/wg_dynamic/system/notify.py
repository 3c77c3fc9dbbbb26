"""Tell systemd how we are (sd_notify(3)), where it asked to be told."""

import os
import socket


def notify(state: str, environment: dict[str, str] | None = None) -> bool:
    """Send `READY=1`, `STOPPING=1` or `STATUS=…`; False when nobody asked to be told."""
    target = (os.environ if environment is None else environment).get("NOTIFY_SOCKET", "")
    if not target or target[0] not in "/@":
        return False
    address = "\0" + target[1:] if target[0] == "@" else target
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto(state.encode(), address)
        except OSError:
            return False  # a manager that is gone is no reason to stop
    return True
