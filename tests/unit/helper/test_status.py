"""The names and values of `--status --json`: other programs read them."""

import json
from dataclasses import replace
from typing import Any

from wg_dynamic.address import parse_prefix
from wg_dynamic.helper.status import Standing, status_text
from wg_dynamic.netlink.control import FOREVER
from wg_dynamic.privsep.requests import MAX_STATUS, AddressSetting, Progress, RefusedAddress
from wg_dynamic.wireguard.key import format_key

HUB = bytes(range(32))
STARTED = Standing(
    interface="wg0",
    pid=42,
    up=True,
    link_local=parse_prefix("fe80::1/128"),
    progress=None,
    server_key=None,
    lease=(),
    leased_at=0.0,
    refused=(),
    addresses=(),
    routes=(parse_prefix("fe80::/128"),),
    allowed_ips=(),
    error="",
)
LEASED = replace(
    STARTED,
    progress=Progress("bound", 1800.04, 2),
    server_key=HUB,
    lease=(
        AddressSetting(parse_prefix("10.44.0.7"), parse_prefix("10.44.0.0/24"), 1800, 3600),
        AddressSetting(parse_prefix("fd00:44::7"), parse_prefix("fd00:44::7"), FOREVER, FOREVER),
    ),
    leased_at=100.0,
    refused=(RefusedAddress(parse_prefix("8.8.8.8"), "it is a name server's", in_use=True),),
    addresses=(parse_prefix("10.44.0.7"),),
    allowed_ips=(parse_prefix("10.44.0.0/24"),),
    error="no answer within 10 s",
)


def status(standing: Standing, now: float = 0.0, **more: object) -> Any:
    return json.loads(status_text(standing, now, more))


def test_one_that_just_starts() -> None:
    assert status(STARTED) == {
        "interface": "wg0",
        "pid": 42,
        "state": "starting",
        "up": True,
        "link_local": "fe80::1/128",
        "server": {"address": "fe80::", "public_key": None, "version": None},
        "lease": [],
        "refused": [],
        "next_in": None,
        "error": None,
        "set": {"addresses": [], "routes": ["fe80::/128"], "allowed_ips": []},
    }


def test_one_with_a_lease_says_how_long_it_lasts() -> None:
    shown = status(LEASED, 1000.0)
    assert shown["state"] == "bound"
    assert shown["server"] == {"address": "fe80::", "public_key": format_key(HUB), "version": 2}
    assert shown["lease"] == [
        {
            "address": "10.44.0.7/32",
            "network": "10.44.0.0/24",
            "valid_for": 2700.0,
            "preferred_for": 900.0,
        },
        {"address": "fd00:44::7/128", "network": None, "valid_for": None, "preferred_for": None},
    ]
    refused = {"address": "8.8.8.8/32", "reason": "it is a name server's", "in_use": True}
    assert shown["refused"] == [refused]
    assert (shown["next_in"], shown["error"]) == (800.0, "no answer within 10 s")
    assert shown["set"]["addresses"] == ["10.44.0.7/32"]
    assert shown["set"]["allowed_ips"] == ["10.44.0.0/24"]


def test_no_time_is_below_zero() -> None:
    shown = status(LEASED, 99999.0)
    assert (shown["next_in"], shown["lease"][0]["valid_for"]) == (0.0, 0.0)


def test_without_a_next_moment_there_is_none() -> None:
    paused = replace(LEASED, progress=Progress("paused", None, 2))
    assert status(paused)["next_in"] is None


def test_others_may_add_to_what_is_set_as_far_as_there_is_room() -> None:
    assert status(LEASED, mtu=1380)["set"]["mtu"] == 1380
    shown = status(LEASED, refused_routes=["x" * 100] * (MAX_STATUS // 100))
    assert shown["shortened"] is True
    assert "refused_routes" not in shown["set"]
    assert shown["set"]["addresses"] == ["10.44.0.7/32"]
