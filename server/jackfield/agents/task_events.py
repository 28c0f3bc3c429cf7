"""`TaskEvents`: the events of one task for a caller here, in order and without gaps.

They come by the agent's channel of this node. One that is missing is read from the history of the
task's topic, and so is everything if the caller has fallen behind: memory stays bounded. Before it
comes to that, the agent is paused.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Final, Protocol

from jackfield.store.topics import StoredTopic, TopicStore
from jackfield.wire.errors import Error
from jackfield.wire.position import Position

from .task import ENDED, Progress, read_event

#: Bytes of events that wait for the caller: past the first the agent is paused, below the second it
#: resumes, past the third they are dropped here and read again later.
_PAUSE_BYTES: Final = 262_144
_RESUME_BYTES: Final = 65_536
_MAX_BYTES: Final = 1_048_576
#: Events and bytes of one page of history.
_PAGE: Final = 256
_PAGE_BYTES: Final = 262_144
#: Seconds between attempts to read the history while Redis is away.
_RETRY_PAUSE: Final = 0.5


class Throttle(Protocol):
    """Pauses the agent that works on a task, or has it resume."""

    def __call__(self, task: str, /, *, pause: bool) -> None:
        """Tell it so, without waiting."""


class TaskEvents:
    """The events of a task that is followed here.

    Args:
        task: The task's id.
        stored: What Redis has to know of its topic.
        topics: The topics in Redis.
        throttle: Pauses the agent while the caller can't keep up.
    """

    __slots__ = (
        "_bytes",
        "_chunks",
        "_epoch",
        "_events",
        "_fault",
        "_has_paused",
        "_is_behind",
        "_offset",
        "_throttle",
        "_topics",
        "_woken",
        "ended",
        "stored",
        "task",
    )

    def __init__(
        self, task: str, stored: StoredTopic, topics: TopicStore, throttle: Throttle
    ) -> None:
        self.task = task
        self.stored = stored
        #: Whether its last event was handed on.
        self.ended = False
        self._topics = topics
        self._throttle = throttle
        self._events: deque[tuple[str, int, bytes]] = deque()
        self._bytes = 0
        self._has_paused = False
        # Whether something is missing, and what comes is not kept.
        self._is_behind = False
        self._fault: Error | None = None
        # Up to where events were handed on.
        self._epoch = ""
        self._offset = 0
        # How many chunks were handed on.
        self._chunks = 0
        self._woken = asyncio.Event()

    def receive(self, epoch: str, offset: int, message: bytes) -> None:
        """Keep an event that has come for the caller."""
        self._woken.set()
        if self._is_behind:
            return
        self._events.append((epoch, offset, message))
        self._bytes += len(message)
        if self._bytes > _MAX_BYTES:
            self.catch_up()
        elif self._bytes > _PAUSE_BYTES and not self._has_paused:
            self._has_paused = True
            self._throttle(self.task, pause=True)

    def catch_up(self) -> None:
        """Read on from the history: something may have been missed."""
        self._is_behind = True
        self._events.clear()
        self._bytes = 0
        self._woken.set()

    def compare(self, position: Position) -> None:
        """Catch up if what has come ends elsewhere than the topic stands."""
        known = self._events[-1][1] if self._events else self._offset
        if position.offset != known and not self._is_behind:
            self.catch_up()

    def resume_agent(self) -> None:
        """Have the agent resume, if it was paused."""
        if self._has_paused:
            self._has_paused = False
            self._throttle(self.task, pause=False)

    def fail(self, error: Error) -> None:
        """End the progress with an error, after what has come already."""
        self._fault = error
        self._woken.set()

    async def progress(self) -> AsyncIterator[Progress]:
        """Iterate over the events up to the task's end.

        Raises:
            Error: ``unavailable``: it can't be told what became of the task.
        """
        while not self.ended:
            while self._events:
                event = self._next()
                if event is not None:
                    yield event
                    if event.state in ENDED:
                        return
            if self._bytes < _RESUME_BYTES:
                self.resume_agent()
            if self._is_behind:
                for event in await self._read_page():
                    yield event
                continue
            if self._fault is not None:
                raise self._fault
            self._woken.clear()
            await self._woken.wait()

    def _next(self) -> Progress | None:
        """Take the next event; None if it is known, or something before it is missing."""
        epoch, offset, message = self._events.popleft()
        self._bytes -= len(message)
        last = self._offset
        if epoch != self._epoch and last:
            # A Redis that was restarted may have lost what came last, and count on from before it.
            last = min(last, offset - 1)
        if offset <= last:
            return None
        if offset > last + 1:
            self.catch_up()
            return None
        return self._take(epoch, offset, message)

    def _take(self, epoch: str, offset: int, message: bytes) -> Progress:
        self._epoch, self._offset = epoch, offset
        event = read_event(message)
        self.ended = event.state in ENDED
        if event.kind == "chunks":
            # Each is handed on once, also where a restarted Redis counts some again.
            end = event.seq + len(event.chunks)
            del event.chunks[: max(self._chunks - event.seq, 0)]
            self._chunks = max(self._chunks, end)
        return event

    async def _read_page(self) -> list[Progress]:
        """Read the next page of the history; after the last one, what comes is kept again."""
        try:
            past = await self._topics.history(
                self.stored,
                after=self._offset,
                before=None,
                limit=_PAGE,
                max_bytes=_PAGE_BYTES,
            )
        except Error:
            if self._fault is not None:
                raise self._fault from None
            await asyncio.sleep(_RETRY_PAUSE)
            return []
        if not past.complete or past.offset < self._offset:
            raise Error("unavailable", "What became of the task is lost.", task=self.task)
        first = self._offset + 1
        events = [
            self._take(past.epoch, offset, message)
            for offset, message in enumerate(past.events, start=first)
        ]
        if self._offset >= past.offset:
            # What has come since it was read leaves a gap, which is seen at the next event.
            self._is_behind = False
        return events
