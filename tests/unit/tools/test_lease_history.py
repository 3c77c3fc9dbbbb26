"""The checker of crash tests finds what is planted, and nothing where all is well."""

import pytest

from tools.lease_history import History, Holding, Row, deviations, doubles, losses

ONE = "10.44.0.1"
TWO = "10.44.0.2"
SIX = "fd00:44::1"
ANY = ("0.0.0.0", "::")  # noqa: S104 - any address, no binding


def granted(
    history: History, peer: str, *addresses: str, asked: float = 0.0, told: float = 1.0
) -> None:
    history.asked(peer, asked, ANY)
    history.told(peer, told, dict.fromkeys(addresses, 60.0))


def test_a_lease_is_held_from_the_reply_until_the_time_counted_from_the_request() -> None:
    history = History()
    granted(history, "alice", ONE, asked=10.0, told=12.0)
    assert history.holdings(12.0) == [Holding("alice", ONE, 12.0, 70.0)]
    assert history.held("alice", 69.9) == [ONE]
    assert history.held("alice", 70.0) == []


def test_a_renewal_prolongs_and_is_counted() -> None:
    history = History()
    granted(history, "alice", ONE, SIX)
    history.asked("alice", 30.0, (ONE, SIX))
    history.told("alice", 31.0, {ONE: 60.0, SIX: 60.0})
    assert [holding.until for holding in history.holdings(32.0)] == [90.0, 90.0]
    assert (history.acknowledged, history.renewed) == (4, 2)
    assert history.settle(32.0) == []


@pytest.mark.parametrize("wish", [ONE, "0.0.0.0"])  # noqa: S104
@pytest.mark.parametrize("instead", [{}, {TWO: 60.0}])
def test_a_renewal_that_is_refused_is_found(wish: str, instead: dict[str, float]) -> None:
    history = History()
    granted(history, "alice", ONE)
    history.asked("alice", 30.0, (wish,))
    history.told("alice", 31.0, instead)
    (found,) = history.settle(32.0)
    assert found.startswith(f"not renewed: {ONE} is alice's")
    assert history.settle(32.0) == [], "told once"


def test_a_lease_that_ended_while_the_request_was_under_way_need_not_be_renewed() -> None:
    history = History()
    granted(history, "alice", ONE)
    history.asked("alice", 59.0, (ONE,))
    history.told("alice", 61.0, {TWO: 60.0})
    assert history.settle(61.0) == []


def test_what_the_client_gave_up_may_go_to_another_at_once() -> None:
    history = History()
    granted(history, "alice", ONE)
    history.released("alice", 5.0)
    history.unanswered("alice")
    granted(history, "bob", ONE, asked=5.1, told=5.2)
    granted(history, "carol", TWO)
    history.asked("carol", 6.0, ("10.44.0.9",))
    granted(history, "dave", TWO, asked=6.0, told=6.1)
    assert history.settle(7.0) == []
    assert [holding.peer for holding in history.holdings(7.0)] == ["bob", "dave"]


def test_leases_that_ended_by_time_are_counted() -> None:
    history = History()
    granted(history, "alice", ONE)
    history.released("alice", 5.0)
    history.told("alice", 5.0, {})
    granted(history, "alice", ONE, asked=10.0, told=11.0)
    assert history.expired == 0
    granted(history, "alice", ONE, asked=71.0, told=72.0)
    assert history.expired == 1


def test_a_second_holder_is_found() -> None:
    history = History()
    granted(history, "alice", ONE)
    granted(history, "bob", ONE, asked=59.0, told=59.9)
    (found,) = history.settle(61.0)
    assert found.startswith(f"double: {ONE} is alice's")
    assert "bob's" in found


def test_a_second_holder_is_found_after_the_history_was_settled() -> None:
    history = History()
    granted(history, "alice", ONE)
    assert history.settle(20.0) == []
    granted(history, "bob", ONE, asked=29.0, told=30.0)
    assert len(history.settle(31.0)) == 1


def test_a_short_holding_does_not_hide_a_long_one() -> None:
    several = [
        Holding("alice", ONE, 0.0, 100.0),
        Holding("alice", ONE, 1.0, 2.0),
        Holding("bob", ONE, 50.0, 60.0),
    ]
    assert len(doubles(several)) == 1


