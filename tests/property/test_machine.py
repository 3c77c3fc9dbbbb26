"""Whatever happens in whatever order: the client's machine keeps its promises."""

import math
from ipaddress import ip_address

from hypothesis import example, given
from hypothesis import strategies as st

from wg_dynamic.client.machine import (
    DECLINES_MAX,
    DECLINES_TIME,
    JITTER,
    MIN_LEASE_TIME,
    RETRY_AFTER_MAX,
    RETRY_MAX,
    TRANSITIONS,
    Action,
    AddressesInUse,
    Apply,
    Ask,
    DeadlinePassed,
    Decline,
    Declined,
    Drop,
    Event,
    ExchangeFailed,
    Finish,
    Granted,
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
from wg_dynamic.protocol.messages import LeasedAddress, host_network

TIMES = st.sampled_from([0, MIN_LEASE_TIME - 1, MIN_LEASE_TIME, 60, 3600, (1 << 32) - 1])
ADDRESSES = st.builds(
    lambda ip, valid, share: LeasedAddress(
        ip_address(ip), host_network(ip_address(ip)), int(valid * share), valid
    ),
    st.sampled_from(["192.0.2.7", "192.0.2.8", "2001:db8::7"]),
    TIMES,
    st.sampled_from([0.0, 0.5, 1.0]),
)
GRANTS = st.builds(
    Granted,
    st.lists(ADDRESSES, min_size=1, max_size=3, unique_by=lambda one: one.ip).map(tuple),
    st.just(0.0),  # set to the time of the last Ask
)
FAILURES = st.builds(
    ExchangeFailed,
    st.sampled_from(["refused", "no answer"]),
    st.none() | st.sampled_from([0.0, 30.0, 4294967295.0]),
    st.booleans(),
)
IN_USE = st.builds(
    AddressesInUse,
    st.frozensets(st.sampled_from([ip_address("192.0.2.7"), ip_address("2001:db8::7")])),
)
TOLD = st.builds(
    ServerTold,
    st.lists(ADDRESSES, max_size=3, unique_by=lambda one: one.ip).map(tuple),
    st.sampled_from([Pushed(), Pushed(mtu=1280)]),
)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    TOLD,
    st.just(NetworkChanged()),
    st.just(Declined()),
    IN_USE,
    st.just(Started()),
    st.just(LinkDown()),
    st.just(DeadlinePassed()),
    GRANTS,
    FAILURES,
    st.builds(StopAsked, st.booleans()),
)
STEP = st.one_of(
    st.tuples(st.just(DeadlinePassed()), st.just(math.inf)),
    st.tuples(GRANTS, st.sampled_from([0.0, 0.5])),
    st.tuples(IN_USE | st.just(Declined()), st.sampled_from([0.0, 0.5])),
    st.tuples(FAILURES, st.sampled_from([0.0, 0.5, 10.0])),
    st.tuples(TOLD, st.sampled_from([0.0, 0.5, 10.0])),
    st.tuples(EVENTS, st.sampled_from([0.0, 0.5, 10.0, 1000.0, math.inf])),
)
STEPS = st.lists(STEP, min_size=10, max_size=60)
"""An event, and how long after the last one; infinity: exactly at the deadline."""


