import errno
import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.netlink import FakeInterfaces
from tests.fakes.wireguard import FakeWireGuard
from wg_dynamic.address import parse_prefix
from wg_dynamic.errors import ConfigError, WgDynamicError
from wg_dynamic.helper import client as module
from wg_dynamic.helper import resolvers
from wg_dynamic.helper.applied import AppliedLease
from wg_dynamic.helper.client import (
    ClientHelper,
    ClientSettings,
    QualifiedInterface,
    open_interface,
    undo_leftovers,
)
from wg_dynamic.helper.policy import Acceptance
from wg_dynamic.helper.supervisor import Recheck
from wg_dynamic.netlink.control import Address, Event, Overrun, Route
from wg_dynamic.netlink.errors import NetlinkError
from wg_dynamic.privsep.ledger import ADDRESS, Entry, Ledger, LedgerError
from wg_dynamic.privsep.requests import (
    AddressSetting,
    Applied,
    ApplyLease,
    ClientStart,
    Connect,
    Connecting,
    Failed,
    LinkState,
    NetworkChanged,
    Progress,
    RefusedAddress,
    Report,
    RouteSetting,
)
from wg_dynamic.system.runtime import RuntimeDirectory
from wg_dynamic.wireguard.control import WireGuardError
from wg_dynamic.wireguard.device import Peer
from wg_dynamic.wireguard.key import format_key

HUB = bytes([1]) * 32
NAME = parse_prefix("fe80::1/128")
LEASE = (
    AddressSetting(parse_prefix("10.44.0.7"), parse_prefix("10.44.0.0/24"), 60, 60),
    AddressSetting(parse_prefix("fd00:44::7"), parse_prefix("fd00:44::/64"), 60, 60),
)


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
        self.sockets: list[socket.socket] = []

    def send(self, message: object, attached: socket.socket | None = None) -> None:
        self.sent.append(message)
        if attached is not None:
            self.sockets.append(attached)

    def take(self) -> list[object]:
        sent, self.sent = self.sent, []
        return sent


class World:
    """A client's helper on a qualified interface."""

    def __init__(self, tmp_path: Path) -> None:
        self.interfaces = FakeInterfaces()
        self.link = self.interfaces.add_link("wg0")
        self.interfaces.set_address(Address(self.link.ifindex, NAME))
        self.wireguard = FakeWireGuard(Peer(HUB, (parse_prefix("fe80::/128"),)))
        self.verdict = FakeVerdict()
        self.runtime = RuntimeDirectory(self.link.ifindex, tmp_path, "client")
        self.settings = ClientSettings("wg0")
        self.channel: Any = FakeChannel()
        self.clock = FakeClock()
        self.helper: ClientHelper

    def open(self) -> None:
        link = self.interfaces.link_by_index(self.link.ifindex)
        opened = QualifiedInterface(link, self.wireguard, NAME, self.runtime)
        verdict: Any = self.verdict
        self.helper = ClientHelper(self.settings, self.interfaces, verdict, opened, self.clock)
        self.events = self.interfaces.events()
        self.helper.start()
        self.deliver()

    def apply(self, *settings: AddressSetting) -> object:
        self.helper.answer(ApplyLease(settings), self.channel)
        self.deliver()
        return self.channel.sent.pop()

    def status(self) -> Any:
        return json.loads(self.helper.status())

    def deliver(self) -> bool:
        """Let the helper see what happened; False when it says that the interface is gone."""
        return all(self.helper.event(event, self.channel) for event in self.events.read())

    def addresses(self) -> set[str]:
        return {str(a.prefix) for a in self.interfaces.addresses(self.link.ifindex)}

    def routes(self) -> set[str]:
        there = self.interfaces.routes(self.link.ifindex)
        return {str(route.prefix) for route in there if route.table == 254}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(resolvers, "RESOLV_CONFS", ())
    monkeypatch.setattr(module, "LOCK_PAUSE", 0.0)
    made = World(tmp_path)
    monkeypatch.setattr("wg_dynamic.helper.qualify.open_control", lambda _: made.wireguard)
    monkeypatch.setattr(
        module, "RuntimeDirectory", lambda ifindex, role: RuntimeDirectory(ifindex, tmp_path, role)
    )
    return made


