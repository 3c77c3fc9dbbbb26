"""The driver between a helper and a server that are both made of bytes."""

import contextlib
import logging
import select
import socket
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from typing import TypeVar

import pytest

from tests.fakes.clock import FakeClock
from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.client.driver import VERSION_2_AGAIN, Driver
from wg_dynamic.client.machine import LeaseClient, State
from wg_dynamic.client.subscription import Subscription
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.codec import ChannelError
from wg_dynamic.privsep.requests import (
    CLIENT_REPLIES,
    CLIENT_REQUESTS,
    MAX_ADDRESSES,
    Applied,
    ApplyLease,
    ClientStart,
    Connect,
    Connecting,
    Failed,
    LinkState,
    NetworkChanged,
    Progress,
    Ready,
    Refused,
    RefusedAddress,
    Report,
    RouteSetting,
    Stop,
)

ANY_2 = b"request_ip=2\nsection=address\nip=0.0.0.0\nsection=address\nip=::\n\n"
HELD_2 = b"request_ip=2\nsection=address\nip=192.0.2.7\nsection=address\nip=::\n\n"
ANY_1 = b"request_ip=1\nip=0.0.0.0/32\nip=::/128\nleasestart=0\nleasetime=0\n\n"
HELD_1 = b"request_ip=1\nip=192.0.2.7/32\nip=::/128\nleasestart=0\nleasetime=0\n\n"
REFUSED_VERSION = b"errno=2\nerrmsg=Unsupported protocol\n\n"
UNAVAILABLE_1 = b"errno=3\nerrmsg=Chosen IP(s) unavailable\n\n"

_Message = TypeVar("_Message")


def granted(*ips: str, valid: int = 3600, errno: int = 0) -> bytes:
    text = f"request_ip=2\nerrno={errno}\n"
    for ip in ips or ("192.0.2.7",):
        length = ip_address(ip).max_prefixlen
        text += f"section=address\nip={ip}\nnetwork={ip}/{length}\n"
        text += f"preferred_time={valid}\nvalid_time={valid}\n"
    return text.encode() + b"\n"


def granted_1(ip: str = "192.0.2.7", errno: str = "errno=0\n") -> bytes:
    return f"ip={ip}/32\nleasestart=1795367839\nleasetime=3600\n{errno}\n".encode()


class NoSubscription(Subscription):
    """For tests of exchanges alone."""

    def __init__(self) -> None:
        super().__init__(lambda: 0.0)

    def want(self, now: float) -> None:
        pass


