"""What docs/operations.md and wg-dynamic.toml(5) show of the configuration file is so."""

import re
from dataclasses import fields

import pytest

from tools.repository import ROOT
from wg_dynamic.address import parse_address
from wg_dynamic.errors import UsageError
from wg_dynamic.helper.config.checks import checked_terms
from wg_dynamic.helper.config.document import ServerConfig, parse_config
from wg_dynamic.helper.config.file import default_path
from wg_dynamic.leases.push import (
    MAX_DNS_SEARCH,
    MAX_DNS_SERVERS,
    MAX_METRIC,
    MAX_MTU,
    MAX_ROUTES,
    MAX_TOLD_ROUTES,
    MIN_MTU,
    Push,
)
from wg_dynamic.leases.terms import INFINITE
from wg_dynamic.privsep.requests import (
    MAX_EXCLUSIONS,
    MAX_POOLS,
    MAX_PUSHED_PEERS,
    MAX_PUSHED_ROUTES,
    MAX_RESERVATIONS,
)
from wg_dynamic.server.pushed import Pushed

GUIDE = (ROOT / "docs/operations.md").read_text()
HOWTO = (ROOT / "docs/howto.md").read_text()
PAGE = (ROOT / "docs/man/wg-dynamic.toml.5").read_text()
EXAMPLE, WRONG, PUSHES = re.findall(r"^```toml\n(.*?)^```$", GUIDE, re.M | re.S)


def test_the_commented_example_can_be_used_as_it_is() -> None:
    config = parse_config(EXAMPLE, "example")
    terms = checked_terms(config)
    assert [str(pool.pool.network) for pool in terms.pools] == ["10.44.0.0/24", "fd00:44::/64"]
    assert config.names == ("printer",)
    assert terms.reservations[0].lease_time == INFINITE


def test_the_commented_example_has_every_key_that_there_is() -> None:
    config = parse_config(EXAMPLE, "example")
    default = ServerConfig()
    for field in fields(ServerConfig):
        assert getattr(config, field.name) not in ((), None), field.name
    pool = config.pools[0]
    assert None not in (pool.lease_time, pool.network_length)
    assert pool.excluded
    for push in (config.push, pool.push, config.peers[0].push):
        assert None not in [getattr(push, field.name) for field in fields(Push)]
    assert default.database is None


@pytest.mark.parametrize("text", re.findall(r"^```toml\n(.*?)^```$", HOWTO, re.M | re.S))
def test_the_recipes_files_can_be_used_as_they_are(text: str) -> None:
    assert checked_terms(parse_config(text, "recipe")).pools


def test_the_example_of_what_clients_are_told_tells_what_is_said_of_it() -> None:
    terms = checked_terms(parse_config(PUSHES, "example"))
    pushed, key = Pushed(terms), terms.peers[0].public_key
    leased = [parse_address("10.44.0.7"), parse_address("fd00:44::7")]
    both, first = pushed.told(b"", leased), pushed.told(b"", leased[:1])
    assert [str(route.network) for route in both.routes] == [
        "10.20.0.0/16",
        "fd00:20::/48",
        "fd00:30::/48",
    ]
    assert ([one.search for one in both.dns], both.mtu) == ([()], 1380)
    assert [str(route.network) for route in first.routes] == ["10.20.0.0/16"]
    assert [one.search for one in first.dns] == [("corp.example",)]
    assert (pushed.told(key, leased).routes, pushed.told(key, leased).dns) == ((), both.dns)


def test_the_example_of_errors_shows_what_is_said() -> None:
    path = default_path("wg0")
    with pytest.raises(UsageError) as caught:
        parse_config(WRONG, str(path))
    said = [f"wg-dynamic-server: {line}" for line in str(caught.value).splitlines()]
    (shown,) = re.findall(r"^gives\n\n```\n(.*?)^```$", GUIDE, re.M | re.S)
    assert said == shown.splitlines()


def test_the_manual_s_example_can_be_used_as_it_is() -> None:
    (example,) = re.findall(r"^\.Sh EXAMPLES\n\.Bd .*?\n(.*?)^\.Ed$", PAGE, re.M | re.S)
    config = parse_config(example, "example")
    terms = checked_terms(config)
    assert len(terms.pools) == 2
    assert (len(terms.push.routes or ()), terms.peers[0].push.routes) == (2, ())
    wrong = example.replace("exclude", "exlude")  # codespell:ignore exlude
    path = default_path("wg0")
    with pytest.raises(UsageError) as caught:
        parse_config(wrong, str(path))
    (shown,) = re.findall(r"^\.Sh DIAGNOSTICS\n.*?^\.Bd .*?\n(.*?)^\.Ed$", PAGE, re.M | re.S)
    assert str(caught.value) == " ".join(shown.splitlines())


def test_the_manual_describes_every_key_and_none_that_is_not_there() -> None:
    kinds = ("[dns]", "[[pool]]", "[[peer]]", "[[reservation]]", "[[hook]]", "[metrics]", "[names]")
    wrong = "x = 1\n" + "".join(f"{kind}\nx = 1\n" for kind in kinds)
    with pytest.raises(UsageError) as caught:
        parse_config(wrong, "example")
    told = re.findall(r"Expected any of ([\w, ]*\w) \(line", str(caught.value))
    tables = {
        title: set(re.findall(r"^\.It Cm (\w+) No =", text, re.M))
        for title, text in re.findall(r"^\.Ss ([^\n]+)\n(.*?)(?=^\.S[sh] )", PAGE, re.M | re.S)
    }
    reservation, peer, pool, dns, *beside, settings = (set(keys.split(", ")) for keys in told)
    pushes = {"routes", "mtu", "dns"}
    assert tables == {
        "Settings": settings - {"pool", "reservation", "peer", "hook", "metrics", "names"} - pushes,
        "Pools": pool - pushes,
        "Reservations": reservation,
        "Peers": peer - pushes,
        "Pushed configuration": pushes,
        "Beside the server": set().union(*beside),
    }
    assert settings & pool & peer == pushes
    (described,) = re.findall(r"^\.It Cm dns No = (.*)", PAGE, re.M)
    assert set(re.findall(r"(\w+) =", described)) == dns == {"servers", "search"}


def test_the_manual_s_limits_are_those_of_the_program() -> None:
    for number in (MAX_POOLS, MAX_EXCLUSIONS, MAX_RESERVATIONS, MAX_ROUTES, MAX_PUSHED_PEERS):
        assert f"At most {number}" in PAGE
    assert f"{MAX_PUSHED_ROUTES} in all lists, and {MAX_TOLD_ROUTES} for any one client" in PAGE
    assert f"{MIN_MTU} to {MAX_MTU} bytes" in PAGE
    assert f"metric, 0 to {MAX_METRIC}," in PAGE
    assert f"at most {MAX_DNS_SERVERS}, and search domains, at most {MAX_DNS_SEARCH}" in PAGE
