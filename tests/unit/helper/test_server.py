import errno
import logging
import select
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.fakes.netlink import FakeInterfaces
from tests.fakes.wireguard import FakeWireGuard
from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.errors import ConfigError, UsageError
from wg_dynamic.helper import server as module
from wg_dynamic.helper.record import Record
from wg_dynamic.helper.server import (
    OpenedInterface,
    ServerHelper,
    ServerSettings,
    open_interface,
    open_listener,
    peer_parts,
)
from wg_dynamic.leases.pool import parse_pool
from wg_dynamic.leases.terms import AddressRange, LeaseTerms, PoolTerms, Reservation
from wg_dynamic.netlink.control import Address, Event, Overrun, Route
from wg_dynamic.netlink.errors import NetlinkError
from wg_dynamic.privsep.codec import MessageCodec
from wg_dynamic.privsep.ledger import ALLOWED_IP, ROUTE, Entry, Ledger, LedgerError
from wg_dynamic.privsep.requests import (
    MAX_PEERS_PREFIXES,
    SERVER_REPLIES,
    AdminListener,
    Change,
    ChangeAllowedIPs,
    Changed,
    Exclusion,
    Failed,
    NewTerms,
    NextPeers,
    NextTerms,
    PeerInfo,
    Peers,
    ReadAdmin,
    ReadPeers,
    ReadTerms,
    Refusal,
    ServerStart,
    TermsPart,
    TermsTaken,
)
from wg_dynamic.system.runtime import RuntimeDirectory
from wg_dynamic.wireguard.control import WireGuardError
from wg_dynamic.wireguard.device import Peer
from wg_dynamic.wireguard.key import peer_label

ALICE, BOB = bytes([1]) * 32, bytes([2]) * 32
FE80 = parse_prefix("fe80::/64")
POOLS = ("10.44.0.0/24", "fd00:44::/64")


def a_terms(*pools: str) -> LeaseTerms:
    return LeaseTerms(tuple(PoolTerms(parse_pool(pool)) for pool in pools))


TERMS = a_terms(*POOLS)
ANYCAST = {"kind": 4, "table": 255, "protocol": 2}


class FakeVerdict:
    """Collects what the foreground would print."""

    def __init__(self) -> None:
        self.given: list[tuple[int, str]] = []

    def give(self, status: int, text: str) -> None:
        self.given.append((status, text))


class FakeChannel:
    """Collects what is sent to the network process."""

    def __init__(self) -> None:
        self.sent: list[object] = []
        self.attached: object = None

    def send(self, message: object, attached: object = None) -> None:
        self.sent.append(message)
        self.attached = attached


class FakeListener:
    """Stands for the listening socket."""

    def __init__(self, *_: object, failures: int = 0, code: int = errno.EADDRINUSE) -> None:
        self.failures = failures
        self.code = code
        self.bound: list[object] = []
        self.listening = False
        self.closed = False

    def setsockopt(self, *_: object) -> None:
        pass

    def setblocking(self, _: bool) -> None:
        pass

    def bind(self, address: object) -> None:
        self.bound.append(address)
        if self.failures:
            self.failures -= 1
            raise OSError(self.code, "told to")

    def listen(self, _: int) -> None:
        self.listening = True

    def close(self) -> None:
        self.closed = True


class FakeAdmin:
    """The administration socket."""

    made: ClassVar[list["FakeAdmin"]] = []

    def __init__(self, path: Path, group: int) -> None:
        self.path = path
        self.group = group
        self.listener = object()
        self.closed = False
        self.made.append(self)

    def close(self) -> None:
        self.closed = True