# --- opening ---------------------------------------------------------------------------------


def test_an_interface_that_qualifies_is_locked(world: World) -> None:
    opened = open_interface(world.settings, world.interfaces)
    assert (opened.link, opened.link_local) == (world.link, NAME)
    with pytest.raises(ConfigError, match=r"wg-dynamic-client wg0 .* runs on this interface"):
        open_interface(world.settings, world.interfaces)
    opened.runtime.release()


def test_one_that_is_ending_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert world.runtime.lock("wg-dynamic-client wg0")
    asked: list[Path] = []

    def ask_status(path: Path) -> None:
        asked.append(path)
        if len(asked) == 3:
            world.runtime.release()

    monkeypatch.setattr(module, "ask_status", ask_status)
    open_interface(world.settings, world.interfaces).runtime.release()
    assert asked == [world.runtime.control] * 3


@pytest.mark.parametrize("answer", ["{}", WgDynamicError("no answer within 5 s")])
def test_one_that_runs_is_not_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch, answer: str | WgDynamicError
) -> None:
    assert world.runtime.lock("wg-dynamic-client wg0")
    asked: list[Path] = []

    def ask_status(path: Path) -> str:
        asked.append(path)
        if isinstance(answer, str):
            return answer
        raise answer

    monkeypatch.setattr(module, "ask_status", ask_status)
    with pytest.raises(ConfigError, match=r"wg-dynamic-client wg0 .* runs on this interface"):
        open_interface(world.settings, world.interfaces)
    assert len(asked) == 1
    world.runtime.release()


def test_one_that_does_not_is_let_go_of(world: World) -> None:
    world.wireguard.put_peer(Peer(HUB))
    with pytest.raises(ConfigError, match="has fe80::/128 in its allowed IPs"):
        open_interface(world.settings, world.interfaces)
    assert world.wireguard.closed


# --- start and end ---------------------------------------------------------------------------


def test_the_network_process_is_told_its_name_and_what_is_still_set(world: World) -> None:
    ledger = Ledger(world.runtime.ledger)
    ledger.add(Entry(ADDRESS, LEASE[0].address))
    ledger.close()
    world.open()
    message, attached = world.helper.start_message()
    assert message == ClientStart("wg0", NAME.packed, (LEASE[0].address.packed,))
    assert attached is None
    assert world.routes() == {"fe80::/128"}
    world.helper.ready()


