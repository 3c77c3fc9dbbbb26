import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.wireguard import FakeWireGuard
from wg_dynamic.address import Prefix, parse_prefix
from wg_dynamic.helper import allowed_ips as module
from wg_dynamic.helper.allowed_ips import AllowedIPs
from wg_dynamic.helper.record import Record
from wg_dynamic.leases.pool import parse_pool
from wg_dynamic.privsep.ledger import ALLOWED_IP, Entry, Ledger, LedgerError
from wg_dynamic.privsep.requests import Change, PeerInfo, Refusal
from wg_dynamic.wireguard.control import WireGuardError, WireGuardGoneError
from wg_dynamic.wireguard.device import Peer
from wg_dynamic.wireguard.key import peer_label

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
def record(tmp_path: Path) -> Record:
    return Record(Path("/wg0.sqlite"), "boot n1-1", tmp_path)


@pytest.fixture
def allowed_ips(wireguard: FakeWireGuard, ledger: Ledger, record: Record) -> AllowedIPs:
    made = AllowedIPs(wireguard, ledger, record, POOLS, FakeClock())
    made.begin(adopt=False)
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
    wireguard: FakeWireGuard, ledger: Ledger, record: Record
) -> None:
    clock = FakeClock()
    allowed_ips = AllowedIPs(wireguard, ledger, record, POOLS, clock)
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


def test_the_hub_s_own_addresses_are_nobody_s(
    allowed_ips: AllowedIPs, wireguard: FakeWireGuard
) -> None:
    allowed_ips.own = frozenset([parse_prefix("10.44.0.7/32").packed])
    (refusal,) = allowed_ips.change([add("10.44.0.7"), add("10.44.0.8")])
    assert (refusal.index, refusal.reason) == (0, "10.44.0.7/32 is an address of the hub")
    assert "10.44.0.8/32" in wireguard.allowed_ips(ALICE)


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
        (add("10.44.0.9", BOB), f"it is in the allowed IPs of {peer_label(ALICE)}"),
        (add("10.44.0.200"), f"it is inside 10.44.0.128/25 of {peer_label(BOB)}"),
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
    wireguard: FakeWireGuard, ledger: Ledger, record: Record
) -> None:
    reserved = {parse_prefix("10.44.0.7"): ALICE}
    allowed_ips = AllowedIPs(wireguard, ledger, record, POOLS, FakeClock(), reserved=reserved)
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
        Refusal(0, f"it is in the allowed IPs of {peer_label(BOB)}")
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
    wireguard: FakeWireGuard, ledger: Ledger, record: Record
) -> None:
    ledger.add(entry("10.55.0.7"), entry("10.55.0.8", NOBODY))
    wireguard.put_peer(Peer(ALICE, prefixes("fe80::a/128", "10.55.0.7/32")))
    allowed_ips = AllowedIPs(wireguard, ledger, record, POOLS, FakeClock())
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


OF_LEDGER, OF_RECORD = "no room", "cannot write the record of what is leased: no room"


@pytest.mark.parametrize(
    ("durable", "reason"), [(False, OF_LEDGER), (True, OF_RECORD), (None, OF_RECORD)]
)
def test_what_cannot_be_written_down_is_refused_and_the_rest_is_done(
    allowed_ips: AllowedIPs,
    wireguard: FakeWireGuard,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    *,
    durable: bool | None,
    reason: str,
) -> None:
    allowed_ips.change([add("10.44.0.7"), add("10.44.0.10")])
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "_append", full(durable=durable))
        assert allowed_ips.change([off("10.44.0.7"), add("10.44.0.8"), add("10.44.0.7", BOB)]) == [
            Refusal(1, reason),
            Refusal(2, reason),
        ]
        assert wireguard.allowed_ips(ALICE).isdisjoint({"10.44.0.7/32", "10.44.0.8/32"})
        assert ledger.entries(ALLOWED_IP) == [entry("10.44.0.10")]
        # It was ours until just now, and the file says so still.
        assert allowed_ips.change([add("10.44.0.7")]) == []
    assert "10.44.0.7/32" in wireguard.allowed_ips(ALICE)
    assert allowed_ips.change([add("10.44.0.8")]) == []
    assert "10.44.0.8/32" in wireguard.allowed_ips(ALICE)


def full(*, durable: bool | None) -> Callable[[Ledger, list[str]], None]:
    """An `_append` without room for those that are durable, or are not; None: for any."""
    append = Ledger._append

    def no_room(ledger: Ledger, lines: list[str]) -> None:
        if durable is None or ledger._durable is durable:
            msg = "no room"
            raise LedgerError(msg)
        append(ledger, lines)

    return no_room


