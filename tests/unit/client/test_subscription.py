"""Being told of changes, between a clock and the server's end of a connection."""

import select
import socket
from collections.abc import Iterator

import pytest

from wg_dynamic.client import subscription as module
from wg_dynamic.client.subscription import Subscription
from wg_dynamic.protocol import Update

ASKED = b"subscribe=2\ninterval=120\n\n"
TAKEN = b"subscribe=2\nerrno=0\nserial=7\ninterval=120\n\n"
STATE = (
    b"update=2\nserial=7\nreset=true\nmtu=1380\nsection=address\nip=192.0.2.7\n"
    b"network=192.0.2.0/24\npreferred_time=60\nvalid_time=60\n"
    b"section=route\nnetwork=10.9.0.0/16\n\n"
)


class World:
    """A subscription, its clock and its server."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.jitter = 0.0
        self.one = Subscription(lambda: self.jitter)
        self.servers: list[socket.socket] = []

    def connect(self) -> socket.socket:
        """Give it the connection that it asks for now; the server's end."""
        assert self.one.on_time(self.now)
        assert not self.one.on_time(self.now)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.settimeout(5.0)
        self.servers.append(theirs)
        self.one.connected(ours, "", self.now)
        self.turn()
        return theirs

    def subscribe(self) -> socket.socket:
        self.one.want(self.now)
        server = self.connect()
        assert server.recv(1000) == ASKED
        self.say(TAKEN)
        return server

    def turn(self) -> None:
        """Whatever can be written or read now."""
        for _ in range(100):
            one = self.one.conversation
            if one is None:
                return
            waits = ([], [one]) if one.wants_write else ([one], [])
            if not any(select.select(*waits, [], 0.0)):
                return
            self.one.on_ready(self.now)
        raise AssertionError

    def say(self, *messages: bytes) -> None:
        for message in messages:
            self.servers[-1].sendall(message)
            self.turn()

    def heard(self) -> bytes:
        """What it says next, or b"" when it has closed."""
        self.turn()
        return self.servers[-1].recv(1000)

    def later(self, seconds: float) -> bool:
        self.now += seconds
        return self.one.on_time(self.now)

    @property
    def wait(self) -> float:
        return self.one.deadline - self.now


@pytest.fixture
def world() -> Iterator[World]:
    one = World()
    yield one
    one.one.end()
    for each in one.servers:
        each.close()


def test_it_does_nothing_before_it_is_wanted(world: World) -> None:
    assert not world.later(1e6)
    assert world.one.deadline == float("inf")


def test_what_the_server_pushes_is_news_once_and_acknowledged(world: World) -> None:
    world.subscribe()
    assert world.one.news(world.now) is None
    world.say(STATE)
    news = world.one.news(world.now)
    assert news is not None
    assert [str(one.ip) for one in news.addresses] == ["192.0.2.7"]
    assert ([str(one.network) for one in news.routes], news.mtu) == (["10.9.0.0/16"], 1380)
    assert world.one.news(world.now) is None
    world.one.carried_out()
    assert world.heard() == b"ack=2\nserial=7\n\n"


def test_a_push_of_a_part_is_told_as_a_whole(world: World) -> None:
    world.subscribe()
    world.say(STATE)
    world.now += 10.0
    world.say(b"update=2\nserial=8\nsection=route\nnetwork=10.9.0.0/16\nremove=true\n\n")
    news = world.one.news(world.now)
    assert news is not None
    assert (news.serial, news.routes, news.mtu, len(news.addresses)) == (8, (), 1380, 1)


def test_of_pushes_in_a_row_the_last_one_counts(world: World) -> None:
    world.subscribe()
    world.say(STATE)
    assert world.one.news(world.now)
    world.say(b"update=2\nserial=8\nreset=true\n\n", b"update=2\nserial=9\nreset=true\n\n")
    assert world.one.news(world.now) is None
    assert world.wait == 1.0
    world.now += 1.0
    assert world.one.news(world.now) == Update(serial=9, reset=True)


def test_it_pings_as_often_as_the_server_wants(world: World) -> None:
    world.subscribe()
    for _ in range(3):
        assert world.wait == 120.0
        assert not world.later(120.0)
        assert world.heard() == b"ping=2\n\n"
        world.say(b"pong=2\n\n")


