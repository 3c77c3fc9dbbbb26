"""The text that Prometheus reads."""

import re

import pytest

from wg_dynamic.server.timings import Timings
from wg_dynamic.watch.metrics import exposition

STATUS = {
    "pools": [{"network": "10.44.0.0/24", "size": 254, "held": 3, "free": 250}],
    "leases": {"held": 3, "remembered_or_quarantined": 1},
    "peers": 4,
    "connections": 2,
    "subscribers": 1,
    "up_for": 12.5,
    "store": {"works": True},
    "events": {"granted": 5},
    "requests": [{"command": 'a"\\b\n', "outcome": "success", "count": 7}],
    "times": {},
}
SAMPLE = re.compile(r'([a-z_]+)(\{[a-z_]+="[^\n]*"(,[a-z_]+="[^\n]*")*\})? (-?[0-9.e+-]+)')


def text() -> str:
    timings = Timings()
    timings.request.add(0.002, 3)
    timings.request.add(99.0)
    return exposition(STATUS | {"times": timings.told()})


def test_each_line_is_a_sample_of_the_family_above_it() -> None:
    family = ""
    for line in text().splitlines():
        if line.startswith("# HELP "):
            family = line.split()[2]
            continue
        if line.startswith("# TYPE "):
            assert line.split()[2] == family
            assert line.split()[3] in ("gauge", "counter", "histogram")
            continue
        found = SAMPLE.fullmatch(line)
        assert found, line
        assert (
            found[1].removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") == family
        )


def test_figures_are_those_of_the_status() -> None:
    lines = text().splitlines()
    for line in (
        "wg_dynamic_up 1",
        'wg_dynamic_pool_free_addresses{network="10.44.0.0/24"} 250',
        'wg_dynamic_leases{state="held"} 3',
        "wg_dynamic_uptime_seconds 12.5",
        "wg_dynamic_store_works 1",
        'wg_dynamic_events_total{event="granted"} 5',
        'wg_dynamic_requests_total{command="a\\"\\\\b\\n",outcome="success"} 7',
        'wg_dynamic_request_duration_seconds_bucket{le="0.001"} 0',
        'wg_dynamic_request_duration_seconds_bucket{le="0.0025"} 3',
        'wg_dynamic_request_duration_seconds_bucket{le="10"} 3',
        'wg_dynamic_request_duration_seconds_bucket{le="+Inf"} 4',
        "wg_dynamic_request_duration_seconds_count 4",
    ):
        assert line in lines, line


def test_without_a_server_that_is_all_there_is() -> None:
    assert exposition(None).splitlines()[-1] == "wg_dynamic_up 0"
    with pytest.raises(KeyError):
        exposition({"pools": []})
