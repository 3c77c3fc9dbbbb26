"""Durations in buckets."""

from wg_dynamic.server.timings import BOUNDS, Histogram, Timings


def test_each_duration_is_counted_below_the_first_bound_that_holds_it() -> None:
    one = Histogram()
    for seconds, count in ((0.0, 1), (0.001, 2), (0.0011, 3), (10.0, 4), (11.0, 5)):
        one.add(seconds, count)
    told = one.told()
    assert told["count"] == 15
    assert told["buckets"] == [
        [bound, {0.001: 3, 0.0025: 3, 10.0: 4}.get(bound, 0)] for bound in BOUNDS
    ]
    assert told["sum"] == 0.002 + 0.0033 + 40.0 + 55.0


def test_three_things_are_timed() -> None:
    assert set(Timings().told()) == {"request", "store", "wireguard"}
