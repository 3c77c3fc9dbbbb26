"""The client's states: docs/protocol.md 10.2."""

from dataclasses import replace
from ipaddress import ip_address, ip_network
from math import inf

import pytest

from wg_dynamic.client.machine import (
    DECLINES_MAX,
    DECLINES_TIME,
    HINT_PAUSE,
    LONGEST_TIME,
    MIN_LEASE_TIME,
    RENEW_MAX,
    REPLY_LIMIT,
    RETRY_AFTER_MAX,
    RETRY_FIRST,
    RETRY_MAX,
    RETRY_MAX_WITHOUT,
    TRANSITIONS,
    Abandon,
    Action,
    AddressesInUse,
    Apply,
    Ask,
    DeadlinePassed,
    Decline,
    Declined,
    Drop,
    ExchangeFailed,
    Finish,
    Granted,
    Lease,
    LeaseClient,
    LinkDown,
    NetworkChanged,
    Pushed,
    Release,
    ServerTold,
    Started,
    State,
    StopAsked,
    Tell,
    remaining,
)
from wg_dynamic.protocol.messages import LeasedAddress, Route, host_network
from wg_dynamic.protocol.schema import FOREVER

FAILED = ExchangeFailed("nobody there")


def an_address(
    ip: str = "192.0.2.7", valid: int = 3600, preferred: int | None = None
) -> LeasedAddress:
    address = ip_address(ip)
    return LeasedAddress(
        address, host_network(address), valid if preferred is None else preferred, valid
    )


def a_machine(jitter: float = 0.0) -> LeaseClient:
    return LeaseClient(lambda: jitter)


def a_bound_machine(*addresses: LeasedAddress, jitter: float = 0.0) -> LeaseClient:
    """Bound at 100.0."""
    machine = a_machine(jitter)
    machine.handle(Started(), 100.0)
    machine.handle(Granted(addresses or (an_address(),), 100.0), 100.0)
    return machine


def test_a_lease_for_ever_is_asked_for_anew_every_day() -> None:
    machine = a_bound_machine(an_address(valid=4294967295))
    assert machine.deadline == 100.0 + 86400.0


def a_renewing_machine(*addresses: LeasedAddress) -> LeaseClient:
    """Past T1 at 1900.0, the lease ends at 3700.0."""
    machine = a_bound_machine(*addresses)
    machine.handle(DeadlinePassed(), 1900.0)
    return machine


def told(actions: list[Action]) -> list[str]:
    return [action.text for action in actions if isinstance(action, Tell)]


def test_it_asks_when_it_starts() -> None:
    machine = a_machine()
    assert machine.handle(Started(), 100.0) == [Ask(None)]
    assert machine.state is State.REQUESTING
    assert machine.deadline == 100.0 + REPLY_LIMIT


def test_what_is_granted_is_applied_and_kept_until_half_of_its_time() -> None:
    machine = a_machine()
    machine.handle(Started(), 100.0)
    actions = machine.handle(Granted((an_address(),), asked_at=101.0), 103.0)
    assert actions == [Apply(Lease((an_address(),), 101.0))]
    assert machine.state is State.BOUND
    assert machine.deadline == 101.0 + 1800.0


@pytest.mark.parametrize(("jitter", "t1"), [(-1.0, 1620.0), (0.0, 1800.0), (1.0, 1980.0)])
def test_t1_varies_by_a_tenth(jitter: float, t1: float) -> None:
    assert a_bound_machine(jitter=jitter).deadline == 100.0 + t1


def test_t1_is_half_of_the_shortest_time() -> None:
    assert a_bound_machine(an_address(), an_address("2001:db8::7", 600)).deadline == 400.0


def test_at_t1_it_asks_for_what_it_has() -> None:
    machine = a_bound_machine()
    assert machine.handle(DeadlinePassed(), 1900.0) == [Ask(machine.lease)]
    assert machine.state is State.RENEWING
    assert machine.lease is not None


def test_a_renewal_begins_a_new_lease() -> None:
    machine = a_renewing_machine()
    machine.handle(Granted((an_address(),), 1900.0), 1901.0)
    assert machine.state is State.BOUND
    assert machine.deadline == 1900.0 + 1800.0


def test_an_exchange_without_any_end_is_begun_anew() -> None:
    machine = a_machine()
    machine.handle(Started(), 100.0)
    assert machine.handle(DeadlinePassed(), 115.0) == [Ask(None)]