class World:
    """A server's helper on a qualified interface."""

    def __init__(self, tmp_path: Path) -> None:
        self.interfaces = FakeInterfaces()
        self.link = self.interfaces.add_link("wg0")
        self.interfaces.set_address(Address(self.link.ifindex, FE80), prefix_route=True)
        self.wireguard = FakeWireGuard(Peer(ALICE, (parse_prefix("fe80::a/128"),)))
        self.verdict = FakeVerdict()
        self.runtime = RuntimeDirectory(self.link.ifindex, tmp_path, "server")
        self.settings = ServerSettings("wg0", TERMS, Path("/state/wg0.sqlite"))
        self.file = self.settings
        """What the file and the options say now."""
        self.channel: Any = FakeChannel()
        self.record: Record
        self.root = tmp_path / "ledger"
        self.made = 1
        self.helper: ServerHelper

    def opened(self, *pools: str) -> OpenedInterface:
        if hasattr(self, "record"):
            self.record.close()  # as the kernel does after a kill
        self.record = Record(self.settings.database, f"boot n1-{self.made}", self.root)
        terms = a_terms(*pools) if pools else self.settings.terms
        return OpenedInterface(self.link, self.wireguard, terms, self.runtime, self.record)

    def open(self, *pools: str) -> None:
        opened = self.opened(*pools)
        verdict: Any = self.verdict
        self.helper = ServerHelper(
            self.settings, self.interfaces, verdict, opened, lambda: self.file
        )
        self.events = self.interfaces.events()
        self.helper.start()
        self.deliver()

    def deliver(self) -> bool:
        """Let the helper see what happened; False when it says that the interface is gone."""
        return all(self.helper.event(event, self.channel) for event in self.events.read())

    def addresses(self) -> set[str]:
        return {str(a.prefix) for a in self.interfaces.addresses(self.link.ifindex)}

    def routes(self) -> set[str]:
        there = self.interfaces.routes(self.link.ifindex)
        return {str(route.prefix) for route in there if route.protocol == 97}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setattr("wg_dynamic.helper.qualify.open_control", lambda _: made.wireguard)
    monkeypatch.setattr(
        module, "RuntimeDirectory", lambda ifindex, role: RuntimeDirectory(ifindex, tmp_path, role)
    )
    monkeypatch.setattr(
        module, "Record", lambda database, name: Record(database, name, tmp_path / "ledger")
    )
    monkeypatch.setattr(module, "open_listener", FakeListener)
    monkeypatch.setattr(module, "AdminSocket", FakeAdmin)
    monkeypatch.setattr(module, "_FORWARDING", ())
    return made


# --- opening ---------------------------------------------------------------------------------


def test_an_interface_that_qualifies_is_locked(world: World) -> None:
    opened = open_interface(world.settings, world.interfaces)
    assert opened.link == world.link
    assert opened.pools == tuple(map(parse_pool, POOLS))
    with pytest.raises(ConfigError, match=r"wg-dynamic-server wg0 .* runs on this interface"):
        open_interface(world.settings, world.interfaces)
    opened.runtime.release()
    with pytest.raises(ConfigError, match="another wg-dynamic-server has it open"):
        open_interface(world.settings, world.interfaces)
    opened.record.close()
    again = open_interface(world.settings, world.interfaces)  # nothing was left locked
    again.record.close()
    again.runtime.release()


def test_one_that_does_not_is_let_go_of(world: World) -> None:
    world.interfaces.remove_address(world.link.ifindex, FE80)
    with pytest.raises(ConfigError, match="expected fe80::/64, where the server listens"):
        open_interface(world.settings, world.interfaces)
    assert world.wireguard.closed


def test_a_pool_that_collides_is_refused(world: World) -> None:
    eth0 = world.interfaces.add_link("eth0").ifindex
    world.interfaces.add_route(Route(parse_prefix("10.44.0.0/16"), eth0, protocol=2))
    with pytest.raises(ConfigError, match=r"pool 10\.44\.0\.0/24 collides"):
        open_interface(world.settings, world.interfaces)


def test_a_reservation_of_the_hub_s_own_address_is_refused(world: World) -> None:
    own = parse_prefix("10.44.0.1/24")
    world.interfaces.set_address(Address(world.link.ifindex, own))
    terms = replace(TERMS, reservations=(Reservation(ALICE, (own.packed,)),))
    settings = replace(world.settings, terms=terms, names=("printer",))
    expected = r"\[\[reservation\]\] 1 \(printer\): 10\.44\.0\.1 is an address of this machine"
    with pytest.raises(ConfigError, match=expected):
        open_interface(settings, world.interfaces)