class Life:
    """A machine, what its actions come to, and what must always hold."""

    def __init__(self, jitter: float) -> None:
        self.machine = LeaseClient(lambda: jitter)
        self.now = 1000.0
        self.asked_at = self.now
        self.applied: set[str] = set()
        self.wait = 0.0
        self.told: list[str] = []
        self.told_at_all = False
        self.declined_at: list[float] = []

    def step(self, event: Event, later: float) -> None:
        machine = self.machine
        if later is math.inf:
            at = machine.deadline
            later = 0.0 if at is None or at == math.inf else at - self.now
        self.now += max(0.0, later)
        if isinstance(event, Granted):
            event = Granted(event.addresses, self.asked_at)
        if (machine.state, type(event)) not in TRANSITIONS:
            return
        due = machine.deadline is not None and self.now >= machine.deadline
        if isinstance(event, DeadlinePassed) and not due:
            return  # the driver does not say so before
        if due and not isinstance(event, DeadlinePassed | StopAsked):
            # the driver tells what happened first, and then that it is late
            self.handle(event)
            at = machine.deadline
            if (machine.state, DeadlinePassed) in TRANSITIONS and at not in (None, math.inf):
                self.now = max(self.now, at)
                self.handle(DeadlinePassed())
            return
        self.handle(event)

    def handle(self, event: Event) -> None:
        if isinstance(event, Granted):
            self.told = []
        self.told_at_all = self.told_at_all or isinstance(event, ServerTold)
        before = self.machine.lease
        for action in self.machine.handle(event, self.now):
            self.perform(action)
        if isinstance(event, ServerTold) and before is not None:
            after = self.machine.lease
            assert (
                after is None
                or after.ends_at <= before.ends_at
                or len(after.addresses) < len(before.addresses)
            ), "a push prolongs nothing"
        self.check(event)

    def perform(self, action: Action) -> None:
        match action:
            case Ask():
                self.asked_at = self.now
                assert action.lease == self.machine.lease
            case Apply():
                self.applied = {str(one.ip) for one in remaining(action.lease, self.now)}
            case Drop():
                self.applied = set()
                self.told = []
            case Tell():
                assert action.text not in self.told[-1:]
                self.told.append(action.text)
            case Decline():
                held = (
                    {one.ip for one in self.machine.lease.addresses}
                    if self.machine.lease
                    else set()
                )
                assert action.addresses
                assert not held & set(action.addresses)
                self.applied -= {str(ip) for ip in action.addresses}  # never set: it was in use
                recent = [at for at in self.declined_at if self.now - at < DECLINES_TIME]
                assert len(recent) < DECLINES_MAX
                self.declined_at = [*recent, self.now]
                self.told = []
            case Release():
                assert self.applied == set()
            case Finish():
                assert self.machine.state is State.STOPPED
            case _:
                pass

    def check(self, event: Event) -> None:
        machine = self.machine
        lease, deadline, state = machine.lease, machine.deadline, machine.state
        assert (lease is None) or state is not State.REQUESTING
        assert (lease is not None) or state not in (State.BOUND, State.RENEWING)
        idle = state is State.STOPPED or (state is State.PAUSED and lease is None)
        assert (deadline is None) == idle
        if lease is not None and deadline is not None:
            assert deadline <= lease.ends_at
            if not self.told_at_all:  # a push may shorten what was granted
                assert all(one.valid_time >= MIN_LEASE_TIME for one in lease.addresses)
        if state is not State.STOPPED:
            held = {str(one.ip) for one in lease.addresses} if lease else set()
            assert self.applied <= held
            if lease is not None and self.now < lease.ends_at:
                assert self.applied == held
        if isinstance(event, ExchangeFailed) and state is State.REQUESTING:
            assert deadline is not None
            asked = min(event.retry_after or 0.0, RETRY_AFTER_MAX)
            longest = max(RETRY_MAX, asked) * (1 + JITTER)
            assert deadline >= self.now + asked
            assert deadline <= self.now + longest + 1e-3


@given(STEPS, st.floats(-1.0, 1.0))
@example([(Started(), 0.0), (LinkDown(), 0.0), (StopAsked(release=True), 0.0)], 0.0)
def test_whatever_happens_the_machine_keeps_its_promises(
    steps: list[tuple[Event, float]], jitter: float
) -> None:
    life = Life(jitter)
    life.handle(Started())
    for event, later in steps:
        life.step(event, later)


@given(EVENTS, st.sampled_from(State), st.floats(0.0, 1e9))
def test_a_pair_of_the_table_never_raises_and_others_always_do(
    event: Event, state: State, now: float
) -> None:
    machine = LeaseClient(lambda: 0.0)
    machine.state = state
    try:
        machine.handle(event, now)
    except KeyError:
        assert (state, type(event)) not in TRANSITIONS
    else:
        assert (state, type(event)) in TRANSITIONS
