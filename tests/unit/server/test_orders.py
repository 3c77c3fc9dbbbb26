"""What an operator's order comes to; what the engine does with it: test_engine.py."""

from wg_dynamic.address import parse_address
from wg_dynamic.leases.lease import Lease
from wg_dynamic.leases.pool import parse_pool
from wg_dynamic.leases.table import LeaseTable
from wg_dynamic.server.orders import RELEASE, REVOKE, Decision, Order, Outcome, decide_order

ALICE, BOB = bytes([1]) * 32, bytes([2]) * 32
SEVEN, EIGHT, NINE = (parse_address(f"192.0.2.{n}") for n in (7, 8, 9))
HELD = Lease(ALICE, SEVEN, 60.0, 1060.0)
HAD = Lease(ALICE, EIGHT, 60.0, 900.0, ended=True)
DECLINED = HELD.decline(5000.0)
NOW, QUARANTINE = 1000.0, 86400.0


def decide(order: Order, *leases: Lease) -> Decision:
    table = LeaseTable([parse_pool("192.0.2.0/24")])
    table.load(leases)
    return decide_order(table, order, NOW, QUARANTINE)


def order(verb: str, address: bytes | None = None, public_key: bytes | None = None) -> Order:
    def done(_: Outcome) -> None:
        raise AssertionError

    return Order(verb, done, address, public_key)


def test_a_revoked_lease_is_over_and_in_quarantine() -> None:
    decision = decide(order(REVOKE, SEVEN), HELD, HAD)
    assert decision == Decision((HELD.decline(NOW + QUARANTINE),))
    assert decision.ending[0].is_in_quarantine(NOW + QUARANTINE - 1)


def test_what_a_peer_had_can_be_kept_from_it_by_its_address_alone() -> None:
    assert decide(order(REVOKE, EIGHT), HELD, HAD).ending == (HAD.decline(NOW + QUARANTINE),)
    assert decide(order(REVOKE, public_key=ALICE), HELD, HAD).ending == (
        HELD.decline(NOW + QUARANTINE),
    )


def test_a_released_lease_is_over_and_remembered() -> None:
    for one in (order(RELEASE, SEVEN), order(RELEASE, public_key=ALICE)):
        assert decide(one, HELD, HAD) == Decision((HELD.end(NOW),))


def test_a_release_ends_a_quarantine() -> None:
    assert decide(order(RELEASE, SEVEN), DECLINED) == Decision((), (DECLINED,))


def test_what_is_another_s_or_nobody_s_is_left_alone() -> None:
    for verb in (REVOKE, RELEASE):
        assert decide(order(verb, SEVEN, BOB), HELD) == Decision(())
        assert decide(order(verb, NINE), HELD) == Decision(())
        assert decide(order(verb, public_key=BOB), HELD) == Decision(())
        assert decide(order(verb), HELD) == Decision(())