def waits_of(machine: LeaseClient, now: float, count: int) -> list[float]:
    """How long it waits after failure upon failure."""
    waits = []
    for _ in range(count):
        machine.handle(FAILED, now)
        assert machine.deadline is not None
        waits.append(machine.deadline - now)
        now = machine.deadline
        assert machine.handle(DeadlinePassed(), now) == [Ask(machine.lease)]
    return waits


def test_tries_are_further_and_further_apart_up_to_a_limit() -> None:
    machine = a_machine()
    machine.handle(Started(), 0.0)
    waits = waits_of(machine, 0.0, 6)
    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert (waits[0], waits[-1]) == (RETRY_FIRST, RETRY_MAX_WITHOUT)


def test_with_a_lease_there_is_more_time() -> None:
    waits = waits_of(a_renewing_machine(), 1900.0, 9)
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 64.0, 64.0]
    assert waits[-1] == RETRY_MAX


def test_when_the_lease_is_over_it_tries_often_again() -> None:
    machine = a_renewing_machine()
    waits_of(machine, 1900.0, 9)
    machine.handle(DeadlinePassed(), 3700.0)
    machine.handle(FAILED, 3700.0)
    assert machine.deadline == 3700.0 + RETRY_MAX_WITHOUT


def test_a_lease_makes_the_next_trouble_begin_with_a_short_wait() -> None:
    machine = a_machine()
    machine.handle(Started(), 0.0)
    for _ in range(5):
        machine.handle(FAILED, 0.0)
    machine.handle(Granted((an_address(),), 0.0), 0.0)
    machine.handle(DeadlinePassed(), 1800.0)
    machine.handle(FAILED, 1800.0)
    assert machine.deadline == 1800.0 + RETRY_FIRST


def test_the_same_trouble_is_told_once() -> None:
    machine = a_machine()
    machine.handle(Started(), 0.0)
    assert told(machine.handle(FAILED, 0.0)) == ["nobody there"]
    assert told(machine.handle(FAILED, 1.0)) == []
    assert told(machine.handle(ExchangeFailed("refused"), 2.0)) == ["refused"]


def test_trouble_after_a_lease_is_told_again() -> None:
    machine = a_machine()
    machine.handle(Started(), 0.0)
    machine.handle(FAILED, 0.0)
    machine.handle(Granted((an_address(),), 0.0), 0.0)
    machine.handle(DeadlinePassed(), 1800.0)
    assert told(machine.handle(FAILED, 1800.0)) == ["nobody there"]


def test_the_server_may_ask_for_a_longer_wait() -> None:
    machine = a_machine()
    machine.handle(Started(), 0.0)
    machine.handle(ExchangeFailed("busy", retry_after=300.0), 10.0)
    assert machine.deadline == 310.0


def test_jitter_never_makes_the_servers_wait_shorter() -> None:
    machine = a_machine(jitter=-1.0)
    machine.handle(Started(), 0.0)
    machine.handle(ExchangeFailed("busy", retry_after=300.0), 0.0)
    assert machine.deadline == pytest.approx(330.0)


def test_a_short_wait_of_the_server_does_not_shorten_ours() -> None:
    machine = a_machine()
    machine.handle(Started(), 0.0)
    for _ in range(5):
        machine.handle(ExchangeFailed("busy", retry_after=0.0), 0.0)
    assert machine.deadline == 8.0


def test_a_lease_is_kept_to_its_end_when_the_server_is_away() -> None:
    machine = a_renewing_machine()
    now = 1900.0
    while machine.lease is not None:
        machine.handle(FAILED, now)
        assert machine.deadline is not None
        assert machine.deadline <= 3700.0
        now = machine.deadline
        actions = machine.handle(DeadlinePassed(), now)
    assert now == 3700.0
    assert machine.state is State.REQUESTING
    assert actions == [
        Drop(),
        Tell("the lease of 192.0.2.7 ran out before the server could be reached"),
        Ask(None),
    ]


def test_each_address_goes_at_its_own_end() -> None:
    machine = a_renewing_machine(an_address(), an_address("2001:db8::7", 7200))
    actions = machine.handle(DeadlinePassed(), 3700.0)
    left = Lease((an_address("2001:db8::7", 7200),), 100.0)
    assert actions == [
        Apply(left),
        Tell("the lease of 192.0.2.7 ran out before the server could be reached"),
        Ask(left),
    ]
    assert machine.lease == left
    assert machine.handle(DeadlinePassed(), 7300.0)[0] == Drop()
    assert machine.state is State.REQUESTING


