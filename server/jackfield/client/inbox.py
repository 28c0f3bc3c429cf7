"""What has come for one reader of the Python client and waits for it, bounded in bytes."""

import asyncio
from collections import deque
from collections.abc import Callable
from copy import copy

from .socket import Message


class Inbox:
    """The messages that have come for one reader and wait for it.

    It never makes the socket wait: one slow reader would hold up the answers of everybody else, of
    its own next request too. So it is bounded in bytes, and what does not fit is counted and told
    where it is missing.

    Args:
        limit: Bytes. A message that finds nothing before it fits, whatever its size.
        lost: The exception that tells the reader how many messages are missing.
    """

    def __init__(self, limit: int, lost: Callable[[int], Exception]) -> None:
        self._limit = limit
        self._lost = lost
        self._messages: deque[tuple[Message, int]] = deque()
        self._bytes = 0
        self._dropped = 0
        self._end: Exception | None = None
        self._news = asyncio.Event()

    def put(self, message: Message, size: int) -> None:
        """Take a message of so many bytes, or count it as dropped."""
        fits = not self._messages or self._bytes + size <= self._limit
        if fits and not self._dropped:  # behind a gap there is nothing until it has been told
            self._messages.append((message, size))
            self._bytes += size
        else:
            self._dropped += 1
        self._news.set()

    def end(self, end: Exception) -> None:
        """Say that no more will come: this is what the reader finds behind the last message."""
        self._end = end
        self._news.set()

    async def get(self) -> Message:
        """Wait for the next message; raises what there is instead of one."""
        while not self._messages:
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                raise self._lost(dropped)
            if self._end is not None:
                raise copy(self._end)  # each who raises it has a traceback of their own
            self._news.clear()
            await self._news.wait()
        message, size = self._messages.popleft()
        self._bytes -= size
        return message
