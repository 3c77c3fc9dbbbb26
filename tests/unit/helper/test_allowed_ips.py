from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.wireguard import FakeWireGuard
from wg_dynamic.address import Prefix, parse_prefix
from wg_dynamic.helper.allowed_ips import AllowedIPs
from wg_dynamic.leases.pool import parse_pool
from wg_dynamic.privsep.ledger import ALLOWED_IP, Entry, Ledger, LedgerError
from wg_dynamic.privsep.requests import Change, PeerInfo, Refusal
from wg_dynamic.wireguard.control import WireGuardError, WireGuardGoneError
from wg_dynamic.wireguard.device import Peer

ALICE, BOB, NOBODY = (bytes([n]) * 32 for n in (1, 2, 3))
POOLS = (parse_pool("10.44.0.0/24"), parse_pool("fd00:44::/64"))


def prefixes(*texts: str) -> tuple[Prefix, ...]:
    return tuple(map(parse_prefix, texts))


def add(prefix: str, key: bytes = ALICE) -> Change:
    return Change(key, parse_prefix(prefix), add=True)


def off(prefix: str, key: bytes = ALICE) -> Change:
    return Change(key, parse_prefix(prefix), add=False)


def entry(prefix: str, key: bytes = ALICE) -> Entry:
    return Entry(ALLOWED_IP, parse_prefix(prefix), key)


@pytest.fixture
def wireguard() -> FakeWireGuard:
    return FakeWireGuard(
        Peer(ALICE, prefixes("fe80::a/128", "192.0.2.0/24", "10.44.0.9/32")),
        Peer(BOB, prefixes("fe80::b/128", "10.44.0.128/25", "0.0.0.0/0")),
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


@pytest.fixture
def allowed_ips(wireguard: FakeWireGuard, ledger: Ledger) -> AllowedIPs:
    made = AllowedIPs(wireguard, ledger, POOLS, FakeClock())
    made.read()
    return made


def test_what_is_set_is_written_down_and_read_as_leased(
    allowed_ips: AllowedIPs, wireguard: FakeWireGuard, ledger: Ledger
) -> None:
    assert allowed_ips.change([add("10.44.0.7"), add("fd00:44::7", BOB)]) == []
    assert "10.44.0.7/32" in wireguard.allowed_ips(ALICE)
    assert "fd00:44::7/128" in wireguard.allowed_ips(BOB)
    assert entry("10.44.0.7") in ledger
    assert allowed_ips.read() == [
        PeerInfo(
            ALICE, prefixes("fe80::a/128", "192.0.2.0/24", "10.44.0.9/32"), prefixes("10.44.0.7")
        ),
        PeerInfo(
            BOB, prefixes("fe80::b/128", "10.44.0.128/25", "0.0.0.0/0"), prefixes("fd00:44::7")
        ),
    ]


def test_what_an_administrator_gave_to_another_peer_just_now_is_not_taken_from_it(
    wireguard: FakeWireGuard, ledger: Ledger
) -> None:
    clock = FakeClock()
    allowed_ips = AllowedIPs(wireguard, ledger, POOLS, clock)
    allowed_ips.read()
    wireguard.put_peer(Peer(BOB, prefixes("fe80::b/128", "10.44.0.7/32")))
    clock.pass_time(0.001)
    assert len(allowed_ips.change([add("10.44.0.7")])) == 1
    assert "10.44.0.7/32" in wireguard.allowed_ips(BOB)


def test_what_was_set_is_taken_off_again(
    allowed_ips: AllowedIPs, wireguard: FakeWireGuard, ledger: Ledger
) -> None:
    before = wireguard.allowed_ips(ALICE)
    allowed_ips.change([add("10.44.0.7")])
    assert allowed_ips.change([off("10.44.0.7")]) == []
    assert wireguard.allowed_ips(ALICE) == before
    assert len(ledger) == 0


def test_within_one_message_what_is_said_last_counts(
    allowed_ips: AllowedIPs, wireguard: FakeWireGuard, ledger: Ledger
) -> None:
    allowed_ips.change([add("10.44.0.7")])
    allowed_ips.change([off("10.44.0.7"), add("10.44.0.7"), add("10.44.0.8"), off("10.44.0.8")])
    assert "10.44.0.7/32" in wireguard.allowed_ips(ALICE)
    assert "10.44.0.8/32" not in wireguard.allowed_ips(ALICE)
    assert ledger.entries(ALLOWED_IP) == [entry("10.44.0.7")]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (add("10.45.0.7"), "10.45.0.7/32 is in no pool"),
        (add("fe80::a"), "fe80::a/128 is in no pool"),
        (add("10.44.0.7", NOBODY), "no such peer"),
        (add("10.44.0.9", BOB), "10.44.0.9/32 is in another peer's allowed IPs"),
        (add("10.44.0.200"), "10.44.0.200/32 is inside 10.44.0.128/25 of another peer"),
    ],
)
def test_what_may_not_be_set_is_refused_and_the_rest_is_done(
    allowed_ips: AllowedIPs,
    wireguard: FakeWireGuard,
    ledger: Ledger,
    change: Change,
    reason: str,
) -> None:
    assert allowed_ips.change([add("10.44.0.7"), change, add("10.44.0.8")]) == [Refusal(1, reason)]
    assert {"10.44.0.7/32", "10.44.0.8/32"} <= wireguard.allowed_ips(ALICE)
    assert len(ledger) == 2