def use(listener: FakeListener, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let open_listener make this one, and not wait."""
    monkeypatch.setattr(socket, "socket", lambda *_: listener)
    monkeypatch.setattr(select, "select", lambda *_: None)


def test_it_listens_on_fe80_of_the_interface_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = FakeListener()
    use(listener, monkeypatch)
    open_listener(world.link)
    assert listener.bound == [("fe80::", 970, 0, world.link.ifindex)]
    assert listener.listening


@pytest.mark.parametrize(
    ("code", "failures", "expected"),
    [
        (
            errno.EADDRINUSE,
            999,
            r"cannot listen on \[fe80::%wg0\]:970: told to, expected the port to be free:"
            r" see who has it \(ss -6ltnp sport = :970\)",
        ),
        (errno.EADDRNOTAVAIL, 1, r"cannot listen on \[fe80::%wg0\]:970: told to$"),
    ],
)
def test_a_port_that_cannot_be_had_is_explained(
    world: World, monkeypatch: pytest.MonkeyPatch, code: int, failures: int, expected: str
) -> None:
    listener = FakeListener(failures=failures, code=code)
    use(listener, monkeypatch)
    with pytest.raises(ConfigError, match=expected):
        open_listener(world.link)
    assert listener.closed
    assert len(listener.bound) == (1 if failures == 1 else module.PORT_TRIES)


def test_a_port_that_a_killed_server_still_has_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = FakeListener(failures=3)
    use(listener, monkeypatch)
    open_listener(world.link)
    assert listener.listening


# --- start and end ---------------------------------------------------------------------------


def test_the_network_process_is_told_what_to_work_by(world: World) -> None:
    address = parse_prefix("10.44.0.1/24")
    world.interfaces.set_address(Address(world.link.ifindex, address))
    world.open()
    message, listener = world.helper.start_message()
    assert message == ServerStart(
        interface="wg0",
        ifindex=world.link.ifindex,
        terms=TERMS,
        own=(address.packed,),
        database="/state/wg0.sqlite",
    )
    assert type(listener).__name__ == "FakeListener"
    world.helper.ready()
    text = "wg0: serving on [fe80::%wg0]:970, leasing 10.44.0.0/24, fd00:44::/64"
    assert world.verdict.given == [(0, text)]
    world.helper.fatal("no database")
    assert world.helper.reason == "no database"


def test_routes_to_the_pools_are_added_and_removed_and_leases_stay(world: World) -> None:
    world.open()
    assert world.routes() == set(POOLS)
    change = Change(ALICE, parse_prefix("10.44.0.7"), add=True)
    world.helper.answer(ReadPeers(), world.channel)
    world.helper.answer(ChangeAllowedIPs((change,)), world.channel)
    world.helper.close(gone=False)
    assert world.routes() == set()
    assert world.wireguard.allowed_ips(ALICE) == {"fe80::a/128", "10.44.0.7/32"}
    left = Ledger(world.runtime.ledger)
    assert left.entries(ALLOWED_IP) == [Entry(ALLOWED_IP, parse_prefix("10.44.0.7"), ALICE)]
    assert left.entries(ROUTE) == []


def test_routes_of_a_killed_server_with_other_pools_go(world: World) -> None:
    world.open()
    world.open("10.44.0.0/24", "10.55.0.0/24")  # as after a kill: nothing was closed
    assert world.routes() == {"10.44.0.0/24", "10.55.0.0/24"}
    world.helper.close(gone=False)
    assert world.routes() == set()


def test_what_cannot_be_removed_is_told_and_kept(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.open()
    world.interfaces.error = NetlinkError(errno.ENOMEM, "remove route")
    world.helper.close(gone=False)
    assert "cannot remove the route to 10.44.0.0/24: remove route: Cannot" in caplog.text
    assert len(Ledger(world.runtime.ledger)) == 2


def test_with_the_interface_gone_the_ledger_is_empty(world: World) -> None:
    world.open()
    change = Change(ALICE, parse_prefix("10.44.0.7"), add=True)
    world.helper.answer(ReadPeers(), world.channel)
    world.helper.answer(ChangeAllowedIPs((change,)), world.channel)
    world.interfaces.remove_link(world.link.ifindex)
    assert not world.deliver()
    world.helper.close(gone=True)
    assert world.runtime.ledger.read_text() == ""


def test_what_an_interface_made_anew_was_given_of_ours_is_ours_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world.open()
    change = Change(ALICE, parse_prefix("10.44.0.7"), add=True)
    world.helper.answer(ReadPeers(), world.channel)
    world.helper.answer(ChangeAllowedIPs((change,)), world.channel)
    world.helper.close(gone=True)
    world.wireguard.closed = False
    world.made += 1  # by wg-quick, from what it had saved: the peer has what it had
    world.open()
    text = f"wg0 was made with 10.44.0.7/32 of {peer_label(ALICE)}, which was leased"
    assert text in caplog.text
    assert "1 allowed IPs of that kind" in caplog.text
    world.channel.sent.clear()
    world.helper.answer(ReadPeers(), world.channel)
    static, leased = (parse_prefix("fe80::a/128"),), (parse_prefix("10.44.0.7/32"),)
    assert world.channel.sent == [Peers((PeerInfo(ALICE, static, leased),), last=True)]


def test_what_may_be_adopted_is_so_until_it_serves(world: World) -> None:
    world.wireguard.put_peer(Peer(ALICE, (parse_prefix("10.44.0.7/32"),)))
    world.settings = replace(world.settings, adopt=True)
    world.open()
    assert start_of(world).adopt
    world.helper.ready()
    assert not start_of(world).adopt


def start_of(world: World) -> ServerStart:
    message, _ = world.helper.start_message()
    assert isinstance(message, ServerStart)
    return message


def test_a_helper_that_never_started_can_be_closed(world: World) -> None:
    opened = world.opened()
    verdict: Any = world.verdict
    ServerHelper(world.settings, world.interfaces, verdict, opened).close(gone=False)
    assert world.wireguard.closed


def test_forwarding_that_is_off_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "off").write_text("0\n")
    (tmp_path / "on").write_text("1\n")
    rows = ((4, tmp_path / "off", "four"), (16, tmp_path / "on", "six"), (4, tmp_path / "no", "x"))
    monkeypatch.setattr(module, "_FORWARDING", rows)
    world.open()
    assert [record.getMessage() for record in caplog.records] == [
        "four is 0: peers reach this hub only, not each other"
    ]
    caplog.clear()
    world.open("fd00:44::/64")
    assert caplog.text == ""


# --- requests --------------------------------------------------------------------------------


def test_peers_are_read_and_changes_made(world: World) -> None:
    world.open()
    world.helper.answer(ReadPeers(), world.channel)
    peer = PeerInfo(ALICE, (parse_prefix("fe80::a/128"),), ())
    assert world.channel.sent == [Peers((peer,), last=True)]
    changes = (
        Change(ALICE, parse_prefix("10.44.0.7"), add=True),
        Change(ALICE, parse_prefix("192.0.2.7"), add=True),
    )
    world.helper.answer(ChangeAllowedIPs(changes), world.channel)
    assert world.channel.sent[1] == Changed((Refusal(1, "192.0.2.7/32 is in no pool"),))
    world.helper.answer(object(), world.channel)
    assert len(world.channel.sent) == 2


def test_the_rest_of_the_terms_is_told_when_asked_for(world: World) -> None:
    low, high = parse_address("10.44.0.1"), parse_address("10.44.0.9")
    excluded = AddressRange(low, high)
    reservation = Reservation(ALICE, (parse_address("10.44.0.77"),))
    pools = (replace(TERMS.pools[0], excluded=(excluded,)), TERMS.pools[1])
    terms = replace(TERMS, pools=pools, reservations=(reservation,))
    world.settings = replace(world.settings, terms=terms)
    world.open()
    message, _ = world.helper.start_message()
    assert isinstance(message, ServerStart)
    assert message.terms == TERMS
    world.helper.answer(ReadTerms(), world.channel)
    assert world.channel.sent == [
        TermsPart((Exclusion(0, excluded),), (), last=False),
        TermsPart((), (reservation,), last=False),
        TermsPart((), (), last=True),
    ]


def test_a_reserved_address_is_set_for_its_own_peer_only(world: World) -> None:
    reserved = parse_prefix("10.44.0.77")
    reservation = Reservation(ALICE, (reserved.packed,))
    world.settings = replace(world.settings, terms=replace(TERMS, reservations=(reservation,)))
    world.wireguard.put_peer(Peer(BOB, ()))
    world.open()
    world.helper.answer(ReadPeers(), world.channel)
    theirs = (Change(BOB, reserved, add=True),)
    world.helper.answer(ChangeAllowedIPs(theirs), world.channel)
    world.helper.answer(ChangeAllowedIPs((Change(ALICE, reserved, add=True),)), world.channel)
    refusal = Refusal(0, "10.44.0.77/32 is reserved for another peer")
    assert world.channel.sent[1:] == [Changed((refusal,)), Changed(())]
    assert world.wireguard.allowed_ips(BOB) == set()


def test_many_peers_are_told_in_messages_that_fit(world: World) -> None:
    prefix = parse_prefix("fd00::1")
    infos = [PeerInfo(bytes([n]) * 32, (prefix,) * 700, (prefix,) * 800) for n in range(9, 18)]
    huge = PeerInfo(bytes([99]) * 32, (prefix,) * 5000, (prefix,) * MAX_PEERS_PREFIXES)
    parts = list(peer_parts([*infos, huge, PeerInfo(ALICE, (), ())]))
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
    codec = MessageCodec(SERVER_REPLIES)
    assert all(codec.encode(part) for part in parts), "none is too large"
    total: dict[bytes, list[int]] = {}
    for part in parts:
        for info in part.peers:
            counts = total.setdefault(info.public_key, [0, 0])
            counts[0] += len(info.fixed)
            counts[1] += len(info.leased)
    assert total[huge.public_key] == [5000, MAX_PEERS_PREFIXES]
    assert total[ALICE] == [0, 0]
    assert all(total[info.public_key] == [700, 800] for info in infos)
    assert list(peer_parts([])) == [Peers((), last=True)]


# --- events ----------------------------------------------------------------------------------


def test_what_the_kernel_drops_with_the_link_is_put_back(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.open()
    for _ in range(2):
        world.interfaces.set_up(world.link.ifindex, up=False)
        assert world.deliver()
        assert "fe80::/64" not in world.addresses()
        world.interfaces.set_up(world.link.ifindex, up=True)
        assert world.deliver()
        assert "fe80::/64" in world.addresses()
        assert world.routes() == set(POOLS)
    assert caplog.text.count("put fe80::/64 back on wg0") == 1


def test_an_anycast_route_that_was_faster_goes_first(world: World) -> None:
    world.open()
    world.interfaces.set_up(world.link.ifindex, up=False)
    world.interfaces.set_up(world.link.ifindex, up=True)
    anycast = Route(parse_prefix("fe80::/128"), world.link.ifindex, **ANYCAST)  # type: ignore[arg-type]
    world.interfaces.add_route(anycast)
    assert world.deliver()
    kinds = [r.kind for r in world.interfaces.routes() if r.prefix == anycast.prefix]
    assert kinds == [2], "a local route instead"


def test_what_is_taken_off_by_hand_is_put_back(world: World) -> None:
    world.open()
    world.interfaces.remove_address(world.link.ifindex, FE80)
    world.deliver()
    world.interfaces.remove_route(Route(parse_prefix("10.44.0.0/24"), world.link.ifindex))
    world.deliver()
    assert "fe80::/64" in world.addresses()
    assert world.routes() == set(POOLS)


def test_what_happens_elsewhere_is_none_of_its_business(world: World) -> None:
    world.open()
    eth0 = world.interfaces.add_link("eth0").ifindex
    world.interfaces.set_address(Address(eth0, parse_prefix("192.0.2.7/24")))
    world.interfaces.remove_address(eth0, parse_prefix("192.0.2.7/24"))
    world.interfaces.add_route(Route(parse_prefix("192.0.2.0/24"), eth0))
    world.interfaces.set_up(eth0, up=False)
    world.interfaces.remove_link(eth0)
    world.interfaces.error = AssertionError("it need not look")
    assert world.deliver()


def test_after_lost_events_it_looks(world: World) -> None:
    world.open()
    world.interfaces.remove_address(world.link.ifindex, FE80)
    world.interfaces.overrun()
    assert world.deliver()
    assert "fe80::/64" in world.addresses()
    world.interfaces.remove_link(world.link.ifindex)
    event: Event = Overrun()
    assert not world.helper.event(event, None)


def test_what_cannot_be_restored_is_told(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.ERROR)
    world.open()

    def fail(*_: object, **__: object) -> None:
        raise NetlinkError(errno.ENOMEM, "set address fe80::/64")

    monkeypatch.setattr(world.interfaces, "set_address", fail)
    world.interfaces.remove_address(world.link.ifindex, FE80)
    assert world.deliver()
    assert "cannot restore wg0: set address fe80::/64: Cannot allocate memory" in caplog.text


def test_many_peers_are_told_one_part_at_a_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PEERS_PREFIXES", 4)
    world.open()
    bob = bytes([2]) * 32
    world.wireguard.put_peer(Peer(bob, (parse_prefix("fe80::b/128"),)))
    world.helper.answer(ReadPeers(), world.channel)
    world.helper.answer(NextPeers(), world.channel)
    world.helper.answer(NextPeers(), world.channel)  # nobody does
    peers = [PeerInfo(k, (parse_prefix(a),), ()) for k, a in ((ALICE, "fe80::a"), (bob, "fe80::b"))]
    assert world.channel.sent == [
        Peers((peers[0],), last=False),
        Peers((peers[1],), last=True),
        Peers((), last=True),
    ]


def test_a_reading_that_fails_is_told(world: World) -> None:
    world.open()
    world.wireguard.error = WireGuardError("changed during each of 8 dumps")
    world.helper.answer(ReadPeers(), world.channel)
    assert world.channel.sent == [Failed("changed during each of 8 dumps")]


def test_what_could_not_be_put_right_is_tried_again_at_the_next_reading(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world.open()
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "add", full)
        world.interfaces.set_up(world.link.ifindex, up=False)
        world.interfaces.set_up(world.link.ifindex, up=True)
        assert world.deliver()
        world.helper.answer(ReadPeers(), world.channel)
        assert world.routes() == set()
    assert caplog.text.count("cannot restore wg0: no room") == 1
    world.helper.answer(ReadPeers(), world.channel)
    assert world.routes() == set(POOLS)


def full(*_: object) -> None:
    msg = "no room"
    raise LedgerError(msg)


# --- a reload --------------------------------------------------------------------------------


def is_settled(world: World) -> bool:
    return world.helper.is_settled


def say(world: World, *pools: str, **more: Any) -> None:
    """Let the file say something else."""
    world.file = replace(world.settings, terms=replace(a_terms(*pools), **more))


def give(world: World, address: str) -> tuple[Refusal, ...]:
    """Ask for an address for Alice, as the network process does."""
    world.channel.sent.clear()
    change = Change(ALICE, parse_prefix(address), add=True)
    world.helper.answer(ChangeAllowedIPs((change,)), world.channel)
    (changed,) = world.channel.sent
    assert isinstance(changed, Changed)
    return changed.refusals


def test_other_pools_are_judged_by_and_routed_at_once(world: World) -> None:
    world.open()
    say(world, POOLS[0], "10.45.0.0/24")
    assert world.helper.reload().splitlines() == [
        "pool fd00:44::/64 removed: its leases stand until they end, and are not renewed",
        "pool 10.45.0.0/24 added",
    ]
    assert world.routes() == {POOLS[0], "10.45.0.0/24"}
    assert give(world, "10.45.0.7/32") == ()
    assert give(world, "fd00:44::7/128") == (Refusal(0, "fd00:44::7/128 is in no pool"),)
    assert world.helper.settings == world.file


def test_a_fence_in_a_new_pool_is_seen_before_anything_of_it_is_given(world: World) -> None:
    world.wireguard.put_peer(Peer(BOB, (parse_prefix("10.45.0.7/32"),)))
    world.open()
    world.helper.answer(ReadPeers(), world.channel)
    say(world, "10.45.0.0/24")
    world.helper.reload()
    (refusal,) = give(world, "10.45.0.7/32")
    assert "it is in the allowed IPs of" in refusal.reason


def test_what_is_reserved_now_is_given_to_nobody_else(world: World) -> None:
    world.open()
    say(world, *POOLS, reservations=(Reservation(BOB, (parse_address("10.44.0.7"),)),))
    world.file = replace(world.file, names=("printer",))
    assert world.helper.reload() == f"reservation of {peer_label(BOB)} (printer) added: 10.44.0.7"
    (refusal,) = give(world, "10.44.0.7/32")
    assert "reserved for another peer" in refusal.reason


def test_the_same_file_changes_nothing(world: World) -> None:
    world.open()
    assert world.helper.reload() == "nothing has changed"
    assert is_settled(world)
    world.helper.pass_on(world.channel)
    assert world.channel.sent == []


def test_the_network_process_is_told_of_all_of_it(world: World) -> None:
    own = parse_prefix("10.45.0.1/24")
    world.interfaces.set_address(Address(world.link.ifindex, own))
    world.open()
    start_of(world)
    reservation = Reservation(ALICE, (parse_address("10.45.0.77"),))
    say(world, "10.45.0.0/24", reservations=(reservation,))
    world.helper.reload()
    assert not is_settled(world)
    world.helper.pass_on(world.channel)
    world.helper.pass_on(world.channel)
    for _ in range(3):
        world.helper.answer(NextTerms(), world.channel)
    last = TermsPart((), (), last=True)
    assert world.channel.sent == [
        NewTerms(1, a_terms("10.45.0.0/24"), (own.packed,)),
        TermsPart((), (reservation,), last=False),
        last,
        last,
    ]
    assert not is_settled(world)
    world.helper.answer(TermsTaken(7), world.channel)
    assert is_settled(world), "no more than was told can be taken"
    say(world, "10.45.0.0/24")
    world.helper.reload()
    assert not is_settled(world)


def test_a_process_that_is_starting_gets_the_rest_of_what_it_was_started_with(
    world: World,
) -> None:
    reservation = Reservation(ALICE, (parse_address("10.44.0.77"),))
    world.settings = replace(world.settings, terms=replace(TERMS, reservations=(reservation,)))
    world.open()
    start_of(world)
    say(world, "10.45.0.0/24")
    world.helper.reload()
    world.helper.answer(ReadTerms(), world.channel)
    assert world.channel.sent[0] == TermsPart((), (reservation,), last=False)
    world.channel.sent.clear()
    assert start_of(world).terms == a_terms("10.45.0.0/24"), "and the next one starts with this"
    assert is_settled(world)
    world.helper.answer(ReadTerms(), world.channel)
    assert world.channel.sent == [TermsPart((), (), last=True)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"database": Path("/other")}, r"database is /other now and /state/wg0\.sqlite in the"),
        ({"user": "nobody"}, "user is nobody now and the default in the server"),
    ],
)
def test_what_only_a_restart_can_change_is_refused(
    world: World, change: dict[str, Any], expected: str
) -> None:
    world.open()
    world.file = replace(world.settings, terms=a_terms("10.45.0.0/24"), **change)
    with pytest.raises(UsageError, match=expected):
        world.helper.reload()
    assert world.routes() == set(POOLS)
    assert is_settled(world)


def test_a_pool_that_collides_now_changes_nothing(world: World) -> None:
    world.open()
    eth0 = world.interfaces.add_link("eth0").ifindex
    world.interfaces.add_route(Route(parse_prefix("10.45.0.0/16"), eth0, protocol=2))
    say(world, "10.45.0.0/24")
    with pytest.raises(ConfigError, match=r"pool 10\.45\.0\.0/24 collides"):
        world.helper.reload()
    assert give(world, "10.44.0.7/32") == ()
    assert world.helper.settings == world.settings


def test_a_helper_without_a_file_has_nothing_to_reload(world: World) -> None:
    world.open()
    verdict: Any = world.verdict
    helper = ServerHelper(world.settings, world.interfaces, verdict, world.opened())
    with pytest.raises(ConfigError, match="nothing to read"):
        helper.reload()


def test_the_route_of_a_former_pool_goes_with_its_last_lease(world: World) -> None:
    world.open()
    world.helper.answer(ReadPeers(), world.channel)
    assert give(world, "10.44.0.7/32") == ()
    say(world, "10.45.0.0/24")
    world.helper.reload()
    assert world.routes() == {POOLS[0], "10.45.0.0/24"}
    off = Change(ALICE, parse_prefix("10.44.0.7/32"), add=False)
    world.helper.answer(ChangeAllowedIPs((off,)), world.channel)
    world.helper.answer(ReadPeers(), world.channel)
    assert world.routes() == {"10.45.0.0/24"}


def test_administrators_have_a_socket_of_their_own_until_the_end(world: World) -> None:
    world.settings = replace(world.settings, admin_group="root")
    world.open()
    admin = FakeAdmin.made[-1]
    assert (admin.path.parents[1].name, admin.path.name, admin.group) == ("admin", "socket", 0)
    assert admin.path.parent.name == world.runtime.path.name
    world.helper.answer(ReadAdmin(), world.channel)
    assert (world.channel.sent, world.channel.attached) == ([AdminListener()], admin.listener)
    assert not admin.closed
    world.helper.close(gone=False)
    assert admin.closed


def test_a_group_that_is_not_there_is_told_before_anything_is_set(world: World) -> None:
    world.settings = replace(world.settings, admin_group="no-such-group")
    with pytest.raises(ConfigError, match="admin_group: no group 'no-such-group'"):
        world.open()
    assert world.routes() == set()
