"""The only waiter of the client: channel, connection and deadline in one select.

What happens is turned into the machine's events, and its actions into messages to the helper and
exchanges with the server.
"""

import select
import socket
from collections import deque
from ipaddress import ip_address
from math import inf
from typing import Any

from wg_dynamic.address import IPV4_SIZE, IPV6_SIZE
from wg_dynamic.client.machine import (
    Abandon,
    Action,
    AddressesInUse,
    Apply,
    Ask,
    DeadlinePassed,
    Decline,
    Declined,
    Drop,
    Event,
    ExchangeFailed,
    Finish,
    Granted,
    Lease,
    LeaseClient,
    LinkDown,
    NetworkChanged,
    Release,
    ServerTold,
    Started,
    State,
    StopAsked,
    Tell,
)
from wg_dynamic.client.pushed import apply_message, pushed_by
from wg_dynamic.client.refusals import least_wait
from wg_dynamic.client.session import Session, SessionError, VersionRefusedError
from wg_dynamic.client.subscription import Subscription
from wg_dynamic.privsep import requests
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.requests import (
    MAX_ADDRESSES,
    MAX_TEXT,
    Applied,
    ApplyLease,
    ClientStart,
    Connect,
    Connecting,
    Failed,
    LinkState,
    Progress,
    Ready,
    Report,
    Stop,
)
from wg_dynamic.protocol import (
    DeclineIP,
    DeclineIPReply,
    ErrorCode,
    ErrorReply,
    ReleaseIP,
    ReleaseIPReply,
    Reply,
    Request,
    RequestIP,
    RequestIPReply,
)
from wg_dynamic.protocol.errors import error_text
from wg_dynamic.protocol.messages import Address
from wg_dynamic.system.clock import Clock
from wg_dynamic.system.log import logger, printable

_LOG = logger(__name__)

RECHECK = 30.0
"""Longest wait, seconds: that the computer was suspended is noticed within this."""
SUSPENDED = 1.0
"""Seconds of suspend after which all is looked at anew: the kernel's lifetimes stood still."""
EXCHANGE_TIME = 10.0
"""Seconds for one exchange, connection included."""
RELEASE_TIME = 1.0
"""Seconds for the last one."""
VERSION_2_AGAIN = 3600.0
"""Seconds after which a server that only spoke version 1 is asked for version 2 again."""


