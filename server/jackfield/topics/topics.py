"""`Topics`: all topics that this node has to do with, what is published to them, their upkeep."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import groupby
from typing import Any, Final, NamedTuple

import structlog

from jackfield.config import Settings
from jackfield.connection.connection import Connection
from jackfield.declaration.topic_family import BROADCAST, USER, TopicFamily
from jackfield.redis.bus import Bus
from jackfield.redis.client import RedisClient
from jackfield.schema.payload import as_payload, check_against
from jackfield.store.keys import Keys
from jackfield.store.presence import PresenceStore
from jackfield.store.topics import Publication, StoredTopic, TopicStore
from jackfield.wire import protocol
from jackfield.wire.errors import Error
from jackfield.wire.position import Position
from jackfield.wire.topic_limits import MAX_KEY_LENGTH

from .audience import Audience
from .encoding import parse
from .join import Join, begin_join
from .membership import MEMBERSHIP
from .presence import MAX_LISTED, as_reply

_log = structlog.get_logger("jackfield")

#: Topics whose family and keys are remembered: to find them costs 5 us.
_REMEMBERED: Final = 10_000
#: Topics of one call to refresh. Redis does one in 8 us, and nothing else meanwhile.
_BATCH: Final = 250
#: Bytes that the offset adds to an event, at most.
_OFFSET_BYTES: Final = 16
#: Seconds that an event may be on its way before it counts as missed.
_ON_ITS_WAY: Final = 1.0
#: Seconds between attempts to make up for a gap while Redis is away.
_RETRY_PAUSE: Final = 0.5


#: The family of a topic by its name, with the parts of that; None if no plugin declares it.
FindFamily = Callable[[str], tuple[TopicFamily, dict[str, str]] | None]
#: Is called with a channel and what was published on it.
Listener = Callable[[bytes, bytes], None]


class Topic(NamedTuple):
    """A topic, found by its name.

    Attributes:
        topic: Its name.
        family: Its family.
        parts: The parts of its name.
        place: What Redis has to know of it.
        head: The start of its events.
    """

    topic: str
    family: TopicFamily
    parts: dict[str, str]
    place: StoredTopic
    head: bytes


class Topics:
    """The topics of one node.

    Args:
        settings: The server's settings.
        find_family: Tells which family a topic is of; see `Registry.find_family`.
        redis: The Redis they live in.
        keys: The keys of this node.
    """

    def __init__(
        self, settings: Settings, find_family: FindFamily, redis: RedisClient, keys: Keys
    ) -> None:
        self._settings = settings
        self.store = TopicStore(redis)
        #: How many events were published here, and how many gaps had to be filled or told.
        self.published = 0
        self._past_gaps = 0
        self._find_family = find_family
        self._redis = redis
        self._keys = keys
        self._presence = PresenceStore(redis, keys.node_id, settings.connections.ttl)
        self._audiences: dict[bytes, Audience] = {}
        self._suspects: dict[bytes, Audience] = {}
        # Who listens to channels that are no topic's: to what comes, and that some was missed.
        self._listeners: dict[bytes, tuple[Listener, Callable[[bytes], None]]] = {}
        self._checking: asyncio.Task[None] | None = None
        # Half of the connections to Redis, at most: requests go on while gaps are filled.
        self._gate = asyncio.Semaphore(max(1, settings.redis.pool // 2))
        self._tasks: set[asyncio.Task[None]] = set()
        self._find = lru_cache(_REMEMBERED)(self._look_up)
        self.bus = Bus(
            redis,
            keys.probe_channel,
            interval=settings.redis.probe,
            on_message=self._on_message,
            on_gap=self._on_gap,
        )

    # What is published.

    def find(self, topic: str) -> Topic | None:
        """A topic by its name; None if no plugin declares one of that name."""
        return self._find(topic)

    def look_anew(self) -> None:
        """Forget what was found: a plugin that has failed to start has no topics."""
        self._find.cache_clear()

    async def publish(self, topic: str, payload: Any, *, key: str | None = None) -> Position:
        """Publish an event for the server itself; see `jackfield.Runtime.publish`."""
        found = self._find(topic)
        if found is None:
            raise Error("not_found", "No plugin declares a topic of that name.")
        if key is None:
            key = ""
        elif not 1 <= len(key) <= MAX_KEY_LENGTH:
            raise ValueError(f"a key has 1 to {MAX_KEY_LENGTH} characters, not {len(key)}")
        else:
            key = f"server:{key}"
        payload = as_payload(payload)
        if self._settings.server.debug:
            check_against(found.family.event, payload)
        return await self.send(found, payload, key)

    def send(self, found: Topic, payload: Any, key: str) -> "asyncio.Future[Position]":
        """Publish an event that is known to be right.

        Args:
            found: The topic.
            payload: What can be encoded.
            key: The idempotency key among all of the topic; "" for none.

        Returns:
            Its position, to be awaited; what is sent first is published first.

        Raises:
            Error: ``too_large``.
        """
        tail = protocol.event_tail(payload)
        limit = self._settings.limits.event_bytes
        if len(found.head) + len(tail) + _OFFSET_BYTES > limit:
            raise Error("too_large", f"The event is larger than {limit} bytes.", limit=limit)
        self.published += 1
        return self.store.publish(Publication(found.place, found.head, tail, key))

    # Who is in them.

    def audience(self, found: Topic) -> Audience:
        """The members of a topic at this node; made for the first."""
        channel = found.place.keys.channel.encode()
        audience = self._audiences.get(channel)
        if audience is None:
            audience = self._audiences[channel] = Audience(
                found.topic,
                found.family,
                found.place,
                store=self.store,
                bus=self.bus,
                presence=self._presence,
                gate=self._gate,
                on_empty=self._drop,
            )
        return audience

    def present(self, found: Topic) -> Audience | None:
        """The members of a topic at this node, if there are any."""
        return self._audiences.get(found.place.keys.channel.encode())

    async def join_own(self, connection: Connection) -> list[Join]:
        """Prepare for a connection to join what it is in by itself: broadcast, its user's topic.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        names = [BROADCAST]
        if connection.user is not None:
            names.append(USER + connection.user)
        joins: list[Join] = []
        try:
            for name in names:
                found = self._find(name)
                if found is not None:  # the built-in plugin may be disabled
                    audience = self.audience(found)
                    joins.append(await begin_join(audience, connection, None, max_bytes=0))
        except BaseException:
            for join in joins:
                join.abandon()
            raise
        return joins

    def leave_all(self, connection: Connection) -> None:
        """A connection has ended: it is in no topic any more, and joins none."""
        membership = connection[MEMBERSHIP]
        membership.has_left = True
        for join in membership.early_joins or ():
            join.abandon()
        membership.early_joins = None
        joined, membership.joined = membership.joined, []
        for topic in joined:
            topic.leave(connection)

    async def listen(
        self, channel: str, on_message: "Listener", on_gap: Callable[[bytes], None]
    ) -> None:
        """Listen to a channel that is no topic's, until `listen_no_more`.

        Args:
            channel: The channel.
            on_message: Called with the channel and what was published.
            on_gap: Called with the channel when something may have been missed.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        self._listeners[channel.encode()] = (on_message, on_gap)
        await self.bus.subscribe(channel)

    def listen_no_more(self, channel: str) -> None:
        """Listen to such a channel no more."""
        if self._listeners.pop(channel.encode(), None) is not None:
            self.bus.unsubscribe(channel)

    async def presence(self, found: Topic) -> dict[str, Any]:
        """Who is in a topic, on all nodes.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        keys, head = found.place.keys, protocol.presence_head(found.topic)
        return as_reply(await self._presence.read(keys, head, MAX_LISTED))

    @property
    def audiences(self) -> int:
        """How many topics have members here."""
        return len(self._audiences)

    @property
    def members(self) -> int:
        """How many subscriptions there are here."""
        return sum(len(audience.members) for audience in self._audiences.values())

    @property
    def gaps(self) -> int:
        """How often members were sent from a stream what a channel did not bring, or told so."""
        return self._past_gaps + sum(audience.gap.count for audience in self._audiences.values())

    # Their upkeep.

    async def refresh(self) -> None:
        """Keep the topics with members here from expiring, and look whether any missed something.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        standing = [
            (audience, position, await audience.refresh_presence())
            for audience, position in await self._positions(self._audiences.values())
        ]
        # What was published just now may not have come yet.
        await asyncio.sleep(_ON_ITS_WAY)
        for audience, position, version in standing:
            audience.catch_up(position, version)

    async def close(self) -> None:
        """Stop everything; what members' leaving has changed is written, if Redis is there."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.redis.timeout):
                await self._presence.drained()
        for audience in list(self._audiences.values()):
            self._own(audience.cancel())
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self.bus.close()
        await self._presence.close()
        await self.store.close()

    def _look_up(self, topic: str) -> Topic | None:
        found = self._find_family(topic)
        if found is None:
            return None
        family, parts = found
        place = StoredTopic(self._keys.topic(topic), family.history, family.ttl)
        return Topic(topic, family, parts, place, protocol.event_head(topic))

    def _on_message(self, channel: bytes, data: bytes) -> None:
        audience = self._audiences.get(channel)
        if audience is not None:
            audience.receive(parse(data))
        elif (listener := self._listeners.get(channel)) is not None:
            listener[0](channel, data)
        # Else it has been given up just now.

    def _on_gap(self, channel: bytes) -> None:
        listener = self._listeners.get(channel)
        if listener is not None:
            listener[1](channel)
        audience = self._audiences.get(channel)
        if audience is None:
            return
        audience.hold()
        self._suspects[channel] = audience
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check_suspects())
            self._own([self._checking])

    async def _check_suspects(self) -> None:
        """Let those topics go on that may have missed something, after they have been looked at."""
        while self._suspects:
            batch = dict(list(self._suspects.items())[:_BATCH])
            # They may become suspects again while they are looked at, and may be given up.
            for channel in batch:
                del self._suspects[channel]
            try:
                for audience, position in await self._positions(batch.values()):
                    await audience.check(position)
            except Error:
                self._suspects.update(
                    (channel, audience)
                    for channel, audience in batch.items()
                    if self._audiences.get(channel) is audience
                )
                await asyncio.sleep(_RETRY_PAUSE)

    async def _positions(self, audiences: Iterable[Audience]) -> list[tuple[Audience, Position]]:
        """Where topics stand, all of a slot in one call; their time to live begins anew."""

        def slot(audience: Audience) -> int:
            return self._redis.slot(audience.place.keys.channel)

        positions: list[tuple[Audience, Position]] = []
        for _, same in groupby(sorted(audiences, key=slot), key=slot):
            group = list(same)
            for start in range(0, len(group), _BATCH):
                batch = group[start : start + _BATCH]
                stand = await self.store.refresh([audience.place for audience in batch])
                positions += zip(batch, stand, strict=True)
        return positions

    def _drop(self, audience: Audience) -> None:
        """The last member has left a topic."""
        channel = audience.place.keys.channel
        if self._audiences.get(channel.encode()) is audience:
            del self._audiences[channel.encode()]
            self._suspects.pop(channel.encode(), None)
            self._past_gaps += audience.gap.count
            self.bus.unsubscribe(channel)
            self._own(audience.cancel())

    def _own(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        for task in tasks:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
