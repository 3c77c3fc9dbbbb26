import pytest

from wg_dynamic.address import parse_prefix
from wg_dynamic.errors import UsageError
from wg_dynamic.helper.config.client import parse_client_config
from wg_dynamic.helper.policy import Acceptance

NAME = "/etc/wg-dynamic/wg0.toml"


def problems(text: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        parse_client_config(text, NAME)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{NAME}: ") for line in lines)
    return [line.removeprefix(f"{NAME}: ") for line in lines]


def test_everything_that_can_be_said() -> None:
    text = """
    [client]
    accept-routes = ["192.0.2.0/24", "2001:db8::/32"]
    accept-dns = ["10.44.0.53/32"]
    accept-default-route = true
    """
    assert parse_client_config(text, NAME) == Acceptance(
        (parse_prefix("192.0.2.0/24"), parse_prefix("2001:db8::/32")),
        (parse_prefix("10.44.0.53/32"),),
        default_route=True,
    )


@pytest.mark.parametrize("text", ["", "[client]", "# nothing"])
def test_what_is_not_said_is_not_accepted(text: str) -> None:
    assert parse_client_config(text, NAME) == Acceptance()


def test_all_that_is_wrong_is_told_at_once() -> None:
    text = """
    lease_time = 60
    [client]
    accept-routes = ["192.0.2.1/24", "0.0.0.0/0", 7]
    accept-dns = "10.44.0.53"
    accept-default-route = "yes"
    accept-rotues = []
    [[pool]]
    """
    assert problems(text) == [
        "client: accept-routes, item 1: '192.0.2.1/24': expected a network as in 192.0.2.0/24, not"
        " the whole Internet",
        "client: accept-routes, item 2: '0.0.0.0/0': expected a network as in 192.0.2.0/24, not"
        " the whole Internet",
        "client: accept-routes, item 3: 7, expected text in quotes",
        "client: accept-dns: '10.44.0.53', expected a list in brackets",
        "client: accept-default-route: 'yes', expected true or false",
        "client: unknown key 'accept-rotues', did you mean accept-routes? Expected any of"
        " accept-default-route, accept-dns, accept-routes",
        "'lease_time' is for wg-dynamic-server, expected the table [client] alone",
        "'pool' is for wg-dynamic-server, expected the table [client] alone",
    ]


def test_a_table_that_is_none() -> None:
    expected = "client: 7, expected a table of accept-routes, accept-dns, accept-default-route"
    assert problems("client = 7") == [expected]


def test_what_is_no_toml() -> None:
    assert problems("[client")[0].startswith("not understood as TOML: ")
