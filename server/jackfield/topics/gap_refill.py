"""What members of a topic have missed: read from its history and sent, or told to be lost."""

import asyncio
import random
from typing import Final

import structlog

from jackfield.store.topics import StoredTopic, TopicStore
from jackfield.telemetry.log import SparingLog
from jackfield.wire.errors import Error

from .encoding import Batch
from .feed import Feed, Members
from .presence import TopicPresence

#: A restarted Redis has all topics say the same at once.
_log: Final = SparingLog(structlog.get_logger("jackfield"))

#: Seconds between attempts to refill a gap while Redis is away, jittered: every topic has one.
_RETRY_PAUSE: Final = 0.5


class GapRefill:
    """The gap before what the members of one topic are sent next, if there is one.

    Args:
        topic: The topic's name.
        place: What Redis knows of it.
        store: The topics in Redis.
        events: Its events, on their way to the members.
        presence: Its presence; None if it has none.
        members: Its members at this node.
        gate: What refills a gap enters it, so that not all topics ask Redis at once.
    """

    __slots__ = (
        "_events",
        "_gate",
        "_members",
        "_place",
        "_presence",
        "_refilling",
        "_store",
        "_topic",
        "count",
        "is_filled",
    )

    def __init__(
        self,
        topic: str,
        place: StoredTopic,
        *,
        store: TopicStore,
        events: Feed,
        presence: TopicPresence | None,
        members: Members,
        gate: asyncio.Semaphore,
    ) -> None:
        self._topic = topic
        self._place = place
        self._store = store
        self._events = events
        self._presence = presence
        self._members = members
        self._gate = gate
        self._refilling: asyncio.Task[None] | None = None
        #: Whether nothing was found missing since the refilling under way has read the history.
        self.is_filled = True
        #: How often something had to be read from the history that the channel did not bring.
        self.count = 0

    @property
    def is_refilling(self) -> bool:
        """Whether it is being refilled."""
        return self._refilling is not None and not self._refilling.done()

    def refill(self) -> None:
        """Refill whatever gap there is, in a task of its own."""
        self.is_filled = False
        self._events.hold()
        if not self.is_refilling:
            self._refilling = asyncio.create_task(self._refill())

    async def refilled(self) -> None:
        """Wait until nothing is being refilled."""
        if self._refilling is not None and not self._refilling.done():
            await asyncio.shield(self._refilling)

    def cancel(self) -> list[asyncio.Task[None]]:
        """Refill no more; returns what has still to end."""
        if self._refilling is None or self._refilling.done():
            return []
        self._refilling.cancel()
        return [self._refilling]

    def loss(self) -> Error:
        """What members are told when something is lost: where they are now."""
        epoch, offset = self._events.stand
        return Error("unrecoverable", topic=self._topic, epoch=epoch, offset=offset)

    async def _refill(self) -> None:
        while not self.is_filled:
            try:
                async with self._gate:
                    self.is_filled = True
                    if self._presence is not None and not self._presence.feed.in_sync:
                        await self._presence.refill()
                    await self._refill_events()
            except Error:
                self.is_filled = False
                await asyncio.sleep(_RETRY_PAUSE * random.uniform(0.5, 1.5))  # noqa: S311 - jitter

    async def _refill_events(self) -> None:
        """Send what the history has behind the members' position, or a page of it."""
        self._events.hold()
        stale = self._events.held
        read = await self._store.read(self._place, self._events.stand, whatever=True)
        if not read.recovered:
            self._events.move(read.epoch, read.after)
            self._tell_loss()
        if read.events:
            self.count += 1
            self._events.send(Batch(read.after + 1, read.events))
        if read.reached < read.offset or self._events.release(stale):
            self.is_filled = False

    def _tell_loss(self) -> None:
        self.count += 1
        _log.warning("members of a topic have missed events", topic=self._topic)
        error = self.loss()
        for connection in self._members:
            if self._events.floor(connection) <= self._events.position:
                connection.refuse(None, error)
