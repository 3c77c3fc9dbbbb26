import pytest

from wg_dynamic.cli.command.client_file import ClientFile, Start, read_endpoint, read_name
from wg_dynamic.record import replace

FILE = ClientFile(
    name="laptop",
    addresses=["fe80::a/128"],
    start=Start.AUTO,
    hub_key="HUB=",
    endpoint="192.0.2.1:51820",
    port=51820,
    allowed_ips=[],
    keepalive=25,
)


def test_a_device_with_wg_dynamic_gets_the_word() -> None:
    assert FILE.text("SECRET=", "") == (
        "# laptop\n[Interface]\nPrivateKey = SECRET=\nAddress = fe80::a/128, auto\n\n"
        "[Peer]\nPublicKey = HUB=\nEndpoint = 192.0.2.1:51820\nAllowedIPs = fe80::/128\n"
        "PersistentKeepalive = 25\n"
    )


def test_a_plain_wg_quick_gets_hooks() -> None:
    lines = replace(FILE, start=Start.HOOKS).text("SECRET=", "").split("\n")
    assert lines[3:6] == [
        "Address = fe80::a/128",
        "PostUp = wg-dynamic-client %i",
        "PreDown = wg-dynamic-client --stop %i",
    ]


def test_a_device_without_wg_dynamic_gets_its_addresses() -> None:
    made = replace(FILE, start=Start.NONE, addresses=["fe80::a/128", "10.0.0.9/32"], name="")
    text = replace(made, allowed_ips=["10.0.0.0/24"], keepalive=0).text("SECRET=", "PRESHARED=")
    assert text.split("\n") == [
        "[Interface]",
        "PrivateKey = SECRET=",
        "Address = fe80::a/128, 10.0.0.9/32",
        "",
        "[Peer]",
        "PublicKey = HUB=",
        "PresharedKey = PRESHARED=",
        "Endpoint = 192.0.2.1:51820",
        "AllowedIPs = fe80::/128, 10.0.0.0/24",
        "",
    ]


def test_what_is_not_known_is_left_as_a_comment() -> None:
    lines = replace(FILE, endpoint="").text("", "").split("\n")
    assert "# PrivateKey = the one that the public key was made of" in lines
    assert "# Endpoint = where the hub is to be reached, as in 192.0.2.1:51820" in lines
    assert not any(line.startswith(("PrivateKey", "Endpoint")) for line in lines)


@pytest.mark.parametrize(
    "name", ["a", "7", "laptop", "Alice-laptop", "laptop.alice", "a" * 63, "a--b.c-d.e"]
)
def test_names_that_can_be_a_host_s_are_taken(name: str) -> None:
    assert read_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "-a", "a-", ".a", "a.", "a..b", "a.-b", "a b", "a_b", "é", "a\n", "a" * 64, "a#b", "[a]"],
)
def test_others_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected up to 63 letters"):
        read_name(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hub.example.org:51821", "hub.example.org:51821"),
        ("hub.example.org", "hub.example.org:51820"),
        ("192.0.2.1", "192.0.2.1:51820"),
        ("192.0.2.1:1", "192.0.2.1:1"),
        ("[2001:db8::1]:65535", "[2001:db8::1]:65535"),
        ("[2001:db8::1]", "[2001:db8::1]:51820"),
        ("2001:db8::1", "[2001:db8::1]:51820"),
        ("a" * 253, "a" * 253 + ":51820"),
    ],
)
def test_endpoints_are_read_and_get_a_port(text: str, expected: str) -> None:
    assert read_endpoint(text, 51820) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", ":51820", "hub:", "hub:0", "hub:65536", "hub:-1", "hub:\u0661", "hub:123456"),
        *("-hub", "a b", "hub\n", "hub:51820\nPostUp = x", "[hub]:1", "[::1", "[10.0.0.1]"),
        *("fe80::1%wg0", "a" * 254, "hub;x"),
    ],
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected HOST:PORT"):
        read_endpoint(text, 51820)
