"""The helper as the network process sees it: awaitable requests over the channel."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

from wg_dynamic.errors import WgDynamicError
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.codec import ChannelError
from wg_dynamic.privsep.requests import (
    MAX_CHANGES,
    Change,
    ChangeAllowedIPs,
    Changed,
    Failed,
    NewTerms,
    NextPeers,
    NextTerms,
    PeerInfo,
    Peers,
    ReadPeers,
    Refusal,
    Stop,
    TermsPart,
)
from wg_dynamic.privsep.terms import join_terms
from wg_dynamic.record import replace


class HelperGoneError(WgDynamicError, EOFError):
    """The helper has closed the channel: there is nobody left to serve for."""


class NotReadError(WgDynamicError):
    """The interface could not be read now: it was changed all the time, say."""


class HelperProxy:
    """One request after the other goes out at once; answers come in the same order."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self.stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the helper said Stop; fails with HelperGoneError when it went."""
        self._new_terms: NewTerms | None = None
        """The last that came."""
        self._terms_came = asyncio.Event()
        """Whether that was not read yet."""
        asyncio.get_running_loop().add_reader(channel.fileno(), self._read)

    async def read_peers(self) -> list[PeerInfo]:
        """Dump the interface; one reading at a time. Raises HelperGoneError, NotReadError."""
        parts: list[PeerInfo] = []
        message: object = ReadPeers()
        while True:
            answer: Peers | Failed = await self._ask(message)
            if isinstance(answer, Failed):
                raise NotReadError(answer.reason)
            parts += answer.peers
            if answer.last:
                return parts
            message = NextPeers()

    async def change(self, changes: Sequence[Change]) -> list[Refusal]:
        """Make the changes; what was refused, by its index. Raises HelperGoneError."""
        refusals: list[Refusal] = []
        for begin in range(0, len(changes), MAX_CHANGES):
            message = ChangeAllowedIPs(tuple(changes[begin : begin + MAX_CHANGES]))
            answer: Changed = await self._ask(message)
            refusals += [Refusal(one.index + begin, one.reason) for one in answer.refusals]
        return refusals

    async def new_terms(self) -> NewTerms:
        """Wait until the administrator's terms are others, and read all of them.

        Raises:
            HelperGoneError: the helper went away.
            ChannelError: what came is no answer.
        """
        await self._terms_came.wait()
        start, part = await self._next_terms()
        parts = [part]
        while not part.last:
            came, part = await self._next_terms()
            if came is not start:  # others came meanwhile: from then on the parts are theirs
                start, parts = came, []
            parts.append(part)
        if start is self._new_terms:
            self._terms_came.clear()
        return replace(start, terms=join_terms(start.terms, parts))

    async def _next_terms(self) -> tuple[NewTerms, TermsPart]:
        """A part, and what it is a part of."""
        answer: tuple[NewTerms, TermsPart] = await self._ask(NextTerms())
        return answer

    def tell(self, message: object) -> None:
        """Send what has no answer (Ready, Fatal)."""
        self._channel.send(message)

    def close(self) -> None:
        """Stop listening to the helper. The channel stays open: there may be a Fatal to send."""
        asyncio.get_running_loop().remove_reader(self._channel.fileno())

    async def _ask(self, message: object) -> Any:
        if self.stopped.done() and self.stopped.exception() is not None:
            msg = "the helper is gone"
            raise HelperGoneError(msg)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        try:
            self._channel.send(message)
        except ChannelError as error:
            self._fail(error)
        return await answer

    def _read(self) -> None:
        try:
            while (received := self._channel.receive()) is not None:
                self._take(received[0])
        except (EOFError, WgDynamicError) as error:
            self._fail(error)

    def _take(self, message: object) -> None:
        if isinstance(message, Peers | Failed | Changed):
            self._answer(message)
        elif isinstance(message, TermsPart):
            self._answer((self._new_terms, message))
        elif isinstance(message, NewTerms):
            self._new_terms = message
            self._terms_came.set()
        elif isinstance(message, Stop) and not self.stopped.done():
            self.stopped.set_result(None)

    def _answer(self, value: object) -> None:
        if not self._waiting:
            msg = "an answer to what was not asked"
            raise ChannelError(msg)
        future = self._waiting.popleft()
        if not future.done():
            future.set_result(value)

    def _fail(self, cause: Exception) -> None:
        asyncio.get_running_loop().remove_reader(self._channel.fileno())
        error = HelperGoneError(f"the helper is gone: {str(cause) or 'it closed the channel'}")
        if not self.stopped.done():
            self.stopped.set_exception(error)
            self.stopped.exception()  # seen: nobody may be waiting for it yet
        for future in self._waiting:
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()
