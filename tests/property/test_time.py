"""Whatever is done to the wall clock, and over any number of boots, a lease never grows."""

from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.clock import FakeClock
from wg_dynamic.leases.lease import Lease
from wg_dynamic.store.memory import MemoryStore

OURS, OTHER = b"\x0a\x2c\x00\x07", b"\x0a\x2c\x00\x08"
SPANS = st.floats(0, 40 * 365 * 86400.0)
TIME = 3600.0

STEPS = st.one_of(
    st.tuples(st.just("pass"), SPANS),
    st.tuples(st.just("wall"), st.floats(0, 4e9)),
    st.tuples(st.just("reboot"), SPANS),
    st.tuples(st.just("commit"), st.just(0.0)),
)


class History:
    """One lease, granted in the first boot, and what a server that starts now would make of it."""

    def __init__(self) -> None:
        self.clock = FakeClock(wall=1e9)
        self.store = MemoryStore()
        self.store.commit(
            [Lease(b"k" * 32, OURS, TIME, self.clock.now() + TIME)], self.clock.moment()
        )

    def left(self) -> float:
        lease = next(one for one in self.store.load(self.clock.moment()) if one.address == OURS)
        return lease.ends_at - self.clock.now()

    def step(self, kind: str, value: float) -> None:
        if kind == "pass":
            before = self.left()
            self.clock.pass_time(value)
            if self.in_first_boot():
                assert abs(self.left() - (before - value)) <= 1e-3 * max(1.0, value), "time passes"
        elif kind == "wall":
            before = self.left()
            self.clock.set_wall(value)
            if self.in_first_boot():
                assert self.left() == before, "within a boot nobody looks at the wall clock"
        elif kind == "reboot":
            self.clock.reboot(after=value)
        else:
            self.store.commit(
                [Lease(b"o" * 32, OTHER, TIME, self.clock.now() + TIME)], self.clock.moment()
            )
        assert self.left() <= TIME + 1e-3, "no lease grows"

    def in_first_boot(self) -> bool:
        return self.clock.boot_id() == "1"


@given(st.lists(STEPS, max_size=12))
def test_a_lease_never_grows(steps: list[tuple[str, float]]) -> None:
    history = History()
    for kind, value in steps:
        history.step(kind, value)


@given(st.floats(0, TIME), st.floats(0, 1e9), SPANS)
def test_a_boot_with_a_clock_in_the_past_ends_no_lease(
    passed: float, wall: float, later: float
) -> None:
    """`wall` is at most that of the last commit; then `later` seconds pass with it set right."""
    history = History()
    history.clock.pass_time(passed)
    history.step("commit", 0.0)
    history.clock.reboot()
    history.clock.set_wall(wall)
    left = history.left()
    assert abs(left - (TIME - passed)) < 1e-3, "all that it had at the last commit"
    history.clock.set_wall(2e9)
    history.step("pass", min(later, 60.0))
    assert history.left() <= left
