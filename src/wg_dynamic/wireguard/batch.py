"""A list of allowed-IP changes as the steps a backend sends, in the same order.

Two ways of taking an allowed IP off. New WireGuard has a flag for it, which never touches another
peer. Old WireGuard has none, and replacing a peer's list would leave it without allowed IPs for a
moment. There a throwaway peer with a random key takes the prefix over and is removed in the same
message. That would take it from whichever peer holds it, hence the plan for it starts from what
the peers were seen to hold.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from enum import Enum
from itertools import groupby
from typing import Final

from wg_dynamic.address import Prefix
from wg_dynamic.record import dataclass
from wg_dynamic.wireguard.device import AllowedIPChange
from wg_dynamic.wireguard.key import KEY_SIZE

MAX_STEP_PREFIXES: Final = 1000
"""Prefixes in one step: 40 kB of netlink for IPv6, well inside one attribute's 64 KiB."""


class Action(Enum):
    """What one step does."""

    ADD = "add"
    REMOVE = "remove"
    """With the flag; the peer's own only."""
    TAKE_OVER = "take over"
    """`public_key` is the throwaway peer's."""


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of a message: prefixes of one peer. Host bits are clear."""

    action: Action
    public_key: bytes
    prefixes: tuple[Prefix, ...]


def plan(changes: Sequence[AllowedIPChange]) -> list[Step]:
    """The steps where WireGuard has the flag. Raises ValueError for a change without sense."""
    steps = []
    for (public_key, add), group in groupby(changes, lambda c: (c.public_key, c.add)):
        prefixes = [_checked(change) for change in group]
        action = Action.ADD if add else Action.REMOVE
        steps += [Step(action, public_key, part) for part in _parts(prefixes)]
    return steps


def plan_take_over(
    steps: Sequence[Step], held: Mapping[bytes, Set[Prefix]], throwaway_key: bytes
) -> list[Step]:
    """The same where WireGuard has no such flag.

    Args:
        steps: from `plan`.
        held: the allowed IPs, as just read, of all peers that the steps name and that exist.
        throwaway_key: 32 random bytes.
    """
    now = {public_key: set(prefixes) for public_key, prefixes in held.items()}
    result: list[Step] = []
    for step in steps:
        mine = now.get(step.public_key)
        if mine is None:
            continue  # no such peer; WireGuard would skip it as well
        if step.action is Action.ADD:
            for others in now.values():
                others.difference_update(step.prefixes)
            mine.update(step.prefixes)
            result.append(step)
            continue
        prefixes = tuple(dict.fromkeys(p for p in step.prefixes if p in mine))
        mine.difference_update(prefixes)
        if prefixes:
            result.append(Step(Action.TAKE_OVER, throwaway_key, prefixes))
    return _merged(result)


def _checked(change: AllowedIPChange) -> Prefix:
    """The change's prefix without host bits, which WireGuard cuts as well."""
    packed, length = change.prefix
    if len(change.public_key) != KEY_SIZE:
        msg = f"public key of {len(change.public_key)} bytes, expected {KEY_SIZE}"
        raise ValueError(msg)
    if len(packed) not in (4, 16) or not 0 <= length <= len(packed) * 8:
        msg = f"prefix of {len(packed)} bytes and length {length}, expected IPv4 or IPv6"
        raise ValueError(msg)
    return change.prefix if length == len(packed) * 8 else change.prefix.network()


def _parts(prefixes: Sequence[Prefix]) -> Iterator[tuple[Prefix, ...]]:
    for start in range(0, len(prefixes), MAX_STEP_PREFIXES):
        yield tuple(prefixes[start : start + MAX_STEP_PREFIXES])


def _merged(steps: list[Step]) -> list[Step]:
    """Neighbouring steps of the throwaway peer as one: it comes and goes once, not for each."""
    merged: list[Step] = []
    for (action, public_key), group in groupby(steps, lambda s: (s.action, s.public_key)):
        if action is not Action.TAKE_OVER:
            merged += group
            continue
        prefixes = [prefix for step in group for prefix in step.prefixes]
        merged += [Step(action, public_key, part) for part in _parts(prefixes)]
    return merged
