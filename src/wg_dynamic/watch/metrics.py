"""A server's status as Prometheus reads it (text exposition format 0.0.4). Pure.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX: Final = "wg_dynamic"

Sample = tuple[str, dict[str, Any], float]
"""What follows the family's name (as in `_bucket`), labels, value."""
Family = tuple[str, str, str, list[Sample]]
"""Name, kind, what it is, samples."""


def exposition(status: Mapping[str, Any] | None) -> str:
    """The text; of None, that there is no server. Raises KeyError, TypeError, ValueError."""
    families = [_gauge("up", "Whether the server answers.", float(status is not None))]
    if status is not None:
        families += _families(status)
    return "".join(line for family in families for line in _lines(*family))


def _families(status: Mapping[str, Any]) -> Iterator[Family]:
    pools, leases = status["pools"], status["leases"]
    for key, text in (
        ("size", "Addresses that can be leased."),
        ("held", "Addresses that are leased."),
        ("free", "Addresses that nobody has, nor had of late."),
    ):
        sizes: list[Sample] = [("", {"network": one["network"]}, float(one[key])) for one in pools]
        yield f"pool_{key}_addresses", "gauge", text, sizes
    states: list[Sample] = [("", {"state": one}, float(count)) for one, count in leases.items()]
    yield "leases", "gauge", "Leases by their state.", states
    yield _gauge("peers", "Peers of the interface.", status["peers"])
    yield _gauge("connections", "Connections of clients.", status["connections"])
    yield _gauge("subscribers", "Clients that are told of changes.", status.get("subscribers", 0))
    yield _gauge("uptime_seconds", "Since the network process began.", status["up_for"])
    works = status["store"]["works"]
    yield _gauge("store_works", "Whether the last commit of the database went well.", works)
    counts = status["events"].items()
    events: list[Sample] = [("", {"event": kind}, float(count)) for kind, count in counts]
    yield "events_total", "counter", "Lease events since the start.", events
    requests: list[Sample] = [
        ("", {"command": one["command"], "outcome": one["outcome"]}, float(one["count"]))
        for one in status["requests"]
    ]
    yield "requests_total", "counter", "Requests by what was answered.", requests
    for key, text in (
        ("request", "Of the batch that a request was in, to the replies."),
        ("store", "Of a commit to the database."),
        ("wireguard", "Of a change of allowed IPs."),
    ):
        samples = list(_histogram(status["times"][key]))
        yield f"{key}_duration_seconds", "histogram", text, samples


def _gauge(name: str, text: str, value: float) -> Family:
    return name, "gauge", text, [("", {}, float(value))]


def _histogram(times: Mapping[str, Any]) -> Iterator[Sample]:
    total = 0
    for bound, count in times["buckets"]:
        total += count
        yield "_bucket", {"le": f"{bound:g}"}, float(total)
    yield "_bucket", {"le": "+Inf"}, float(times["count"])
    yield "_sum", {}, float(times["sum"])
    yield "_count", {}, float(times["count"])


def _lines(name: str, kind: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
    full = f"{_PREFIX}_{name}"
    yield f"# HELP {full} {text}\n# TYPE {full} {kind}\n"
    for suffix, labels, value in samples:
        inside = ",".join(f'{key}="{_escaped(str(one))}"' for key, one in labels.items())
        yield (
            f"{full}{suffix}{{{inside}}} {value:.17g}\n"
            if inside
            else (f"{full}{suffix} {value:.17g}\n")
        )


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
