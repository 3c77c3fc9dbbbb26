"""The peers of a hub as people and programs want to see them. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from wg_dynamic.address import Prefix, format_address, is_link_local
from wg_dynamic.helper.config.document import ServerConfig
from wg_dynamic.record import dataclass
from wg_dynamic.wireguard.device import Device, Endpoint, Peer
from wg_dynamic.wireguard.key import format_key

_HEADINGS: Final = ("NAME", "PUBLIC KEY", "LINK-LOCAL", "ADDRESSES", "HANDSHAKE", "ENDPOINT")
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_NOTHING: Final = "-"


@dataclass(frozen=True)
class Listed:
    """One peer."""

    public_key: bytes
    name: str
    """'' where it has none."""
    peer: Peer | None
    """None: it is in the configuration, and not on the interface."""

    @property
    def link_local(self) -> tuple[Prefix, ...]:
        """Those of its allowed IPs that the server knows it by: one, as a rule."""
        found = self.peer.allowed_ips if self.peer else ()
        return tuple(one for one in found if one.is_host and is_link_local(one.packed))

    @property
    def addresses(self) -> tuple[Prefix, ...]:
        """Its other allowed IPs: what it has leased, and what is its own."""
        found = self.peer.allowed_ips if self.peer else ()
        return tuple(one for one in found if one not in self.link_local)


def names_of(config: ServerConfig) -> dict[bytes, str]:
    """The names that a configuration gives, by public key; a peer's own before a reservation's."""
    reserved = zip((one.public_key for one in config.reservations), config.names, strict=True)
    named = zip((one.public_key for one in config.peers), config.peer_names, strict=True)
    return {key: name for key, name in (*reserved, *named) if name}


def keys_named(who: str, names: Mapping[bytes, str]) -> list[bytes]:
    """The public keys of that name, however it is capitalized."""
    return [key for key, name in names.items() if name.lower() == who.lower()]


def list_peers(device: Device, names: Mapping[bytes, str]) -> list[Listed]:
    """Those of the interface and those of the configuration, by name, the nameless last."""
    live = {peer.public_key: peer for peer in device.peers}
    keys = dict.fromkeys([*live, *names])
    found = [Listed(key, names.get(key, ""), live.get(key)) for key in keys]
    return sorted(found, key=lambda one: (not one.name, one.name.lower(), one.public_key))


def as_json(one: Listed) -> dict[str, object]:
    """What is known, the same keys for each peer."""
    peer = one.peer
    return {
        "public_key": format_key(one.public_key),
        "name": one.name or None,
        "on_interface": peer is not None,
        "link_local": [format_address(prefix.packed) for prefix in one.link_local],
        "addresses": [_short(prefix) for prefix in one.addresses],
        "latest_handshake": peer.latest_handshake or None if peer else None,
        "endpoint": _endpoint(peer.endpoint) if peer and peer.endpoint else None,
        "persistent_keepalive": peer.persistent_keepalive if peer else 0,
    }


def as_table(peers: Sequence[Listed], now: float) -> str:
    """Lines for people; `now` is Unix time."""
    rows = [_HEADINGS, *(_row(one, now) for one in peers)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([*lines, ""])


def _row(one: Listed, now: float) -> tuple[str, ...]:
    name = one.name or _NOTHING
    key = format_key(one.public_key)
    if one.peer is None:
        return name, key, "not on the interface", _NOTHING, _NOTHING, _NOTHING
    endpoint = one.peer.endpoint
    return (
        name,
        key,
        ", ".join(format_address(prefix.packed) for prefix in one.link_local) or _NOTHING,
        ", ".join(map(_short, one.addresses)) or _NOTHING,
        _ago(now - one.peer.latest_handshake) if one.peer.latest_handshake else "never",
        _endpoint(endpoint) if endpoint else _NOTHING,
    )


def _short(prefix: Prefix) -> str:
    return format_address(prefix.packed) if prefix.is_host else str(prefix)


def _endpoint(endpoint: Endpoint) -> str:
    host = format_address(endpoint.packed)
    return f"[{host}]:{endpoint.port}" if ":" in host else f"{host}:{endpoint.port}"


def _ago(seconds: float) -> str:
    """A span in its largest unit; a clock that was set back since is no reason for a minus."""
    whole = max(0, round(seconds))
    for size, unit in _UNITS:
        if whole >= size:
            return f"{whole // size} {unit} ago"
    return "now"
