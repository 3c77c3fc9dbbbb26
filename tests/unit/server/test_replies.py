"""A decision in the words of the protocol: docs/protocol.md 6.6, 6.9 and 7."""

from tests.fakes.server import ALICE, BOB, Server
from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.leases.lease import Lease
from wg_dynamic.leases.push import Push, PushedRoute
from wg_dynamic.leases.terms import INFINITE, LeaseTerms, PeerTerms
from wg_dynamic.protocol import (
    ErrorCode,
    ReleaseIP,
    RequestIP,
    RequestIPReply,
    Subscribe,
    SubscribeReply,
    Update,
)
from wg_dynamic.record import replace
from wg_dynamic.server.replies import Replies, bare_reply


def test_a_refusal_says_when_to_come_again_in_version_2_and_how_in_both() -> None:
    reply = bare_reply(RequestIP(id=7), ErrorCode.STORE_DOWN, 5)
    assert isinstance(reply, RequestIPReply)
    assert (reply.id, reply.errno, reply.retry_after) == (7, ErrorCode.STORE_DOWN, 5)
    assert bare_reply(ReleaseIP(id=8), ErrorCode.STORE_DOWN, 5).id == 8
    refused = bare_reply(Subscribe(id=9), ErrorCode.BUSY, 900)
    assert refused == SubscribeReply(9, ErrorCode.BUSY, "Server busy", 900)


def standing(terms: LeaseTerms | None = None, *leases: Lease, key: bytes = ALICE) -> Update:
    server = Server()
    if terms is not None:
        server.terms = terms
        server.restart()
    return Replies(server.rules, server.clock).standing(key, leases, 7)


def lease(address: str, ends_at: float, key: bytes = ALICE) -> Lease:
    return Lease(key, parse_address(address), 3600.0, ends_at)


def test_what_stands_has_the_times_that_are_left() -> None:
    now = Server().clock.now()
    update = standing(None, lease("192.0.2.9", now + 60.7), lease("192.0.2.7", INFINITE))
    assert (update.serial, update.reset, update.mtu) == (7, True, None)
    assert [(str(one.ip), str(one.network), one.valid_time) for one in update.addresses] == [
        ("192.0.2.7", "192.0.2.0/24", 4294967295),
        ("192.0.2.9", "192.0.2.0/24", 60),
    ]


def test_what_stands_has_what_is_pushed_to_that_peer() -> None:
    terms = replace(
        Server().terms,
        push=Push((PushedRoute(parse_prefix("10.20.0.0/16")),), mtu=1420),
        peers=(PeerTerms(BOB, Push(mtu=1280)),),
    )
    now = Server().clock.now()
    assert standing(terms, lease("192.0.2.7", now + 60.0)).mtu == 1420
    update = standing(terms, lease("192.0.2.7", now + 60.0, BOB), key=BOB)
    assert ([str(one.network) for one in update.routes], update.mtu) == (["10.20.0.0/16"], 1280)
    nothing = standing(terms)
    assert (nothing.addresses, nothing.routes, nothing.mtu) == ((), (), None)
