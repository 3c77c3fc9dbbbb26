"""Leases made of allowed IPs that another server has left (--adopt), before anybody is served.

The first wg-dynamic, in C, leaves what it leased as ordinary allowed IPs. They become leases of the
peers that have them, committed like any other; then the helper is told, which takes them for ours
only because its administrator said --adopt, and only if they stood when it started.
"""

from collections.abc import Iterable
from typing import NamedTuple

from wg_dynamic.address import Prefix, format_address, is_link_local
from wg_dynamic.leases.lease import Lease
from wg_dynamic.leases.table import LeaseTable
from wg_dynamic.privsep.requests import Change, PeerInfo
from wg_dynamic.server.policy import Rules
from wg_dynamic.server.proxy import HelperProxy
from wg_dynamic.store.base import LeaseStore, Moment
from wg_dynamic.system.log import logger
from wg_dynamic.wireguard.key import peer_label

_LOG = logger(__name__)


class Pair(NamedTuple):
    """One allowed IP of one peer."""

    prefix: Prefix
    public_key: bytes


def choose(
    infos: Iterable[PeerInfo], table: LeaseTable, rules: Rules, now: float
) -> tuple[list[Pair], list[Pair]]:
    """What may become a lease, and what is in the pools but leased or kept for others, or none.

    A link-local address says who a peer is, and is nothing that is leased.
    """
    chosen: list[Pair] = []
    left: list[Pair] = []
    for info in infos:
        for prefix in info.fixed:
            if not prefix.is_host or is_link_local(prefix.packed) or not _in_pool(prefix, rules):
                continue
            theirs = rules.may_have(table, prefix.packed, info.public_key, now)
            (chosen if theirs else left).append(Pair(prefix, info.public_key))
    return chosen, left


def _in_pool(prefix: Prefix, rules: Rules) -> bool:
    return any(one.pool.network.covers(prefix) for one in rules.terms.pools)


async def adopt(
    infos: Iterable[PeerInfo],
    rules: Rules,
    table: LeaseTable,
    store: LeaseStore,
    helper: HelperProxy,
    *,
    moment: Moment,
) -> None:
    """Let allowed IPs of peers, as just read, become leases with their full time.

    Raises:
        StoreError: they cannot be committed.
        HelperGoneError: the helper went away.
    """
    chosen, left = choose(infos, table, rules, moment.now)
    leases = []
    for pair in chosen:
        address = pair.prefix.packed
        time = rules.lease_time(address, pair.public_key, None, finite=False)
        leases.append(Lease(pair.public_key, address, time, moment.now + time))
    for lease in leases:
        table.put(lease)
    store.commit(leases, moment)  # nobody waits for an answer yet: it may keep the loop
    table.begin()
    refusals = {
        one.index: one.reason
        for one in await helper.change(
            [Change(pair.public_key, pair.prefix, add=True) for pair in chosen]
        )
    }
    for index, (pair, lease) in enumerate(zip(chosen, leases, strict=True)):
        if index in refusals:
            _LOG.warning("%s: not adopted: %s", _text(pair), refusals[index])
        else:
            _LOG.info("%s: adopted for %.0f s", _text(pair), lease.lease_time)
    for pair in left:
        _LOG.warning("%s: not adopted: that address is not leased to this peer", _text(pair))
    _LOG.info("%d allowed IPs adopted, %d left", len(chosen) - len(refusals), len(left))


def _text(pair: Pair) -> str:
    return f"{format_address(pair.prefix.packed)} {peer_label(pair.public_key)}"