@pytest.mark.parametrize("durable", [False, True])
def test_what_was_refused_for_want_of_room_counts_for_nothing(
    allowed_ips: AllowedIPs,
    wireguard: FakeWireGuard,
    monkeypatch: pytest.MonkeyPatch,
    *,
    durable: bool,
) -> None:
    monkeypatch.setattr(module, "MAX_OF_PEER", 2)
    twice = [add("10.44.0.7"), off("10.44.0.7"), add("10.44.0.7"), add("10.44.0.8")]
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "_append", full(durable=durable))
        for _ in range(2):
            assert [one.index for one in allowed_ips.change(twice)] == [0, 2, 3]
    assert allowed_ips.change([add("10.44.0.8"), add("10.44.0.7"), add("10.44.0.6")]) == [
        Refusal(2, "too many leased addresses")
    ]
    assert {"10.44.0.7/32", "10.44.0.8/32"} <= wireguard.allowed_ips(ALICE)


@pytest.mark.parametrize("durable", [False, True])
def test_what_cannot_be_written_down_is_not_adopted_and_may_be_later(
    wireguard: FakeWireGuard,
    ledger: Ledger,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
    *,
    durable: bool,
) -> None:
    allowed_ips = AllowedIPs(wireguard, ledger, record, POOLS, FakeClock())
    allowed_ips.begin(adopt=True)
    changes = [add("10.44.0.7"), add("10.44.0.9"), off("10.44.0.9")]
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "_append", full(durable=durable))
        assert [one.index for one in allowed_ips.change(changes)] == [0, 1]
    assert wireguard.allowed_ips(ALICE) == {"fe80::a/128", "192.0.2.0/24", "10.44.0.9/32"}
    assert len(ledger) == 0
    assert allowed_ips.adopts
    assert allowed_ips.change([add("10.44.0.9")]) == []
    assert ledger.entries(ALLOWED_IP) == [entry("10.44.0.9")]


