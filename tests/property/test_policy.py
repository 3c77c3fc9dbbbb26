"""The short way of a decision against the long one: whatever came before, they agree."""

from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from wg_dynamic.leases.pool import parse_pool
from wg_dynamic.leases.table import LeaseTable
from wg_dynamic.leases.terms import LeaseTerms, PoolTerms, Reservation
from wg_dynamic.server import policy
from wg_dynamic.server.policy import Asked, Rules, decide

KEYS = [bytes([number]) * 32 for number in range(4)]
IPV4, IPV6 = "192.0.2.0/29", "2001:db8::/125"
TERMS = LeaseTerms(
    (PoolTerms(parse_pool(IPV4), lease_time=300), PoolTerms(parse_pool(IPV6), network_length=124)),
    (Reservation(KEYS[3], (bytes([192, 0, 2, 3]),)),),
)
FENCED = bytes([192, 0, 2, 2])


class Step(NamedTuple):
    """A request, or the end of what a peer holds."""

    key: bytes
    wishes: Any
    """"own", "any", or addresses."""
    version: int
    lease_time: float | None
    new_left: int
    pause: float
    ends: bool


ADDRESSES = st.sampled_from(
    [
        bytes(4),
        bytes(16),
        FENCED,
        bytes([192, 0, 2, 3]),
        bytes([192, 0, 2, 4]),
        bytes([10, 0, 0, 1]),
    ]
)
STEPS = st.builds(
    Step,
    st.sampled_from(KEYS),
    st.sampled_from(["own", "own", "any", "any"]) | st.lists(ADDRESSES, max_size=3),
    st.sampled_from([1, 2]),
    st.sampled_from([None, 100.0, policy.FORMER_TIME]),
    st.sampled_from([60, 60, 1]),
    st.sampled_from([0.0, 50.0, 400.0]),
    st.booleans(),
)


class World:
    """A table and who decides."""

    def __init__(self, decides: Any) -> None:
        self.rules = Rules(
            TERMS, lambda _: 0, lambda address, key: address != FENCED or key == KEYS[0]
        )
        self.table: LeaseTable = self.rules.new_table()
        self.decides = decides
        self.now = 1000.0

    def step(self, step: Step) -> Any:
        self.now += step.pause
        held = sorted(
            (lease for lease in self.table.of_peer(step.key) if not lease.ended),
            key=lambda lease: lease.address,
        )
        if step.ends:
            for lease in held:
                self.table.put(lease.end(self.now))
            return None
        wishes: Any = step.wishes
        if wishes == "own":
            wishes = [lease.address for lease in held]
        elif wishes == "any":
            wishes = [bytes(4), bytes(16)]
        asked = Asked(step.key, tuple(wishes), step.version, step.lease_time, step.new_left)
        outcome = self.decides(self.table, asked, self.rules, self.now)
        return sorted(outcome.leases, key=lambda one: one.address), outcome.code, outcome.new

    def state(self) -> Any:
        leases = sorted(self.table.all(), key=lambda lease: lease.address)
        return leases, len(self.table), self.table.next_end()


def the_long_way(table: LeaseTable, asked: Asked, rules: Rules, now: float) -> Any:
    return policy._Decision(table, asked, rules, now).outcome()


@settings(max_examples=300)
@given(st.lists(STEPS, max_size=30))
def test_the_short_way_decides_as_the_long_way(steps: list[Step]) -> None:
    short, long = World(decide), World(the_long_way)
    for step in steps:
        assert short.step(step) == long.step(step)
        assert short.state() == long.state()


def test_a_new_peer_and_a_renewal_go_the_short_way() -> None:
    world = World(policy._usual)
    assert world.step(Step(KEYS[0], "any", 2, None, 60, 0.0, ends=False)) is not None
    assert world.step(Step(KEYS[0], "own", 2, None, 60, 0.0, ends=False)) is not None
