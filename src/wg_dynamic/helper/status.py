"""What `--status` says of a client, as one JSON object. Pure.

The network process tells where it stands (Progress, Report); the helper knows the rest. What
stands here is documented in wg-dynamic-client(8): names stay, more may come.
"""

from collections.abc import Iterable, Mapping

from wg_dynamic.address import SERVER_ADDRESS, Prefix, format_address
from wg_dynamic.netlink.control import FOREVER
from wg_dynamic.privsep.requests import MAX_STATUS, AddressSetting, Progress, RefusedAddress
from wg_dynamic.record import dataclass
from wg_dynamic.wireguard.key import format_key

STARTING = "starting"
"""The state before the network process has told one."""


@dataclass(frozen=True)
class Standing:
    """What the helper knows at one moment."""

    interface: str
    pid: int
    up: bool
    link_local: Prefix
    progress: Progress | None
    server_key: bytes | None
    """The peer that has fe80::/128, as of the last lease."""
    lease: tuple[AddressSetting, ...]
    """What was leased and taken, with the times that were left at `leased_at`."""
    leased_at: float
    refused: tuple[RefusedAddress, ...]
    addresses: tuple[Prefix, ...]
    routes: tuple[Prefix, ...]
    allowed_ips: tuple[Prefix, ...]
    error: str
    """Why there is none, or no renewal: what was told last since the last lease."""


def status_text(standing: Standing, now: float, more: Mapping[str, object]) -> str:
    """The object. `more` joins what is `set`; it is left out when all together is too large."""
    import json  # noqa: PLC0415 - asked for seldom: a client starts sooner without

    status = _status(standing, now)
    text = json.dumps(status | {"set": {**_what_is_set(standing), **more}})
    if len(text) <= MAX_STATUS:
        return text
    return json.dumps(status | {"set": _what_is_set(standing), "shortened": True})


def _status(standing: Standing, now: float) -> dict[str, object]:
    progress, key = standing.progress, standing.server_key
    next_at = progress.next_at if progress else None
    return {
        "interface": standing.interface,
        "pid": standing.pid,
        "state": progress.state if progress else STARTING,
        "up": standing.up,
        "link_local": str(standing.link_local),
        "server": {
            "address": format_address(SERVER_ADDRESS),
            "public_key": format_key(key) if key else None,
            "version": progress.version if progress else None,
        },
        "lease": [_address(one, now - standing.leased_at) for one in standing.lease],
        "refused": [
            {"address": str(one.address), "reason": one.reason, "in_use": one.in_use}
            for one in standing.refused
        ],
        "next_in": None if next_at is None else round(max(0.0, next_at - now), 1),
        "error": standing.error or None,
    }


def _address(setting: AddressSetting, passed: float) -> dict[str, object]:
    return {
        "address": str(setting.address),
        "network": None if setting.network.is_host else str(setting.network),
        "valid_for": _left(setting.valid_time, passed),
        "preferred_for": _left(setting.preferred_time, passed),
    }


def _left(time: int, passed: float) -> float | None:
    """Seconds; None: for ever."""
    return None if time == FOREVER else round(max(0.0, time - passed), 1)


def _what_is_set(standing: Standing) -> dict[str, object]:
    return {
        "addresses": _sorted(standing.addresses),
        "routes": _sorted(standing.routes),
        "allowed_ips": _sorted(standing.allowed_ips),
    }


def _sorted(prefixes: Iterable[Prefix]) -> list[str]:
    """IPv4 first: sets of them have an order of their own each time."""
    ordered = sorted(prefixes, key=lambda one: (len(one.packed), one.packed, one.length))
    return list(map(str, ordered))
