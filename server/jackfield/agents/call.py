"""A call that this node follows for its caller: what the task's topic says, in order, no gaps.

The events come by the node's own channel of the agent. One that is missing is read from the
topic's history, and so is everything if the caller has fallen behind: memory stays bounded, and the
agent is told to wait before it comes to that.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Final, Protocol

from jackfield.store.topics import StoredTopic, TopicStore
from jackfield.wire.errors import Error
from jackfield.wire.position import Position

from .task import ENDED, Progress, read_event

#: Bytes of events that wait for the caller: past the first the agent is held, below the second it
#: goes on, past the third they are dropped here and read again later.
_HOLD_BYTES: Final = 262_144
_GO_BYTES: Final = 65_536
_MOST_BYTES: Final = 1_048_576
#: Events and bytes of one page of history.
_PAGE: Final = 256
_PAGE_BYTES: Final = 262_144
#: Seconds between attempts to read what is missing while Redis is away.
_RETRY_PAUSE: Final = 0.5


class Hold(Protocol):
    """Has the agent of a call wait, or go on."""

    def __call__(self, call: "Call", /, *, wait: bool) -> None:
        """Tell it so."""


class Call:
    """A task that is followed here.

    Args:
        task: Its id.
        place: Its topic.
        topics: The topics in Redis.
        on_hold: Called with whether the agent has to wait.
    """

    __slots__ = (
        "_bytes",
        "_chunks",
        "_events",
        "_fault",
        "_is_behind",
        "_is_held",
        "_on_hold",
        "_position",
        "_topics",
        "_woken",
        "ended",
        "place",
        "task",
    )

    def __init__(
        self,
        task: str,
        place: StoredTopic,
        topics: TopicStore,
        on_hold: "Hold",
    ) -> None:
        self.task = task
        #: Whether its last event has come.
        self.ended = False
        self.place = place
        self._topics = topics
        self._on_hold = on_hold
        self._events: deque[tuple[str, int, bytes]] = deque()
        self._bytes = 0
        self._is_held = False
        # Whether something is missing, and what comes is not kept.
        self._is_behind = False
        self._fault: Error | None = None
        self._position = ("", 0)
        self._chunks = 0
        self._woken = asyncio.Event()

    def receive(self, epoch: str, offset: int, message: bytes) -> None:
        """An event has come."""
        self._woken.set()
        if self._is_behind:
            return
        self._events.append((epoch, offset, message))
        self._bytes += len(message)
        if self._bytes > _MOST_BYTES:
            self.look_again()
        elif self._bytes > _HOLD_BYTES and not self._is_held:
            self._is_held = True
            self._on_hold(self, wait=True)

    def look_again(self) -> None:
        """Something may have been missed: read on from the history."""
        self._is_behind = True
        self._events.clear()
        self._bytes = 0
        self._woken.set()

    def compare(self, position: Position) -> None:
        """Look again if the topic stands elsewhere than where what has come from it ends."""
        known = self._events[-1][1] if self._events else self._position[1]
        if position.offset != known and not self._is_behind:
            self.look_again()

    def let_go(self) -> None:
        """Have the agent go on, if it was told to wait."""
        if self._is_held:
            self._is_held = False
            self._on_hold(self, wait=False)

    def fail(self, error: Error) -> None:
        """Nothing more will come."""
        self._fault = error
        self._woken.set()

    async def progress(self) -> AsyncIterator[Progress]:
        """What becomes of the task, up to its end.

        Raises:
            Error: ``unavailable``: it can't be told what became of it.
        """
        while not self.ended:
            while self._events:
                event = self._next()
                if event is not None:
                    yield event
                    if event.state in ENDED:
                        return
            if self._bytes < _GO_BYTES:
                self.let_go()
            if self._is_behind:
                for event in await self._catch_up():
                    yield event
                continue
            if self._fault is not None:
                raise self._fault
            self._woken.clear()
            await self._woken.wait()

    def _next(self) -> Progress | None:
        epoch, offset, message = self._events.popleft()
        self._bytes -= len(message)
        known, position = self._position
        if epoch != known and position:
            # A Redis that was restarted may have lost what came last, and count on from before it.
            position = min(position, offset - 1)
        if offset <= position:
            return None
        if offset > position + 1:
            self.look_again()
            return None
        return self._take(epoch, offset, message)

    def _take(self, epoch: str, offset: int, message: bytes) -> Progress:
        self._position = (epoch, offset)
        event = read_event(message)
        self.ended = event.state in ENDED
        if event.kind == "chunks":
            # Each is told once, also where a restarted Redis counts some again.
            end = event.seq + len(event.chunks)
            del event.chunks[: max(self._chunks - event.seq, 0)]
            self._chunks = max(self._chunks, end)
        return event

    async def _catch_up(self) -> list[Progress]:
        """The next page of the history; after the last one, what comes is kept again."""
        try:
            past = await self._topics.history(
                self.place,
                after=self._position[1],
                before=None,
                limit=_PAGE,
                max_bytes=_PAGE_BYTES,
            )
        except Error:
            if self._fault is not None:
                raise self._fault from None
            await asyncio.sleep(_RETRY_PAUSE)
            return []
        if not past.complete or past.offset < self._position[1]:
            raise Error("unavailable", "What became of the task is lost.", task=self.task)
        first = self._position[1] + 1
        events = [
            self._take(past.epoch, offset, message)
            for offset, message in enumerate(past.events, start=first)
        ]
        if self._position[1] >= past.offset:
            # What has come since it was read leaves a gap, which is seen at the next event.
            self._is_behind = False
        return events
