"""The members of one topic at this node: how they join, are sent what happens, and leave.

An audience listens to its topic's channel for as long as it has members. Whatever may have been
missed there is read from the topic's stream before anything newer is sent; what can't be had any
more is told.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from jackfield.connection.connection import Connection
from jackfield.declaration.topic_family import TopicFamily
from jackfield.redis.bus import Bus
from jackfield.store.presence import PresenceStore
from jackfield.store.topics import Recovery, StoredTopic, TopicStore
from jackfield.telemetry.log import SparingLog
from jackfield.wire.errors import Error
from jackfield.wire.position import Position

from .encoding import Published
from .feed import Feed, Members
from .gap_refill import GapRefill
from .presence import TopicPresence

#: A restarted Redis has all topics say the same at once.
_log: Final = SparingLog(structlog.get_logger("jackfield"))

#: Seconds that a client which wants to join waits for a gap to be filled.
_SYNC_TIMEOUT: Final = 5.0
#: Seconds between attempts to fill a gap while Redis is away, jittered: every audience has one.
_RETRY_PAUSE: Final = 0.5


#: Before all events, whatever their epoch.
_BEGINNING: Final = Position("", 0)


class Audience:
    """The members of one topic at this node.

    Args:
        topic: The topic's name.
        family: Its family.
        place: What Redis knows of it.
        store: The topics in Redis.
        bus: The channels.
        presence: The presence in Redis.
        gate: What fills gaps enters it, so that not all audiences ask Redis at once.
        on_empty: Called when the last member has left.
    """

    __slots__ = (
        "_bus",
        "_on_empty",
        "_opening",
        "_store",
        "_uses",
        "events",
        "family",
        "gap",
        "is_open",
        "members",
        "place",
        "presence",
        "topic",
    )

    def __init__(
        self,
        topic: str,
        family: TopicFamily,
        place: StoredTopic,
        *,
        store: TopicStore,
        bus: Bus,
        presence: PresenceStore,
        gate: asyncio.Semaphore,
        on_empty: Callable[["Audience"], None],
    ) -> None:
        self.topic = topic
        self.family = family
        self.place = place
        self.members = Members()
        self.events = Feed(self.members)
        self.presence = (
            TopicPresence(presence, place.keys, topic, self.members) if family.presence else None
        )
        self.gap = GapRefill(
            topic,
            place,
            store=store,
            events=self.events,
            presence=self.presence,
            members=self.members,
            gate=gate,
        )
        #: Whether it listens, and knows where the topic stands.
        self.is_open = False
        self._store = store
        self._bus = bus
        self._on_empty = on_empty
        self._opening: asyncio.Future[None] | None = None
        # Joins under way, and what else needs it to stay.
        self._uses = 0

    @property
    def position(self) -> Position:
        """Up to where the members were sent."""
        return self.events.stand

    async def open(self) -> None:
        """Listen to the channel, and learn where the topic stands; once for all who ask.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        while not self.is_open:
            if self._opening is None:
                await self._open_for_all()
            else:
                # Whoever opens it may be cancelled: then it is somebody else's turn.
                await asyncio.shield(self._opening)

    def leave(self, connection: Connection) -> None:
        """A connection is no member any more."""
        self.members.discard(connection)
        self.events.forget(connection)
        if self.presence is not None:
            self.presence.feed.forget(connection)
            self.presence.depart(connection)
        self._check_empty()

    def receive(self, published: Published) -> None:
        """Hand on what came over the channel."""
        if published.kind == b"e":
            if self.events.receive(published.epoch, published.batch):
                self.gap.refill()
        elif self.presence is not None and self.presence.feed.receive(
            published.epoch, published.batch
        ):
            self.gap.refill()

    async def refresh_presence(self) -> int:
        """Keep the presence of this node's members, if they have one; returns its version.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        return 0 if self.presence is None else await self.presence.refresh()

    def catch_up(self, position: Position, version: int) -> None:
        """Make up for what was missed, if the members were not sent all up to here.

        Args:
            position: Where the topic stood a while ago.
            version: And its presence.
        """
        if not self.is_open:
            return
        behind = self.presence is not None and self.presence.feed.position < version
        if self.presence is not None and behind:
            self.presence.feed.hold()
        if behind or position.epoch != self.events.epoch or position.offset > self.events.position:
            self.gap.refill()

    def hold(self) -> None:
        """Hold back what comes from now on: something before it may have been missed."""
        self.gap.is_filled = False
        self.events.hold()
        if self.presence is not None:
            self.presence.feed.hold()

    async def check(self, position: Position) -> None:
        """Hand on what was held back, or fill the gap before it.

        Args:
            position: Where the topic stood at some time after `hold`.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        version = await self.refresh_presence()
        if not self.is_open:  # it has been given up, or is only about to learn where it stands
            return
        if self.gap.is_refilling:  # what it has looked at may be older
            self.gap.refill()
            return
        presence = self.presence
        missed = position != self.position or self.events.release(self.events.held)
        if presence is not None and (
            version > presence.feed.position or presence.feed.release(presence.feed.held)
        ):
            missed = True
        if missed:
            self.gap.refill()

    def cancel(self) -> list[asyncio.Task[None]]:
        """Stop everything: the last member has left; returns what has still to end."""
        self.is_open = False
        return self.gap.cancel()

    def begin_use(self) -> None:
        """Somebody needs the audience, member or not."""
        self._uses += 1
        self.events.begin_join()
        if self.presence is not None:
            self.presence.feed.begin_join()

    def end_use(self) -> None:
        """Somebody needs it no longer."""
        self._uses -= 1
        self.events.end_join()
        if self.presence is not None:
            self.presence.feed.end_join()
        self._check_empty()

    def _check_empty(self) -> None:
        if not self._uses and not len(self.members):
            self._on_empty(self)

    async def _open_for_all(self) -> None:
        # Not in a task of its own: most topics are one user's, and nobody else waits for it.
        opening = self._opening = self._bus.loop.create_future()
        try:
            await self._open()
        except Exception as exc:
            opening.set_exception(exc)
            opening.exception()  # nobody has to look at it
            raise
        finally:
            self._opening = None
            if not opening.done():
                opening.set_result(None)

    async def _open(self) -> None:
        self.gap.is_filled = True
        await self._bus.subscribe(self.place.keys.channel)
        read = await self._store.read(self.place, None)
        self.events.move(read.epoch, read.offset)
        if self.presence is not None:
            await self.presence.open()
        self.is_open = True
        presence = self.presence
        if (
            not self.gap.is_filled  # the channel was interrupted meanwhile
            or self.events.release(self.events.held)
            or (presence is not None and presence.feed.release(presence.feed.held))
        ):
            self.gap.refill()

    async def read(self, since: Position | None, max_bytes: int, *, replay: bool) -> Recovery:
        """Where the topic stands for a connection that joins, and what it has missed.

        Args:
            since: Up to where it knows the topic already; None if it doesn't.
            max_bytes: Of the events it has missed.
            replay: Whether those are all there are.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        if replay:
            since = _BEGINNING
        while True:
            here = self.position
            if self.events.in_sync and since in (None, here):
                # What is on its way comes behind this: Redis need not be asked.
                return Recovery(*here, since is not None, here.offset, [])
            read = await self._store.read(self.place, since, whatever=replay, max_bytes=max_bytes)
            if read.epoch == self.events.epoch:
                return read
            # Another epoch has begun, and nobody here has been told of it yet.
            self.gap.refill()
            try:
                async with asyncio.timeout(_SYNC_TIMEOUT):
                    await self.gap.refilled()
            except TimeoutError:  # Redis went away just now
                raise Error("unavailable", retry_after=_SYNC_TIMEOUT) from None