def test_the_end_of_a_lease_does_not_cut_the_servers_wait_short() -> None:
    machine = a_renewing_machine()
    machine.handle(ExchangeFailed("busy", retry_after=3000.0), 1900.0)
    assert machine.deadline == 3700.0
    assert machine.handle(DeadlinePassed(), 3700.0)[0] == Drop()
    assert machine.deadline == 4900.0
    assert machine.handle(DeadlinePassed(), 4900.0) == [Ask(None)]


def test_a_server_cannot_ask_for_more_than_an_hour_of_patience() -> None:
    machine = a_machine()
    machine.handle(Started(), 0.0)
    machine.handle(ExchangeFailed("busy", retry_after=4294967295.0), 0.0)
    assert machine.deadline == RETRY_AFTER_MAX == 3600.0


def test_the_servers_wait_ends_when_the_interface_comes_up_again() -> None:
    machine = a_machine()
    machine.handle(Started(), 0.0)
    machine.handle(ExchangeFailed("busy", retry_after=5000.0), 0.0)
    assert machine.handle(Started(), 10.0) == [Ask(None)]


def test_a_lease_that_ran_out_in_suspend_is_dropped_on_waking() -> None:
    machine = a_bound_machine()
    actions = machine.handle(DeadlinePassed(), 99999.0)
    assert actions[0] == Drop()
    assert actions[-1] == Ask(None)
    assert machine.state is State.REQUESTING


def test_a_refusal_leaves_the_lease_as_it_is() -> None:
    machine = a_renewing_machine()
    machine.handle(ExchangeFailed("no address is free"), 1900.0)
    assert machine.state is State.RENEWING
    assert machine.lease is not None


def test_a_server_that_leases_nothing_more_takes_the_lease_away() -> None:
    machine = a_renewing_machine()
    assert machine.handle(ExchangeFailed("gone", lost=True), 1900.0) == [Drop(), Tell("gone")]
    assert machine.state is State.REQUESTING
    assert machine.lease is None


def test_losing_what_one_does_not_have_is_a_failure_like_others() -> None:
    machine = a_machine()
    machine.handle(Started(), 0.0)
    assert machine.handle(ExchangeFailed("gone", lost=True), 0.0) == [Tell("gone")]
    assert machine.state is State.REQUESTING


def test_a_lease_of_less_than_the_minimum_is_ignored() -> None:
    machine = a_machine()
    machine.handle(Started(), 0.0)
    actions = machine.handle(Granted((an_address(valid=MIN_LEASE_TIME - 1),), 0.0), 0.0)
    assert actions == [Tell("the server leases for less than 10 s")]
    assert machine.state is State.REQUESTING
    assert machine.deadline == RETRY_FIRST


def test_a_lease_of_the_minimum_is_taken() -> None:
    assert a_bound_machine(an_address(valid=MIN_LEASE_TIME)).state is State.BOUND


def test_a_renewal_that_is_too_short_leaves_the_lease_to_its_end() -> None:
    machine = a_renewing_machine()
    machine.handle(Granted((an_address(valid=5),), 1900.0), 1900.0)
    assert machine.state is State.RENEWING
    assert machine.lease == Lease((an_address(),), 100.0)


def test_of_a_grant_only_what_lasts_is_taken() -> None:
    machine = a_bound_machine(an_address(), an_address("2001:db8::7", 5))
    assert machine.lease == Lease((an_address(),), 100.0)


def test_while_the_interface_is_down_it_only_waits_for_the_end_of_the_lease() -> None:
    machine = a_bound_machine()
    assert machine.handle(LinkDown(), 200.0) == [Abandon()]
    assert machine.state is State.PAUSED
    assert machine.deadline == 3700.0
    assert machine.handle(LinkDown(), 210.0) == [Abandon()]
    assert machine.handle(DeadlinePassed(), 3700.0)[0] == Drop()
    assert machine.state is State.PAUSED
    assert machine.deadline is None


