"""Refill a gap: read what members of a topic have missed from its history, or report it lost."""

import asyncio
import random
from typing import Final

import structlog

from jackfield.store.topics import StoredTopic, TopicStore
from jackfield.telemetry.log import RateLimitedLog
from jackfield.wire.errors import Error

from .encoding import Batch
from .feed import Feed, Members
from .presence import TopicPresence

#: A restarted Redis has all topics say the same at once.
_log: Final = RateLimitedLog(structlog.get_logger("jackfield"))

#: Seconds between attempts to refill a gap while Redis is away, jittered: every topic has one.
_RETRY_PAUSE: Final = 0.5


class GapRefill:
    """Refills what is missing before the messages that a topic's members are sent next.

    Args:
        name: The topic's name.
        stored: What Redis has to know of it.
        store: The topics in Redis.
        events: Its events, on their way to the members.
        presence: Its presence; None if it has none.
        members: Its members at this node.
        semaphore: Bounds how many topics read what they have missed at once.
    """

    __slots__ = (
        "_events",
        "_members",
        "_name",
        "_presence",
        "_semaphore",
        "_store",
        "_stored",
        "_task",
        "count",
        "is_suspected",
    )

    def __init__(
        self,
        name: str,
        stored: StoredTopic,
        *,
        store: TopicStore,
        events: Feed,
        presence: TopicPresence | None,
        members: Members,
        semaphore: asyncio.Semaphore,
    ) -> None:
        self._name = name
        self._stored = stored
        self._store = store
        self._events = events
        self._presence = presence
        self._members = members
        self._semaphore = semaphore
        self._task: asyncio.Task[None] | None = None
        #: Whether something may have been missed since the history was last read.
        self.is_suspected = False
        #: How often something was read from the history that the channel did not bring, or lost.
        self.count = 0

    @property
    def is_running(self) -> bool:
        """Whether a gap is being refilled."""
        return self._task is not None and not self._task.done()

    def suspect(self) -> None:
        """Pause: something may have been missed. A refill under way reads the history again."""
        self.is_suspected = True
        self._events.pause()
        if self._presence is not None:
            self._presence.feed.pause()

    def forget(self) -> None:
        """Forget what was suspected: the topic is about to be read for the first time."""
        self.is_suspected = False

    def start(self) -> None:
        """Refill whatever gap there is, in a task of its own."""
        self.is_suspected = True
        self._events.pause()
        if not self.is_running:
            self._task = asyncio.create_task(self._run())

    async def wait(self) -> None:
        """Wait until nothing is being refilled."""
        if self._task is not None and not self._task.done():
            await asyncio.shield(self._task)

    def cancel(self) -> list[asyncio.Task[None]]:
        """Stop refilling; return the tasks that have yet to end."""
        if self._task is None or self._task.done():
            return []
        self._task.cancel()
        return [self._task]

    def loss(self) -> Error:
        """Return the error that tells members of a loss, and where they are now."""
        epoch, offset = self._events.position
        return Error("unrecoverable", topic=self._name, epoch=epoch, offset=offset)

    async def _run(self) -> None:
        while self.is_suspected:
            try:
                async with self._semaphore:
                    self.is_suspected = False
                    if self._presence is not None and self._presence.feed.is_paused:
                        await self._presence.refill()
                    await self._refill_events()
            except Error:  # Redis is away
                self.is_suspected = True
                await asyncio.sleep(_RETRY_PAUSE * random.uniform(0.5, 1.5))  # noqa: S311 - jitter

    async def _refill_events(self) -> None:
        """Send what the history has behind the members' position, or a page of it."""
        self._events.pause()
        stale = self._events.buffered
        read = await self._store.read(self._stored, self._events.position, whatever=True)
        if not read.recovered:
            self._events.skip_to(read.epoch, read.after)
            self._report_loss()
        if read.events:
            self.count += 1
            self._events.send(Batch(read.after + 1, read.events))
        if read.reached < read.offset or self._events.resume(stale):
            self.is_suspected = True

    def _report_loss(self) -> None:
        self.count += 1
        _log.warning("members of a topic have missed events", topic=self._name)
        error = self.loss()
        for connection in self._members:
            if self._events.floor(connection) <= self._events.offset:
                connection.refuse(None, error)