def test_a_disk_that_fails_to_sync_the_record_keeps_nothing_from_being_read_or_set(
    allowed_ips: AllowedIPs,
    wireguard: FakeWireGuard,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", fail)
    assert allowed_ips.change([add("10.44.0.7")]) == []
    for _ in range(2):
        assert len(allowed_ips.read()) == 2
    assert "10.44.0.7/32" in wireguard.allowed_ips(ALICE)
    assert caplog.text.count("a power cut could lose what was leased of late") == 1


def test_without_a_reading_nothing_is_added_and_what_ends_is_taken_off(
    wireguard: FakeWireGuard, ledger: Ledger, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    allowed_ips = AllowedIPs(wireguard, ledger, record, POOLS, clock)
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


def test_without_an_interface_nothing_is_changed(
    wireguard: FakeWireGuard, ledger: Ledger, record: Record
) -> None:
    wireguard.gone = True
    with pytest.raises(WireGuardGoneError):
        AllowedIPs(wireguard, ledger, record, POOLS, FakeClock()).change([add("10.44.0.8")])


# --- an interface made anew --------------------------------------------------------------------


held: list[Record] = []
"""The records that `anew` opened, in their order."""


def anew(tmp_path: Path, wireguard: FakeWireGuard, interface: str = "boot n1-2") -> AllowedIPs:
    """A helper that finds an interface which it has not seen, and nothing in /run."""
    held.append(Record(Path("/wg0.sqlite"), interface, tmp_path))
    return AllowedIPs(wireguard, Ledger(tmp_path / interface), held[-1], POOLS, FakeClock())


def test_what_an_interface_made_anew_has_of_the_record_is_ours_and_the_rest_is_not(
    allowed_ips: AllowedIPs, record: Record, wireguard: FakeWireGuard, tmp_path: Path
) -> None:
    allowed_ips.change([add("10.44.0.6"), add("10.44.0.7"), add("10.44.0.8")])
    allowed_ips.change([off("10.44.0.7"), off("10.44.0.8")])  # after it was saved
    record.close()
    saved = prefixes("fe80::a/128", "192.0.2.0/24", "10.44.0.9/32", "10.44.0.7/32")
    wireguard.put_peer(Peer(ALICE, saved))
    wireguard.put_peer(Peer(BOB, prefixes("fe80::b/128", "10.44.0.8/32")))
    later = anew(tmp_path, wireguard)
    assert later.begin(adopt=False) == [entry("10.44.0.7")]
    later.change([off("10.44.0.7"), off("10.44.0.8", BOB), off("10.44.0.9"), off("192.0.2.1")])
    assert wireguard.allowed_ips(ALICE) == {"fe80::a/128", "192.0.2.0/24", "10.44.0.9/32"}
    assert "10.44.0.8/32" in wireguard.allowed_ips(BOB), "another pair than ours"


def test_what_comes_back_while_the_interface_stands_is_the_administrators(
    allowed_ips: AllowedIPs, record: Record, wireguard: FakeWireGuard, tmp_path: Path
) -> None:
    allowed_ips.change([add("10.44.0.7")])
    allowed_ips.change([off("10.44.0.7")])
    wireguard.put_peer(Peer(ALICE, prefixes("fe80::a/128", "10.44.0.7/32")))
    allowed_ips.read()
    allowed_ips.change([off("10.44.0.7")])
    record.close()
    again = anew(tmp_path, wireguard, "boot n1-1")
    assert again.begin(adopt=False) == []
    again.change([off("10.44.0.7")])
    held[-1].close()
    again = anew(tmp_path, wireguard, "boot2 n1-1")
    assert again.begin(adopt=False) == [], "and stays so for good"
    again.change([off("10.44.0.7")])
    assert "10.44.0.7/32" in wireguard.allowed_ips(ALICE)


def test_what_an_interface_was_made_without_is_forgotten(
    allowed_ips: AllowedIPs, record: Record, wireguard: FakeWireGuard, tmp_path: Path
) -> None:
    allowed_ips.change([add("10.44.0.7")])
    record.close()
    wireguard.put_peer(Peer(ALICE, prefixes("fe80::a/128")))
    record = Record(Path("/wg0.sqlite"), "boot n1-2", tmp_path)
    AllowedIPs(wireguard, Ledger(tmp_path / "2"), record, POOLS, FakeClock()).begin(adopt=False)
    assert entry("10.44.0.7") not in record


def test_a_record_that_was_lost_is_made_good_from_the_ledger(
    wireguard: FakeWireGuard, ledger: Ledger, record: Record
) -> None:
    ledger.add(entry("10.44.0.9"))
    AllowedIPs(wireguard, ledger, record, POOLS, FakeClock()).begin(adopt=False)
    assert entry("10.44.0.9") in record


# --- adoption ----------------------------------------------------------------------------------


def test_what_stands_at_the_start_may_be_adopted_if_the_administrator_says_so(
    wireguard: FakeWireGuard, ledger: Ledger, record: Record
) -> None:
    allowed_ips = AllowedIPs(wireguard, ledger, record, POOLS, FakeClock())
    allowed_ips.begin(adopt=True)
    assert allowed_ips.adopts
    wireguard.put_peer(Peer(NOBODY, prefixes("10.44.0.50/32")))  # too late
    allowed_ips.read()
    assert len(ledger) == 0, "without a lease nothing is ours"
    changes = [add("10.44.0.9"), add("10.44.0.50", NOBODY), add("fe80::a"), add("10.44.0.9", BOB)]
    assert [one.index for one in allowed_ips.change(changes)] == [2, 3]
    assert ledger.entries(ALLOWED_IP) == [entry("10.44.0.9")]
    assert entry("10.44.0.9") in record
    assert wireguard.calls == []
    assert not allowed_ips.adopts


@pytest.mark.parametrize("adopt", [False, True])
def test_nothing_is_adopted_unasked_or_later(
    wireguard: FakeWireGuard, ledger: Ledger, record: Record, *, adopt: bool
) -> None:
    allowed_ips = AllowedIPs(wireguard, ledger, record, POOLS, FakeClock())
    allowed_ips.begin(adopt=adopt)
    allowed_ips.end_adoption()
    assert allowed_ips.change([add("10.44.0.9"), off("10.44.0.9")]) == []
    assert "10.44.0.9/32" in wireguard.allowed_ips(ALICE)
    assert len(ledger) == 0


# --- limits ------------------------------------------------------------------------------------


def test_a_peer_has_so_many_and_no_more(
    allowed_ips: AllowedIPs, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_OF_PEER", 2)
    too_many = "too many leased addresses"
    changes = [add("10.44.0.6"), add("10.44.0.7"), add("10.44.0.8"), off("10.44.0.6")]
    changes += [add("10.44.0.5"), add("10.44.0.4"), add("10.44.0.5"), add("10.44.0.130", BOB)]
    assert allowed_ips.change(changes) == [Refusal(2, too_many), Refusal(5, too_many)]
    allowed_ips.read()
    assert allowed_ips.change([add("10.44.0.4")]) == [Refusal(0, too_many)]
    assert len(ledger) == 3


def test_all_peers_together_have_so_many_and_no_more(
    allowed_ips: AllowedIPs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LEASED", 1)
    assert allowed_ips.change([add("10.44.0.6")]) == []
    assert len(allowed_ips.change([add("fd00:44::6")])) == 1
    assert allowed_ips.change([off("10.44.0.6")]) == []
    assert allowed_ips.change([add("fd00:44::6")]) == []
