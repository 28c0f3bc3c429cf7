"""Rooms in memory: what was said in them, and who listens."""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

Message = dict[str, Any]


class Room:
    """What was said in one room, and who listens to it.

    Args:
        history: Messages it keeps.
    """

    def __init__(self, history: int) -> None:
        self.count = 0
        self.messages: deque[Message] = deque(maxlen=history)
        self.listeners: set[Listener] = set()

    def say(self, nick: str, text: str) -> int:
        """Add a message, for all that listen; returns its number."""
        self.count += 1
        message = {"number": self.count, "nick": nick, "text": text}
        self.messages.append(message)
        for listener in self.listeners:
            listener.hear(message)
        return self.count

    @contextmanager
    def listening(self, backlog: int) -> Iterator["Listener"]:
        """Somebody who hears every message of the room while the context lasts."""
        listener = Listener(backlog)
        self.listeners.add(listener)
        try:
            yield listener
        finally:
            self.listeners.discard(listener)


class Listener:
    """Hears a room.

    Args:
        backlog: Messages that may wait for it.
    """

    def __init__(self, backlog: int) -> None:
        self._waiting: asyncio.Queue[Message] = asyncio.Queue(backlog)
        self.missed = False

    def hear(self, message: Message) -> None:
        """Take a message, unless too many are waiting already."""
        try:
            self._waiting.put_nowait(message)
        except asyncio.QueueFull:
            self.missed = True

    async def next(self) -> Message | None:
        """The next message; None once one was missed."""
        if self.missed and self._waiting.empty():
            return None
        return await self._waiting.get()
