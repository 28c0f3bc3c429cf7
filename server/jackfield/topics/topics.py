"""`Topics`: publish to topics, find their members here, and keep what these have from expiring."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import groupby
from typing import Any, Final

import structlog

from jackfield.config import Settings
from jackfield.connection.connection import Connection
from jackfield.connection.shares import Shares
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
from .join import Join, prepare_join
from .membership import MEMBERSHIP
from .presence import MAX_LISTED, presence_reply
from .topic import Topic

_log = structlog.get_logger("jackfield")

#: Topics whose family and keys are kept: to find them anew costs 5 us.
_CACHED_TOPICS: Final = 10_000
#: Topics of one call to refresh. Redis does one in 8 us, and nothing else meanwhile.
_BATCH: Final = 250
#: Bytes that the offset adds to an event, at most.
_OFFSET_BYTES: Final = 16
#: Seconds that an event may be on its way before it counts as missed.
_DELIVERY_TIME: Final = 1.0
#: Seconds between attempts to check topics while Redis is away.
_RETRY_PAUSE: Final = 0.5


#: Finds the family of a topic by its name, with the parts of that; None if no plugin declares it.
FindFamily = Callable[[str], tuple[TopicFamily, dict[str, str]] | None]
#: Called with a channel and what was published on it.
Listener = Callable[[bytes, bytes], None]


class _UnknownTopicError(Exception):
    """No plugin declares a topic of that name; unlike an answer, it is not cached."""


class Topics:
    """The topics of one node.

    Args:
        settings: The server's settings.
        find_family: Tells which family a topic is of; see `Registry.find_family`.
        redis: The Redis they live in.
        keys: The keys of this node.
        shares: What clients may keep.
    """

    def __init__(
        self,
        settings: Settings,
        find_family: FindFamily,
        redis: RedisClient,
        keys: Keys,
        shares: Shares,
    ) -> None:
        self._settings = settings
        self.shares = shares
        self.store = TopicStore(redis)
        #: How many events were published here.
        self.published = 0
        # The gaps of audiences that are no more.
        self._past_gaps = 0
        self._find_family = find_family
        self._redis = redis
        self._keys = keys
        self._presence = PresenceStore(redis, keys.node_id, settings.connections.ttl)
        self._audiences: dict[bytes, Audience] = {}
        self._suspects: dict[bytes, Audience] = {}
        # Those who listen to channels that are no topic's: for what comes, and for what was missed.
        self._listeners: dict[bytes, tuple[Listener, Callable[[bytes], None]]] = {}
        self._checking: asyncio.Task[None] | None = None
        # Half of the connections to Redis, at most: requests go on while gaps are refilled.
        self._refills = asyncio.Semaphore(max(1, settings.redis.pool // 2))
        self._tasks: set[asyncio.Task[None]] = set()
        self._look_up_once = lru_cache(_CACHED_TOPICS)(self._look_up)
        self.bus = Bus(
            redis,
            keys.probe_channel,
            interval=settings.redis.probe,
            on_message=self._on_message,
            on_gap=self._on_gap,
        )

    # Publishing.

    def find(self, name: str) -> Topic | None:
        """Find a topic by its name; None if no plugin declares one of that name."""
        try:
            return self._look_up_once(name)
        except _UnknownTopicError:
            return None

    def clear_cache(self) -> None:
        """Find all topics anew: a plugin that has failed to start has none."""
        self._look_up_once.cache_clear()

    async def publish(
        self,
        name: str,
        payload: Any,
        *,
        key: str | None = None,
        client: Connection | None = None,
    ) -> Position:
        """Publish an event for a plugin, or a client of it; see `jackfield.Runtime.publish`."""
        topic = self.find(name)
        if topic is None:
            raise Error("not_found", "No plugin declares a topic of that name.")
        if key is None:
            key = ""
        elif not 1 <= len(key) <= MAX_KEY_LENGTH:
            raise ValueError(f"a key has 1 to {MAX_KEY_LENGTH} characters, not {len(key)}")
        else:
            key = f"server:{key}"
        payload = as_payload(payload)
        if self._settings.server.debug:
            check_against(topic.family.event, payload)
        return await self.send(topic, payload, key, client)

    def send(
        self, topic: Topic, payload: Any, key: str, client: Connection | None = None
    ) -> "asyncio.Future[Position]":
        """Publish an event whose payload was validated.

        Args:
            topic: The topic.
            payload: The payload.
            key: The idempotency key among all of the topic; "" for none.
            client: Whom it is charged to; None for the server itself.

        Returns:
            Its position, to be awaited. What is sent first is published first.

        Raises:
            Error: ``too_large``; ``rate_limited`` or ``unavailable``, see `Shares`.
        """
        tail = protocol.event_tail(payload)
        limit = self._settings.limits.event_bytes
        size = len(topic.head) + len(tail) + _OFFSET_BYTES
        if size > limit:
            raise Error("too_large", f"The event is larger than {limit} bytes.", limit=limit)
        is_new = client is not None and self.shares.charge_event(
            client, topic.stored, size, key, self._has_members
        )
        self.published += 1
        position = self.store.publish(Publication(topic.stored, topic.head, tail, key))
        if is_new and client is not None:
            self.shares.return_if_alive(client, position)
        return position

    # Members.

    def audience(self, topic: Topic) -> Audience:
        """Return the members of a topic at this node; made for the first of them."""
        channel = topic.stored.keys.channel.encode()
        audience = self._audiences.get(channel)
        if audience is None:
            audience = self._audiences[channel] = Audience(
                topic,
                store=self.store,
                bus=self.bus,
                presence=self._presence,
                refills=self._refills,
                on_empty=self._drop,
            )
        return audience

    def _has_members(self, stored: StoredTopic) -> bool:
        return stored.keys.channel.encode() in self._audiences

    def find_audience(self, topic: Topic) -> Audience | None:
        """Find the members of a topic at this node; None if it has none."""
        return self._audiences.get(topic.stored.keys.channel.encode())

    async def join_own(self, connection: Connection) -> list[Join]:
        """Prepare for a connection to join the topics that every client is in.

        These are the one for all and, unless it is anonymous, its user's own.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        names = [BROADCAST]
        if connection.user is not None:
            names.append(USER + connection.user)
        joins: list[Join] = []
        try:
            for name in names:
                topic = self.find(name)
                if topic is not None:  # the built-in plugin may be disabled
                    audience = self.audience(topic)
                    joins.append(await prepare_join(audience, connection, None, max_bytes=0))
        except BaseException:
            for join in joins:
                join.abandon()
            raise
        return joins

    def leave_all(self, connection: Connection) -> None:
        """Take a connection that has ended out of all topics; it joins no other."""
        membership = connection[MEMBERSHIP]
        membership.has_left = True
        for join in membership.early_joins or ():
            join.abandon()
        membership.early_joins = None
        joined, membership.joined = membership.joined, []
        for topic in joined:
            topic.leave(connection)

    async def listen(
        self, channel: str, on_message: Listener, on_gap: Callable[[bytes], None]
    ) -> None:
        """Listen to a channel that is no topic's, until `stop_listening`.

        Args:
            channel: The channel.
            on_message: Called with the channel and what was published.
            on_gap: Called with the channel when something may have been missed.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        self._listeners[channel.encode()] = (on_message, on_gap)
        await self.bus.subscribe(channel)

    def stop_listening(self, channel: str) -> None:
        """Stop what `listen` began; no effect if nobody listens."""
        if self._listeners.pop(channel.encode(), None) is not None:
            self.bus.unsubscribe(channel)

    async def presence(self, topic: Topic) -> dict[str, Any]:
        """Read who is in a topic, on all nodes.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        keys, head = topic.stored.keys, protocol.presence_head(topic.name)
        return presence_reply(await self._presence.read(keys, head, MAX_LISTED))

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
        """How often something was read from a history that the channel did not bring, or lost."""
        return self._past_gaps + sum(audience.gap.count for audience in self._audiences.values())

    # Upkeep.

    async def refresh(self) -> None:
        """Keep the topics with members here from expiring, and refill what any of them missed.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        positions = [
            (audience, position, await audience.refresh_presence())
            for audience, position in await self._positions(self._audiences.values())
        ]
        # What was published just now may not have come yet.
        await asyncio.sleep(_DELIVERY_TIME)
        for audience, position, version in positions:
            audience.catch_up(position, version)

    async def close(self) -> None:
        """Stop everything, after the presence of those who left is written, if Redis is there."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.redis.timeout):
                await self._presence.drained()
        for audience in list(self._audiences.values()):
            self._track(audience.cancel())
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self.bus.close()
        await self._presence.close()
        await self.store.close()

    def _look_up(self, name: str) -> Topic:
        found = self._find_family(name)
        if found is None:
            raise _UnknownTopicError
        family, parts = found
        stored = StoredTopic(self._keys.topic(name), family.history, family.ttl)
        return Topic(name, family, parts, stored, protocol.event_head(name))

    def _on_message(self, channel: bytes, data: bytes) -> None:
        audience = self._audiences.get(channel)
        if audience is not None:
            audience.receive(parse(data))
        elif (listener := self._listeners.get(channel)) is not None:
            listener[0](channel, data)
        # Else its last member has left just now.

    def _on_gap(self, channel: bytes) -> None:
        listener = self._listeners.get(channel)
        if listener is not None:
            listener[1](channel)
        audience = self._audiences.get(channel)
        if audience is None:
            return
        audience.suspect()
        self._suspects[channel] = audience
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check_suspects())
            self._track([self._checking])

    async def _check_suspects(self) -> None:
        """Check topics that may have missed something; each goes on or refills what it missed."""
        while self._suspects:
            batch = dict(list(self._suspects.items())[:_BATCH])
            # They may become suspects again while they are checked, and may lose their last member.
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
        """Read where topics stand, those of a slot in one call; their time to live begins anew."""

        def slot(audience: Audience) -> int:
            return self._redis.slot(audience.stored.keys.channel)

        positions: list[tuple[Audience, Position]] = []
        for _, same in groupby(sorted(audiences, key=slot), key=slot):
            group = list(same)
            for start in range(0, len(group), _BATCH):
                batch = group[start : start + _BATCH]
                stored = [audience.stored for audience in batch]
                positions += zip(batch, await self.store.refresh(stored), strict=True)
        return positions

    def _drop(self, audience: Audience) -> None:
        """Give up a topic whose last member has left."""
        channel = audience.stored.keys.channel
        if self._audiences.get(channel.encode()) is audience:
            del self._audiences[channel.encode()]
            self._suspects.pop(channel.encode(), None)
            self._past_gaps += audience.gap.count
            self.bus.unsubscribe(channel)
            self._track(audience.cancel())

    def _track(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        for task in tasks:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
