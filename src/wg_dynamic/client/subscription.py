"""Being told of changes at once, on a connection beside the exchanges (docs/protocol.md 6.9).

Theory of operation. It is there for speed alone: whatever becomes of it, the lease is kept by
asking in time. So nothing of it is urgent, and what the server does with it costs the client
little: a bounded number of pushes, one of them carried out in a second, patience after failures.
"""

import socket
from collections.abc import Callable
from math import inf
from typing import Final

from wg_dynamic.client.pushed import merged
from wg_dynamic.client.session import Conversation, SessionError
from wg_dynamic.protocol import (
    Ack,
    ErrorCode,
    ErrorReply,
    Ping,
    Pong,
    Reply,
    Subscribe,
    SubscribeReply,
    Update,
)
from wg_dynamic.system.log import logger, printable

_LOG = logger(__name__)

RETRY_FIRST: Final = 5.0
RETRY_MAX: Final = 300.0
"""Seconds until it is tried again: doubled from the first to the maximum. Half to double of it, so
that the clients of a hub that was restarted do not come all at once."""
RETRY_LONG: Final = 3600.0
"""After a refusal, and after a server that pushes too much."""
GOOD_TIME: Final = 60.0
"""Seconds that it has to last for the next failure to be a first one."""
REPLY_TIME: Final = 20.0
"""Seconds for the server to answer."""
INTERVALS: Final = (30, 600)
"""Seconds between two pings: what is taken of what the server says, else the nearer of these."""
INTERVAL: Final = 120
"""What is asked for, and kept when the server names none."""
NEWS_PAUSE: Final = 1.0
"""Seconds between two pushes that are carried out: the last one counts."""
MAX_MESSAGES: Final = 100
MESSAGE_SPAN: Final = 60.0
"""More messages in so many seconds are too many."""


class Subscription:
    """One connection after the other."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        """`jitter` gives a number from -1 to 1, evenly."""
        self._jitter = jitter
        self._wanted = False
        self._connecting = False
        self._conversation: Conversation | None = None
        self._waits_for_reply = False
        self._interval = float(INTERVAL)
        self._retry_time = RETRY_FIRST
        self._begun_at = 0.0
        self._act_at = inf
        """When to try, to ping, or to give up waiting."""
        self._whole = Update()
        """What holds by what was pushed on this connection."""
        self._is_news = False
        self._news_at = 0.0
        """Not before."""
        self._count = 0
        self._count_since = 0.0

    @property
    def conversation(self) -> Conversation | None:
        """What to wait for, besides `deadline`; call `on_ready` when it is ready."""
        return self._conversation

    @property
    def deadline(self) -> float:
        """When to call `on_time`, CLOCK_BOOTTIME seconds; may be infinite."""
        return min(self._act_at, self._news_at) if self._is_news else self._act_at

    def want(self, now: float) -> None:
        """There is a lease: be told of changes, if that is not so or on its way already."""
        if not self._wanted:
            self._wanted = True
            self._act_at = now

    def end(self) -> None:
        """Until it is wanted again."""
        self._wanted = False
        self._close()
        self._act_at = inf

    def on_time(self, now: float) -> bool:
        """Do what is due; whether a connection is needed now (then `connected` is to be called)."""
        if now < self._act_at:
            return False
        if self._conversation is None:
            self._act_at = inf  # until it is connected
            begins, self._connecting = not self._connecting, True
            return begins
        if self._waits_for_reply:
            self._fail("no answer", now)
        else:
            self._conversation.send(Ping())
            self._wait_for_reply(now)
        return False

    def connected(self, connection: socket.socket | None, reason: str, now: float) -> None:
        """What became of the connection: without one, the reason."""
        self._connecting = False
        if not self._wanted:
            if connection is not None:
                connection.close()
        elif connection is None:
            self._fail(reason, now)
        else:
            self._conversation = Conversation(connection, Subscribe(interval=INTERVAL))
            self._whole = Update()
            self._begun_at = now
            self._wait_for_reply(now)

    def on_ready(self, now: float) -> None:
        """Read, or write, what there is."""
        conversation = self._conversation
        if conversation is None:
            return
        try:
            for event in conversation.events():
                self._take(event, now)
                if self._conversation is None:
                    return  # refused
        except (SessionError, ValueError) as error:
            self._fail(str(error), now)

    def news(self, now: float) -> Update | None:
        """What holds now, as a whole, if it is otherwise than when it was taken last."""
        if not self._is_news or now < self._news_at:
            return None
        self._is_news = False
        self._news_at = now + NEWS_PAUSE
        return self._whole

    def carried_out(self) -> None:
        """What `news` returned is in force."""
        if self._conversation is not None:
            self._conversation.send(Ack(serial=self._whole.serial))

    def _take(self, event: Reply | Update, now: float) -> None:
        self._count_message(now)
        if isinstance(event, Update):
            self._whole = merged(self._whole, event)
            self._is_news = True
        elif isinstance(event, SubscribeReply | ErrorReply) and event.errno != ErrorCode.SUCCESS:
            wait = min(RETRY_LONG, max(RETRY_FIRST, event.retry_after or RETRY_LONG))
            self._refused(event.errmsg, wait, now)
        elif isinstance(event, SubscribeReply):
            least, most = INTERVALS
            self._interval = float(min(most, max(least, event.interval or INTERVAL)))
            self._ping_later(now)
        elif isinstance(event, Pong):
            self._ping_later(now)

    def _count_message(self, now: float) -> None:
        if now - self._count_since >= MESSAGE_SPAN:
            self._count, self._count_since = 0, now
        self._count += 1
        if self._count > MAX_MESSAGES:
            self._retry_time = RETRY_LONG
            msg = f"more than {MAX_MESSAGES} messages in {MESSAGE_SPAN:g} s"
            raise SessionError(msg)

    def _wait_for_reply(self, now: float) -> None:
        self._waits_for_reply = True
        self._act_at = now + REPLY_TIME

    def _ping_later(self, now: float) -> None:
        self._waits_for_reply = False
        self._act_at = now + self._interval

    def _fail(self, reason: str, now: float) -> None:
        if self._conversation is not None and now - self._begun_at >= GOOD_TIME:
            self._retry_time = min(self._retry_time, RETRY_FIRST)
        wait = self._retry_time * 2 ** self._jitter()
        self._retry_time = min(self._retry_time * 2, RETRY_MAX)
        _LOG.debug("not told of changes at once: %s; again in %.0f s", printable(reason), wait)
        self._close()
        self._act_at = now + wait

    def _refused(self, reason: str, wait: float, now: float) -> None:
        _LOG.debug("not told of changes at once: the server refuses: %s", printable(reason))
        self._close()
        self._act_at = now + wait * (1.0 + abs(self._jitter()) / 2)

    def _close(self) -> None:
        self._is_news = False
        self._waits_for_reply = False
        if self._conversation is not None:
            self._conversation.close()
            self._conversation = None
