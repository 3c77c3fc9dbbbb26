"""The kernel's side is a script here; tests/netns has the kernel."""

import errno
import socket
from collections.abc import Callable
from struct import pack

import pytest

from tests.data.netlink import captured
from wg_dynamic.errors import PrivilegeError
from wg_dynamic.netlink.errors import (
    InterfaceNotFoundError,
    MalformedMessageError,
    NetlinkError,
)
from wg_dynamic.netlink.socket import (
    DUMP_TRIES,
    NETLINK_ROUTE,
    READ_LIMIT,
    EventSocket,
    NetlinkSocket,
)
from wg_dynamic.netlink.wire import (
    NLM_F_DUMP_INTR,
    NLM_F_MULTI,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSG_NOOP,
    NLMSG_OVERRUN,
    pack_message,
    split_messages,
)

KERNEL = (0, 0)
Answer = bytes | OSError | tuple[bytes, int, tuple[int, int]]


class ScriptedSocket:
    """Answers each receive with the next of `answers`: bytes, an error, or what recvmsg says."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.sent: list[bytes] = []
        self.options: dict[tuple[int, int], object] = {}
        self.refused: dict[tuple[int, int], OSError] = {}
        self.send_error: OSError | None = None
        self.bound: object = None
        self.closed = 0

    def send(self, data: bytes) -> None:
        if self.send_error is not None:
            raise self.send_error
        self.sent.append(data)

    def recvmsg(
        self, size: int, control_size: int, flags: int = 0
    ) -> tuple[bytes, list[object], int, tuple[int, int]]:
        assert size >= 0x10000
        assert control_size == 0
        if not self.answers:
            assert flags & socket.MSG_DONTWAIT, "the kernel would keep us waiting"
            raise BlockingIOError(errno.EAGAIN, "nothing")
        answer = self.answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        if isinstance(answer, tuple):
            data, result, sender = answer
            return data, [], result, sender
        return answer, [], 0, KERNEL

    def setsockopt(self, level: int, option: int, value: object) -> None:
        if (level, option) in self.refused:
            raise self.refused[level, option]
        self.options[level, option] = value

    def bind(self, address: object) -> None:
        if isinstance(self.bound, OSError):
            raise self.bound
        self.bound = address

    def fileno(self) -> int:
        return 42

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> ScriptedSocket:
    made = ScriptedSocket()
    monkeypatch.setattr(socket, "socket", lambda *_arguments: made)
    return made


def status(sequence: int, code: int = 0, *, kind: int = NLMSG_ERROR, flags: int = 0) -> bytes:
    return pack_message(kind, flags, sequence, pack("=i", -code) + bytes(16))


def part(sequence: int, payload: bytes = b"part", flags: int = NLM_F_MULTI) -> bytes:
    packed = pack_message(16, flags, sequence, payload)
    return packed + bytes(-len(packed) % 4)


def ask(netlink: NetlinkSocket) -> list[bytes]:
    return [reply.payload for reply in netlink.request(18, b"load", 0, "ask")]


def dump(netlink: NetlinkSocket) -> list[bytes]:
    return [reply.payload for reply in netlink.dump(18, b"load", "dump")]


def test_the_kernel_is_asked_for_short_acknowledgements_with_text(
    scripted: ScriptedSocket,
) -> None:
    NetlinkSocket(NETLINK_ROUTE).check_strictly()
    assert dict.fromkeys(((270, 10), (270, 11), (270, 12)), 1).items() <= (scripted.options.items())


def test_a_system_without_netlink_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, "no")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(NetlinkError, match="open a netlink socket: Address family not supported"):
        NetlinkSocket(NETLINK_ROUTE)


def test_a_kernel_that_cannot_check_strictly_says_so(scripted: ScriptedSocket) -> None:
    scripted.refused[270, 12] = OSError(errno.ENOPROTOOPT, "no")
    with pytest.raises(NetlinkError, match="checked strictly: Protocol not available"):
        NetlinkSocket(NETLINK_ROUTE).check_strictly()


def test_a_request_returns_what_comes_before_its_acknowledgement(
    scripted: ScriptedSocket,
) -> None:
    netlink = NetlinkSocket(NETLINK_ROUTE)
    scripted.answers = [part(1, b"here"), status(1)]
    assert ask(netlink) == [b"here"]
    scripted.answers = [status(2)]
    assert ask(netlink) == []
    (first,) = split_messages(scripted.sent[0])
    assert (first.kind, first.flags, first.sequence, first.payload) == (18, 0x5, 1, b"load")


def test_what_is_not_the_answer_is_passed_over(scripted: ScriptedSocket) -> None:
    netlink = NetlinkSocket(NETLINK_ROUTE)
    scripted.answers = [
        part(99, b"of an older request") + status(99, errno.EBUSY),
        (part(1, b"of another process"), 0, (4711, 0)),
        pack_message(NLMSG_NOOP, 0, 1, b""),
        part(1, b"here") + status(1),
    ]
    assert ask(netlink) == [b"here"]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.EPERM, PrivilegeError),
        (errno.ENODEV, InterfaceNotFoundError),
        (errno.EEXIST, NetlinkError),
    ],
)
@pytest.mark.parametrize("call", [ask, dump])
def test_a_refusal_is_raised(
    scripted: ScriptedSocket,
    code: int,
    kind: type[Exception],
    call: Callable[[NetlinkSocket], object],
) -> None:
    netlink = NetlinkSocket(NETLINK_ROUTE)
    scripted.answers = [status(1, code)]
    with pytest.raises(kind):
        call(netlink)


def test_the_kernels_words_are_kept(scripted: ScriptedSocket) -> None:
    netlink = NetlinkSocket(NETLINK_ROUTE)
    (message,) = split_messages(captured.ERROR_WITH_TEXT)
    scripted.answers = [pack_message(message.kind, message.flags, 1, message.payload)]
    with pytest.raises(NetlinkError, match=r"Invalid argument \(ipv4: address lifetime invalid\)"):
        ask(netlink)


def test_a_dump_is_all_its_parts(scripted: ScriptedSocket) -> None:
    netlink = NetlinkSocket(NETLINK_ROUTE)
    scripted.answers = [part(1, b"a") + part(1, b"b"), part(1, b"c"), status(1, kind=NLMSG_DONE)]
    assert dump(netlink) == [b"a", b"b", b"c"]
    (asked,) = split_messages(scripted.sent[0])
    assert asked.flags == 0x301


def test_an_interrupted_dump_is_made_anew(scripted: ScriptedSocket) -> None:
    netlink = NetlinkSocket(NETLINK_ROUTE)
    scripted.answers = [
        part(1, b"old", NLM_F_MULTI | NLM_F_DUMP_INTR),
        status(1, kind=NLMSG_DONE),
        part(2, b"old"),
        status(2, kind=NLMSG_DONE, flags=NLM_F_DUMP_INTR),
        part(3, b"new"),
        status(3, kind=NLMSG_DONE),
    ]
    assert dump(netlink) == [b"new"]


def test_a_dump_that_is_always_interrupted_is_an_error(scripted: ScriptedSocket) -> None:
    netlink = NetlinkSocket(NETLINK_ROUTE)
    scripted.answers = [
        status(sequence, kind=NLMSG_DONE, flags=NLM_F_DUMP_INTR)
        for sequence in range(1, DUMP_TRIES + 1)
    ]
    with pytest.raises(NetlinkError, match="changed during each of 8 dumps") as caught:
        dump(netlink)
    assert caught.value.errno == errno.EINTR


def test_a_kernel_that_does_not_answer_is_an_error(scripted: ScriptedSocket) -> None:
    netlink = NetlinkSocket(NETLINK_ROUTE)
    scripted.answers = [BlockingIOError(errno.EAGAIN, "timeout")]
    with pytest.raises(NetlinkError, match="ask: Connection timed out"):
        ask(netlink)


def test_errors_of_the_socket_are_turned(scripted: ScriptedSocket) -> None:
    netlink = NetlinkSocket(NETLINK_ROUTE)
    scripted.answers = [OSError(errno.ENOBUFS, "no room")]
    with pytest.raises(NetlinkError, match="ask: No buffer space available"):
        ask(netlink)
    scripted.send_error = OSError(errno.EMSGSIZE, "too long")
    with pytest.raises(NetlinkError, match="ask: Message too long"):
        ask(netlink)


def test_lost_answers_are_an_error(scripted: ScriptedSocket) -> None:
    netlink = NetlinkSocket(NETLINK_ROUTE)
    scripted.answers = [pack_message(NLMSG_OVERRUN, 0, 0, b"")]
    with pytest.raises(NetlinkError, match="No buffer space"):
        ask(netlink)


def test_a_datagram_that_was_cut_is_refused(scripted: ScriptedSocket) -> None:
    netlink = NetlinkSocket(NETLINK_ROUTE)
    scripted.answers = [(part(1), socket.MSG_TRUNC, KERNEL)]
    with pytest.raises(MalformedMessageError, match="datagram of more than 65536 bytes"):
        ask(netlink)


def test_the_socket_is_closed_at_the_end_of_the_block(scripted: ScriptedSocket) -> None:
    with NetlinkSocket(NETLINK_ROUTE):
        assert not scripted.closed
    assert scripted.closed


def test_events_are_read_until_there_are_no_more(scripted: ScriptedSocket) -> None:
    events = EventSocket(NETLINK_ROUTE, 0x11)
    assert scripted.bound == (0, 0x11)
    assert events.fileno() == 42
    assert events.receive() == ([], False)
    scripted.answers = [part(0, b"a") + part(0, b"b"), part(0, b"c")]
    messages, lost = events.receive()
    assert [message.payload for message in messages] == [b"a", b"b", b"c"]
    assert not lost
    events.close()
    assert scripted.closed


def test_a_flood_of_events_is_read_in_portions(scripted: ScriptedSocket) -> None:
    events = EventSocket(NETLINK_ROUTE, 1)
    scripted.answers = [part(0)] * (READ_LIMIT + 1)
    assert len(events.receive()[0]) == READ_LIMIT
    assert len(events.receive()[0]) == 1


def test_after_a_loss_the_queue_is_emptied(scripted: ScriptedSocket) -> None:
    events = EventSocket(NETLINK_ROUTE, 1)
    scripted.answers = [part(0, b"before"), OSError(errno.ENOBUFS, "lost")]
    scripted.answers += [part(0, b"after")] * (2 * READ_LIMIT)
    messages, lost = events.receive()
    assert [message.payload for message in messages] == [b"before"]
    assert lost
    assert scripted.answers == []


def test_another_error_of_the_event_socket_is_raised(scripted: ScriptedSocket) -> None:
    events = EventSocket(NETLINK_ROUTE, 1)
    scripted.answers = [OSError(errno.ENOMEM, "no memory")]
    with pytest.raises(NetlinkError, match="read events"):
        events.receive()


def test_without_the_right_to_enlarge_the_buffer_the_limit_is_taken(
    scripted: ScriptedSocket,
) -> None:
    scripted.refused[socket.SOL_SOCKET, 33] = PermissionError(errno.EPERM, "no")
    EventSocket(NETLINK_ROUTE, 1)
    assert (socket.SOL_SOCKET, socket.SO_RCVBUF) in scripted.options


def test_an_event_socket_that_may_not_listen_is_closed(scripted: ScriptedSocket) -> None:
    scripted.bound = OSError(errno.EPERM, "no")
    with pytest.raises(PrivilegeError, match="listen to netlink events"):
        EventSocket(NETLINK_ROUTE, 1)
    assert scripted.closed