class Driver:
    """One client, from its start message to Stop."""

    def __init__(
        self,
        start: ClientStart,
        channel: Channel,
        machine: LeaseClient,
        clock: Clock,
        subscription: Subscription,
    ) -> None:
        self._channel = channel
        self._machine = machine
        self._clock = clock
        self._wishes = start.wishes
        self._version = 2
        self._version_1_at = 0.0
        self._wish_refused = False
        """Version 1 only: the server has not what we wish for, so any other is asked for next."""
        self._partly = ""
        """Why only a part was granted, as last told."""
        self._request: Request | None = None
        """What is to be sent when the helper gives the connection."""
        self._asked_at = 0.0
        self._session: Session | None = None
        self._exchange_end: float | None = None
        self._subscription = subscription
        self._asked: deque[Request | Subscription] = deque()
        """What each Connect without an answer is for; that of an exchange given up is not used."""
        self._finish_at: float | None = None
        self._finished = False
        self._slept = clock.suspended()
        """How long the computer has been suspended since it started, as last seen."""
        self._progress: Progress | None = None
        """What the helper knows about us."""

    def run(self) -> None:
        """Work until Stop. Raises EOFError when the helper is gone, ChannelError."""
        self._channel.send(Ready())
        try:
            self._happen(Started())
            while not self._finished:
                self._tell_progress()
                self._wait()
                self._on_time()
        finally:
            self._end_exchange()
            self._subscription.end()

    # --- waiting --------------------------------------------------------------------------------

    def _wait(self) -> None:
        reads: list[Any] = [self._channel]
        writes: list[Any] = []
        pushes = self._subscription.conversation
        for one in (self._session, pushes):
            if one is not None:
                (writes if one.wants_write else reads).append(one)
        ready, writable, _ = select.select(reads, writes, [], self._patience())
        if self._session is not None and (self._session in ready or self._session in writable):
            self._on_session(self._session)
        if pushes is not None and (pushes in ready or pushes in writable):
            self._subscription.on_ready(self._clock.now())
        if self._channel in ready:
            while not self._finished and (received := self._channel.receive()) is not None:
                self._on_message(*received)

    def _patience(self) -> float:
        told = self._subscription.deadline
        times = [self._machine.deadline, self._exchange_end, self._finish_at, told]
        nearest = min((t for t in times if t is not None), default=None)
        if nearest is None:
            return RECHECK
        return min(RECHECK, max(0.0, nearest - self._clock.now()))

    def _on_time(self) -> None:
        now = self._clock.now()
        if self._finish_at is not None:
            self._finished = self._finished or now >= self._finish_at
            return
        self._look_for_suspend()
        if self._exchange_end is not None and now >= self._exchange_end:
            self._exchange_failed(f"no answer within {EXCHANGE_TIME:g} s")
        deadline = self._machine.deadline
        if deadline is not None and now >= deadline:
            self._happen(DeadlinePassed())
        self._follow(now)

    def _follow(self, now: float) -> None:
        """Be told of changes while there is a lease."""
        if self._machine.state is State.BOUND and self._version != 1:
            self._subscription.want(now)
        if self._subscription.on_time(now):
            self._connect(self._subscription, pushes=True)
        update = self._subscription.news(now)
        if update is not None:
            if self._machine.state in (State.BOUND, State.RENEWING):
                self._happen(ServerTold(update.addresses, pushed_by(update)))
            self._subscription.carried_out()

    def _look_for_suspend(self) -> None:
        """The hub may have ended our lease meanwhile, and the kernel's lifetimes are late now."""
        before, self._slept = self._slept, self._clock.suspended()
        slept = self._slept - before
        if slept >= SUSPENDED and self._machine.state is not State.PAUSED:
            _LOG.info("awake after %.0f s: asking for the lease anew", slept)
            self._subscription.end()
            self._happen(Started())

    def _tell_progress(self) -> None:
        machine = self._machine
        deadline = machine.deadline if machine.deadline != inf else None
        progress = Progress(machine.state.name.lower(), deadline, self._version)
        if progress != self._progress and self._finish_at is None:
            self._channel.send(progress)
        self._progress = progress

    # --- what happens ---------------------------------------------------------------------------

    def _on_message(self, message: object, attached: socket.socket | None) -> None:
        match message:
            case Connecting() | Failed():
                self._on_connection(message, attached)
            case Applied():
                self._on_applied(message)
            case requests.NetworkChanged():
                self._happen(NetworkChanged())
            case LinkState(up=True):
                self._happen(Started())
            case LinkState(up=False):
                self._subscription.end()
                self._happen(LinkDown())
            case Stop():
                self._subscription.end()
                self._happen(StopAsked(message.release))
            case _:
                pass  # the start message, which came before us

    def _on_applied(self, message: Applied) -> None:
        # The helper has told what it does not take, and why.
        in_use = frozenset(ip_address(one.address.packed) for one in message.refused if one.in_use)
        if in_use and self._version != 1:  # version 1 knows no decline
            self._happen(AddressesInUse(in_use))

    def _on_connection(self, message: object, attached: socket.socket | None) -> None:
        reason = message.reason if isinstance(message, Failed) else ""
        asked = self._asked.popleft() if self._asked else None
        if asked is self._subscription:
            self._subscription.connected(attached, reason, self._clock.now())
        elif self._request is None or asked is not self._request:
            if attached is not None:
                attached.close()  # for an exchange that was given up meanwhile
        elif attached is not None:
            self._session = Session(attached, self._request)
        elif reason:
            self._exchange_failed(reason)

    def _on_session(self, session: Session) -> None:
        try:
            reply = session.on_ready()
        except VersionRefusedError as error:
            self._fall_back(str(error))
        except SessionError as error:
            self._exchange_failed(str(error))
        else:
            if reply is not None:
                self._end_exchange()
                self._on_reply(reply)

    def _on_reply(self, reply: Reply) -> None:
        if self._finish_at is not None:
            self._finished = True
            if isinstance(reply, ReleaseIPReply | ErrorReply) and reply.errno:
                _LOG.warning("could not release: %s", _why(reply))
        elif isinstance(reply, RequestIPReply):
            self._wish_refused = reply.errno == ErrorCode.UNAVAILABLE and not reply.addresses
            if reply.addresses:
                self._on_grant(reply)
            else:
                # Any other error says nothing about what is held (protocol.md 5.5 and 6.6).
                lost = reply.errno == ErrorCode.SUCCESS
                wait = least_wait(reply.errno, reply.retry_after)
                self._happen(ExchangeFailed(_why(reply), wait, lost))
        elif isinstance(reply, DeclineIPReply) and not reply.errno:
            self._happen(Declined())
        elif isinstance(reply, DeclineIPReply | ErrorReply):
            declining = self._machine.state is State.DECLINING
            wait = None if declining else least_wait(reply.errno, reply.retry_after)
            text = f"could not decline: {_why(reply)}" if declining else _why(reply)
            self._happen(ExchangeFailed(text, wait))
        else:
            self._happen(ExchangeFailed("the server answered something else"))

    def _on_grant(self, reply: RequestIPReply) -> None:
        partly = _why(reply) if reply.errno else ""
        if partly and partly != self._partly:
            _LOG.warning("only a part was granted: %s", partly)
        self._partly = partly
        # One per address, and no more than the helper takes, whatever the server sends.
        distinct = {one.ip: one for one in reply.addresses}.values()
        addresses = tuple(distinct)[:MAX_ADDRESSES]
        self._happen(Granted(addresses, self._asked_at, pushed_by(reply)))

    def _fall_back(self, reason: str) -> None:
        """docs/protocol.md section 8."""
        request, now = self._request, self._clock.now()
        self._end_exchange()
        if self._version == 1 or self._finish_at is not None:
            self._version = 2
            self._exchange_failed(reason)
            return
        _LOG.info("%s: going on with version 1", reason)
        self._version, self._version_1_at = 1, now
        if isinstance(request, RequestIP):
            self._begin(self._request_ip(self._machine.lease), EXCHANGE_TIME)

    def _exchange_failed(self, reason: str) -> None:
        self._end_exchange()
        if self._finish_at is not None:
            _LOG.warning("could not release: %s", reason)
            self._finished = True
        elif self._machine.state is not State.BOUND:
            self._happen(ExchangeFailed(reason))

    # --- what to do -----------------------------------------------------------------------------

    def _happen(self, event: Event) -> None:
        if self._machine.state is State.STOPPED:
            return  # the release is all that is still awaited
        for action in self._machine.handle(event, self._clock.now()):
            self._perform(action)

    def _perform(self, action: Action) -> None:
        match action:
            case Ask():
                self._begin(self._request_ip(action.lease), EXCHANGE_TIME)
            case Abandon():
                self._end_exchange()
            case Apply():
                self._apply(action.lease)
            case Drop():
                self._channel.send(ApplyLease(()))
            case Tell():
                _LOG.warning("%s", printable(action.text))
                self._channel.send(Report(printable(action.text, MAX_TEXT)))
            case Decline():
                declined = {ip.packed for ip in action.addresses}
                self._wishes = tuple(wish for wish in self._wishes if wish not in declined)
                self._begin(DeclineIP(addresses=action.addresses), EXCHANGE_TIME)
            case Release():
                self._release(action.lease)
            case Finish():
                self._finished = self._finish_at is None

    def _apply(self, lease: Lease) -> None:
        self._wishes = tuple(one.ip.packed for one in lease.addresses)
        self._channel.send(apply_message(lease, self._clock.now()))

    def _release(self, lease: Lease) -> None:
        if self._version == 1:
            return  # version 1 knows no release: the lease runs out by itself
        self._finish_at = self._clock.now() + RELEASE_TIME
        self._begin(ReleaseIP(addresses=tuple(one.ip for one in lease.addresses)), RELEASE_TIME)

    def _request_ip(self, lease: Lease | None) -> RequestIP:
        if self._version == 1 and self._clock.now() - self._version_1_at >= VERSION_2_AGAIN:
            self._version = 2
        wished = tuple(one.ip.packed for one in lease.addresses) if lease else self._wishes
        if self._version == 1 and self._wish_refused:
            wished = ()  # where version 2 gives another address, version 1 gives none
        wishes = (_wish(wished, IPV4_SIZE), _wish(wished, IPV6_SIZE))
        return RequestIP(version=self._version, wishes=wishes)

    def _begin(self, request: Request, limit: float) -> None:
        self._end_exchange()
        self._request = request
        self._asked_at = self._clock.now()
        self._exchange_end = self._asked_at + limit
        self._connect(request)

    def _connect(self, asked: Request | Subscription, *, pushes: bool = False) -> None:
        self._asked.append(asked)
        self._channel.send(Connect(pushes))

    def _end_exchange(self) -> None:
        self._request = None
        self._exchange_end = None
        if self._session is not None:
            self._session.close()
            self._session = None


def _wish(wishes: tuple[bytes, ...], size: int) -> Address:
    return ip_address(next((wish for wish in wishes if len(wish) == size), bytes(size)))


def _why(reply: RequestIPReply | ReleaseIPReply | DeclineIPReply | ErrorReply) -> str:
    if not reply.errno:
        return "the server has no address for us"
    text = reply.errmsg or error_text(reply.errno)
    return f"the server refuses (errno {int(reply.errno)}): {printable(text)}"
