import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from wg_dynamic.errors import WgDynamicError
from wg_dynamic.helper import supervisor as module
from wg_dynamic.helper.control_socket import ReloadCall
from wg_dynamic.helper.supervisor import (
    CALM,
    FAILED_STARTS,
    MESSAGES_AT_A_TIME,
    RECHECK,
    RESTART_FIRST,
    RESTART_MAX,
    Recheck,
    Supervisor,
    stop_signals,
)
from wg_dynamic.netlink.control import Event, Overrun
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.codec import ChannelError
from wg_dynamic.privsep.requests import (
    CLIENT_REPLIES,
    CLIENT_REQUESTS,
    ClientStart,
    Connect,
    Failed,
    Fatal,
    LinkState,
    Ready,
    Report,
    Stop,
)
from wg_dynamic.system.privileges import Account

START = ClientStart("wg0", bytes(16), ())


class FakeClock:
    """Stands still unless a select would wait."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def suspended(self) -> float:
        return 0.0

    def wall(self) -> float:
        return self.time

    def boot_id(self) -> str:
        return "boot"


class FakeProcess:
    """A network process: the test speaks at its end of the channel."""

    def __init__(self, end: socket.socket) -> None:
        self.channel = Channel(end, CLIENT_REQUESTS, CLIENT_REPLIES)
        self.killed = False
        self.hangs = False

    def wait(self, timeout: float | None = None) -> int:
        if self.hangs and timeout is not None:
            raise TimeoutError
        self.channel.close()
        return 0

    def kill(self) -> None:
        self.killed = True

    def heard(self) -> list[object]:
        messages = []
        while (received := self.channel.receive()) is not None:
            messages.append(received[0])
        return messages


class Pipe:
    """Readable when something was put in: events, requests to stop."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.items: list[Any] = []

    def fileno(self) -> int:
        return self.ours.fileno()

    def put(self, item: object) -> None:
        self.items.append(item)
        self.theirs.send(b"x")

    def read(self) -> list[Any]:
        with contextlib.suppress(BlockingIOError):
            self.ours.recv(100, socket.MSG_DONTWAIT)
        items, self.items = self.items, []
        return items

    def receive(self) -> Any:
        self.ours.recv(1)
        return self.items.pop(0)

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


class FakeRole:
    """Does what a test says."""

    module = "no.such.module"
    sends = CLIENT_REPLIES
    receives = CLIENT_REQUESTS
    stop_time = 1.5

    def __init__(self) -> None:
        self.got: list[object] = []
        self.error: Exception | None = None
        self.start_error: Exception | None = None
        self.stays = True
        self.deadline: float | None = None

    def start_message(self) -> tuple[object, socket.socket | None]:
        if self.start_error is not None:
            raise self.start_error
        return START, None

    def answer(self, message: object, channel: Channel) -> None:
        if self.error is not None:
            raise self.error
        self.got.append(message)
        channel.send(Failed("no"))

    def ready(self) -> None:
        self.got.append("ready")

    def fatal(self, reason: str) -> None:
        self.got.append(reason)

    def event(self, event: Event | Recheck, channel: Channel | None) -> bool:
        if channel is not None:
            channel.send(LinkState(up=True))
        self.got.append(event)
        return self.stays

    def on_time(self, channel: Channel | None) -> None:
        self.got.append(("on time", channel))
        self.deadline = None
        if channel is None:
            msg = "nobody is there"
            raise ChannelError(msg)


class FakeReloads:
    """The same role, whose configuration is whatever the test says."""

    def __init__(self, role: FakeRole) -> None:
        self.role = role
        self.error: WgDynamicError | None = None
        self.is_settled = True
        self.passed_on = 0

    def reload(self) -> str:
        if self.error is not None:
            raise self.error
        self.role.got.append("reload")
        self.is_settled = False
        return "one thing\nanother"

    def pass_on(self, channel: Channel) -> None:
        if not self.is_settled:
            self.passed_on += 1
            channel.send(LinkState(up=False))


class FakeCall(ReloadCall):
    """Who has asked for a reload."""

    def __init__(self) -> None:
        self.told: list[tuple[bool, str]] = []
        self.closed = False

    def answer(self, *, done: bool, text: str) -> None:
        self.told.append((done, text))

    def close(self) -> None:
        self.closed = True