def test_while_the_interface_is_down_addresses_go_one_by_one() -> None:
    machine = a_bound_machine(an_address(), an_address("2001:db8::7", 7200))
    machine.handle(LinkDown(), 200.0)
    actions = machine.handle(DeadlinePassed(), 3700.0)
    assert actions[0] == Apply(Lease((an_address("2001:db8::7", 7200),), 100.0))
    assert machine.deadline == 7300.0


def test_without_a_lease_there_is_nothing_to_wait_for_while_down() -> None:
    machine = a_machine()
    machine.handle(Started(), 0.0)
    machine.handle(LinkDown(), 1.0)
    assert machine.deadline is None


def test_up_again_it_sets_what_the_kernel_dropped_and_asks_at_once_for_what_it_has() -> None:
    machine = a_bound_machine()
    lease = machine.lease
    assert lease is not None
    machine.handle(LinkDown(), 200.0)
    assert machine.handle(Started(), 300.0) == [Apply(lease), Ask(lease)]
    assert machine.state is State.RENEWING


def test_up_again_after_the_end_of_the_lease_it_asks_for_any() -> None:
    machine = a_bound_machine()
    machine.handle(LinkDown(), 200.0)
    actions = machine.handle(Started(), 99999.0)
    assert actions[0] == Drop()
    assert actions[-1] == Ask(None)
    assert machine.state is State.REQUESTING


def test_up_without_having_been_down_asks_at_once() -> None:
    machine = a_bound_machine()
    lease = machine.lease
    assert lease is not None
    assert machine.handle(Started(), 200.0) == [Apply(lease), Ask(lease)]
    assert machine.handle(Started(), 201.0) == [Apply(lease), Ask(lease)]
    assert machine.state is State.RENEWING


def test_a_failure_that_comes_while_down_changes_nothing() -> None:
    machine = a_bound_machine()
    machine.handle(LinkDown(), 200.0)
    assert machine.handle(FAILED, 201.0) == []
    assert machine.deadline == 3700.0


def test_a_loss_that_comes_while_down_is_obeyed() -> None:
    machine = a_bound_machine()
    machine.handle(LinkDown(), 200.0)
    assert machine.handle(ExchangeFailed("gone", lost=True), 201.0) == [Drop()]
    assert machine.state is State.PAUSED
    assert machine.deadline is None


# --- the network around ------------------------------------------------------------------------


def test_a_change_of_the_network_is_worth_a_try_at_once() -> None:
    machine = a_machine()
    machine.handle(Started(), 0.0)
    waits_of(machine, 0.0, 4)
    machine.handle(FAILED, 100.0)
    assert machine.handle(NetworkChanged(), 101.0) == [Ask(None)]
    machine.handle(FAILED, 102.0)
    assert machine.deadline == 102.0 + RETRY_FIRST, "and begins with short waits again"


def test_a_network_that_changes_all_the_time_is_not_obeyed_all_the_time() -> None:
    machine = a_machine()
    machine.handle(Started(), 0.0)
    machine.handle(FAILED, 0.0)
    assert machine.handle(NetworkChanged(), 0.5) == [Ask(None)]
    machine.handle(FAILED, 0.5)
    assert machine.handle(NetworkChanged(), 0.5 + HINT_PAUSE - 0.1) == []
    assert machine.handle(NetworkChanged(), 0.5 + HINT_PAUSE) == [Ask(None)]


def test_while_an_exchange_runs_or_the_lease_is_fresh_the_network_does_not_matter() -> None:
    machine = a_machine()
    machine.handle(Started(), 0.0)
    assert machine.handle(NetworkChanged(), 0.0) == []
    machine.handle(Granted((an_address(),), 0.0), 0.0)
    assert machine.handle(NetworkChanged(), 1.0) == []
    machine.handle(LinkDown(), 2.0)
    assert machine.handle(NetworkChanged(), 3.0) == []


def test_a_change_of_the_network_does_not_cut_the_servers_wait_short() -> None:
    machine = a_machine()
    machine.handle(Started(), 0.0)
    machine.handle(ExchangeFailed("busy", retry_after=300.0), 0.0)
    assert machine.handle(NetworkChanged(), 299.0) == []
    assert machine.handle(NetworkChanged(), 300.0) == [Ask(None)]


def test_a_change_of_the_network_after_the_end_of_a_lease_finds_it_over() -> None:
    machine = a_renewing_machine()
    machine.handle(FAILED, 1900.0)
    actions = machine.handle(NetworkChanged(), 3700.0)
    assert (actions[0], actions[-1]) == (Drop(), Ask(None))
    assert machine.state is State.REQUESTING


