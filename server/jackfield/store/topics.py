"""Topics in Redis: what is published, where each topic stands, and what it keeps.

An event travels as the finished message. Its publisher encodes it with a hole where the offset
goes, the script fills the hole, and nobody encodes or decodes it again.
"""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Final, NamedTuple

from jackfield.redis.batching import Batcher
from jackfield.redis.client import Argument, RedisClient
from jackfield.wire.position import Position

from .arguments import flag, milliseconds, rows
from .keys import TopicKeys
from .lua import load

#: How long an idempotency key is remembered: a client that has been away for longer asks before it
#: sends again.
_KEY_TTL: Final = milliseconds(600.0)
#: Bytes of events in one reply of Redis: more would keep everybody else waiting. And a page is sent
#: to members in one piece: those that read must have room for it in their queues.
_PAGE_BYTES: Final = 262_144

_PUBLISH: Final = load("publish_events", "open_topic")
_READ: Final = load("read_topic", "open_topic")
_HISTORY: Final = load("read_history", "open_topic")
_REFRESH: Final = load("refresh_topics", "open_topic")


class StoredTopic(NamedTuple):
    """What Redis has to know of a topic.

    Attributes:
        keys: Its keys.
        history: How many events it keeps.
        ttl: For how many seconds after the last one.
    """

    keys: TopicKeys
    history: int
    ttl: float


class Publication(NamedTuple):
    """An event on its way to Redis.

    Attributes:
        topic: The topic.
        head: The message up to its offset.
        tail: The message from behind its offset.
        key: Its idempotency key; "" for none.
    """

    topic: StoredTopic
    head: bytes
    tail: bytes
    key: str


class Recovery(NamedTuple):
    """What came after a position.

    Attributes:
        epoch: The topic's epoch.
        offset: The newest event's.
        recovered: Whether nothing after the position is lost.
        after: The offset that the events follow on.
        events: The events, whole messages in JSON; the first of them if there are more.
    """

    epoch: str
    offset: int
    recovered: bool
    after: int
    events: list[bytes]

    @property
    def reached(self) -> int:
        """The offset of the last event that is here."""
        return self.after + len(self.events)


class HistoryPage(NamedTuple):
    """A part of a topic's history; ``complete`` is false if its beginning is lost."""

    epoch: str
    offset: int
    complete: bool
    events: list[bytes]


class TopicStore:
    """The topics of all nodes, in Redis.

    Every method raises `Error` ``unavailable`` if Redis is away. A publication that failed may
    have been stored, at once or when a Redis that hung wakes: one that has a key can be repeated.

    Args:
        client: The client.
    """

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._publications: Batcher[Publication, Position] = Batcher(self._publish, _size)
        self._refreshes: Batcher[StoredTopic, Position] = Batcher(self.refresh, _size_of_topic)

    def publish(self, publication: Publication) -> "asyncio.Future[Position]":
        """Publish an event; those of one tick and slot go in one call, in their order."""
        slot = self._client.slot(publication.topic.keys.channel)
        return self._publications.add(slot, publication)

    async def read(
        self,
        topic: StoredTopic,
        since: Position | None,
        *,
        whatever: bool = False,
        max_bytes: int = _PAGE_BYTES,
    ) -> Recovery:
        """Where a topic stands, and what came after a position.

        Args:
            topic: The topic.
            since: The position; None for no events. Topics of one tick and slot are then looked at
                in one call, as after the loss of another node many are wanted at once.
            whatever: If the position is lost, read what there is of the present epoch.
            max_bytes: Of events.
        """
        if since is None:
            slot = self._client.slot(topic.keys.channel)
            epoch, offset = await self._refreshes.add(slot, topic)
            return Recovery(epoch, offset, recovered=False, after=offset, events=[])
        epoch, offset, recovered, after, *events = await self._client.run(
            _READ,
            [topic.keys.meta, topic.keys.log],
            [
                new_epoch(),
                milliseconds(topic.ttl),
                since.epoch,
                since.offset,
                max_bytes,
                flag(whatever),
            ],
        )
        return Recovery(str(epoch, "ascii"), int(offset), recovered == b"1", int(after), events)

    async def history(
        self,
        topic: StoredTopic,
        *,
        after: int | None,
        before: int | None,
        limit: int,
        max_bytes: int,
    ) -> HistoryPage:
        """A part of a topic's history, the oldest first.

        Args:
            topic: The topic.
            after: The offset to begin after; None for the newest events.
            before: The offset to end before; None for the end.
            limit: How many events.
            max_bytes: How many bytes of them. Where they don't fit, those are left out that are
                farthest from ``after``, or else from ``before``.
        """
        epoch, offset, complete, *events = await self._client.run(
            _HISTORY,
            [topic.keys.meta, topic.keys.log],
            [
                new_epoch(),
                milliseconds(topic.ttl),
                "" if after is None else after,
                "" if before is None else before,
                limit,
                max_bytes,
            ],
        )
        if after is None:
            events.reverse()
        return HistoryPage(str(epoch, "ascii"), int(offset), complete == b"1", events)

    async def refresh(self, topics: Sequence[StoredTopic]) -> list[Position]:
        """Keep topics of one slot from expiring; returns where they stand."""
        keys = [key for topic in topics for key in (topic.keys.meta, topic.keys.log)]
        reply = await self._client.run(
            _REFRESH, keys, [new_epoch(), *(milliseconds(topic.ttl) for topic in topics)]
        )
        return [Position(str(epoch, "ascii"), int(offset)) for epoch, offset in rows(reply, 2)]

    async def close(self) -> None:
        """Give up what is not published yet."""
        await self._publications.close()
        await self._refreshes.close()

    async def _publish(self, publications: Sequence[Publication]) -> list[Position]:
        by_topic: dict[str, list[int]] = {}
        for index, publication in enumerate(publications):
            by_topic.setdefault(publication.topic.keys.channel, []).append(index)
        keys: list[str] = []
        args: list[Argument] = [new_epoch(), _KEY_TTL]
        for indices in by_topic.values():
            topic, head, _, _ = publications[indices[0]]
            keys += (topic.keys.channel, topic.keys.meta, topic.keys.log)
            args += (head, topic.history, milliseconds(topic.ttl), len(indices))
            for index in indices:
                _, _, tail, key = publications[index]
                if key:
                    keys.append(topic.keys.once(key))
                args += (tail, flag(bool(key)))
        reply = await self._client.run(_PUBLISH, keys, args)
        order = (index for indices in by_topic.values() for index in indices)
        positions = dict(zip(order, map(_position, reply), strict=True))
        return [positions[index] for index in range(len(publications))]


def _position(text: bytes) -> Position:
    epoch, _, offset = str(text, "ascii").partition(" ")
    return Position(epoch, int(offset))


def _size(publication: Publication) -> int:
    return len(publication.tail)


def _size_of_topic(topic: StoredTopic) -> int:
    return len(topic.keys.meta)


def new_epoch() -> str:
    """A name for an epoch, in case a topic begins one."""
    return secrets.token_urlsafe(6)  # 48 bits: no topic has so many that two would meet
