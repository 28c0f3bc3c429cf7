"""`Audience`: the members of one topic at this node, and what they are sent.

An audience listens to its topic's channel for as long as it has members. Whatever may have been
missed there is read from the topic's history before anything newer is sent; members are told of
what the history has no longer.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from jackfield.connection.connection import Connection
from jackfield.redis.bus import Bus
from jackfield.store.presence import PresenceStore
from jackfield.store.topics import Recovery, TopicStore
from jackfield.wire.errors import Error
from jackfield.wire.position import Position

from .encoding import Published
from .feed import Feed, Members
from .gap_refill import GapRefill
from .presence import TopicPresence
from .topic import Topic

#: Seconds that a client which wants to join waits for a gap to be refilled.
_REFILL_TIMEOUT: Final = 5.0
#: Before all events, whatever their epoch.
_BEGINNING: Final = Position("", 0)


class Audience:
    """The members of one topic at this node.

    Args:
        topic: The topic.
        store: The topics in Redis.
        bus: The channels.
        presence: The presence in Redis.
        refills: Bounds how many topics read what they have missed at once.
        on_empty: Called when the last member has left.
    """

    __slots__ = (
        "_bus",
        "_joining",
        "_on_empty",
        "_opening",
        "_store",
        "events",
        "gap",
        "is_open",
        "members",
        "presence",
        "stored",
        "topic",
    )

    def __init__(
        self,
        topic: Topic,
        *,
        store: TopicStore,
        bus: Bus,
        presence: PresenceStore,
        refills: asyncio.Semaphore,
        on_empty: Callable[["Audience"], None],
    ) -> None:
        #: The topic's name.
        self.topic = topic.name
        #: What Redis has to know of it.
        self.stored = topic.stored
        self.members = Members()
        self.events = Feed(self.members)
        self.presence = (
            TopicPresence(presence, topic.stored.keys, topic.name, self.members)
            if topic.family.presence
            else None
        )
        self.gap = GapRefill(
            topic.name,
            topic.stored,
            store=store,
            events=self.events,
            presence=self.presence,
            members=self.members,
            semaphore=refills,
        )
        #: Whether it listens, and knows where the topic stands.
        self.is_open = False
        self._store = store
        self._bus = bus
        self._on_empty = on_empty
        self._opening: asyncio.Future[None] | None = None
        # Joins under way: for these it stays, with or without members.
        self._joining = 0

    @property
    def position(self) -> Position:
        """Up to where the members were sent."""
        return self.events.position

    async def open(self) -> None:
        """Listen to the channel, and read where the topic stands; once for all who ask.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        while not self.is_open:
            if self._opening is None:
                await self._open_for_all()
            else:
                # Whoever opens it may be cancelled: then it is somebody else's turn.
                await asyncio.shield(self._opening)

    async def read(self, since: Position | None, max_bytes: int, *, replay: bool) -> Recovery:
        """Read where the topic stands for a connection that joins, and what it has missed.

        Args:
            since: Up to where it knows the topic already; None if it doesn't.
            max_bytes: Bytes of the events it has missed, at most.
            replay: Whether it has missed all that are kept.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        if replay:
            since = _BEGINNING
        while True:
            here = self.position
            if not self.events.is_paused and since in (None, here):
                # What is on its way comes behind this: Redis need not be asked.
                return Recovery(*here, since is not None, here.offset, [])
            read = await self._store.read(self.stored, since, whatever=replay, max_bytes=max_bytes)
            if read.epoch == self.events.epoch:
                return read
            # Another epoch has begun, and nobody here has been told of it yet.
            self.gap.start()
            try:
                async with asyncio.timeout(_REFILL_TIMEOUT):
                    await self.gap.wait()
            except TimeoutError:  # Redis went away just now
                raise Error("unavailable", retry_after=_REFILL_TIMEOUT) from None

    def begin_join(self) -> None:
        """Stay for somebody who is about to join, and keep what is sent meanwhile."""
        self._joining += 1
        self.events.begin_join()
        if self.presence is not None:
            self.presence.feed.begin_join()

    def end_join(self) -> None:
        """End a join that began, whatever has come of it."""
        self._joining -= 1
        self.events.end_join()
        if self.presence is not None:
            self.presence.feed.end_join()
        self._check_empty()

    def leave(self, connection: Connection) -> None:
        """Remove a connection from the members."""
        self.members.discard(connection)
        self.events.forget(connection)
        if self.presence is not None:
            self.presence.feed.forget(connection)
            self.presence.remove(connection)
        self._check_empty()

    def receive(self, published: Published) -> None:
        """Send on what came over the channel, or refill the gap before it."""
        if published.kind == b"e":
            if self.events.receive(published.epoch, published.batch):
                self.gap.start()
        elif self.presence is not None and self.presence.feed.receive(
            published.epoch, published.batch
        ):
            self.gap.start()

    async def refresh_presence(self) -> int:
        """Keep the presence of this node's members, if they have one; return its version.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        return 0 if self.presence is None else await self.presence.refresh()

    def catch_up(self, position: Position, version: int) -> None:
        """Read what was missed, if the members were not sent all up to here.

        Args:
            position: Where the topic stood a while ago.
            version: Where its presence stood.
        """
        if not self.is_open:
            return
        behind = self.presence is not None and self.presence.feed.offset < version
        if self.presence is not None and behind:
            self.presence.feed.pause()
        if behind or position.epoch != self.events.epoch or position.offset > self.events.offset:
            self.gap.start()

    def suspect(self) -> None:
        """Buffer what comes until `check`: something before it may have been missed."""
        self.gap.suspect()

    async def check(self, position: Position) -> None:
        """Send on what was buffered since `suspect`, or refill the gap before it.

        Args:
            position: Where the topic stood at some time after `suspect`.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        version = await self.refresh_presence()
        if not self.is_open:  # it has been given up, or is only about to read where it stands
            return
        if self.gap.is_running:  # what that has read may be older
            self.gap.start()
            return
        presence = self.presence
        missed = position != self.position or self.events.resume(self.events.buffered)
        if presence is not None and (
            version > presence.feed.offset or presence.feed.resume(presence.feed.buffered)
        ):
            missed = True
        if missed:
            self.gap.start()

    def cancel(self) -> list[asyncio.Task[None]]:
        """Stop everything, as the last member has left; return the tasks that have yet to end."""
        self.is_open = False
        return self.gap.cancel()

    def _check_empty(self) -> None:
        if not self._joining and not len(self.members):
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
        self.gap.forget()
        await self._bus.subscribe(self.stored.keys.channel)
        read = await self._store.read(self.stored, None)
        self.events.skip_to(read.epoch, read.offset)
        if self.presence is not None:
            await self.presence.open()
        self.is_open = True
        presence = self.presence
        if (
            self.gap.is_suspected  # the channel was interrupted meanwhile
            or self.events.resume(self.events.buffered)
            or (presence is not None and presence.feed.resume(presence.feed.buffered))
        ):
            self.gap.start()