# --- what is in use here already ---------------------------------------------------------------

SEVEN, SIX = ip_address("192.0.2.7"), ip_address("2001:db8::7")
IN_USE = AddressesInUse(frozenset({SEVEN}))


def test_what_is_in_use_is_declined_and_another_asked_for() -> None:
    machine = a_bound_machine()
    assert machine.handle(IN_USE, 100.0) == [
        Tell("192.0.2.7 in use here: declined, asking for another"),
        Decline((SEVEN,)),
    ]
    assert (machine.state, machine.lease) == (State.DECLINING, None)
    assert machine.deadline == 100.0 + REPLY_LIMIT
    assert machine.handle(Declined(), 101.0) == [Ask(None)]
    assert (machine.state, machine.deadline) == (State.REQUESTING, 101.0 + REPLY_LIMIT)
    machine.handle(Granted((an_address("192.0.2.8"),), 101.0), 101.0)
    assert machine.lease == Lease((an_address("192.0.2.8"),), 101.0)


def test_other_addresses_are_kept_meanwhile() -> None:
    machine = a_bound_machine(an_address(), an_address(str(SIX)))
    machine.handle(IN_USE, 100.0)
    left = Lease((an_address(str(SIX)),), 100.0)
    assert (machine.state, machine.lease) == (State.DECLINING, left)
    assert machine.handle(Declined(), 101.0) == [Ask(left)]
    assert machine.state is State.RENEWING


def test_a_decline_that_fails_is_no_reason_to_wait_for_ever() -> None:
    machine = a_bound_machine()
    machine.handle(IN_USE, 100.0)
    assert machine.handle(FAILED, 110.0) == [Tell("nobody there")]
    assert (machine.state, machine.deadline) == (State.REQUESTING, 111.0)
    machine = a_bound_machine()
    machine.handle(IN_USE, 100.0)
    assert machine.handle(DeadlinePassed(), 115.0) == [Ask(None)]
    assert machine.state is State.REQUESTING


def test_the_interface_may_go_down_and_up_while_it_declines() -> None:
    machine = a_bound_machine()
    machine.handle(IN_USE, 100.0)
    assert machine.handle(Started(), 101.0) == [Ask(None)]
    assert machine.state is State.REQUESTING
    machine = a_bound_machine()
    machine.handle(IN_USE, 100.0)
    assert machine.handle(LinkDown(), 101.0) == [Abandon()]
    assert (machine.state, machine.deadline) == (State.PAUSED, None)


def test_what_is_not_leased_any_more_cannot_be_declined() -> None:
    machine = a_bound_machine(an_address("192.0.2.8"))
    assert machine.handle(IN_USE, 100.0) == []
    assert str(machine.state) == "State.BOUND"
    for event in (DeadlinePassed(), LinkDown()):
        machine.handle(event, 1900.0)
        state = str(machine.state)
        assert machine.handle(IN_USE, 1900.0) == []
        assert str(machine.state) == state


def test_a_hub_that_leases_one_used_address_after_the_other_is_not_followed_for_ever() -> None:
    machine = a_machine()
    machine.handle(Started(), 0.0)
    now, waits = 0.0, []
    for _ in range(DECLINES_MAX):
        machine.handle(Granted((an_address(),), now), now)
        assert Decline((SEVEN,)) in machine.handle(IN_USE, now)
        if Ask(None) not in machine.handle(Declined(), now):
            assert machine.deadline is not None
            waits.append(machine.deadline - now)
            now = machine.deadline
            assert machine.handle(DeadlinePassed(), now) == [Ask(None)]
    assert waits == [2.0, 4.0, 8.0]
    machine.handle(Granted((an_address(),), now), now)
    text = "192.0.2.7 in use here; declined 4 times of late: left as it is"
    assert machine.handle(IN_USE, now) == [Tell(text)]
    assert machine.state is State.BOUND
    assert machine.handle(IN_USE, now) == [], "said once"
    assert machine.deadline == now + 1800.0
    later = now + DECLINES_TIME
    machine.handle(DeadlinePassed(), later)
    machine.handle(Granted((an_address(),), later), later)
    assert Decline((SEVEN,)) in machine.handle(IN_USE, later)


# --- the end -----------------------------------------------------------------------------------