def test_one_after_the_other_is_no_double() -> None:
    several = [
        Holding("bob", ONE, 60.0, 90.0),
        Holding("alice", ONE, 0.0, 60.0),
        Holding("carol", ONE, 50.0, 50.0),
        Holding("carol", TWO, 50.0, 55.0),
    ]
    assert doubles(several) == []


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ({}, "does not have it"),
        ({ONE: Row("bob", 60.0, ended=False)}, "says it is bob's"),
        ({ONE: Row("alice", 60.0, ended=True)}, "says it has ended"),
        ({ONE: Row("alice", 59.0, ended=False)}, "says until 59.000"),
        ({TWO: Row("alice", 60.0, ended=False)}, "does not have it"),
    ],
)
def test_a_lost_acknowledgement_is_found(rows: dict[str, Row], reason: str) -> None:
    holdings = [Holding("alice", ONE, 1.0, 60.0)]
    (found,) = losses(holdings, rows, 10.0)
    assert found.startswith(f"lost: {ONE} is alice's")
    assert found.endswith(reason)
    assert losses(holdings, rows, 60.0) == [], "it has ended"


def test_what_is_in_the_database_as_said_is_not_lost() -> None:
    rows = {ONE: Row("alice", 59.9995, ended=False), TWO: Row("bob", 9.0, ended=False)}
    assert losses([Holding("alice", ONE, 1.0, 60.0)], rows, 10.0) == []


STATIC = {"alice": {"fe80::1/128", "192.0.2.0/24"}, "bob": {"fe80::2/128"}}
ROWS = {
    ONE: Row("alice", 100.0, ended=False),
    SIX: Row("alice", 100.0, ended=False),
    TWO: Row("bob", 100.0, ended=True),
}
IN_FORCE = {"alice": {*STATIC["alice"], f"{ONE}/32", f"{SIX}/128"}, "bob": STATIC["bob"]}


def test_allowed_ips_equal_to_the_database_are_right() -> None:
    assert deviations(IN_FORCE, STATIC, ROWS, 10.0, 11.0) == []


def test_a_lease_that_ends_while_we_look_may_be_there_or_not() -> None:
    rows = {**ROWS, TWO: Row("bob", 10.5, ended=False)}
    assert deviations(IN_FORCE, STATIC, rows, 10.0, 11.0) == []
    both = {**IN_FORCE, "bob": {*STATIC["bob"], f"{TWO}/32"}}
    assert deviations(both, STATIC, rows, 10.0, 11.0) == []
    assert deviations(both, STATIC, rows, 10.5, 11.0) == [f"not leased: {TWO}/32, allowed to bob"]


@pytest.mark.parametrize(
    ("peer", "less", "more", "expected"),
    [
        ("alice", f"{ONE}/32", None, f"not in force: {ONE}/32, leased to alice"),
        ("bob", None, f"{TWO}/32", f"not leased: {TWO}/32, allowed to bob"),
        ("alice", "192.0.2.0/24", None, "static: 192.0.2.0/24 was taken from alice"),
        ("bob", "fe80::2/128", None, "static: fe80::2/128 was taken from bob"),
    ],
)
def test_an_allowed_ip_too_many_or_missing_is_found(
    peer: str, less: str | None, more: str | None, expected: str
) -> None:
    there = ({*IN_FORCE[peer]} - {less}) | ({more} if more else set())
    assert deviations({**IN_FORCE, peer: there}, STATIC, ROWS, 10.0, 11.0) == [expected]


def test_an_allowed_ip_at_the_wrong_peer_is_found_twice() -> None:
    moved = {
        "alice": IN_FORCE["alice"] - {f"{ONE}/32"},
        "bob": IN_FORCE["bob"] | {f"{ONE}/32"},
    }
    assert deviations(moved, STATIC, ROWS, 10.0, 11.0) == [
        f"not in force: {ONE}/32, leased to alice",
        f"not leased: {ONE}/32, allowed to bob",
    ]


def test_a_peer_that_was_removed_is_found() -> None:
    found = deviations({"bob": STATIC["bob"]}, STATIC, {}, 10.0, 11.0)
    assert found == ["static: alice is no peer any more"]


def test_a_static_address_inside_a_pool_is_no_surplus() -> None:
    static = {**STATIC, "bob": {*STATIC["bob"], f"{TWO}/32"}}
    allowed = {**IN_FORCE, "bob": static["bob"]}
    assert deviations(allowed, static, ROWS, 10.0, 11.0) == []
