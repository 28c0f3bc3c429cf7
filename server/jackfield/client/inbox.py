"""A queue of messages for one reader of the Python client, bounded in bytes."""

import asyncio
from collections import deque
from collections.abc import Callable
from copy import copy

from .message import Message


class Inbox:
    """The messages that have arrived for one reader and wait for it.

    It never makes the socket wait, because one slow reader would then delay the answers to all
    other requests, its own included. Instead it is bounded in bytes: messages that do not fit are
    dropped, and the reader is told how many at the place where they are missing.

    Args:
        limit: Bytes that may wait. A message that arrives when none waits fits, whatever its size.
        lost: Makes the exception that tells the reader how many messages are missing.
    """

    def __init__(self, limit: int, lost: Callable[[int], Exception]) -> None:
        self._limit = limit
        self._lost = lost
        self._messages: deque[tuple[Message, int]] = deque()
        self._bytes = 0
        self._dropped = 0
        self._end: Exception | None = None
        self._changed = asyncio.Event()

    def put(self, message: Message, size: int) -> None:
        """Add a message, or drop and count it if there is no room.

        Args:
            message: The message.
            size: Its bytes on the wire.
        """
        fits = not self._messages or self._bytes + size <= self._limit
        if fits and not self._dropped:  # after a gap, nothing is added until the reader knows of it
            self._messages.append((message, size))
            self._bytes += size
        else:
            self._dropped += 1
        self._changed.set()

    def end(self, error: Exception) -> None:
        """Raise this error to the reader once it has read all that waits."""
        self._end = error
        self._changed.set()

    async def get(self) -> Message:
        """Wait for the next message and return it.

        Raises:
            Exception: Messages are missing here (made by `lost`), or no more will come (as `end`
                was given).
        """
        while not self._messages:
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                raise self._lost(dropped)
            if self._end is not None:
                raise copy(self._end)  # several may raise it, each with a traceback of its own
            self._changed.clear()
            await self._changed.wait()
        message, size = self._messages.popleft()
        self._bytes -= size
        return message
