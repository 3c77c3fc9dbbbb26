"""What stands on the screen, of one reading."""

from typing import Any

from wg_dynamic.cli.command.asking import bar
from wg_dynamic.cli.command.top_view import EMPTY, FULL, events, headline, leases, pools

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
STATUS = {
    "interface": "wg0",
    "leases": {"held": 2, "remembered_or_quarantined": 1},
    "peers": 3,
    "subscribers": 1,
    "up_for": 90.0,
    "store": {"works": True},
    "pools": [
        {"network": "10.44.0.0/24", "size": 254, "held": 127},
        {"network": "fd00:44::/64", "size": 2**64, "held": 1},
    ],
}


def a_lease(address: str, left: float | None, **more: Any) -> dict[str, Any]:
    fields = {"address": address, "public_key": KEY, "name": "laptop", "state": "held"}
    return {**fields, "lease_time": 3600, "ends_in": left, **more}


def test_a_bar_is_as_full_as_its_share() -> None:
    assert [bar(share, 4, FULL, EMPTY) for share in (0.0, 0.5, 1.0, 7.0, -1.0)] == [
        "░░░░",
        "██░░",
        "████",
        "████",
        "░░░░",
    ]


def test_the_headline_says_how_the_server_stands() -> None:
    assert headline({"status": STATUS}) == (
        "wg0: 2 leased · 3 peers · 1 told of changes · up 1min 30s · database works"
    )
    away = headline({"status": {**STATUS, "store": {"works": False}}, "error": "no server"})
    assert away.endswith("DATABASE TAKES NO COMMIT · NOT ANSWERING: no server")
    assert headline({"error": "none\n"}) == "none\\x0a"
    assert headline({}) == "asking the server"


def test_pools_are_shown_with_what_is_leased() -> None:
    four, six = pools({"status": STATUS}, 4)
    assert (four.network, four.bar, four.text) == (
        "10.44.0.0/24",
        "██░░",
        " 50%  127 of 254 leased",
    )
    assert (six.bar, six.text) == ("░░░░", "  0%  1 of 1.8e+19 leased")
    assert pools({}, 4) == []


def test_leases_are_in_the_order_of_their_ends_and_those_of_the_past_below() -> None:
    reading = {
        "leases": [
            a_lease("10.44.0.9", None, lease_time="infinite"),
            a_lease("10.44.0.1", -5, state="remembered"),
            a_lease("10.44.0.8", 1800, name=None),
            a_lease("10.44.0.7", 36),
        ],
        "handshakes": {KEY: 61.0},
    }
    assert list(leases(reading)) == [
        ("laptop", "10.44.0.7", "36s", "░" * 10, "1min 1s ago", "held"),
        ("AAECAwQF…", "10.44.0.8", "30min 0s", "█████░░░░░", "1min 1s ago", "held"),
        ("laptop", "10.44.0.9", "never", "█" * 10, "1min 1s ago", "held"),
        ("laptop", "10.44.0.1", "-", "░" * 10, "1min 1s ago", "remembered"),
    ]
    assert next(leases({"leases": [a_lease("10.44.0.7", 36)]}))[4] == "-"


def test_events_are_shown_the_newest_first_and_steer_no_terminal() -> None:
    first = {"event": "granted", "public_key": KEY, "address": "10.44.0.7", "name": "\x1b[2J"}
    second = {"event": "refused", "time": 1764139201.25, "public_key": KEY, "reason": "exhausted"}
    newest, oldest = events({"events": [first, second]})
    assert newest.endswith(":01 refused AAECAwQF… (exhausted)")
    assert oldest == "granted \\x1b[2J 10.44.0.7"