def test_stopped_without_release_it_only_ends() -> None:
    machine = a_bound_machine()
    assert machine.handle(StopAsked(release=False), 200.0) == [Abandon(), Finish()]
    assert machine.state is State.STOPPED
    assert (machine.lease, machine.deadline) == (None, None)


def test_stopped_with_release_it_takes_the_addresses_off_before_it_gives_them_back() -> None:
    machine = a_bound_machine()
    lease = machine.lease
    assert lease is not None
    actions = machine.handle(StopAsked(release=True), 200.0)
    assert actions == [Abandon(), Drop(), Release(lease), Finish()]


def test_there_is_nothing_to_release_without_a_lease() -> None:
    machine = a_machine()
    machine.handle(Started(), 0.0)
    assert machine.handle(StopAsked(release=True), 1.0) == [Abandon(), Finish()]


def test_a_lease_that_is_over_is_not_released() -> None:
    machine = a_renewing_machine()
    assert machine.handle(StopAsked(release=True), 3700.0) == [Abandon(), Finish()]


# --- told by the server -------------------------------------------------------------------------

HELD4, HELD6 = an_address(), an_address("2001:db8::7")
ROUTES = Pushed((Route(ip_network("10.9.0.0/16")),))


def test_being_told_what_is_so_already_changes_nothing() -> None:
    machine = a_bound_machine(HELD4, HELD6)
    told = ServerTold((replace(HELD6, valid_time=3500), replace(HELD4, valid_time=3500)))
    assert machine.handle(told, 200.0) == []
    assert (machine.state, machine.deadline) == (State.BOUND, 1900.0)


def test_a_route_is_taken_over_and_the_lease_ends_when_it_did() -> None:
    machine = a_bound_machine(HELD4)
    told = ServerTold((replace(HELD4, valid_time=3500),), ROUTES)
    assert machine.handle(told, 200.0) == [Apply(Lease((HELD4,), 100.0, ROUTES))]
    assert (machine.state, machine.deadline) == (State.BOUND, 1900.0)
    assert machine.handle(ServerTold((HELD4,)), 300.0) == [Apply(Lease((HELD4,), 100.0))]


def test_an_address_taken_back_goes_and_it_asks_at_once_for_another() -> None:
    machine = a_bound_machine(HELD4, HELD6)
    rest = Lease((HELD6,), 100.0)
    assert machine.handle(ServerTold((HELD6,)), 200.0) == [
        Apply(rest),
        Tell("the server took back 192.0.2.7"),
        Ask(rest),
    ]
    assert machine.state is State.RENEWING


def test_without_any_address_it_begins_anew() -> None:
    machine = a_bound_machine(HELD4, HELD6)
    actions = machine.handle(ServerTold(()), 200.0)
    assert (actions[0], actions[-1]) == (Drop(), Ask(None))
    assert machine.state is State.REQUESTING


def test_what_a_push_takes_away_while_it_renews_is_not_held_by_it() -> None:
    machine = a_bound_machine(HELD4, HELD6)
    machine.handle(DeadlinePassed(), 1900.0)
    assert machine.handle(ServerTold((HELD6,)), 1901.0)[-1] == Ask(Lease((HELD6,), 100.0))
    assert machine.handle(ServerTold(()), 1902.0)[0] == Drop()
    assert machine.state is State.REQUESTING
    assert machine.handle(Granted((HELD4,), 1903.0), 1903.0) == [Apply(Lease((HELD4,), 1903.0))]


def test_what_goes_a_moment_later_is_part_of_the_renewal_that_runs() -> None:
    other = an_address("192.0.2.8")
    machine = a_bound_machine(HELD4, other, HELD6)
    assert machine.handle(ServerTold((other, HELD6)), 200.0)[-1] == Ask(
        Lease((other, HELD6), 100.0)
    )
    rest = Lease((HELD6,), 100.0)
    told = Tell("the server took back 192.0.2.8")
    assert machine.handle(ServerTold((HELD6,)), 201.0) == [Apply(rest), told]
    assert machine.state is State.RENEWING


def test_an_address_that_it_does_not_know_is_asked_for() -> None:
    machine = a_bound_machine(HELD4)
    assert machine.handle(ServerTold((HELD4, HELD6)), 200.0) == [Ask(Lease((HELD4,), 100.0))]
    assert machine.state is State.RENEWING
    assert machine.handle(ServerTold((HELD4, HELD6)), 201.0) == []