class World:
    """A supervisor whose every wait is one step of a script."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, has_served: bool = False) -> None:
        self.clock = FakeClock()
        self.role = FakeRole()
        self.reloads = FakeReloads(self.role)
        self.events, self.control, self.signals = Pipe(), Pipe(), Pipe()
        self.processes: list[FakeProcess] = []
        self.spawn_error: Exception | None = None
        self.waits: list[float] = []
        control: Any = self.control
        monkeypatch.setattr(module, "spawn_network_process", self.spawn)
        self.supervisor = Supervisor(
            self.role,
            account=Account(60970, 60970),
            clock=self.clock,
            events=self.events,
            control=control,
            arguments=["stderr", "quiet"],
            has_served=has_served,
            reloads=self.reloads,
        )

    def spawn(self, *arguments: object) -> tuple[FakeProcess, Channel]:
        again = ["again"] if self.processes else []
        assert arguments == (
            self.role.module, Account(60970, 60970), ["stderr", "quiet", *again], *self.classes(),
        )  # fmt: skip
        if self.spawn_error is not None:
            raise self.spawn_error
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.processes.append(FakeProcess(theirs))
        return self.processes[-1], Channel(ours, CLIENT_REPLIES, CLIENT_REQUESTS)

    def classes(self) -> tuple[object, ...]:
        return (self.role.sends, self.role.receives)

    def run(self, *steps: Callable[[], object]) -> None:
        """Do a step, let the supervisor work until it would wait, do the next one."""
        script = iter(steps)
        selector: Any = self.supervisor._selector
        select = selector.select

        def step(timeout: float) -> list[Any]:
            ready: list[Any] = select(0)
            if ready:
                return ready
            self.waits.append(timeout)
            restarting = self.supervisor._restart_at is not None
            stopping = self.supervisor._stop_at is not None
            if restarting or stopping:
                self.clock.time += timeout
            if not restarting:
                next(script)()
            result: list[Any] = select(0)
            return result

        selector.select = step
        self.supervisor.run(self.signals.fileno())

    @property
    def process(self) -> FakeProcess:
        return self.processes[-1]

    def stop(self) -> None:
        self.signals.theirs.send(bytes([signal.SIGTERM]))

    def say(self, message: object, attached: socket.socket | None = None) -> None:
        self.process.channel.send(message, attached)

    def die(self) -> None:
        self.process.channel.close()

    def die_and_tell(self, heard: list[object]) -> None:
        heard.extend(self.process.heard())
        self.die()

    def close(self) -> None:
        for each in (self.events, self.control, self.signals):
            each.close()
        for process in self.processes:
            process.channel.close()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(monkeypatch)
    yield made
    made.close()


def test_it_serves_until_a_signal_comes(world: World) -> None:
    heard: list[object] = []
    world.run(
        lambda: world.say(Ready()),
        lambda: world.say(Connect()),
        world.stop,
        lambda: world.die_and_tell(heard),
    )
    assert heard == [START, Failed("no"), Stop(release=False)]
    assert world.role.got == ["ready", Connect()]
    assert world.supervisor.stopping
    assert not world.supervisor.failed
    assert not world.supervisor.gone


def test_other_signals_stop_nothing(world: World) -> None:
    world.run(
        lambda: world.signals.theirs.send(bytes([signal.SIGUSR1])),
        lambda: world.signals.theirs.send(bytes([signal.SIGINT])),
        world.die,
    )


@pytest.mark.parametrize("release", [True, False])
def test_who_asks_at_the_control_socket_stops_it(world: World, *, release: bool) -> None:
    heard: list[object] = []
    world.run(
        lambda: world.control.put(None),
        lambda: world.control.put(Stop(release)),
        lambda: world.die_and_tell(heard),
    )
    assert heard == [START, Stop(release)]


def test_a_network_process_that_does_not_stop_is_killed(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def hang() -> None:
        world.process.hangs = True
        world.stop()

    world.run(hang, lambda: None, lambda: None)
    assert world.process.killed
    assert "the network process does not stop by itself: killing it" in caplog.text
    assert world.clock.time == 1000.0 + world.role.stop_time


def test_a_second_signal_gives_no_second_reprieve(world: World) -> None:
    world.run(world.stop, world.stop, lambda: None)
    assert world.clock.time == 1000.0 + world.role.stop_time


def test_a_network_process_that_dies_is_started_again_with_back_off(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    delays: list[float] = []

    def die() -> None:
        delays.append(world.clock.time)
        world.die()

    world.run(lambda: world.say(Ready()), *[die] * 9, world.stop, world.die)
    assert len(world.processes) == 10
    assert [b - a for a, b in pairwise(delays)] == [
        0.5, 1.0, 2.0, 4.0, 8.0, 16.0, RESTART_MAX, RESTART_MAX,
    ]  # fmt: skip
    assert "the network process ended; a new one in 0.5 s" in caplog.text


def test_after_a_calm_time_the_back_off_begins_anew(world: World) -> None:
    def calm() -> None:
        world.clock.time += CALM
        world.die()

    world.run(lambda: world.say(Ready()), world.die, world.die, calm, world.stop, world.die)
    assert world.waits.count(RESTART_FIRST) == 2


def test_one_that_never_served_is_given_up(world: World) -> None:
    world.run(*[world.die] * FAILED_STARTS)
    assert world.supervisor.failed
    assert world.role.got == ["the network process ended 3 times before it served"]


def test_one_that_cannot_be_started_is_given_up(world: World) -> None:
    world.spawn_error = OSError(11, "Resource temporarily unavailable")
    world.run()
    assert world.supervisor.failed
    assert world.role.got == [
        "the network process cannot start ([Errno 11] Resource temporarily unavailable)"
        " 3 times before it served"
    ]


def test_one_that_is_dead_before_it_is_told_anything_is_started_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawn = world.spawn

    def stillborn(*arguments: object) -> tuple[FakeProcess, Channel]:
        made = spawn(*arguments)
        if len(world.processes) == 1:
            world.die()
        return made

    monkeypatch.setattr(module, "spawn_network_process", stillborn)
    world.run(lambda: world.say(Ready()), world.stop, world.die)
    assert len(world.processes) == 2


def test_an_error_while_finding_what_to_tell_it_counts_as_a_failed_start(world: World) -> None:
    world.role.start_error = WgDynamicError("the kernel is busy")
    world.run()
    assert world.role.got[0] == (
        "the network process cannot start (the kernel is busy) 3 times before it served"
    )
    assert world.processes == []


def test_a_reason_why_it_cannot_serve_ends_it(world: World) -> None:
    world.run(lambda: world.say(Fatal("no database")))
    assert world.supervisor.failed
    assert world.role.got == ["no database"]


def test_a_request_that_cannot_be_carried_out_costs_the_process(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def ask() -> None:
        world.role.error = WgDynamicError("WireGuard is gone")
        world.say(Connect())

    def go_on() -> None:
        world.role.error = None
        world.say(Connect())

    world.run(lambda: world.say(Ready()), ask, go_on, world.stop, world.die)
    assert len(world.processes) == 2
    assert "network process: WireGuard is gone" in caplog.text
    assert world.role.got == ["ready", Connect()]


def test_one_that_floods_does_not_keep_the_others_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    got = world.role.got

    def once_more(message: object, _channel: Channel) -> None:
        got.append(message)
        if len(got) == 1:
            world.events.put(Overrun())
        if len(got) < 4 * MESSAGES_AT_A_TIME:
            world.say(message)

    monkeypatch.setattr(world.role, "answer", once_more)
    world.run(lambda: world.say(Connect()), world.stop, world.die)
    assert got.index(Overrun()) <= 2 * MESSAGES_AT_A_TIME < len(got)


def test_what_is_no_message_costs_the_process(world: World) -> None:
    def babble() -> None:
        raw: Any = world.process.channel
        raw._socket.send(b"\xff\xff")

    world.run(lambda: world.say(Ready()), babble, world.stop, world.die)
    assert len(world.processes) == 2


def test_a_descriptor_that_comes_unasked_is_closed(world: World) -> None:
    with socket.socket() as gift:
        world.run(lambda: world.say(Report("take this"), gift), world.stop, world.die)
    assert world.role.got == [Report("take this")]


def test_an_event_is_passed_on_and_the_interface_s_end_is_the_end(world: World) -> None:
    def delete() -> None:
        world.role.stays = False
        world.events.put(Overrun())

    world.run(lambda: world.events.put(Overrun()), delete)
    assert world.supervisor.gone
    assert not world.supervisor.stopping
    assert world.role.got == [Overrun(), Overrun()]


def test_now_and_then_it_looks_at_what_nobody_tells_of(world: World) -> None:
    def pass_time(seconds: float) -> None:
        world.clock.time += seconds

    world.run(
        lambda: pass_time(RECHECK - 1.0),
        lambda: pass_time(1.0),
        lambda: pass_time(3 * RECHECK),  # suspended: once is enough
        world.stop,
        world.die,
    )
    assert world.role.got == [Recheck(), Recheck()]
    assert world.waits[:3] == [RECHECK, 1.0, RECHECK]


def test_who_asks_while_the_interface_goes_is_not_told_that_it_runs(world: World) -> None:
    def both() -> None:
        world.role.stays = False
        world.control.put(Stop(release=False))
        world.events.items.append(Overrun())  # noticed with the question, if not before

    world.run(both)
    assert world.supervisor.gone
    assert world.control.items, "it is left to the last call"


def test_what_is_found_gone_then_is_the_end(world: World) -> None:
    world.role.stays = False
    world.clock.time += RECHECK
    world.run(lambda: None)
    assert world.supervisor.gone


def test_a_signal_that_comes_together_with_the_interface_s_end_is_not_lost(world: World) -> None:
    def both() -> None:
        world.role.stays = False
        world.stop()
        world.events.put(Overrun())

    world.run(both, lambda: None)
    assert world.supervisor.gone
    assert world.supervisor.stopping


def test_an_event_that_a_dead_process_cannot_be_told_is_no_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bool:
        msg = "gone"
        raise ChannelError(msg)

    with monkeypatch.context() as context:
        context.setattr(world.role, "event", fail)
        world.run(lambda: world.events.put(Overrun()), world.stop, world.die)


def test_a_stop_between_two_processes_is_the_end(world: World) -> None:
    def die_and_stop() -> None:
        world.die()
        world.stop()

    world.run(lambda: world.say(Ready()), die_and_stop)
    assert len(world.processes) == 1


def test_a_stop_that_the_process_cannot_be_told_is_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        msg = "gone"
        raise ChannelError(msg)

    def stop() -> None:
        monkeypatch.setattr(Channel, "send", fail)
        world.stop()

    world.run(stop)
    assert world.supervisor.stopping


def test_stop_signals_are_read_from_a_descriptor() -> None:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        descriptor = stop_signals()
        for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert os.read(descriptor, 10) == bytes([signal.SIGTERM])
        os.close(descriptor)
    finally:
        os.close(signal.set_wakeup_fd(-1))
        for number, handler in before.items():
            signal.signal(number, handler)


def test_one_that_has_served_and_cannot_go_on_is_started_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.run(
        lambda: world.say(Ready()),
        lambda: world.say(Fatal("no \x1b[31mdatabase\n")),
        lambda: world.say(Ready()),
        world.stop,
        world.die,
    )
    assert not world.supervisor.failed
    assert world.role.got == ["ready", "ready"]
    assert "cannot go on (no ?[31mdatabase?); a new one in 0.5 s" in caplog.text


def test_what_a_network_process_says_is_made_printable(world: World) -> None:
    world.run(lambda: world.say(Fatal("no \x1b[31mdatabase\n")))
    assert world.role.got == ["no ?[31mdatabase?"]


def test_ready_is_said_once_by_each_process(world: World) -> None:
    """Each is a line in the log."""
    world.run(
        lambda: world.say(Ready()),
        lambda: world.say(Ready()),
        lambda: world.say(Ready()),
        world.stop,
        world.die,
    )
    assert world.role.got == ["ready", "ready"]
    assert len(world.processes) == 2


def test_after_an_interface_was_made_anew_no_reason_ends_the_daemon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(monkeypatch, has_served=True)
    world.run(*[lambda: world.say(Fatal("because"))] * (FAILED_STARTS + 1), world.stop, world.die)
    assert not world.supervisor.failed
    assert world.role.got == []
    assert len(world.processes) == FAILED_STARTS + 2
    world.close()


# --- the role's deadline -------------------------------------------------------------------------


def test_a_role_is_called_when_its_deadline_has_come(world: World) -> None:
    def later() -> None:
        world.clock.time = 1007.0
        world.events.put([])

    def wish() -> None:
        world.role.deadline = 1007.0
        world.events.put([])

    world.clock.time = 1000.0
    world.run(wish, lambda: world.events.put([]), later, world.stop, world.die)
    assert [got for got in world.role.got if isinstance(got, tuple)] != []
    assert 7.0 in world.waits


def test_a_role_that_finds_nobody_to_tell_is_no_end(world: World) -> None:
    def lose_it() -> None:
        world.supervisor._end_process()
        world.role.deadline = 0.0
        world.events.put([])

    world.run(lose_it, world.stop)
    assert ("on time", None) in world.role.got


# --- a reload --------------------------------------------------------------------------------


def test_who_asks_for_a_reload_is_told_when_the_network_process_has_it(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    call = FakeCall()

    def settle() -> None:
        assert call.told == []
        world.reloads.is_settled = True
        world.say(Connect())

    world.run(
        lambda: world.say(Ready()), lambda: world.control.put(call), settle, world.stop, world.die
    )
    assert call.told == [(True, "one thing\nanother")]
    assert "configuration read again: one thing" in caplog.text
    assert "configuration read again: another" in caplog.text
    assert world.reloads.passed_on == 1


def test_a_signal_reloads_too_and_a_bad_file_is_told_in_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def spoil() -> None:
        world.reloads.error = WgDynamicError("lease_tme: unknown")
        world.signals.theirs.send(bytes([signal.SIGHUP]))

    world.run(
        lambda: world.say(Ready()),
        lambda: world.signals.theirs.send(bytes([signal.SIGHUP])),
        spoil,
        world.stop,
        world.die,
    )
    assert world.role.got.count("reload") == 1
    assert "not taken, all stays as it was: lease_tme: unknown" in caplog.text


def test_who_asks_with_a_bad_file_is_told_at_once(world: World) -> None:
    call = FakeCall()
    world.reloads.error = WgDynamicError("lease_tme: unknown")
    world.run(lambda: world.say(Ready()), lambda: world.control.put(call), world.stop, world.die)
    assert call.told == [(False, "lease_tme: unknown")]
    assert world.reloads.passed_on == 0


def test_a_process_that_does_not_serve_yet_is_told_when_it_does(world: World) -> None:
    call = FakeCall()

    def look() -> None:
        assert world.reloads.passed_on == 0
        assert call.told == []
        world.say(Ready())

    world.run(lambda: world.control.put(call), look, world.stop, world.die)
    assert world.reloads.passed_on == 1
    assert call.told == [(True, "one thing\nanother")]


def test_who_waits_when_it_ends_is_let_go(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        msg = "gone"
        raise ChannelError(msg)

    def stop() -> None:
        monkeypatch.setattr(Channel, "send", fail)
        world.stop()

    call = FakeCall()
    world.run(lambda: world.control.put(call), stop)
    assert (call.closed, call.told) == (True, [])


def test_with_a_process_that_dies_it_is_in_force_for_the_next_one(world: World) -> None:
    call = FakeCall()
    world.run(
        lambda: world.say(Ready()),
        lambda: world.control.put(call),
        world.die,
        world.stop,
        world.die,
    )
    assert call.told == [(True, "one thing\nanother")]


def test_a_process_that_cannot_be_told_is_no_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        msg = "gone"
        raise ChannelError(msg)

    monkeypatch.setattr(world.reloads, "pass_on", fail)
    world.run(
        lambda: world.say(Ready()), lambda: world.control.put(FakeCall()), world.stop, world.die
    )
    assert world.role.got[:2] == ["ready", "reload"]


def test_a_role_that_cannot_reload_does_nothing(world: World) -> None:
    world.supervisor._reloads = None
    world.run(
        lambda: world.say(Ready()),
        lambda: world.signals.theirs.send(bytes([signal.SIGHUP])),
        world.stop,
        world.die,
    )
    assert world.role.got == ["ready"]


def test_sighup_is_among_the_signals_of_one_that_reloads() -> None:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        descriptor = stop_signals(reloads=True)
        os.kill(os.getpid(), signal.SIGHUP)
        assert os.read(descriptor, 10) == bytes([signal.SIGHUP])
        os.close(descriptor)
    finally:
        os.close(signal.set_wakeup_fd(-1))
        for number, handler in before.items():
            signal.signal(number, handler)
