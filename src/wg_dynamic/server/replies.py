"""The answers to requests: a decision in the words of the protocol. Pure but for the clock."""

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from math import ceil, isinf
from typing import overload

from wg_dynamic.address import to_network
from wg_dynamic.leases.lease import Lease
from wg_dynamic.protocol import (
    FOREVER,
    DeclineIP,
    DeclineIPReply,
    ErrorCode,
    LeasedAddress,
    ReleaseIP,
    ReleaseIPReply,
    RequestIP,
    RequestIPReply,
    Subscribe,
    SubscribeReply,
    Update,
)
from wg_dynamic.server.policy import Outcome, Rules, retry_after
from wg_dynamic.server.pushed import NOTHING, Pushed
from wg_dynamic.system.clock import Clock

LeaseRequest = RequestIP | ReleaseIP | DeclineIP
Answer = RequestIPReply | ReleaseIPReply | DeclineIPReply


class Replies:
    """What clients are told by the rules of now."""

    def __init__(self, rules: Rules, clock: Clock) -> None:
        self._rules = rules
        self._pushed = Pushed(rules.terms)
        self._clock = clock

    def reply(
        self,
        public_key: bytes,
        request: RequestIP,
        outcome: Outcome,
        refused: Collection[bytes],
        *,
        churn_ends_at: float,
    ) -> RequestIPReply:
        """What became of a request for addresses.

        Args:
            public_key: who asked.
            request: what was asked.
            outcome: what was decided.
            refused: addresses that could not be put into the allowed IPs.
            churn_ends_at: from when on a peer that had too many new addresses may have more,
                CLOCK_BOOTTIME seconds.
        """
        leases: Sequence[Lease] = outcome.leases
        if refused:
            leases = [lease for lease in leases if lease.address not in refused]
        code = outcome.code
        if len(leases) < len(outcome.leases) and code is ErrorCode.SUCCESS:
            code = ErrorCode.UNAVAILABLE
        told = NOTHING  # version 1 has no words for it
        if request.version != 1:
            told = self._pushed.told(public_key, [lease.address for lease in leases])
        return RequestIPReply(
            version=request.version,
            id=request.id,
            errno=code,
            errmsg=_text(code),
            retry_after=self._retry_after(outcome, code, churn_ends_at),
            addresses=tuple(map(self._leased_address, leases)),
            routes=told.routes,
            dns=told.dns,
            lease_start=int(self._clock.wall()) if request.version == 1 else None,
            mtu=told.mtu,
        )

    def standing(self, public_key: bytes, leases: Iterable[Lease], serial: int) -> Update:
        """All that holds for a client with these leases, with the times that are left."""
        leases = sorted(leases, key=lambda lease: lease.address)
        told = self._pushed.told(public_key, [lease.address for lease in leases])
        now = self._clock.now()
        return Update(
            serial=serial,
            reset=True,
            addresses=tuple([self._address(one, one.ends_at - now) for one in leases]),
            routes=told.routes,
            dns=told.dns,
            mtu=told.mtu,
        )

    def _retry_after(self, outcome: Outcome, code: ErrorCode, churn_ends_at: float) -> int | None:
        now = self._clock.now()
        if code is ErrorCode.RATE_LIMITED:
            return max(1, ceil(churn_ends_at - now))
        return retry_after(outcome, now)

    def _leased_address(self, lease: Lease) -> LeasedAddress:
        # Counted by the client from when it asked, which was before we decided.
        return self._address(lease, lease.lease_time)

    def _address(self, lease: Lease, time: float) -> LeasedAddress:
        network = self._rules.network(lease.address)
        span = FOREVER if isinf(time) else max(0, int(time))
        ip = IPv4Address(lease.address) if lease.is_ipv4 else IPv6Address(lease.address)
        return LeasedAddress(ip, _ip_network(network), span, span)


_ip_network = lru_cache(1024)(to_network)
"""Pools have a network each, which stands in every reply."""


@overload
def bare_reply(
    request: LeaseRequest, code: ErrorCode, retry_after: int | None = None
) -> Answer: ...


@overload
def bare_reply(
    request: Subscribe, code: ErrorCode, retry_after: int | None = None
) -> SubscribeReply: ...


def bare_reply(
    request: LeaseRequest | Subscribe, code: ErrorCode, retry_after: int | None = None
) -> Answer | SubscribeReply:
    """A reply that carries no lease: a refusal, or what a release or decline came to."""
    text = _text(code)
    if isinstance(request, Subscribe):
        return SubscribeReply(id=request.id, errno=code, errmsg=text, retry_after=retry_after)
    if isinstance(request, ReleaseIP):
        return ReleaseIPReply(id=request.id, errno=code, errmsg=text, retry_after=retry_after)
    if isinstance(request, DeclineIP):
        return DeclineIPReply(id=request.id, errno=code, errmsg=text, retry_after=retry_after)
    return RequestIPReply(
        version=request.version,
        id=request.id,
        errno=code,
        errmsg=text,
        retry_after=retry_after,
    )


def _text(code: ErrorCode) -> str:
    return "" if code is ErrorCode.SUCCESS else code.text
