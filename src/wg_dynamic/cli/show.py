"""The status of a client for people, in the manner of `wg show`. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_STATES = {
    "starting": "starting",
    "requesting": "no lease, asking for one",
    "bound": "has a lease",
    "renewing": "has a lease, renewing it",
    "declining": "giving back an address that is in use here",
    "paused": "waiting for the interface to come up",
    "stopped": "ending",
}
NOT_TAKEN = "not_taken"
"""What the server pushed in vain: sentences, each with a line of its own."""
_NEXT = {"requesting": "next try", "bound": "renewal", "renewing": "next try"}


def has_lease(status: Mapping[str, Any]) -> bool:
    """Whether an address is leased, and not over."""
    return any(one["valid_for"] is None or one["valid_for"] > 0 for one in status["lease"])


def describe(status: Mapping[str, Any]) -> str:
    """A status as helper/status.py makes it, in lines."""
    return "\n".join(_lines(status)) + "\n"


def _lines(status: Mapping[str, Any]) -> Iterator[str]:
    state, server = status["state"], status["server"]
    yield f"interface: {status['interface']}{'' if status['up'] else ' (down)'}"
    yield f"  state: {_STATES.get(state, state)}"
    yield f"  link-local: {status['link_local']}"
    key = f", peer {server['public_key']}" if server["public_key"] else ""
    version = f", protocol version {server['version']}" if server["version"] else ""
    yield f"  server: {server['address']}{key}{version}"
    if status["next_in"] is not None and state in _NEXT:
        yield f"  {_NEXT[state]}: in {_time(status['next_in'])}"
    if status["error"]:
        yield f"  last error: {status['error']}"
    yield f"  process: {status['pid']}"
    for one in status["lease"]:
        yield ""
        yield f"address: {one['address']}"
        if one["network"]:
            yield f"  network: {one['network']}"
        yield f"  time left: {_time(one['valid_for'])}"
    if status["refused"]:
        yield ""
    for one in status["refused"]:
        yield f"refused: {one['address']}: {one['reason']}"
    yield ""
    yield "set:"
    for name, value in status["set"].items():
        if name != NOT_TAKEN:
            yield f"  {name.replace('_', ' ')}: {_values(value)}"
    for one in status["set"].get(NOT_TAKEN, ()):
        yield f"not taken: {one}"


def _values(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_values, value)) or "(none)"
    if isinstance(value, dict):
        return " ".join(f"{name} {_values(each)}" for name, each in value.items())
    return "(none)" if value is None else str(value)


def _time(seconds: float | None) -> str:
    """The two largest units, as `wg show` writes its handshakes."""
    if seconds is None:
        return "for ever"
    left, parts = int(seconds), []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}{'' if count == 1 else 's'}")
    return ", ".join(parts[:2]) or "0 seconds"