def test_a_link_that_is_down_is_waited_for(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.interfaces.set_up(world.link.ifindex, up=False)
    world.open()
    assert "wg0 is down: waiting for it to come up" in caplog.text
    world.interfaces.set_up(world.link.ifindex, up=True)
    assert world.deliver()
    assert world.channel.take() == [LinkState(up=True)]
    assert world.routes() == {"fe80::/128"}
    assert str(NAME) in world.addresses()


def test_an_anycast_fe80_is_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    anycast = Route(parse_prefix("fe80::/128"), world.link.ifindex, kind=4, table=255, protocol=2)
    world.interfaces.add_route(anycast)
    world.open()
    assert "the kernel takes fe80:: for itself and the server cannot be reached" in caplog.text


def test_the_end_undoes_everything(world: World) -> None:
    before = (world.addresses(), world.routes(), world.wireguard.allowed_ips(HUB))
    world.open()
    world.apply(*LEASE)
    world.helper.close(gone=False)
    assert (world.addresses(), world.routes(), world.wireguard.allowed_ips(HUB)) == before
    assert world.wireguard.closed
    assert world.runtime.ledger.read_text() == ""


def test_with_the_interface_gone_there_is_nothing_to_undo(world: World) -> None:
    world.open()
    world.apply(*LEASE)
    world.interfaces.remove_link(world.link.ifindex)
    assert not world.deliver()
    world.wireguard.gone = True
    world.helper.close(gone=True)
    assert world.runtime.ledger.read_text() == ""


def test_leftovers_of_a_killed_client_are_undone(world: World) -> None:
    world.open()
    world.apply(*LEASE)
    assert undo_leftovers("wg0", world.interfaces, world.runtime)
    assert world.addresses() == {str(NAME)}
    assert world.routes() == set()


def test_without_leftovers_nothing_is_undone(world: World) -> None:
    assert not undo_leftovers("wg0", world.interfaces, world.runtime)


def test_a_reason_to_give_up_is_kept(world: World) -> None:
    world.open()
    world.helper.fatal("no way")
    assert world.helper.reason == "no way"


# --- requests --------------------------------------------------------------------------------


def test_a_lease_is_set_and_the_foreground_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world.open()
    assert world.apply(*LEASE) == Applied(())
    text = "wg0: leased 10.44.0.7/32, fd00:44::7/128 for 60 s"
    assert world.verdict.given == [(0, text)]
    world.apply(*LEASE)
    assert caplog.text.count(text) == 1, "a renewal is not worth a line"
    assert world.apply() == Applied(())
    assert "wg0: no lease any more" in caplog.text
    assert world.addresses() == {str(NAME)}


def test_what_the_policy_refuses_is_not_set(world: World) -> None:
    world.open()
    lan = AddressSetting(parse_prefix("8.8.8.8"), parse_prefix("8.8.8.0/24"), 60, 60)
    reason = (
        "8.8.8.0/24 is neither private nor in the server peer's allowed IPs"
        " (--accept-routes 8.8.8.0/24 takes it)"
    )
    assert world.apply(lan) == Applied((RefusedAddress(lan.address, reason),))
    assert world.verdict.given == [
        (0, f"wg0: the lease was refused here: {reason}; going on trying")
    ]
    assert world.apply(LEASE[1], lan) == Applied((RefusedAddress(lan.address, reason),))
    assert world.addresses() == {str(NAME), "fd00:44::7/128"}


def test_what_the_administrator_accepts_is_set(world: World) -> None:
    world.settings = ClientSettings("wg0", Acceptance((parse_prefix("8.0.0.0/8"),)))
    world.open()
    lan = AddressSetting(parse_prefix("8.8.8.8"), parse_prefix("8.8.8.0/24"), 60, 60)
    assert world.apply(lan) == Applied(())


def test_what_the_kernel_refuses_is_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.open()
    world.wireguard.error = WireGuardError("no answer")
    refused = tuple(RefusedAddress(each.address, "no answer") for each in LEASE)
    assert world.apply(*LEASE) == Applied(refused)
    assert "cannot set the lease: no answer" in caplog.text


def test_a_lease_for_an_interface_that_is_just_gone_is_not_worth_a_word(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.open()
    world.interfaces.remove_link(world.link.ifindex)
    world.helper.answer(ApplyLease(LEASE), world.channel)
    assert world.channel.take() == [Applied(())]
    assert caplog.text == ""


def test_a_report_needs_no_answer(world: World) -> None:
    world.open()
    world.helper.answer(Report("no server"), world.channel)
    world.helper.answer(object(), world.channel)
    assert world.channel.take() == []


class FakeSocket:
    """Fails as told when it is to bind or connect."""

    code = errno.EINPROGRESS

    def __init__(self, *_: object) -> None:
        self.calls: list[object] = []

    def __enter__(self) -> "FakeSocket":
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True

    def setblocking(self, _: bool) -> None:
        pass

    def setsockopt(self, *_: object) -> None:
        pass

    def bind(self, address: object) -> None:
        self.calls.append(address)

    def connect(self, address: object) -> None:
        self.calls.append(address)
        if self.code:
            raise OSError(self.code, "told to")


@pytest.fixture
def fake_socket(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeSocket]]:
    monkeypatch.setattr(socket, "socket", FakeSocket)
    yield FakeSocket
    FakeSocket.code = errno.EINPROGRESS


def test_a_connection_goes_from_its_own_name_to_fe80(
    world: World, fake_socket: type[FakeSocket]
) -> None:
    world.open()
    for fake_socket.code in (errno.EINPROGRESS, 0):
        world.helper.answer(Connect(), world.channel)
        assert world.channel.take() == [Connecting()]
        made: Any = world.channel.sockets.pop()
        scope = world.link.ifindex
        assert made.calls == [("fe80::1", 970, 0, scope), ("fe80::", 970, 0, scope)]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.EADDRINUSE, "[fe80::1%wg0]:970 is in use: another client, or our last connection"),
        (
            errno.EADDRNOTAVAIL,
            "[fe80::1%wg0]:970 is not free yet, or fe80::1 is not on wg0 any more",
        ),
        (errno.ENETUNREACH, "there is no route to fe80::%wg0"),
        (errno.EACCES, "connecting to [fe80::%wg0]:970: told to"),
    ],
)
def test_a_connection_that_cannot_be_made_is_explained(
    world: World, fake_socket: type[FakeSocket], code: int, expected: str
) -> None:
    world.open()
    fake_socket.code = code
    world.helper.answer(Connect(), world.channel)
    assert world.channel.take() == [Failed(expected)]
    assert world.channel.sockets == []