class Client:
    """A driver in a thread of its own; the test is its helper and its server."""

    def __init__(self) -> None:
        self.subscription: Subscription = NoSubscription()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.helper = Channel(ours, CLIENT_REPLIES, CLIENT_REQUESTS)
        self.channel = Channel(theirs, CLIENT_REQUESTS, CLIENT_REPLIES)
        self.clock = FakeClock()
        self.machine = LeaseClient(lambda: 0.0)
        self.sockets: list[socket.socket] = []
        self.received: list[object] = []
        self.progress: list[Progress] = []
        self.raised: Exception | None = None
        self.thread: threading.Thread | None = None

    def start(self, *wishes: str) -> "Client":
        start = ClientStart("wg0", b"", tuple(parse_address(wish) for wish in wishes))
        driver = Driver(start, self.channel, self.machine, self.clock, self.subscription)

        def run() -> None:
            try:
                driver.run()
            except (EOFError, ChannelError) as error:
                self.raised = error

        self.thread = threading.Thread(target=run)
        self.thread.start()
        self.expect(Ready)
        return self

    def receive(self, timeout: float) -> bool:
        """Wait for a message of the driver; whether there is one. Progress is kept apart."""
        while not self.received and select.select([self.helper], [], [], timeout)[0]:
            received = self.helper.receive()
            assert received is not None
            if isinstance(received[0], Progress):
                self.progress.append(received[0])
            else:
                self.received.append(received[0])
        return bool(self.received)

    def expect(self, kind: type[_Message]) -> _Message:
        """The next message of the driver, which has to be of this kind."""
        assert self.receive(5.0), f"no {kind.__name__} came"
        message = self.received.pop(0)
        assert isinstance(message, kind), message
        return message

    def nothing(self) -> bool:
        """Whether the driver, which has ended, sent no message more."""
        try:
            return not self.receive(0.0)
        except EOFError:
            return True

    def connect(self) -> socket.socket:
        """Answer a Connect; the server's end of the connection."""
        self.expect(Connect)
        return self.give_connection()

    def give_connection(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.settimeout(5.0)
        with ours:
            self.helper.send(Connecting(), ours)
        self.sockets.append(theirs)
        return theirs

    def exchange(self, expected: bytes, reply: bytes) -> None:
        """One exchange, seen from the server."""
        server = self.connect()
        assert read_message(server) == expected
        server.sendall(reply)
        assert server.recv(1) == b""  # the client closes

    def leased(self) -> list[str]:
        """The addresses of the ApplyLease that comes next."""
        message = self.expect(ApplyLease)
        self.helper.send(Applied(()))
        return [str(one.address) for one in message.addresses]

    def bind(self) -> None:
        """Get it a lease of 192.0.2.7."""
        self.exchange(ANY_2, granted())
        assert self.leased() == ["192.0.2.7/32"]

    def later(self, seconds: float) -> None:
        self.clock.pass_time(seconds)
        self.helper.send(Applied(()))  # wakes it: its select knows real time only

    def let_it_ask_again(self) -> None:
        """Let time pass, whatever it reports meanwhile, until it asks for a connection."""
        for _ in range(200):
            self.later(1.0)
            if self.receive(0.01) and isinstance(self.received[0], Connect):
                return
            self.received.clear()
        raise AssertionError

    def ended(self) -> bool:
        assert self.thread is not None
        self.thread.join(5.0)
        return not self.thread.is_alive()

    def close(self) -> None:
        self.helper.close()
        assert self.ended()
        self.channel.close()
        for one in self.sockets:
            one.close()


def read_message(server: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n\n"):
        piece = server.recv(1)
        assert piece, data
        data += piece
    return data


@pytest.fixture
def client(caplog: pytest.LogCaptureFixture) -> Iterator[Client]:
    caplog.set_level(logging.INFO)
    one = Client()
    yield one
    one.close()


def test_it_asks_for_any_address_and_has_what_it_gets_set(client: Client) -> None:
    client.start()
    client.exchange(ANY_2, granted("192.0.2.7", "2001:db8::7"))
    message = client.expect(ApplyLease)
    assert [str(one.address) for one in message.addresses] == ["192.0.2.7/32", "2001:db8::7/128"]
    assert message.addresses[0].valid_time == 3600


def test_addresses_of_an_earlier_run_are_asked_for_again(client: Client) -> None:
    client.start("192.0.2.7")
    client.exchange(HELD_2, granted())
    assert client.leased() == ["192.0.2.7/32"]


def test_at_t1_it_renews(client: Client) -> None:
    client.start()
    client.bind()
    client.later(1800.0)
    client.exchange(HELD_2, granted())
    assert client.leased() == ["192.0.2.7/32"]
    assert client.machine.state is State.BOUND


def test_the_server_may_give_another_address_at_a_renewal(client: Client) -> None:
    client.start()
    client.bind()
    client.later(1800.0)
    client.exchange(HELD_2, granted("192.0.2.99"))
    assert client.leased() == ["192.0.2.99/32"]


def test_at_the_end_the_address_goes_and_the_same_one_is_asked_for(client: Client) -> None:
    client.start()
    client.bind()
    client.later(3600.0)
    assert client.leased() == []
    assert "ran out" in client.expect(Report).text
    client.exchange(HELD_2, granted())


def test_a_mute_server_is_given_up_after_the_deadline(client: Client) -> None:
    client.start()
    server = client.connect()
    read_message(server)
    client.later(10.0)
    assert client.expect(Report).text == "no answer within 10 s"
    assert server.recv(1) == b""
    client.later(1.0)
    client.exchange(ANY_2, granted())


def test_a_server_that_trickles_is_given_up_after_the_same_deadline(client: Client) -> None:
    client.start()
    server = client.connect()
    read_message(server)
    for _ in range(4):
        server.sendall(b"a")
        client.later(2.5)
    assert client.expect(Report).text == "no answer within 10 s"


def test_a_connection_that_cannot_be_made_is_reported_and_tried_again(client: Client) -> None:
    client.start()
    client.expect(Connect)
    client.helper.send(Failed("there is no route to fe80::%wg0"))
    assert client.expect(Report).text == "there is no route to fe80::%wg0"
    client.later(1.0)
    client.exchange(ANY_2, granted())


def test_a_reset_is_reported_and_tried_again(client: Client) -> None:
    client.start()
    server = client.connect()
    select.select([server], [], [], 5.0)
    server.close()  # with unread data: a reset
    assert "reset by peer" in client.expect(Report).text
    client.later(1.0)
    client.exchange(ANY_2, granted())


@pytest.mark.parametrize(
    "reply",
    [b"\0\0\0", b"HTTP/1.1 400\r\n\r\n\n\n", granted()[:-20], b"x" * 100_000, b"a=1\n" * 30_000],
)
def test_garbage_is_reported_once_and_tried_again(
    client: Client, reply: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    client.start()
    for _ in range(2):
        server = client.connect()
        read_message(server)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has seen enough
            server.sendall(reply)
            server.shutdown(socket.SHUT_WR)
            server.recv(1)
        client.let_it_ask_again()
    assert caplog.text.count("the server's answer is not understood") == 1
    client.exchange(ANY_2, granted())


def test_a_refusal_leaves_the_lease_alone(client: Client) -> None:
    client.start()
    client.bind()
    client.later(1800.0)
    client.exchange(HELD_2, b"request_ip=2\nerrno=4\n\n")
    assert "no free address" in client.expect(Report).text.lower()
    client.later(10.0)
    client.exchange(HELD_2, granted())


def test_a_reply_without_addresses_and_without_an_error_takes_the_lease_away(
    client: Client,
) -> None:
    client.start()
    client.bind()
    client.later(1800.0)
    client.exchange(HELD_2, b"request_ip=2\nerrno=0\n\n")
    assert client.leased() == []
    assert client.expect(Report).text == "the server has no address for us"


def test_where_only_a_change_of_programs_would_help_it_asks_seldom(client: Client) -> None:
    client.start()
    client.exchange(ANY_2, b"request_ip=2\nerrno=8\nerrmsg=Unknown command\n\n")
    assert "errno 8" in client.expect(Report).text
    client.later(59.0)
    assert not client.receive(0.05)
    client.later(1.0)
    client.exchange(ANY_2, granted())


def test_retry_after_is_obeyed(client: Client) -> None:
    client.start()
    client.exchange(ANY_2, b"request_ip=2\nerrno=5\nretry_after=30\n\n")
    assert "errno 5" in client.expect(Report).text
    client.later(29.0)
    client.helper.send(LinkState(up=False))
    client.helper.send(LinkState(up=True))  # shows that it has not asked before
    client.exchange(ANY_2, granted())


def test_a_lease_of_five_seconds_is_ignored(client: Client) -> None:
    client.start()
    client.exchange(ANY_2, granted(valid=5))
    assert "less than 10 s" in client.expect(Report).text


def test_a_part_that_was_refused_is_told_once(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    client.start()
    client.exchange(ANY_2, granted(errno=4))
    client.leased()
    client.later(1800.0)
    client.exchange(HELD_2, granted(errno=4))
    client.leased()
    assert caplog.text.count("only a part was granted") == 1


def test_more_addresses_than_the_helper_takes_are_cut(client: Client) -> None:
    client.start()
    many = [f"192.0.2.{number}" for number in range(1, 60)]
    client.exchange(ANY_2, granted(*many, "192.0.2.1"))
    assert client.leased() == [f"{ip}/32" for ip in many[:MAX_ADDRESSES]]


def test_the_same_address_twice_is_one(client: Client) -> None:
    client.start()
    client.exchange(ANY_2, granted("192.0.2.7", "192.0.2.7"))
    assert client.leased() == ["192.0.2.7/32"]


def test_the_text_of_a_hostile_server_is_made_fit_for_a_terminal(client: Client) -> None:
    client.start()
    client.exchange(ANY_2, b"request_ip=2\nerrno=77\nerrmsg=" + b"a" * 256 + b"\n\n")
    text = client.expect(Report).text
    assert text.startswith("the server refuses (errno 77): aaa")
    assert len(text) < 300


def test_so_is_that_of_version_1_which_may_be_anything(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    client.start()
    client.exchange(ANY_2, REFUSED_VERSION)
    client.exchange(ANY_1, b"errno=6\nerrmsg=\x1b[2J\xff\n\n")
    assert client.expect(Report).text == "the server refuses (errno 6): ?[2J?"
    assert "\x1b" not in caplog.text


def test_an_answer_to_something_else_is_a_failure(client: Client) -> None:
    client.start()
    client.exchange(ANY_2, b"ping=2\nerrno=8\n\n")
    assert "not understood" in client.expect(Report).text


def test_what_was_pushed_is_set_with_the_addresses(client: Client) -> None:
    client.start()
    pushed = b"section=route\nnetwork=10.9.0.0/16\nmetric=5\nsection=dns\nserver=192.0.2.53\n"
    reply = granted().removesuffix(b"\n").replace(b"errno=0\n", b"errno=0\nmtu=1380\n")
    client.exchange(ANY_2, reply + pushed + b"\n")
    message = client.expect(ApplyLease)
    assert message.routes == (RouteSetting(parse_prefix("10.9.0.0/16"), 5),)
    assert message.name_servers == (parse_address("192.0.2.53"),)
    assert message.mtu == 1380
    refused = RefusedAddress(parse_prefix("192.0.2.7/32"), "it is a name server's")
    client.helper.send(Applied((refused,), (Refused("MTU 1380", "no"),)))
    client.helper.send(Stop(release=False))
    assert client.ended()


# --- decline ------------------------------------------------------------------------------------

DECLINE = b"decline_ip=2\nsection=address\nip=192.0.2.7\n\n"
IN_USE = Applied((RefusedAddress(parse_prefix("192.0.2.7/32"), "eth0 has it", in_use=True),))


def decline(client: Client, request: bytes, reply: bytes) -> None:
    """Get leased what is in use here; the answer to the decline."""
    client.exchange(request, granted())
    client.expect(ApplyLease)
    client.helper.send(IN_USE)
    assert "192.0.2.7 in use here: declined" in client.expect(Report).text
    client.exchange(DECLINE, reply)


def test_an_address_in_use_here_is_declined_and_another_one_asked_for_at_once(
    client: Client,
) -> None:
    client.start("192.0.2.7")
    decline(client, HELD_2, b"decline_ip=2\nerrno=0\n\n")
    client.exchange(ANY_2, granted("192.0.2.8"))
    assert client.leased() == ["192.0.2.8/32"]


@pytest.mark.parametrize(
    "reply", [b"decline_ip=2\nerrno=6\n\n", b"decline_ip=2\nerrno=8\nerrmsg=Unknown command\n\n"]
)
def test_a_server_that_takes_no_decline_is_asked_again_all_the_same(
    client: Client, reply: bytes
) -> None:
    client.start()
    decline(client, ANY_2, reply)
    assert "could not decline: the server refuses (errno" in client.expect(Report).text
    client.later(1.0)
    client.exchange(ANY_2, granted("192.0.2.8"))
    assert client.leased() == ["192.0.2.8/32"]


def test_what_the_policy_refuses_is_not_declined(client: Client) -> None:
    client.start()
    client.exchange(ANY_2, granted())
    client.expect(ApplyLease)
    refused = RefusedAddress(parse_prefix("192.0.2.7/32"), "it is not private")
    client.helper.send(Applied((refused,)))
    client.later(1800.0)
    client.exchange(HELD_2, granted())


def test_version_1_knows_no_decline(client: Client) -> None:
    client.start()
    client.exchange(ANY_2, REFUSED_VERSION)
    client.exchange(ANY_1, granted_1())
    client.expect(ApplyLease)
    client.helper.send(IN_USE)
    client.later(1800.0)
    client.exchange(HELD_1, granted_1())


# --- the world around, and the helper's knowledge ------------------------------------------------


def test_a_change_of_the_network_cuts_the_wait_short(client: Client) -> None:
    client.start()
    client.expect(Connect)
    client.helper.send(Failed("there is no route"))
    client.expect(Report)
    client.helper.send(NetworkChanged())
    client.exchange(ANY_2, granted())


def test_awake_again_it_sets_anew_what_is_left_and_asks(client: Client) -> None:
    client.start()
    client.bind()
    client.clock.suspend(600.0)
    client.helper.send(Applied(()))
    assert client.expect(ApplyLease).addresses[0].valid_time == 3000
    client.exchange(HELD_2, granted())
    assert client.leased() == ["192.0.2.7/32"]


def test_awake_again_with_the_interface_down_it_waits_for_the_interface(client: Client) -> None:
    client.start()
    client.bind()
    client.helper.send(LinkState(up=False))
    client.clock.suspend(600.0)
    client.helper.send(LinkState(up=True))
    assert client.expect(ApplyLease).addresses[0].valid_time == 3000


def test_the_helper_is_told_where_it_stands(client: Client) -> None:
    client.start()
    client.exchange(ANY_2, REFUSED_VERSION)
    client.exchange(ANY_1, granted_1())
    client.leased()
    client.later(0.0)
    assert not client.receive(0.05)
    assert client.progress[0] == Progress("requesting", 1015.0, 2)
    assert client.progress[-1] == Progress("bound", 1000.0 + 1800.0, 1)


def test_a_lease_for_ever_has_a_day_as_its_next_moment_and_down_none(client: Client) -> None:
    client.start()
    client.exchange(ANY_2, granted(valid=4294967295))
    client.leased()
    client.helper.send(LinkState(up=False))
    client.later(0.0)
    assert not client.receive(0.05)
    assert client.progress[-1] == Progress("paused", None, 2)


# --- version 1 ----------------------------------------------------------------------------------


def test_a_server_of_version_1_is_asked_again_in_version_1_at_once(client: Client) -> None:
    client.start()
    client.exchange(ANY_2, REFUSED_VERSION)
    client.exchange(ANY_1, granted_1())
    assert client.leased() == ["192.0.2.7/32"]


def test_a_server_of_version_1_is_renewed_with_in_version_1(client: Client) -> None:
    client.start()
    client.exchange(ANY_2, REFUSED_VERSION)
    client.exchange(ANY_1, granted_1())
    client.leased()
    client.later(1800.0)
    client.exchange(HELD_1, granted_1())
    assert client.leased() == ["192.0.2.7/32"]


def test_a_server_of_version_1_is_asked_for_version_2_after_an_hour(client: Client) -> None:
    client.start()
    client.exchange(ANY_2, REFUSED_VERSION)
    client.exchange(ANY_1, granted_1())
    client.leased()
    client.later(VERSION_2_AGAIN - 1800.0)
    client.exchange(HELD_1, granted_1())
    client.leased()
    client.later(1800.0)
    client.exchange(HELD_2, granted_1())  # still of version 1
    client.exchange(HELD_1, granted_1())


def test_a_server_that_refuses_both_versions_is_tried_later_with_version_2(client: Client) -> None:
    client.start()
    client.exchange(ANY_2, REFUSED_VERSION)
    client.exchange(ANY_1, REFUSED_VERSION)
    assert "version 1" in client.expect(Report).text
    client.later(1.0)
    client.exchange(ANY_2, granted())


def test_version_1_asks_for_any_address_when_its_own_is_not_to_be_had(client: Client) -> None:
    client.start("192.0.2.7")
    client.exchange(HELD_2, REFUSED_VERSION)
    client.exchange(HELD_1, UNAVAILABLE_1)
    client.expect(Report)
    client.later(1.0)
    client.exchange(ANY_1, granted_1("192.0.2.8"))
    assert client.leased() == ["192.0.2.8/32"]


def test_an_error_of_version_1_leaves_the_lease_alone(client: Client) -> None:
    """Errno 3 also stands for all that version 1 cannot say: a store that is down, say."""
    client.start()
    client.exchange(ANY_2, REFUSED_VERSION)
    client.exchange(ANY_1, granted_1())
    client.leased()
    client.later(1800.0)
    client.exchange(HELD_1, UNAVAILABLE_1)
    client.expect(Report)
    client.later(1.0)
    client.exchange(ANY_1, granted_1())
    assert client.leased() == ["192.0.2.7/32"]


def test_a_part_in_version_1_is_taken(client: Client) -> None:
    client.start()
    client.exchange(ANY_2, REFUSED_VERSION)
    client.exchange(ANY_1, granted_1(errno="errno=3\nerrmsg=Chosen IP(s) unavailable\n"))
    assert client.leased() == ["192.0.2.7/32"]
    client.later(1800.0)
    client.exchange(HELD_1, granted_1())


# --- the interface ------------------------------------------------------------------------------


def test_down_it_hangs_up_and_up_again_it_asks(client: Client) -> None:
    client.start()
    server = client.connect()
    read_message(server)
    client.helper.send(LinkState(up=False))
    assert server.recv(1) == b""
    client.later(60.0)
    client.helper.send(LinkState(up=True))
    client.exchange(ANY_2, granted())


def test_a_connection_for_an_exchange_that_was_given_up_is_closed(client: Client) -> None:
    client.start()
    client.expect(Connect)
    client.helper.send(LinkState(up=False))
    late = client.give_connection()
    assert late.recv(1) == b""


def test_of_two_connections_only_the_one_asked_for_last_is_used(client: Client) -> None:
    client.start()
    client.expect(Connect)
    client.helper.send(LinkState(up=True))
    client.expect(Connect)
    first, second = client.give_connection(), client.give_connection()
    assert first.recv(1) == b""
    assert read_message(second) == ANY_2


def test_a_failure_of_an_exchange_that_was_given_up_is_nobodys_business(client: Client) -> None:
    client.start()
    client.expect(Connect)
    client.helper.send(LinkState(up=True))
    client.expect(Connect)
    client.helper.send(Failed("too late"))
    assert read_message(client.give_connection()) == ANY_2


# --- the end ------------------------------------------------------------------------------------


def test_stop_ends_it_and_keeps_the_lease(client: Client) -> None:
    client.start()
    client.bind()
    client.helper.send(Stop(release=False))
    assert client.ended()
    assert client.nothing()


def test_stop_in_the_middle_of_an_exchange_hangs_up(client: Client) -> None:
    client.start()
    server = client.connect()
    read_message(server)
    client.helper.send(Stop(release=True))
    assert client.ended()
    assert server.recv(1) == b""


def test_stop_with_release_takes_the_addresses_off_and_gives_them_back(client: Client) -> None:
    client.start()
    client.bind()
    client.helper.send(Stop(release=True))
    assert client.leased() == []
    client.exchange(
        b"release_ip=2\nsection=address\nip=192.0.2.7\n\n", b"release_ip=2\nerrno=0\n\n"
    )
    assert client.ended()


def test_a_release_that_was_refused_is_logged(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    client.start()
    client.bind()
    client.helper.send(Stop(release=True))
    client.leased()
    server = client.connect()
    read_message(server)
    server.sendall(b"release_ip=2\nerrno=7\n\n")
    assert client.ended()
    assert "could not release" in caplog.text


@pytest.mark.parametrize("answers", [True, False])
def test_a_release_that_nobody_answers_ends_after_a_second(
    client: Client, *, answers: bool
) -> None:
    client.start()
    client.bind()
    client.helper.send(Stop(release=True))
    client.leased()
    if answers:
        read_message(client.connect())
    else:
        client.expect(Connect)
    client.later(0.9)
    assert client.thread is not None
    assert client.thread.is_alive()
    client.helper.send(LinkState(up=False))  # nothing but the release counts now
    client.later(0.1)
    assert client.ended()


def test_a_release_without_a_connection_ends_at_once(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    client.start()
    client.bind()
    client.helper.send(Stop(release=True))
    client.leased()
    client.expect(Connect)
    client.helper.send(Failed("there is no route"))
    assert client.ended()
    assert "could not release: there is no route" in caplog.text


def test_a_server_that_refuses_the_version_of_the_release_ends_it(client: Client) -> None:
    client.start()
    client.bind()
    client.helper.send(Stop(release=True))
    client.leased()
    server = client.connect()
    read_message(server)
    server.sendall(REFUSED_VERSION)
    assert client.ended()


def test_version_1_knows_no_release(client: Client) -> None:
    client.start()
    client.exchange(ANY_2, REFUSED_VERSION)
    client.exchange(ANY_1, granted_1())
    client.leased()
    client.helper.send(Stop(release=True))
    assert client.leased() == []
    assert client.ended()
    assert client.nothing()


def test_it_ends_with_its_helper(client: Client) -> None:
    client.start()
    client.expect(Connect)
    while not client.progress:  # it is waiting then
        client.receive(0.01)
    client.helper.close()
    assert client.ended()
    assert isinstance(client.raised, EOFError)


def test_a_start_message_that_comes_again_is_passed_over(client: Client) -> None:
    client.start()
    client.helper.send(ClientStart("wg0", b"", ()))
    client.exchange(ANY_2, granted())


# --- being told of changes ----------------------------------------------------------------------

SUBSCRIBE = b"subscribe=2\ninterval=120\n\n"
TAKEN = b"subscribe=2\nerrno=0\nserial=7\ninterval=120\n\n"


def pushed(serial: int, *ips: str, routes: tuple[str, ...] = ()) -> bytes:
    text = f"update=2\nserial={serial}\nreset=true\n"
    for ip in ips:
        text += f"section=address\nip={ip}\nnetwork={ip}/32\npreferred_time=3600\nvalid_time=3600\n"
    text += "".join(f"section=route\nnetwork={route}\n" for route in routes)
    return text.encode() + b"\n"


@pytest.fixture
def told(client: Client) -> socket.socket:
    """The server's end of the connection of a client with a lease that is told of changes."""
    client.subscription = Subscription(lambda: 0.0)
    client.start()
    client.bind()
    assert client.expect(Connect) == Connect(pushes=True)
    server = client.give_connection()
    assert read_message(server) == SUBSCRIBE
    server.sendall(TAKEN + pushed(7, "192.0.2.7"))
    assert read_message(server) == b"ack=2\nserial=7\n\n"
    return server


def test_a_route_that_is_pushed_is_set_at_once(client: Client, told: socket.socket) -> None:
    client.clock.pass_time(1.0)
    told.sendall(pushed(8, "192.0.2.7", routes=("10.9.0.0/16",)))
    message = client.expect(ApplyLease)
    assert message.routes == (RouteSetting(parse_prefix("10.9.0.0/16")),)
    assert [one.valid_time for one in message.addresses] == [3599]
    assert read_message(told) == b"ack=2\nserial=8\n\n"
    assert client.machine.state is State.BOUND


def test_an_address_that_is_taken_back_goes_at_once_and_another_is_asked_for(
    client: Client, told: socket.socket
) -> None:
    client.clock.pass_time(1.0)
    told.sendall(pushed(8))
    assert client.leased() == []
    assert client.expect(Report) == Report("the server took back 192.0.2.7")
    client.exchange(HELD_2, granted("192.0.2.8"))
    assert client.leased() == ["192.0.2.8/32"]


def test_exchanges_go_on_beside_it(client: Client, told: socket.socket) -> None:
    client.later(1900.0)
    client.exchange(HELD_2, granted())
    assert client.leased() == ["192.0.2.7/32"]
    assert read_message(told) == b"ping=2\n\n"


def test_a_subscription_that_ends_costs_no_lease(client: Client, told: socket.socket) -> None:
    told.close()
    for _ in range(20):  # whichever it sees first, the end or the time that passes
        client.later(5.0)
        if client.receive(0.05):
            break
    assert client.expect(Connect) == Connect(pushes=True)
    again = client.give_connection()
    assert read_message(again) == SUBSCRIBE
    again.sendall(TAKEN)
    client.later(1890.0)
    client.exchange(HELD_2, granted())
    assert client.leased() == ["192.0.2.7/32"]


def test_when_the_link_goes_down_the_subscription_ends_and_comes_back_with_the_lease(
    client: Client, told: socket.socket
) -> None:
    client.helper.send(LinkState(up=False))
    assert told.recv(1) == b""
    client.helper.send(LinkState(up=True))
    assert client.leased() == ["192.0.2.7/32"]
    client.exchange(HELD_2, granted())
    assert client.leased() == ["192.0.2.7/32"]
    assert client.expect(Connect) == Connect(pushes=True)


def test_version_1_knows_no_subscription(client: Client) -> None:
    client.subscription = Subscription(lambda: 0.0)
    client.start()
    client.exchange(ANY_2, REFUSED_VERSION)
    client.exchange(ANY_1, granted_1())
    assert client.leased() == ["192.0.2.7/32"]
    client.later(5.0)
    assert not client.receive(0.1)