def test_a_hub_that_gives_and_takes_all_the_time_is_not_followed_all_the_time() -> None:
    machine = a_bound_machine(HELD4)
    asked = 0
    for second in range(200, 300):
        for _ in range(3):
            actions = machine.handle(ServerTold(()), second) if machine.lease else []
            asked += any(isinstance(action, Ask) for action in actions)
            if machine.deadline is not None and second >= machine.deadline:
                actions = machine.handle(DeadlinePassed(), second)
                asked += any(isinstance(action, Ask) for action in actions)
            if machine.state is State.REQUESTING:
                machine.handle(Granted((HELD4,), second), second)
    assert asked <= 100 / HINT_PAUSE + 1


def test_unknown_addresses_all_the_time_are_not_asked_for_all_the_time() -> None:
    machine = a_bound_machine(HELD4)
    asked = 0
    for second in range(200, 300):
        actions = machine.handle(ServerTold((HELD4, HELD6)), second)
        if machine.state is State.BOUND and machine.deadline == second:
            actions += machine.handle(DeadlinePassed(), second)
        if any(isinstance(action, Ask) for action in actions):
            asked += 1
            machine.handle(Granted((HELD4,), second), second)
    assert 9 <= asked <= 100 / HINT_PAUSE + 1


def test_a_push_may_make_a_lease_shorter_and_never_longer() -> None:
    machine = a_bound_machine(HELD4)
    machine.handle(ServerTold((replace(HELD4, valid_time=9999, preferred_time=9999),)), 200.0)
    assert machine.lease == Lease((HELD4,), 100.0)
    (action,) = machine.handle(ServerTold((replace(HELD4, valid_time=60),)), 200.0)
    short = replace(HELD4, preferred_time=160, valid_time=160)
    assert action == Apply(Lease((short,), 100.0))
    assert machine.deadline == 260.0


def test_another_network_around_an_address_is_taken_over() -> None:
    machine = a_bound_machine(HELD4)
    wide = replace(HELD4, network=ip_network("192.0.2.0/24"))
    assert machine.handle(ServerTold((wide,)), 200.0) == [Apply(Lease((wide,), 100.0))]


def test_a_lease_for_ever_can_be_made_to_end() -> None:
    machine = a_bound_machine(replace(HELD4, preferred_time=FOREVER, valid_time=FOREVER))
    machine.handle(ServerTold((replace(HELD4, valid_time=60),)), 200.0)
    assert machine.lease is not None
    assert machine.lease.ends_at == 260.0


def test_what_is_not_in_the_table_is_a_bug() -> None:
    machine = a_bound_machine()
    with pytest.raises(KeyError):
        machine.handle(Granted((an_address(),), 0.0), 0.0)


def test_nothing_leads_out_of_the_end() -> None:
    assert not [state for state, _ in TRANSITIONS if state is State.STOPPED]


def test_what_is_left_of_a_lease_is_rounded_up_and_over_addresses_are_left_out() -> None:
    lease = Lease((an_address(preferred=1800), an_address("2001:db8::7", 100)), 100.0)
    (left,) = remaining(lease, 200.5)
    assert (left.valid_time, left.preferred_time) == (3500, 1700)
    assert [one.valid_time for one in remaining(lease, 199.5)] == [3501, 1]


def test_a_preferred_time_that_is_over_is_a_second() -> None:
    (left,) = remaining(Lease((an_address(preferred=0),), 100.0), 200.0)
    assert left.preferred_time == 1


def test_the_longest_time_is_not_for_ever() -> None:
    long = Lease((an_address(valid=0xFFFF_FFFE),), 100.0)
    (left,) = remaining(long, 100.0)
    assert (left.valid_time, left.preferred_time) == (LONGEST_TIME, LONGEST_TIME)
    assert long.ends_at == 100.0 + LONGEST_TIME


def test_a_lease_without_end_keeps_none_however_much_time_passes() -> None:
    lease = Lease((an_address(valid=0xFFFF_FFFF),), 100.0)
    (left,) = remaining(lease, 1e12)
    assert (left.valid_time, left.preferred_time) == (0xFFFF_FFFF, 0xFFFF_FFFF)
    assert lease.ends_at == inf
    assert lease.renew_at == 100.0 + RENEW_MAX
