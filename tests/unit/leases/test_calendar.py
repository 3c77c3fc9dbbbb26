"""What comes next, however often times change."""

from random import Random

from wg_dynamic.leases.calendar import SPAN, STALE_ENTRIES, Calendar


class Times:
    """A calendar with the truth it looks at."""

    def __init__(self) -> None:
        self.at: dict[bytes, float] = {}
        self.calendar = Calendar(self.at.get)

    def set(self, name: str, at: float) -> None:
        self.at[name.encode()] = at
        self.calendar.add(name.encode(), at, len(self.at))

    def names(self, now: float) -> str:
        return b"".join(self.calendar.until(now)).decode()

    def all(self) -> str:
        return b"".join(self.calendar.walk()).decode()


def test_an_empty_calendar_has_nothing() -> None:
    times = Times()
    assert times.calendar.first() is None
    assert times.names(1e9) == times.all() == ""


def test_the_earliest_comes_first_whatever_bucket_it_is_in() -> None:
    times = Times()
    for name, at in zip("dacb", (9 * SPAN, 1.5, 2.0, 1.75), strict=True):
        times.set(name, at)
    assert times.calendar.first() == (1.5, b"a")
    assert times.names(1.75) == times.names(1.75) == "ab"
    assert times.names(1e9) == times.all() == "abcd"


def test_what_changes_its_time_is_found_at_the_new_one_alone() -> None:
    times = Times()
    times.set("a", 1.0)
    times.set("b", 2.0)
    times.set("a", 5 * SPAN)
    assert times.calendar.first() == (2.0, b"b")
    times.set("a", 1.5)
    assert times.names(1e9) == times.all() == "ab"


def test_something_earlier_may_come_after_a_later_one_was_looked_at() -> None:
    times = Times()
    times.set("c", 100.0 * SPAN)
    assert times.calendar.first() == (100.0 * SPAN, b"c")
    times.set("b", 50.0 * SPAN)
    times.set("a", 50.0 * SPAN - 1.0)
    times.set("d", 100.0 * SPAN + 1.0)
    assert times.all() == times.names(1e9) == "abcd"
    assert len(times.calendar._near) == 4


def test_far_things_are_kept_small_after_something_earlier_came() -> None:
    times = Times()
    for n in range(100):
        times.set(str(n), 100.0 * SPAN + n / 100)
    times.calendar.first()
    times.set("a", 1.0)
    assert len(times.calendar._near) == 1
    assert len(times.calendar) == 101


def test_what_is_gone_is_passed_over() -> None:
    times = Times()
    times.set("a", 1.0)
    times.set("b", 1.0 + SPAN)
    del times.at[b"a"]
    assert times.names(1e9) == times.all() == "b"
    del times.at[b"b"]
    assert times.calendar.first() is None
    assert len(times.calendar) == 0


def test_the_past_and_the_negative_have_buckets_too() -> None:
    times = Times()
    times.set("b", -0.5)
    times.set("a", -1e9)
    times.set("c", 0.0)
    assert times.names(0.0) == "abc"


def test_changing_times_for_ever_leaves_little_behind() -> None:
    times, chance = Times(), Random(1)  # noqa: S311 - not a secret
    for _ in range(20_000):
        times.set(chance.choice("abc"), chance.random() * 1000)
        assert len(times.calendar) <= 2 * 3 + STALE_ENTRIES
    expected = sorted((at, name) for name, at in times.at.items())
    assert times.all() == b"".join(name for _, name in expected).decode()
