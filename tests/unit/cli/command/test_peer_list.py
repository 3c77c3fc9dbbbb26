import pytest

from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.cli.command.peer_list import as_json, as_table, list_peers, names_of
from wg_dynamic.helper.config.document import ServerConfig
from wg_dynamic.leases.push import SILENT
from wg_dynamic.leases.terms import PeerTerms, Reservation
from wg_dynamic.wireguard.device import Device, Endpoint, Peer
from wg_dynamic.wireguard.key import format_key

ALICE, BOB, CAROL, DAVE = (bytes([n]) * 32 for n in (1, 2, 3, 4))
DEVICE = Device(
    None,
    51820,
    0,
    (
        Peer(DAVE),
        Peer(
            ALICE,
            tuple(map(parse_prefix, ("fe80::1/128", "10.44.0.7/32", "10.9.0.0/16"))),
            Endpoint(parse_address("2001:db8::1"), 4000),
            latest_handshake=1000.5,
            persistent_keepalive=25,
        ),
        Peer(BOB, (parse_prefix("fe80::/64"),), Endpoint(parse_address("192.0.2.1"), 4001)),
    ),
)
FAR = "[2001:db8::1]:4000"
LISTED = list_peers(DEVICE, {BOB: "laptop", ALICE: "Desk", CAROL: "phone"})


def test_peers_come_by_name_and_those_without_one_last() -> None:
    assert [one.public_key for one in LISTED] == [ALICE, BOB, CAROL, DAVE]


def test_a_table_says_what_is_known() -> None:
    lines = [line.split() for line in as_table(LISTED, now=1090.0).split("\n")[:-1]]
    assert lines == [
        ["NAME", "PUBLIC", "KEY", "LINK-LOCAL", "ADDRESSES", "HANDSHAKE", "ENDPOINT"],
        f"Desk {format_key(ALICE)} fe80::1 10.44.0.7, 10.9.0.0/16 1 min ago {FAR}".split(),
        ["laptop", format_key(BOB), "-", "fe80::/64", "never", "192.0.2.1:4001"],
        ["phone", format_key(CAROL), "not", "on", "the", "interface", "-", "-", "-"],
        ["-", format_key(DAVE), "-", "-", "never", "-"],
    ]
    columns = {line.index("LINK-LOCAL") for line in as_table(LISTED, 0).split("\n")[:1]}
    assert as_table(LISTED, 0).split("\n")[1].index("fe80::1") in columns


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (1000.0, "now"),
        (900.0, "now"),
        (1001.6, "1 s ago"),
        (1059.9, "59 s ago"),
        (1060.6, "1 min ago"),
        (4700.0, "1 h ago"),
        (1000.5 + 86400 * 3, "3 d ago"),
    ],
)
def test_a_handshake_is_as_old_as_its_largest_unit(now: float, expected: str) -> None:
    assert f"  {expected}  " in as_table(LISTED[:1], now)


def test_without_peers_there_are_headings() -> None:
    assert as_table([], 0.0).startswith("NAME  PUBLIC KEY")


def test_a_program_gets_the_same_keys_of_each() -> None:
    found = [as_json(one) for one in LISTED]
    assert found[0] == {
        "public_key": format_key(ALICE),
        "name": "Desk",
        "on_interface": True,
        "link_local": ["fe80::1"],
        "addresses": ["10.44.0.7", "10.9.0.0/16"],
        "latest_handshake": 1000.5,
        "endpoint": "[2001:db8::1]:4000",
        "persistent_keepalive": 25,
    }
    assert found[2] == {
        "public_key": format_key(CAROL),
        "name": "phone",
        "on_interface": False,
        "link_local": [],
        "addresses": [],
        "latest_handshake": None,
        "endpoint": None,
        "persistent_keepalive": 0,
    }
    assert found[3]["latest_handshake"] is None
    assert found[3]["name"] is None


def test_names_are_those_of_peers_and_else_of_reservations() -> None:
    config = ServerConfig(
        reservations=(Reservation(ALICE, ()), Reservation(BOB, ()), Reservation(CAROL, ())),
        names=("desk", "nas", ""),
        peers=(PeerTerms(ALICE, SILENT), PeerTerms(DAVE, SILENT), PeerTerms(BOB, SILENT)),
        peer_names=("Alice", "dave", ""),
    )
    assert names_of(config) == {ALICE: "Alice", BOB: "nas", DAVE: "dave"}
