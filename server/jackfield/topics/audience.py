"""The members of one topic at this node: how they join, are sent what happens, and leave.

An audience listens to its topic's channel for as long as it has members. Whatever may have been
missed there is read from the topic's stream before anything newer is sent; what can't be had any
more is told.
"""

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import structlog

from jackfield.declaration.topic_family import TopicFamily
from jackfield.store.topics import Recovery
from jackfield.telemetry.log import SparingLog
from jackfield.wire.errors import Error
from jackfield.wire.position import Position

from .feed import Batch, Feed, Members, Published
from .join import Join
from .presence import Presence

if TYPE_CHECKING:
    from jackfield.connection.connection import Connection
    from jackfield.redis.bus import Bus
    from jackfield.store.presence import PresenceStore
    from jackfield.store.topics import StoredTopic, TopicStore

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
        "_gate",
        "_is_filled",
        "_on_empty",
        "_opening",
        "_refilling",
        "_store",
        "_uses",
        "events",
        "family",
        "gaps",
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
        place: "StoredTopic",
        *,
        store: "TopicStore",
        bus: "Bus",
        presence: "PresenceStore",
        gate: asyncio.Semaphore,
        on_empty: Callable[["Audience"], None],
    ) -> None:
        self.topic = topic
        self.family = family
        self.place = place
        self.members = Members()
        self.events = Feed(self.members)
        self.presence = (
            Presence(presence, place.keys, topic, self.members) if family.presence else None
        )
        #: How often something had to be read from the stream that the channel did not bring.
        self.gaps = 0
        #: Whether it listens, and knows where the topic stands.
        self.is_open = False
        self._store = store
        self._bus = bus
        self._gate = gate
        self._on_empty = on_empty
        self._opening: asyncio.Future[None] | None = None
        self._refilling: asyncio.Task[None] | None = None
        # Whether nothing was found missing since what is under way to fill gaps has looked.
        self._is_filled = True
        # Joins under way, and what else needs it to stay.
        self._uses = 0

    @property
    def position(self) -> Position:
        """Up to where the members were sent."""
        return Position(self.events.epoch, self.events.position)

    async def join(
        self,
        connection: "Connection",
        since: Position | None,
        info: dict[str, Any] | None = None,
        *,
        max_bytes: int,
        replay: bool = False,
    ) -> Join:
        """Prepare for a connection to become a member.

        Args:
            connection: The connection.
            since: Up to where it knows the topic already, if it does.
            info: What others see of it.
            max_bytes: Of the events it has missed.
            replay: Whether those are all there are.

        Returns:
            Where the topic stands; what comes behind that is sent once `Join.activate` is called.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        join = Join(self, connection)
        try:
            await self.open()
            if self.presence is not None:
                join.presence = await self.presence.attend(connection, info)
            join.read = await self._read(since, max_bytes, replay=replay)
        except BaseException:
            join.abandon()
            raise
        return join

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

    def leave(self, connection: "Connection") -> None:
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
                self.refill()
        elif self.presence is not None and self.presence.feed.receive(
            published.epoch, published.batch
        ):
            self.refill()

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
            self.refill()

    def hold(self) -> None:
        """Hold back what comes from now on: something before it may have been missed."""
        self._is_filled = False
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
        if self._is_refilling:  # what it has looked at may be older
            self.refill()
            return
        presence = self.presence
        missed = position != self.position or self.events.release(self.events.held)
        if presence is not None and (
            version > presence.feed.position or presence.feed.release(presence.feed.held)
        ):
            missed = True
        if missed:
            self.refill()

    def refill(self) -> None:
        """Fill whatever gap there is, in a task of its own."""
        self._is_filled = False
        self.events.hold()
        if not self._is_refilling:
            self._refilling = asyncio.create_task(self._refill())

    async def in_sync(self) -> None:
        """Wait until no gap is being filled."""
        if self._refilling is not None and not self._refilling.done():
            await asyncio.shield(self._refilling)

    def cancel(self) -> "list[asyncio.Task[None]]":
        """Stop everything: the last member has left; returns what has still to end."""
        self.is_open = False
        if self._refilling is None or self._refilling.done():
            return []
        self._refilling.cancel()
        return [self._refilling]

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
        self._is_filled = True
        await self._bus.subscribe(self.place.keys.channel)
        read = await self._store.read(self.place, None)
        self.events.move(read.epoch, read.offset)
        if self.presence is not None:
            await self.presence.open()
        self.is_open = True
        presence = self.presence
        if (
            not self._is_filled  # the channel was interrupted meanwhile
            or self.events.release(self.events.held)
            or (presence is not None and presence.feed.release(presence.feed.held))
        ):
            self.refill()

    async def _read(self, since: Position | None, max_bytes: int, *, replay: bool) -> Recovery:
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
            self.refill()
            try:
                async with asyncio.timeout(_SYNC_TIMEOUT):
                    await self.in_sync()
            except TimeoutError:  # Redis went away just now
                raise Error("unavailable", retry_after=_SYNC_TIMEOUT) from None

    @property
    def _is_refilling(self) -> bool:
        return self._refilling is not None and not self._refilling.done()

    async def _refill(self) -> None:
        while not self._is_filled:
            try:
                async with self._gate:
                    self._is_filled = True
                    if self.presence is not None and not self.presence.feed.in_sync:
                        await self.presence.refill()
                    await self._refill_events()
            except Error:
                self._is_filled = False
                await asyncio.sleep(_RETRY_PAUSE * random.uniform(0.5, 1.5))  # noqa: S311 - jitter

    async def _refill_events(self) -> None:
        """Send what the stream has behind the members' position, or a page of it."""
        self.events.hold()
        stale = self.events.held
        read = await self._store.read(self.place, self.position, whatever=True)
        if not read.recovered:
            self.events.move(read.epoch, read.after)
            self._tell_gap()
        if read.events:
            self.gaps += 1
            self.events.send(Batch(read.after + 1, read.events))
        if read.reached < read.offset or self.events.release(stale):
            self._is_filled = False

    def _tell_gap(self) -> None:
        self.gaps += 1
        _log.warning("members of a topic have missed events", topic=self.topic)
        error = self.gap()
        for connection in self.members:
            if self.events.floor(connection) <= self.events.position:
                connection.refuse(None, error)

    def gap(self) -> Error:
        """What members are told when something is lost: where they are now."""
        epoch, offset = self.position
        return Error("unrecoverable", topic=self.topic, epoch=epoch, offset=offset)