# --- events ----------------------------------------------------------------------------------


def test_down_and_up_is_passed_on_and_put_right(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.open()
    world.apply(*LEASE)
    for _ in range(2):
        world.interfaces.set_up(world.link.ifindex, up=False)
        assert world.deliver()
        assert world.channel.take() == [LinkState(up=False)]
        world.interfaces.set_up(world.link.ifindex, up=True)
        assert world.deliver()
        assert world.channel.take() == [LinkState(up=True)]
        assert {"fe80::1/128", "10.44.0.7/32"} == world.addresses()
        assert "fe80::/128" in world.routes()
        world.apply(*LEASE)
    assert caplog.text.count("put fe80::1/128 back on wg0") == 1


def test_down_and_up_faster_than_it_looks_makes_it_renew(world: World) -> None:
    world.open()
    world.apply(*LEASE)
    world.interfaces.set_up(world.link.ifindex, up=False)
    world.interfaces.set_up(world.link.ifindex, up=True)
    assert world.deliver()
    assert world.channel.take() == [LinkState(up=False), LinkState(up=True)]
    world.apply(*LEASE)
    assert len(world.addresses()) == 3


def test_a_leased_address_or_route_taken_off_by_hand_makes_it_renew(world: World) -> None:
    world.open()
    world.apply(*LEASE)
    world.interfaces.remove_address(world.link.ifindex, LEASE[1].address)
    world.deliver()
    assert world.channel.take() == [LinkState(up=False), LinkState(up=True)]
    world.apply(*LEASE)
    world.interfaces.remove_route(Route(LEASE[0].network, world.link.ifindex))
    world.deliver()
    assert world.channel.take() == [LinkState(up=False), LinkState(up=True)]


def test_its_own_name_and_way_taken_off_by_hand_are_put_back(world: World) -> None:
    world.open()
    world.interfaces.remove_address(world.link.ifindex, NAME)
    world.deliver()
    world.interfaces.remove_route(Route(parse_prefix("fe80::/128"), world.link.ifindex))
    world.deliver()
    assert str(NAME) in world.addresses()
    assert world.routes() >= {"fe80::/128"}
    assert world.channel.take() == []


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


def test_a_network_that_the_machine_joins_later_is_held_against_the_lease(world: World) -> None:
    world.open()
    world.apply(*LEASE)
    eth0 = world.interfaces.add_link("eth0").ifindex
    world.interfaces.add_route(Route(LEASE[0].network, eth0, metric=100, protocol=2))
    assert world.deliver()
    assert world.helper.deadline == world.clock.now()
    world.helper.on_time(world.channel)
    (applied,) = world.channel.take()
    assert isinstance(applied, Applied)
    assert [one.address for one in applied.refused] == [LEASE[0].address]
    assert "10.44.0.7/32" not in world.addresses()
    world.interfaces.remove_route(Route(LEASE[0].network, eth0, protocol=2))
    world.deliver()
    world.helper.on_time(None)
    assert "10.44.0.7/32" in world.addresses()


def test_what_is_pushed_is_set_and_in_the_status(world: World) -> None:
    world.open()
    routes = (
        RouteSetting(parse_prefix("10.9.0.0/16")),
        RouteSetting(parse_prefix("8.0.0.0/8")),
    )
    world.helper.answer(ApplyLease(LEASE, routes, mtu=1380), world.channel)
    assert "10.9.0.0/16" in world.routes()
    shown = world.status()["set"]
    assert [said.partition(":")[0] for said in shown["not_taken"]] == ["route 8.0.0.0/8"]
    assert "10.9.0.0/16" in shown["routes"]
    assert shown["mtu"] == 1380
    assert shown["not_taken"][0].startswith("route 8.0.0.0/8: 8.0.0.0/8 is neither private")


def test_after_lost_events_it_looks(world: World) -> None:
    world.open()
    world.interfaces.set_up(world.link.ifindex, up=False)
    world.events.read()
    event: Event = Overrun()
    assert world.helper.event(event, None), "without a network process nobody is told"
    world.interfaces.set_up(world.link.ifindex, up=True)
    world.interfaces.overrun()
    assert world.deliver()
    assert world.channel.take() == [LinkState(up=True)]
    world.interfaces.remove_link(world.link.ifindex)
    world.interfaces.overrun()
    assert not world.deliver()


def test_what_cannot_be_restored_is_told_and_tried_again(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.open()

    def fail(*_: object, **__: object) -> None:
        raise NetlinkError(errno.ENOMEM, "set address fe80::1/128")

    with monkeypatch.context() as context:
        context.setattr(world.interfaces, "set_address", fail)
        world.interfaces.remove_address(world.link.ifindex, NAME)
        assert world.deliver()
    assert "cannot restore wg0: set address fe80::1/128: Cannot allocate memory" in caplog.text
    assert world.helper.event(Overrun(), world.channel)
    assert str(NAME) in world.addresses()


def test_a_new_name_is_told_and_used(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world.open()
    world.interfaces.rename(world.link.ifindex, "wg1")
    assert world.deliver()
    assert "wg0 is called wg1 now" in caplog.text
    assert world.status()["interface"] == "wg1"
    message, _ = world.helper.start_message()
    assert message == ClientStart("wg1", NAME.packed, ())
    assert world.channel.take() == []


def test_lost_events_are_worth_a_line(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world.open()
    world.interfaces.overrun()
    assert world.deliver()
    assert "events of the kernel were lost" in caplog.text


# --- what nobody tells of --------------------------------------------------------------------


def recheck(world: World) -> list[object]:
    """What the network process is told after a while without any event."""
    assert world.helper.event(Recheck(), world.channel)
    told: list[object] = world.channel.take()
    return told


RENEW = [LinkState(up=False), LinkState(up=True)]


def test_a_server_peer_that_has_all_it_was_given_is_left_alone(world: World) -> None:
    world.open()
    assert recheck(world) == [], "before there is a lease there is nothing to look for"
    world.apply(*LEASE)
    assert recheck(world) == []
    world.apply()
    world.wireguard.put_peer(Peer(bytes([2]) * 32, (parse_prefix("fe80::/128"),)))
    assert recheck(world) == []


def test_a_server_peer_that_was_entered_anew_gets_its_allowed_ips_again(world: World) -> None:
    world.open()
    world.apply(*LEASE)
    widened = world.wireguard.allowed_ips(HUB)
    world.wireguard.put_peer(Peer(HUB, (parse_prefix("fe80::/128"),)))
    assert recheck(world) == RENEW
    world.apply(*LEASE)
    assert world.wireguard.allowed_ips(HUB) == widened
    assert recheck(world) == []


def test_a_default_route_that_others_took_apart_is_set_again(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world.open()
    world.apply(*LEASE)
    monkeypatch.setattr(AppliedLease, "stands", lambda _: False)
    assert recheck(world) == RENEW
    assert "wg0 has lost a part of its default route" in caplog.text
    world.apply()
    assert recheck(world) == [], "without a lease there is none"


def test_a_server_with_another_key_gets_the_allowed_ips(world: World) -> None:
    world.open()
    world.apply(*LEASE)
    widened = world.wireguard.allowed_ips(HUB)
    other = bytes([2]) * 32
    world.wireguard.remove_peer(HUB)
    world.wireguard.put_peer(Peer(other, (parse_prefix("fe80::/128"),)))
    assert recheck(world) == RENEW
    world.apply(*LEASE)
    assert world.wireguard.allowed_ips(other) == widened
    assert recheck(world) == []
    world.helper.close(gone=False)
    assert world.wireguard.allowed_ips(other) == {"fe80::/128"}
    assert world.runtime.ledger.read_text() == ""


def test_a_server_peer_that_is_gone_is_waited_for(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.open()
    world.apply(*LEASE)
    world.wireguard.remove_peer(HUB)
    assert recheck(world) == []
    assert recheck(world) == []
    assert caplog.text.count("none of the 0 peers of wg0 has fe80::/128") == 1
    world.wireguard.put_peer(Peer(HUB, (parse_prefix("fe80::/128"),)))
    assert recheck(world) == RENEW


def test_what_could_not_be_restored_is_tried_again_after_a_while(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.open()
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "add", full)
        world.interfaces.remove_route(Route(parse_prefix("fe80::/128"), world.link.ifindex))
        assert world.deliver()
    assert "fe80::/128" not in world.routes()
    recheck(world)
    assert "fe80::/128" in world.routes()


# --- the network around ----------------------------------------------------------------------


def test_a_network_that_changes_is_told_once_for_each_try(world: World) -> None:
    world.open()
    eth0 = world.interfaces.add_link("eth0").ifindex
    world.helper.answer(Progress("requesting", 1001.0, 2), world.channel)

    def changes(*addresses: str) -> list[object]:
        for text in addresses:
            world.interfaces.set_address(Address(eth0, parse_prefix(text)))
        world.deliver()
        told: list[object] = world.channel.take()
        return told

    assert changes("fe80::5/64") == [], "every interface has such a one"
    assert changes("192.0.2.7/24", "192.0.2.8/24") == [NetworkChanged()]
    assert changes("192.0.2.9/24") == [], "nothing was tried since"
    world.helper.answer(Progress("requesting", 1008.0, 2), world.channel)
    world.interfaces.add_route(Route(parse_prefix("198.51.100.0/24"), eth0))
    assert changes() == [], "not the way to a hub on the Internet"
    world.interfaces.add_route(Route(parse_prefix("0.0.0.0/0"), eth0))
    assert changes() == [NetworkChanged()]


# --- what is in use --------------------------------------------------------------------------


def test_while_it_is_down_nothing_of_all_that_makes_it_renew(world: World) -> None:
    world.open()
    world.apply(*LEASE)
    world.interfaces.set_up(world.link.ifindex, up=False)
    world.deliver()
    assert world.channel.take() == [LinkState(up=False)]
    eth0 = world.interfaces.add_link("eth0").ifindex
    world.interfaces.set_address(Address(eth0, parse_prefix("10.44.0.7/24")))
    world.deliver()
    world.wireguard.put_peer(Peer(HUB, (parse_prefix("fe80::/128"),)))
    assert recheck(world) == []


def test_what_another_interface_has_is_told_apart_from_what_the_policy_refuses(
    world: World,
) -> None:
    world.open()
    eth0 = world.interfaces.add_link("eth0").ifindex
    world.interfaces.set_address(Address(eth0, LEASE[0].address))
    answer = world.apply(*LEASE)
    reason = "10.44.0.7 is an address of another interface here"
    assert answer == Applied((RefusedAddress(LEASE[0].address, reason, in_use=True),))
    assert world.addresses() == {str(NAME), "fd00:44::7/128"}


def test_a_leased_address_that_comes_up_elsewhere_is_judged_anew(world: World) -> None:
    world.open()
    world.apply(*LEASE)
    eth0 = world.interfaces.add_link("eth0").ifindex
    world.interfaces.set_address(Address(eth0, parse_prefix("10.44.0.7/24")))
    assert world.deliver()
    assert world.channel.take() == RENEW
    answer: Any = world.apply(*LEASE)
    assert [one.in_use for one in answer.refused] == [True]


# --- --status --------------------------------------------------------------------------------


def test_the_status_follows_what_happens(world: World) -> None:
    world.open()
    assert (world.status()["state"], world.status()["lease"]) == ("starting", [])
    world.helper.answer(Progress("requesting", 1001.0, 2), world.channel)
    world.helper.answer(Report("no\nserver"), world.channel)
    shown = world.status()
    assert (shown["state"], shown["error"], shown["next_in"]) == ("requesting", "no?server", 1.0)
    world.apply(*LEASE)
    world.helper.answer(Progress("bound", 1030.0, 2), world.channel)
    world.clock.pass_time(10.0)
    shown = world.status()
    assert (shown["state"], shown["error"], shown["next_in"]) == ("bound", None, 20.0)
    assert [one["valid_for"] for one in shown["lease"]] == [50.0, 50.0]
    assert shown["server"]["public_key"] == format_key(HUB)
    assert {name: set(value) for name, value in shown["set"].items()} == {
        "addresses": {"10.44.0.7/32", "fd00:44::7/128"},
        "routes": {"10.44.0.0/24", "fd00:44::/64", "fe80::/128"},
        "allowed_ips": {"10.44.0.0/24", "fd00:44::/64"},
    }
    world.helper.more.append(lambda: {"table": 51820})
    assert world.status()["set"]["table"] == 51820
    world.interfaces.set_up(world.link.ifindex, up=False)
    world.deliver()
    assert world.status()["up"] is False


def test_what_was_refused_is_in_the_status_until_the_next_lease(world: World) -> None:
    world.open()
    lan = AddressSetting(parse_prefix("8.8.8.8"), parse_prefix("8.8.8.0/24"), 60, 60)
    world.apply(lan)
    (refused,) = world.status()["refused"]
    assert (refused["address"], refused["in_use"]) == ("8.8.8.8/32", False)
    world.apply(*LEASE)
    assert world.status()["refused"] == []


def test_a_lease_that_cannot_be_set_is_the_last_error(world: World) -> None:
    world.open()
    world.wireguard.error = WireGuardError("no answer")
    world.apply(*LEASE)
    assert world.status()["error"] == "cannot set the lease: no answer"


def test_a_ledger_that_takes_nothing_stops_no_reconnection(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world.open()
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "add", full)
        for up in (False, True):
            world.interfaces.set_up(world.link.ifindex, up=up)
            assert world.deliver()
        assert world.channel.sent == [LinkState(up=False), LinkState(up=True)]
        assert "fe80::/128" not in world.routes()
        world.helper.answer(Connect(), world.channel)
    assert caplog.text.count("cannot restore wg0: no room") == 1
    world.helper.answer(Connect(), world.channel)
    assert "fe80::/128" in world.routes()


def full(*_: object) -> None:
    msg = "no room"
    raise LedgerError(msg)
