"""What is asked of the kernel, and what is made of its answers; tests/netns has the kernel."""

import errno
from collections.abc import Sequence

import pytest

from tests.data.netlink import captured
from wg_dynamic.address import parse_prefix
from wg_dynamic.netlink import rtnetlink
from wg_dynamic.netlink.control import Address, Link, LinkEvent, Overrun, Route, Rule
from wg_dynamic.netlink.errors import (
    InterfaceNotFoundError,
    MalformedMessageError,
    NetlinkError,
)
from wg_dynamic.netlink.rtnetlink import RtnetlinkControl
from wg_dynamic.netlink.rule_codec import RTM_DELRULE, RTM_GETRULE, RTM_NEWRULE, build_rule
from wg_dynamic.netlink.wire import Message, split_messages

ROUTE = Route(parse_prefix("fe80::/128"), 4, protocol=3)


class ScriptedNetlink:
    """Notes requests (message type, flags) and answers them from `answers`."""

    def __init__(self, _protocol: int = 0, _groups: int = 0) -> None:
        self.asked: list[tuple[int, int]] = []
        self.answers: list[Sequence[Message] | NetlinkError] = []
        self.strict: NetlinkError | None = None
        self.events: tuple[list[Message], bool] = ([], False)
        self.closed = False

    def check_strictly(self) -> None:
        if self.strict is not None:
            raise self.strict

    def request(self, kind: int, _payload: bytes, flags: int, _what: str) -> Sequence[Message]:
        self.asked.append((kind, flags))
        return self._answer()

    def dump(self, kind: int, _payload: bytes, _what: str) -> Sequence[Message]:
        self.asked.append((kind, -1))
        return self._answer()

    def receive(self) -> tuple[list[Message], bool]:
        return self.events

    def fileno(self) -> int:
        return 42

    def close(self) -> None:
        self.closed = True

    def _answer(self) -> Sequence[Message]:
        answer = self.answers.pop(0) if self.answers else ()
        if isinstance(answer, NetlinkError):
            raise answer
        return answer


@pytest.fixture
def netlink(monkeypatch: pytest.MonkeyPatch) -> ScriptedNetlink:
    made = ScriptedNetlink()
    monkeypatch.setattr(rtnetlink, "NetlinkSocket", lambda _protocol: made)
    monkeypatch.setattr(rtnetlink, "EventSocket", lambda _protocol, _groups: made)
    return made


def test_a_kernel_that_cannot_filter_dumps_is_refused(netlink: ScriptedNetlink) -> None:
    netlink.strict = NetlinkError(errno.ENOPROTOOPT, "check strictly")
    with pytest.raises(NetlinkError):
        RtnetlinkControl()
    assert netlink.closed


def test_a_name_that_no_interface_can_have_is_not_asked_for(netlink: ScriptedNetlink) -> None:
    control = RtnetlinkControl()
    for name in ("", "n" * 16, "é" * 8):
        with pytest.raises(InterfaceNotFoundError):
            control.link(name)
    assert netlink.asked == []
    netlink.answers = [split_messages(captured.LINK_VETH)]
    assert control.link("n" * 15) == Link(4, "one", "veth", True, 1500)


def test_an_answer_without_a_link_is_malformed(netlink: ScriptedNetlink) -> None:
    for answer in ([], split_messages(captured.ADDRESSES)):
        netlink.answers = [answer]
        with pytest.raises(MalformedMessageError, match="expected a link"):
            RtnetlinkControl().link_by_index(4)


def test_addresses_and_routes_of_other_families_are_left_out(netlink: ScriptedNetlink) -> None:
    control = RtnetlinkControl()
    mpls = Message(24, 0, 0, bytes([28]) + bytes(11))
    netlink.answers = [[Message(20, 0, 0, bytes([28]) + bytes(7))], [mpls], [mpls]]
    assert control.addresses() == []
    assert control.routes() == []


def test_real_addresses_and_routes_are_listed(netlink: ScriptedNetlink) -> None:
    control = RtnetlinkControl()
    netlink.answers = [split_messages(captured.ADDRESSES)]
    assert "10.0.0.1/24" in {str(address.prefix) for address in control.addresses(4)}
    four, six = (split_messages(d) for d in (captured.ROUTE_IPV4, captured.ROUTE_IPV6))
    netlink.answers = [four, six]
    assert [str(route.prefix) for route in control.routes(4)] == ["10.9.0.0/16", "fe80::/128"]


def test_an_address_is_set_or_changed_and_removed_once(netlink: ScriptedNetlink) -> None:
    control = RtnetlinkControl()
    prefix = parse_prefix("10.0.0.1/32")
    control.set_address(Address(4, prefix))
    netlink.answers = [[], NetlinkError(errno.EADDRNOTAVAIL, "remove")]
    assert control.remove_address(4, prefix)
    assert not control.remove_address(4, prefix)
    assert netlink.asked == [(20, 0x500), (21, 0), (21, 0)]


