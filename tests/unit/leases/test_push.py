"""How the levels of what clients are told go together: wg-dynamic.toml(5)."""

from collections.abc import Sequence

import pytest

from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.leases import push as module
from wg_dynamic.leases.push import SILENT, PoolPush, Push, PushedRoute, combined
from wg_dynamic.protocol import schema

POOL4, POOL6 = PoolPush(4, SILENT), PoolPush(16, SILENT)


def routes(*texts: str, metric: int | None = None) -> tuple[PushedRoute, ...]:
    return tuple(PushedRoute(parse_prefix(text), metric) for text in texts)


def told(server: Push, *pools: PoolPush, peer: Push = SILENT) -> list[str]:
    """The routes, with their metrics where they have one."""
    found = combined(server, pools, peer).routes
    assert found is not None
    return [
        f"{one.network}" + ("" if one.metric is None else f" metric {one.metric}") for one in found
    ]


SERVER = Push(routes("10.20.0.0/16", "fd00:20::/48"))
POOL = Push(routes("10.30.0.0/16"))
PEER = Push(routes("10.40.0.0/16", "fd00:40::/48"))


def test_who_says_nothing_is_told_nothing() -> None:
    assert combined(SILENT, [POOL4, POOL6]) == Push(routes=())


@pytest.mark.parametrize(
    ("pools", "expected"),
    [
        ([], []),
        ([POOL4], ["10.20.0.0/16", "10.40.0.0/16"]),
        ([POOL6], ["fd00:20::/48", "fd00:40::/48"]),
        ([POOL6, POOL4], ["10.20.0.0/16", "10.40.0.0/16", "fd00:20::/48", "fd00:40::/48"]),
    ],
)
def test_a_route_goes_with_a_lease_of_its_family(
    pools: Sequence[PoolPush], expected: list[str]
) -> None:
    assert told(SERVER, *pools, peer=PEER) == expected


def test_routes_of_all_levels_add_up() -> None:
    assert told(SERVER, PoolPush(4, POOL), peer=PEER) == [
        "10.20.0.0/16",
        "10.30.0.0/16",
        "10.40.0.0/16",
    ]


def test_an_empty_list_takes_away_what_is_said_above_it() -> None:
    none = Push(routes=())
    assert told(SERVER, PoolPush(4, none)) == []
    assert told(SERVER, PoolPush(4, none), peer=PEER) == ["10.40.0.0/16"]
    assert told(SERVER, PoolPush(4, POOL), POOL6, peer=none) == []


def test_an_empty_list_of_one_pool_is_of_no_concern_to_leases_of_another() -> None:
    none = PoolPush(4, Push(routes=()))
    assert told(SERVER, none, POOL6) == ["fd00:20::/48"]
    assert told(SERVER, none, POOL4) == ["10.20.0.0/16"]


def test_the_metric_is_that_of_the_most_specific_level() -> None:
    server, first, second, peer = (
        Push(routes("10.20.0.0/16", metric=metric)) for metric in (1, 2, 3, None)
    )
    both = PoolPush(4, first), PoolPush(4, second)
    assert told(server, POOL4) == ["10.20.0.0/16 metric 1"]
    assert told(server, *both) == ["10.20.0.0/16 metric 2"]
    assert told(server, *both, peer=peer) == ["10.20.0.0/16"]


DNS = (parse_address("10.44.0.53"), parse_address("fd00:44::53"))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("servers", (DNS, DNS[:1], DNS[1:])),
        ("search", (("corp.example",), ("a.example",), ("b.example",))),
        ("mtu", (1420, 1400, 1380)),
    ],
)
def test_of_other_settings_the_most_specific_level_counts(
    name: str, values: tuple[object, object, object]
) -> None:
    server, pool, peer = (Push(**{name: value}) for value in values)  # type: ignore[arg-type]
    first, second = PoolPush(4, pool), PoolPush(16, peer)

    def said(*pools: PoolPush, peer: Push = SILENT) -> object:
        return getattr(combined(server, pools, peer), name)

    assert said(POOL4) == values[0]
    assert said(POOL4, first) == values[1]
    assert said(first, second) == values[1]
    assert said(second, first) == values[2]
    assert said(first, peer=peer) == values[2]


def test_name_servers_and_search_domains_are_settings_of_their_own() -> None:
    server = Push(servers=DNS, search=("corp.example",))
    found = combined(server, [PoolPush(4, Push(servers=()))], Push(search=("a.example",)))
    assert (found.servers, found.search) == ((), ("a.example",))


def test_limits_are_those_of_the_protocol() -> None:
    for name in ("MAX_ROUTES", "MAX_DNS_SERVERS", "MAX_DNS_SEARCH", "MAX_DOMAIN_LENGTH", "MAX_MTU"):
        assert getattr(module, name) == getattr(schema, name), name
    assert schema.METRIC.maximum == module.MAX_METRIC
    assert module.MAX_TOLD_ROUTES == schema.MAX_ROUTES * schema.MAX_REPLY_PARTS
