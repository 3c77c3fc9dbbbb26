"""How many new addresses a peer may get."""

from wg_dynamic.leases.terms import CHURN_PERIOD
from wg_dynamic.server.churn import Churn

ALICE, BOB = bytes([1]) * 32, bytes([2]) * 32


def test_each_peer_has_its_own_count() -> None:
    churn = Churn(3)
    assert churn.left(ALICE, 100.0) == 3
    churn.add(ALICE, 2)
    assert (churn.left(ALICE, 100.0), churn.left(BOB, 100.0)) == (1, 3)
    churn.add(ALICE, 2)
    assert churn.left(ALICE, 100.0) == 0


def test_the_count_begins_anew_with_each_period() -> None:
    churn = Churn(1)
    churn.left(ALICE, 100.0)
    churn.add(ALICE, 1)
    assert churn.ends_at == 100.0 + CHURN_PERIOD
    assert churn.left(ALICE, churn.ends_at - 0.1) == 0
    assert churn.left(ALICE, churn.ends_at) == 1


def test_peers_that_get_nothing_are_not_remembered() -> None:
    churn = Churn(1)
    for n in range(100):
        assert churn.left(bytes([n]) * 32, 0.0) == 1
        churn.add(bytes([n]) * 32, 0)
    assert len(churn._count) == 0
