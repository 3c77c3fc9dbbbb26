"""What is different between two sets of terms, in words, for the log and who asked. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from math import isinf
from types import MappingProxyType
from typing import Final

from wg_dynamic.address import format_address
from wg_dynamic.leases.push import Push, PushedRoute
from wg_dynamic.leases.terms import (
    AddressRange,
    LeaseTerms,
    PeerName,
    PeerTerms,
    PoolTerms,
    Reservation,
)
from wg_dynamic.wireguard.key import peer_label

MAX_LINES: Final = 100
"""More changes than these are counted only."""
_MAX_LISTED: Final = 8
"""Items of a list that a line names."""
_NO_NAMES: Final[Mapping[bytes, str]] = MappingProxyType({})
_SPANS: Final = ("lease_time", "min_lease_time", "max_lease_time", "grace_time", "quarantine_time")
_COUNTS: Final = ("addresses_per_peer", "max_new_addresses")


def changes(
    old: LeaseTerms, new: LeaseTerms, names: Mapping[bytes, str] = _NO_NAMES
) -> Iterator[str]:
    """A line for each thing that differs.

    Args:
        old: what counted until now.
        new: what counts from now on.
        names: of peers, by public key.
    """
    told = 0
    for told, line in enumerate(_changes(old, new, names), start=1):
        if told <= MAX_LINES:
            yield line
    if told > MAX_LINES:
        yield f"{told - MAX_LINES} more changes"


def _changes(old: LeaseTerms, new: LeaseTerms, names: Mapping[bytes, str]) -> Iterator[str]:
    yield from _pools(old.pools, new.pools)
    yield from _reservations(old.reservations, new.reservations, names)
    for key in _SPANS:
        yield from _value(key, _span(getattr(old, key)), _span(getattr(new, key)))
    for key in _COUNTS:
        yield from _value(key, getattr(old, key), getattr(new, key))
    yield from _push("all clients", old.push, new.push)
    yield from _peers(old.peers, new.peers, names)
    yield from _renamed(old.names, new.names)


def _renamed(old: Iterable[PeerName], new: Iterable[PeerName]) -> Iterator[str]:
    before = {one.public_key: one.name for one in old}
    after = {one.public_key: one.name for one in new}
    for key in dict.fromkeys([*before, *after]):
        was, is_now = before.get(key), after.get(key)
        if was is None:
            yield f"{peer_label(key)} has the name {is_now}"
        elif is_now is None:
            yield f"{peer_label(key)} is not named {was} any more"
        elif was != is_now:
            yield f"{peer_label(key)} has the name {is_now} instead of {was}"


def _pools(old: Iterable[PoolTerms], new: Iterable[PoolTerms]) -> Iterator[str]:
    before = {one.pool.network: one for one in old}
    after = {one.pool.network: one for one in new}
    for network in before.keys() - after.keys():
        yield f"pool {network} removed: its leases stand until they end, and are not renewed"
    for network, pool in after.items():
        was = before.get(network)
        if was is None:
            yield f"pool {network} added"
            continue
        label = f"pool {network}"
        yield from _value(f"{label}: lease_time", _span(was.lease_time), _span(pool.lease_time))
        yield from _value(f"{label}: network_length", was.network_length, pool.network_length)
        yield from _list(f"{label}: exclude", map(_range, was.excluded), map(_range, pool.excluded))
        yield from _push(f"clients of {label}", was.push, pool.push)
    kept = [network for network in before if network in after]
    if kept != [network for network in after if network in before]:
        yield "order of the pools changed"


def _reservations(
    old: Iterable[Reservation], new: Iterable[Reservation], names: Mapping[bytes, str]
) -> Iterator[str]:
    before = {one.public_key: one for one in old}
    after = {one.public_key: one for one in new}
    for key in {**before, **after}:
        was, now = before.get(key), after.get(key)
        label = f"reservation of {_peer(key, names)}"
        if was is None or now is None:
            one = now or was
            listed = ", ".join(format_address(each) for each in one.addresses) if one else ""
            yield f"{label} {'added' if was is None else 'removed'}: {listed}"
            continue
        yield from _list(
            label, map(format_address, was.addresses), map(format_address, now.addresses)
        )
        yield from _value(f"{label}: lease_time", _span(was.lease_time), _span(now.lease_time))


def _peers(
    old: Iterable[PeerTerms], new: Iterable[PeerTerms], names: Mapping[bytes, str]
) -> Iterator[str]:
    before = {one.public_key: one.push for one in old}
    after = {one.public_key: one.push for one in new}
    for key in {**before, **after}:
        yield from _push(_peer(key, names), before.get(key, Push()), after.get(key, Push()))


def _push(who: str, old: Push, new: Push) -> Iterator[str]:
    for what, was, now in (
        ("routes", old.routes, new.routes),
        ("name servers", old.servers, new.servers),
        ("search domains", old.search, new.search),
    ):
        label = f"{what} for {who}"
        if was or now:
            yield from _list(label, map(_item, was or ()), map(_item, now or ()))
        else:  # the one says nothing, the other says that there are none
            yield from _value(label, *(None if one is None else "none" for one in (was, now)))
    yield from _value(f"mtu for {who}", old.mtu, new.mtu)


def _value(what: str, old: object, new: object) -> Iterator[str]:
    if old != new:
        yield f"{what}: {_shown(old)} until now, {_shown(new)} from now on"


def _list(what: str, old: Iterable[str], new: Iterable[str]) -> Iterator[str]:
    before, after = dict.fromkeys(old), dict.fromkeys(new)
    added = [one for one in after if one not in before]
    removed = [one for one in before if one not in after]
    parts = [
        f"{word} {_listed(items)}"
        for word, items in (("added", added), ("removed", removed))
        if items
    ]
    if not parts and list(before) != list(after):
        parts = ["in another order"]
    if parts:
        yield f"{what}: {', '.join(parts)}"


def _listed(items: list[str]) -> str:
    shown = ", ".join(items[:_MAX_LISTED])
    return shown if len(items) <= _MAX_LISTED else f"{shown} and {len(items) - _MAX_LISTED} more"


def _item(value: PushedRoute | bytes | str) -> str:
    if isinstance(value, bytes):
        return format_address(value)
    if isinstance(value, str):
        return value
    return f"{value.network}" + ("" if value.metric is None else f" metric {value.metric}")


def _range(one: AddressRange) -> str:
    first, last = format_address(one.first), format_address(one.last)
    return first if first == last else f"{first}-{last}"


def _peer(key: bytes, names: Mapping[bytes, str]) -> str:
    name = names.get(key, "")
    return f"{peer_label(key)} ({name})" if name else peer_label(key)


def _span(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return "infinite" if isinf(seconds) else f"{seconds:.0f}"


def _shown(value: object) -> str:
    return "the default" if value is None else str(value)
