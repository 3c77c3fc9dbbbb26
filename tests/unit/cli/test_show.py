"""What `--status` prints for people."""

from typing import Any

import pytest

from wg_dynamic.cli.show import describe, has_lease

BOUND: dict[str, Any] = {
    "interface": "wg0",
    "pid": 42,
    "state": "bound",
    "up": True,
    "link_local": "fe80::1/128",
    "server": {"address": "fe80::", "public_key": "AAAA=", "version": 2},
    "lease": [
        {"address": "10.44.0.7/32", "network": "10.44.0.0/24", "valid_for": 3599.9},
        {"address": "fd00:44::7/128", "network": None, "valid_for": None},
    ],
    "refused": [{"address": "8.8.8.8/32", "reason": "it is a name server's", "in_use": True}],
    "next_in": 90061.0,
    "error": "no answer within 10 s",
    "set": {
        "addresses": ["10.44.0.7/32", "fd00:44::7/128"],
        "routes": [],
        "mtu": 1380,
        "dns": None,
        "refused_routes": [{"route": "0.0.0.0/0", "reason": "not asked for"}],
        "not_taken": ["route 8.8.8.8/32: it is public", "MTU 576: too low"],
    },
}
BARE = BOUND | {
    "state": "starting",
    "up": False,
    "server": {"address": "fe80::", "public_key": None, "version": None},
    "lease": [],
    "refused": [],
    "next_in": None,
    "error": None,
    "set": {},
}


def test_everything_there_is() -> None:
    assert describe(BOUND) == (
        "interface: wg0\n"
        "  state: has a lease\n"
        "  link-local: fe80::1/128\n"
        "  server: fe80::, peer AAAA=, protocol version 2\n"
        "  renewal: in 1 day, 1 hour\n"
        "  last error: no answer within 10 s\n"
        "  process: 42\n"
        "\n"
        "address: 10.44.0.7/32\n"
        "  network: 10.44.0.0/24\n"
        "  time left: 59 minutes, 59 seconds\n"
        "\n"
        "address: fd00:44::7/128\n"
        "  time left: for ever\n"
        "\n"
        "refused: 8.8.8.8/32: it is a name server's\n"
        "\n"
        "set:\n"
        "  addresses: 10.44.0.7/32, fd00:44::7/128\n"
        "  routes: (none)\n"
        "  mtu: 1380\n"
        "  dns: (none)\n"
        "  refused routes: route 0.0.0.0/0 reason not asked for\n"
        "not taken: route 8.8.8.8/32: it is public\n"
        "not taken: MTU 576: too low\n"
    )


def test_almost_nothing() -> None:
    assert describe(BARE) == (
        "interface: wg0 (down)\n"
        "  state: starting\n"
        "  link-local: fe80::1/128\n"
        "  server: fe80::\n"
        "  process: 42\n"
        "\n"
        "set:\n"
    )


def test_a_state_of_a_newer_daemon_is_shown_as_it_is() -> None:
    assert "  state: dreaming\n" in describe(BARE | {"state": "dreaming"})


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.4, "0 seconds"), (1.0, "1 second"), (7322.0, "2 hours, 2 minutes")]
)
def test_times_are_in_their_two_largest_units(seconds: float, expected: str) -> None:
    shown = describe(BOUND | {"state": "requesting", "next_in": seconds})
    assert f"  next try: in {expected}\n" in shown


@pytest.mark.parametrize(
    ("left", "expected"), [([], False), ([0.0], False), ([0.0, 1.0], True), ([None], True)]
)
def test_an_address_that_is_over_is_no_lease(left: list[float | None], *, expected: bool) -> None:
    lease = [{"address": "10.44.0.7/32", "valid_for": one} for one in left]
    assert has_lease({"lease": lease}) is expected