@pytest.mark.parametrize(("said", "kept"), [(1, 30.0), (86400, 600.0), (300, 300.0)])
def test_the_servers_interval_has_bounds(world: World, said: int, kept: float) -> None:
    world.one.want(world.now)
    world.connect()
    world.say(b"subscribe=2\nerrno=0\ninterval=%d\n\n" % said)
    assert world.wait == kept


def test_a_server_that_answers_nothing_is_left(world: World) -> None:
    world.one.want(world.now)
    server = world.connect()
    assert server.recv(1000) == ASKED
    assert not world.later(20.0)
    assert world.heard() == b""
    assert world.wait == 5.0


def test_a_ping_without_answer_is_the_end_of_the_connection(world: World) -> None:
    world.subscribe()
    world.later(120.0)
    assert world.heard() == b"ping=2\n\n"
    world.later(20.0)
    assert world.heard() == b""
    assert world.wait == 5.0  # it was a good one before


def test_tries_are_further_and_further_apart(world: World) -> None:
    world.one.want(world.now)
    waits = []
    for _ in range(8):
        assert world.one.on_time(world.now)
        world.one.connected(None, "no route", world.now)
        waits.append(world.wait)
        world.now += world.wait
    assert waits == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]


@pytest.mark.parametrize(("jitter", "wait"), [(-1.0, 2.5), (1.0, 10.0)])
def test_clients_do_not_come_all_at_once(world: World, jitter: float, wait: float) -> None:
    server = world.subscribe()
    world.now += 100.0
    world.jitter = jitter
    server.close()
    world.turn()
    assert world.wait == wait


@pytest.mark.parametrize(
    ("reply", "wait"),
    [
        (b"subscribe=2\nerrno=8\nerrmsg=Unknown command\n\n", 3600.0),
        (b"subscribe=2\nerrno=12\nretry_after=900\n\n", 900.0),
        (b"subscribe=2\nerrno=12\nretry_after=0\n\n", 3600.0),
        (b"subscribe=2\nerrno=12\nretry_after=1\n\n", 5.0),
        (b"subscribe=2\nerrno=12\nretry_after=4000000000\n\n", 3600.0),
    ],
)
def test_a_server_that_refuses_is_asked_much_later(world: World, reply: bytes, wait: float) -> None:
    world.one.want(world.now)
    world.connect()
    world.say(reply)
    assert world.one.conversation is None
    assert world.wait == wait


def test_a_server_that_pushes_without_end_is_left_for_an_hour(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_MESSAGES", 10)
    world.subscribe()
    for serial in range(20):
        if world.one.conversation is not None:
            world.say(b"update=2\nserial=%d\nreset=true\n\n" % serial)
    assert world.one.conversation is None
    assert world.wait == 3600.0
    assert world.one.news(world.now) is None


def test_messages_far_apart_are_not_too_many(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_MESSAGES", 10)
    world.subscribe()
    for serial in range(40):
        world.now += 10.0
        world.say(b"update=2\nserial=%d\nreset=true\n\n" % serial)
    assert world.one.conversation is not None


def test_more_than_can_be_remembered_ends_the_connection(world: World) -> None:
    world.subscribe()
    for block in range(20):
        routes = b"".join(
            b"section=route\nnetwork=10.%d.%d.0/24\n" % (block, n) for n in range(256)
        )
        if world.one.conversation is not None:
            world.say(b"update=2\nserial=%d\n%s\n" % (block, routes))
    assert world.one.conversation is None


def test_after_its_end_it_is_as_new(world: World) -> None:
    world.subscribe()
    world.say(STATE)
    world.one.end()
    assert world.heard() == b""
    assert world.one.news(world.now) is None
    assert not world.later(1e6)
    world.subscribe()
    assert world.one.conversation is not None


def test_a_connection_that_comes_after_the_end_is_closed(world: World) -> None:
    world.one.want(world.now)
    assert world.one.on_time(world.now)
    world.one.end()
    ours, theirs = socket.socketpair()
    world.one.connected(ours, "", world.now)
    assert theirs.recv(1) == b""
    theirs.close()
    world.one.connected(None, "no route", world.now)
    assert world.one.deadline == float("inf")


def test_wanted_again_while_the_old_connection_is_being_made_it_waits_for_that(
    world: World,
) -> None:
    world.one.want(world.now)
    assert world.one.on_time(world.now)
    world.one.end()
    world.one.want(world.now)
    assert not world.one.on_time(world.now)
    assert world.one.deadline == float("inf")