def test_the_mtu_is_set_and_the_socket_closed(netlink: ScriptedNetlink) -> None:
    control = RtnetlinkControl()
    control.set_link_mtu(4, 1300)
    assert netlink.asked == [(16, 0)]
    control.close()
    assert netlink.closed


def test_an_index_that_no_interface_can_have_is_not_asked_for(netlink: ScriptedNetlink) -> None:
    with pytest.raises(InterfaceNotFoundError):
        RtnetlinkControl().link_by_index(0)
    assert netlink.asked == []


@pytest.mark.parametrize(("append", "flags"), [(False, 0x600), (True, 0xC00)])
def test_a_route_is_added_and_never_replaced(
    netlink: ScriptedNetlink, append: bool, flags: int
) -> None:
    control = RtnetlinkControl()
    netlink.answers = [[], NetlinkError(errno.EEXIST, "add")]
    assert control.add_route(ROUTE, append=append)
    assert not control.add_route(ROUTE, append=append)
    assert netlink.asked == [(24, flags), (24, flags)]


@pytest.mark.parametrize("call", ["add_route", "remove_route"])
def test_other_refusals_are_raised(netlink: ScriptedNetlink, call: str) -> None:
    netlink.answers = [NetlinkError(errno.ENETDOWN, "add")]
    with pytest.raises(NetlinkError, match="Network is down"):
        getattr(RtnetlinkControl(), call)(ROUTE)


def test_a_route_that_nobody_shares_is_replaced(netlink: ScriptedNetlink) -> None:
    RtnetlinkControl().replace_route(ROUTE)
    assert netlink.asked == [(26, -1), (24, 0x500)]


def test_a_route_beside_anothers_is_removed_and_appended(netlink: ScriptedNetlink) -> None:
    netlink.answers = [split_messages(captured.ROUTE_IPV6)]  # of index 4, protocol 3
    RtnetlinkControl().replace_route(Route(ROUTE.prefix, 5))
    assert netlink.asked == [(26, -1), (25, 0), (24, 0xC00)]


def test_a_table_that_nobody_has_made_has_no_routes(netlink: ScriptedNetlink) -> None:
    netlink.answers = [NetlinkError(errno.ENOENT, "list routes")]
    RtnetlinkControl().replace_route(ROUTE)
    netlink.answers = [NetlinkError(errno.EBUSY, "list routes")]
    with pytest.raises(NetlinkError, match="busy"):
        RtnetlinkControl().routes()


def test_events_before_a_loss_precede_the_overrun(netlink: ScriptedNetlink) -> None:
    events = RtnetlinkControl().events()
    assert events.fileno() == 42
    bridge, link = (
        split_messages(captured.BRIDGE_PORT_GONE),
        split_messages(captured.LINK_WIREGUARD),
    )
    netlink.events = (bridge + link, True)
    told = events.read()
    assert isinstance(told[0], LinkEvent)
    assert told[1:] == [Overrun()]
    netlink.events = (link, False)
    assert events.read() == told[:1]
    events.close()
    assert netlink.closed


def a_rule_message(rule: Rule) -> Message:
    return Message(RTM_NEWRULE, 0, 1, build_rule(rule))


def test_a_rule_that_was_removed_between_looking_and_removing_is_absent(
    netlink: ScriptedNetlink,
) -> None:
    rule = Rule(True, 1000, 51820, fwmark=7, inverted=True)
    netlink.answers = [[a_rule_message(rule)], NetlinkError(errno.ENOENT, "remove rule")]
    assert not RtnetlinkControl().remove_rule(rule)
    assert [kind for kind, _ in netlink.asked] == [RTM_GETRULE, RTM_DELRULE]


def test_a_rule_beside_its_like_is_not_asked_to_go(netlink: ScriptedNetlink) -> None:
    rule = Rule(True, 1000, 51820, fwmark=7, inverted=True)
    other = Rule(True, 1000, 51820, fwmark=7, protocol=4)
    for there in ([], [a_rule_message(other)], [a_rule_message(other), a_rule_message(rule)]):
        netlink.answers = [there]
        assert not RtnetlinkControl().remove_rule(rule)
    assert all(kind == RTM_GETRULE for kind, _ in netlink.asked)


def test_messages_that_are_no_rule_are_passed_over(netlink: ScriptedNetlink) -> None:
    rule = Rule(True, 1000, 51820)
    strange = Message(RTM_NEWRULE, 0, 1, bytes([7]) + build_rule(rule)[1:])
    netlink.answers = [[a_rule_message(rule), strange, Message(99, 0, 1, b"")], []]
    assert RtnetlinkControl().rules() == [rule]
