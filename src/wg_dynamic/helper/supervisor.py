"""The helper's loop: signals, the network process, kernel events, `--stop`. One thread, blocking.

What a request or an event means is the role's business (helper/server.py, helper/client.py).
"""

import contextlib
import os
import selectors
import signal
import socket
from typing import Protocol

from wg_dynamic.errors import WgDynamicError
from wg_dynamic.helper.control_socket import ControlSocket, ReloadCall
from wg_dynamic.netlink.control import Event, EventSource
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.codec import ChannelClosedError, ChannelError
from wg_dynamic.privsep.process import NetworkProcess
from wg_dynamic.privsep.requests import MAX_TEXT, Fatal, Ready, Stop
from wg_dynamic.privsep.spawn import AGAIN, spawn_network_process
from wg_dynamic.record import dataclass
from wg_dynamic.system.background import signal_descriptor
from wg_dynamic.system.clock import Clock
from wg_dynamic.system.log import logger, printable
from wg_dynamic.system.notify import notify
from wg_dynamic.system.privileges import Account

_LOG = logger(__name__)

RESTART_FIRST = 0.5
RESTART_MAX = 30.0
"""Seconds before a network process that died is started again; doubled each time."""
FAILED_STARTS = 3
"""Network processes that die one after the other before any has served: the start has failed."""
CALM = 60.0
"""A network process that lived this many seconds had not failed at the start."""
MESSAGES_AT_A_TIME = 32
"""Requests carried out before signals and events are looked at again."""
RECHECK = 30.0
"""Seconds between two Rechecks, and the longest wait in one select: deadlines are met within this
after a suspend."""


Started = tuple[NetworkProcess, socket.socket]
"""A network process, and our end of the channel to it."""


@dataclass(frozen=True)
class Recheck:
    """Nobody has said anything: time to look at what nobody tells of."""


class Role(Protocol):
    """What makes the helper a server's or a client's."""

    @property
    def module(self) -> str:
        """What to run as the network process."""

    @property
    def sends(self) -> tuple[type, ...]:
        """The messages that it is sent."""

    @property
    def receives(self) -> tuple[type, ...]:
        """The messages that it may send."""

    @property
    def stop_time(self) -> float:
        """Seconds that the network process has to end once it is told to stop."""

    def start_message(self) -> tuple[object, socket.socket | None]:
        """What a new network process is told first."""

    def answer(self, message: object, channel: Channel) -> None:
        """Carry out a request. WgDynamicError ends this network process; another is started."""

    def ready(self) -> None:
        """The network process serves."""

    def fatal(self, reason: str) -> None:
        """The network process could not even begin to serve, nor could another one."""

    def event(self, event: Event | Recheck, channel: Channel | None) -> bool:
        """Something may have changed in the kernel; False when the interface is gone."""

    @property
    def deadline(self) -> float | None:
        """When `on_time` is to be called, CLOCK_BOOTTIME seconds; None for never."""

    def on_time(self, channel: Channel | None) -> None:
        """The deadline has come. May raise ChannelError."""


class Reloads(Protocol):
    """What a role has besides that can read its configuration again while it runs."""

    def reload(self) -> str:
        """Read, check, and work by it; what is different, in lines.

        Raises WgDynamicError: nothing was changed.
        """

    def pass_on(self, channel: Channel) -> None:
        """Tell a network process that serves what it does not know yet. Raises ChannelError."""

    @property
    def is_settled(self) -> bool:
        """Whether the network process works by it, too."""


