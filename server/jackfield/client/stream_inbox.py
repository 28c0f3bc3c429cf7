"""The answers of one request, which has the server pause while its reader does not keep up."""

import asyncio
from collections.abc import Callable
from typing import Final

from .errors import StreamBroken
from .inbox import Inbox
from .message import Message

#: What the limit is divided by to get the bytes at which the server is asked to pause, and at which
#: to go on.
_PAUSE_AT: Final = 2
_RESUME_AT: Final = 4
#: Bytes that may be under way when the server is asked to pause: what it queues for a connection,
#: and what the sockets of both sides hold.
_UNDER_WAY: Final = 2**24
#: Seconds after which to ask again where the server had no time to hear it.
_ASK_AGAIN: Final = 1.0

#: Sends ``request.pause`` or ``request.resume`` about a request; the answer goes to the inbox.
Ask = Callable[[str, Inbox], None]


class StreamInbox(Inbox):
    """An inbox whose messages come only as fast as they are read.

    What was under way when the server was asked to pause still fits, whatever the limit.

    Args:
        limit: As of `Inbox`.
        ask: Has the server pause or go on; None if it can't.
    """

    def __init__(self, limit: int, ask: Ask | None) -> None:
        super().__init__(limit, _chunks_lost)
        self._strict_limit = limit
        self._ask = ask
        self._is_paused = False

    def put(self, message: Message, size: int) -> None:
        """Add a message; have the server pause if many wait."""
        super().put(message, size)
        if (
            self._ask is not None
            and not self._is_paused
            and self._bytes > self._strict_limit // _PAUSE_AT
            and message["type"] == "chunk"
        ):
            self._is_paused = True
            self._limit = self._strict_limit + _UNDER_WAY
            self._ask("request.pause", _Answer(self._has_paused))

    async def get(self) -> Message:
        """Return the next message; have the server go on once few wait."""
        message = await super().get()
        if self._is_paused and self._bytes <= self._strict_limit // _RESUME_AT:
            self._is_paused = False
            self._resume()
        return message

    def _has_paused(self, *, is_done: bool) -> None:
        if not is_done:
            self._is_paused = False  # the next chunk has it asked again

    def _resume(self) -> None:
        if self._ask is not None and self._end is None and not self._is_paused:
            self._ask("request.resume", _Answer(self._has_resumed))

    def _has_resumed(self, *, is_done: bool) -> None:
        if not is_done:
            asyncio.get_running_loop().call_later(_ASK_AGAIN, self._resume)


class _Answer(Inbox):
    """The answer to one request, which goes to a function: whether it was done."""

    def __init__(self, tell: Callable[..., None]) -> None:
        super().__init__(0, _chunks_lost)
        self._tell = tell

    def put(self, message: Message, size: int) -> None:
        """Take the answer."""
        del size
        self._tell(is_done=message["type"] == "reply")


def _chunks_lost(dropped: int) -> StreamBroken:
    return StreamBroken(f"{dropped} chunks came faster than they were read, and were dropped.")