def test_what_is_reserved_for_one_peer_is_set_for_no_other(
    wireguard: FakeWireGuard, ledger: Ledger
) -> None:
    reserved = {parse_prefix("10.44.0.7"): ALICE}
    allowed_ips = AllowedIPs(wireguard, ledger, POOLS, FakeClock(), reserved)
    changes = [add("10.44.0.7", BOB), add("10.44.0.7"), add("10.44.0.8", BOB)]
    expected = [Refusal(0, "10.44.0.7/32 is reserved for another peer")]
    assert allowed_ips.change(changes) == expected
    assert "10.44.0.7/32" in wireguard.allowed_ips(ALICE)
    assert "10.44.0.7/32" not in wireguard.allowed_ips(BOB)


def test_a_peer_may_lease_inside_what_it_has_itself(allowed_ips: AllowedIPs) -> None:
    assert allowed_ips.change([add("10.44.0.200", BOB)]) == []


def test_what_an_administrator_set_is_neither_set_again_nor_taken_off(
    allowed_ips: AllowedIPs, wireguard: FakeWireGuard, ledger: Ledger
) -> None:
    changes = [add("10.44.0.9"), off("10.44.0.9"), off("192.0.2.1"), off("fe80::a"), off("1.2.3.4")]
    assert allowed_ips.change(changes) == []
    assert wireguard.calls == []
    assert len(ledger) == 0


def test_one_message_may_move_an_address_from_peer_to_peer(
    allowed_ips: AllowedIPs, wireguard: FakeWireGuard
) -> None:
    allowed_ips.change([add("10.44.0.7")])
    assert allowed_ips.change([off("10.44.0.7"), add("10.44.0.7", BOB)]) == []
    assert "10.44.0.7/32" in wireguard.allowed_ips(BOB)
    assert "10.44.0.7/32" not in wireguard.allowed_ips(ALICE)
    assert allowed_ips.change([add("10.44.0.7")]) == [
        Refusal(0, "10.44.0.7/32 is in another peer's allowed IPs")
    ]


def test_what_others_took_off_or_moved_is_struck_from_the_ledger(
    allowed_ips: AllowedIPs, wireguard: FakeWireGuard, ledger: Ledger
) -> None:
    allowed_ips.change([add("10.44.0.6"), add("10.44.0.7"), add("10.44.0.8")])
    wireguard.put_peer(Peer(ALICE, prefixes("fe80::a/128", "10.44.0.8/32")))
    wireguard.put_peer(Peer(BOB, prefixes("fe80::b/128", "10.44.0.7/32")))
    infos = allowed_ips.read()
    assert ledger.entries(ALLOWED_IP) == [entry("10.44.0.8")]
    assert infos[1] == PeerInfo(BOB, prefixes("fe80::b/128", "10.44.0.7/32"), ())
    allowed_ips.change([off("10.44.0.7"), off("10.44.0.7", BOB)])
    assert "10.44.0.7/32" in wireguard.allowed_ips(BOB), "it is the administrator's now"