class Supervisor:
    """Runs one role until its interface is gone, it failed for good, or somebody stops it."""

    def __init__(
        self,
        role: Role,
        *,
        account: Account,
        clock: Clock,
        events: EventSource,
        control: ControlSocket,
        arguments: list[str],
        has_served: bool = False,
        reloads: Reloads | None = None,
        started: Started | None = None,
    ) -> None:
        """Nothing runs before `run`.

        Args:
            role: what to run.
            account: of the network process.
            clock: CLOCK_BOOTTIME.
            events: of the kernel.
            control: where `--stop` and others are heard.
            arguments: of the network process.
            has_served: one did before, on the interface that was there before.
            reloads: the role, if it can read its configuration again.
            started: the first network process, started as we would have done it.
        """
        self._role = role
        self._reloads = reloads
        self._calls: list[tuple[ReloadCall, str]] = []
        """Who waits until a reload is in force, and what they are told then."""
        self._account = account
        self._clock = clock
        self._events = events
        self._control = control
        self._arguments = arguments
        self._selector = selectors.DefaultSelector()
        self._process: NetworkProcess | None = None
        self._channel: Channel | None = None
        self._started_at = 0.0
        self._restart_at: float | None = None
        self._restart_delay = RESTART_FIRST
        self._failed_starts = 0
        self._has_served = has_served
        self._started = started
        self._is_ready = False
        """The present network process has said so."""
        self._again = False
        """Whether there was a network process before."""
        self._recheck_at = clock.now() + RECHECK
        self._stop_at: float | None = None
        self._over = False
        self.stopping = False
        """Somebody said stop; the interface may have gone as well."""
        self.gone = False
        """The interface is gone."""
        self.failed = False
        """The network process cannot serve; the role was told why."""

    def run(self, signals: int) -> None:
        """Serve until the end. `signals`: a descriptor of system.background.signal_descriptor."""
        self._selector.register(signals, selectors.EVENT_READ, self._on_signal)
        self._selector.register(self._events, selectors.EVENT_READ, self._on_events)
        self._selector.register(self._control, selectors.EVENT_READ, self._on_control)
        self._start_process()
        try:
            while not self._over:
                self._turn()
        finally:
            self._end_process()
            self._selector.close()
            for call, _ in self._calls:
                call.close()

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._wait()):
            if not self._over:
                key.data(key.fd)
        self._on_time()

    def _wait(self) -> float:
        now = self._clock.now()
        wanted = (self._restart_at, self._stop_at, self._recheck_at, self._role.deadline)
        times = [t for t in wanted if t is not None]
        return max(0.0, min([RECHECK, *[t - now for t in times]]))

    def _on_time(self) -> None:
        now = self._clock.now()
        if self._stop_at is not None and now >= self._stop_at:
            _LOG.warning("the network process does not stop by itself: killing it")
            self._over = True
        elif self._restart_at is not None and now >= self._restart_at:
            self._start_process()
        elif now >= self._recheck_at:
            self._recheck_at = now + RECHECK
            self._tell(Recheck())
        if not self._over and self._role.deadline is not None and now >= self._role.deadline:
            with contextlib.suppress(ChannelError):  # that end is noticed on the channel
                self._role.on_time(self._channel)

    def _start_process(self) -> None:
        self._restart_at = None
        self._started_at = self._clock.now()
        try:
            message, attached = self._role.start_message()
            self._process, self._channel = self._spawn()
            self._again = True
            self._is_ready = False
            self._selector.register(self._channel, selectors.EVENT_READ, self._on_channel)
            self._channel.send(message, attached)
        except (OSError, WgDynamicError) as error:  # no memory, no process, or dead already
            self._process_ended(f"cannot start ({error})")

    def _spawn(self) -> tuple[NetworkProcess, Channel]:
        """The one that runs already, or a new one. Raises ChannelError."""
        sends, receives = self._role.sends, self._role.receives
        if self._started is not None:
            (process, end), self._started = self._started, None
            return process, Channel(end, sends, receives)
        arguments = [*self._arguments, *([AGAIN] if self._again else [])]
        return spawn_network_process(self._role.module, self._account, arguments, sends, receives)

    def _end_process(self) -> None:
        """Close the channel, which ends the process, and take its status; kill it if need be."""
        if self._channel is not None:
            self._selector.unregister(self._channel)
            self._channel.close()
            self._channel = None
        if self._process is not None:
            try:
                self._process.wait(2.0)
            except TimeoutError:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _on_signal(self, descriptor: int) -> None:
        for number in os.read(descriptor, 64):
            if number in (signal.SIGTERM, signal.SIGINT):
                _LOG.info("%s: stopping", signal.Signals(number).name)
                self._stop(release=False)
            elif number == signal.SIGHUP and not self._over:
                self._reload(None)

    def _on_control(self, _descriptor: int) -> None:
        self._on_events(_descriptor)  # one whose interface is gone does not say that it runs
        if self._over:
            return
        request = self._control.receive()
        if isinstance(request, ReloadCall):
            self._reload(request)
        elif request is not None:
            _LOG.info("told to stop%s", " and release" if request.release else "")
            self._stop(release=request.release)

    def _stop(self, *, release: bool) -> None:
        self.stopping = True
        notify("STOPPING=1")
        if self._channel is None:
            self._over = True
            return
        if self._stop_at is None:
            self._stop_at = self._clock.now() + self._role.stop_time
        try:
            self._channel.send(Stop(release))
        except ChannelError:
            self._over = True

    def _reload(self, call: ReloadCall | None) -> None:
        """Let the role read its configuration again; the caller is told when it is in force."""
        if self._reloads is None:
            return
        try:
            text = self._reloads.reload()
        except WgDynamicError as error:
            _LOG.error("the configuration is not taken, all stays as it was: %s", error)
            if call is not None:
                call.answer(done=False, text=str(error))
            return
        for line in text.splitlines():
            _LOG.info("configuration read again: %s", line)
        if call is not None:
            self._calls.append((call, text))
        self._pass_on()

    def _pass_on(self) -> None:
        """Tell the network process of the configuration, if it is one that serves."""
        if self._reloads is None:
            return
        if self._channel is not None and self._is_ready:
            with contextlib.suppress(ChannelError):  # that end is noticed on the channel
                self._reloads.pass_on(self._channel)
        self._settle()

    def _settle(self) -> None:
        """Tell who waits, when the configuration is in force, or will be with the next process."""
        if self._channel is None or (self._reloads is not None and self._reloads.is_settled):
            for call, text in self._calls:
                call.answer(done=True, text=text)
            self._calls.clear()

    def _on_events(self, _descriptor: int) -> None:
        for event in self._events.read():
            self._tell(event)
            if self._over:
                return

    def _tell(self, event: Event | Recheck) -> None:
        try:
            stays = self._role.event(event, self._channel)
        except ChannelError:
            return  # the end of that process is noticed on its channel
        if not stays:
            self.gone = True
            self._over = True

    def _on_channel(self, _descriptor: int) -> None:
        channel = self._channel
        for _ in range(MESSAGES_AT_A_TIME):  # one that floods us does not keep signals waiting
            if channel is None or channel is not self._channel:
                return
            try:
                received = channel.receive()
                if received is None:
                    return
                message, attached = received
                if attached is not None:
                    attached.close()  # nobody sends us descriptors: it is not to stay open
                self._dispatch(message, channel)
            except (EOFError, ChannelClosedError):
                self._process_ended("ended")
            except WgDynamicError as error:
                _LOG.error("network process: %s", printable(str(error), MAX_TEXT))
                self._process_ended("is stopped for it")
            if self._over:
                return

    def _dispatch(self, message: object, channel: Channel) -> None:
        if isinstance(message, Ready):
            if self._is_ready:  # each is told in the log
                msg = "Ready for a second time, expected once"
                raise ChannelError(msg)
            self._is_ready = self._has_served = True
            self._role.ready()
            self._pass_on()
        elif isinstance(message, Fatal):
            reason = printable(message.reason, MAX_TEXT)
            if (
                self._has_served
            ):  # it has been possible: a disk that is full, a database that is gone
                self._process_ended(f"cannot go on ({reason})")
            else:
                self._fail(reason)
        else:
            self._role.answer(message, channel)
            if self._calls:
                self._settle()

    def _process_ended(self, how: str) -> None:
        self._end_process()
        self._settle()
        if self._stop_at is not None:
            self._over = True
            return
        self._failed_starts += 1
        if not self._has_served and self._failed_starts >= FAILED_STARTS:
            self._fail(f"the network process {how} {FAILED_STARTS} times before it served")
            return
        now = self._clock.now()
        if now - self._started_at >= CALM:
            self._restart_delay = RESTART_FIRST
        self._restart_at = now + self._restart_delay
        _LOG.error("the network process %s; a new one in %.1f s", how, self._restart_delay)
        self._restart_delay = min(self._restart_delay * 2, RESTART_MAX)

    def _fail(self, reason: str) -> None:
        self.failed = True
        self._over = True
        self._role.fatal(reason)


def stop_signals(*, reloads: bool = False) -> int:
    """The descriptor for `Supervisor.run`; other stops are left at their default.

    `reloads`: SIGHUP is among the signals, else it is ignored.
    """
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    if reloads:
        return signal_descriptor((signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return signal_descriptor((signal.SIGTERM, signal.SIGINT))