def test_what_was_leased_from_a_former_pool_stays_ours_to_take_off(
    wireguard: FakeWireGuard, ledger: Ledger
) -> None:
    ledger.add(entry("10.55.0.7"), entry("10.55.0.8", NOBODY))
    wireguard.put_peer(Peer(ALICE, prefixes("fe80::a/128", "10.55.0.7/32")))
    allowed_ips = AllowedIPs(wireguard, ledger, POOLS, FakeClock())
    infos = allowed_ips.read()
    assert infos[0] == PeerInfo(BOB, wireguard.peers[BOB].allowed_ips, ()) or infos[0].leased
    assert ledger.entries(ALLOWED_IP) == [entry("10.55.0.7")]
    assert allowed_ips.change([off("10.55.0.7")]) == []
    assert wireguard.allowed_ips(ALICE) == {"fe80::a/128"}
    assert len(ledger) == 0


def test_when_wireguard_fails_the_ledger_names_too_much_rather_than_too_little(
    allowed_ips: AllowedIPs, wireguard: FakeWireGuard, ledger: Ledger
) -> None:
    allowed_ips.change([add("10.44.0.6")])
    wireguard.error = WireGuardError("no")
    with pytest.raises(WireGuardError):
        allowed_ips.change([add("10.44.0.7"), off("10.44.0.6")])
    assert {entry("10.44.0.6"), entry("10.44.0.7")} == set(ledger.entries(ALLOWED_IP))
    wireguard.error = None
    allowed_ips.read()
    assert ledger.entries(ALLOWED_IP) == [entry("10.44.0.6")]


def test_what_cannot_be_written_down_is_refused_and_the_rest_is_done(
    allowed_ips: AllowedIPs,
    wireguard: FakeWireGuard,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    allowed_ips.change([add("10.44.0.7"), add("10.44.0.10")])
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "_append", full)
        assert allowed_ips.change([off("10.44.0.7"), add("10.44.0.8"), add("10.44.0.7", BOB)]) == [
            Refusal(1, "no room"),
            Refusal(2, "no room"),
        ]
        assert wireguard.allowed_ips(ALICE).isdisjoint({"10.44.0.7/32", "10.44.0.8/32"})
        assert ledger.entries(ALLOWED_IP) == [entry("10.44.0.10")]
        # It was ours until just now, and the file says so still.
        assert allowed_ips.change([add("10.44.0.7")]) == []
    assert "10.44.0.7/32" in wireguard.allowed_ips(ALICE)
    assert allowed_ips.change([add("10.44.0.8")]) == []
    assert "10.44.0.8/32" in wireguard.allowed_ips(ALICE)


def full(*_: object) -> None:
    msg = "no room"
    raise LedgerError(msg)


def test_without_a_reading_nothing_is_added_and_what_ends_is_taken_off(
    wireguard: FakeWireGuard, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    allowed_ips = AllowedIPs(wireguard, ledger, POOLS, clock)
    allowed_ips.change([add("10.44.0.7")])
    clock.pass_time(60.0)

    def changing() -> None:
        msg = "changed during each of 8 dumps"
        raise WireGuardError(msg)

    monkeypatch.setattr(wireguard, "device", changing)
    assert allowed_ips.change([add("10.44.0.8"), off("10.44.0.7")]) == [
        Refusal(0, "changed during each of 8 dumps")
    ]
    assert "10.44.0.7/32" not in wireguard.allowed_ips(ALICE)


def test_without_an_interface_nothing_is_changed(wireguard: FakeWireGuard, ledger: Ledger) -> None:
    wireguard.gone = True
    with pytest.raises(WireGuardGoneError):
        AllowedIPs(wireguard, ledger, POOLS, FakeClock()).change([add("10.44.0.8")])
