"""Presence in Redis: who is in a topic, with how many connections, on any node.

A member is there for as long as its node says so. Each node writes how many connections it has of a
member, always the whole number, so that to write it again changes nothing. What a dead node leaves
behind is removed, and announced, by the first script that touches the topic after it has expired:
see `announce_dead_members.lua`.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple

from jackfield.redis.batching import Batcher
from jackfield.redis.client import RedisClient

from .arguments import flat, milliseconds, rows
from .keys import TopicKeys
from .lua import load

_PARTS: Final = ("clock", "presence", "announce_dead_members")
_WRITE: Final = load("write_presence", *_PARTS)
_REFRESH: Final = load("refresh_presence", *_PARTS)
_READ: Final = load("read_presence", *_PARTS)


class MemberConnections(NamedTuple):
    """How many connections of a member this node has.

    Attributes:
        keys: The topic's keys.
        head: The start of a message about its presence.
        member: What the member is known by.
        connections: How many.
        info: What others see of it, as JSON.
    """

    keys: TopicKeys
    head: bytes
    member: str
    connections: int
    info: bytes


class PresenceSnapshot(NamedTuple):
    """Who is in a topic.

    Attributes:
        version: Grows by one with each join and leave.
        size: How many there are.
        listed: How many connections each has, and what others see of it; not of all members, if
            there are too many.
    """

    version: int
    size: int
    listed: list[tuple[int, bytes]]


class PresenceStore:
    """The presence of all nodes' members in Redis.

    Every method raises `Error` ``unavailable`` if Redis is away.

    Args:
        client: The client.
        node: The id of this node.
        ttl: Seconds without a refresh after which a node's members count as gone.
    """

    def __init__(self, client: RedisClient, node: str, ttl: float) -> None:
        self._client = client
        self._node = node
        self._ttl = milliseconds(ttl)
        self._writes: Batcher[MemberConnections, int] = Batcher(self._write_all, _size)

    def write(self, update: MemberConnections) -> "asyncio.Future[int]":
        """Write how many connections of a member are here, and announce what changes by it.

        Returns:
            The version that this was announced with, or a later one.
        """
        # A batch for each topic, not for each slot: the script does one topic.
        return self._writes.add(update.keys.channel, update)

    async def refresh(
        self, keys: TopicKeys, head: bytes, members: int
    ) -> tuple[int, list[str] | None]:
        """Say that this node is alive; announce the leaves of those that aren't.

        Args:
            keys: The topic's keys.
            head: The start of a message about its presence.
            members: How many members this node has.

        Returns:
            The version; and if not so many are known of this node, those that are.
        """
        version, *rest = await self._client.run(
            _REFRESH, _keys(keys), [self._node, self._ttl, head, members]
        )
        return int(version), [str(name, "utf-8") for name in rest[1:]] if rest else None

    async def read(self, keys: TopicKeys, head: bytes, limit: int) -> PresenceSnapshot:
        """Who is there, ``limit`` of them listed."""
        version, size, *rest = await self._client.run(_READ, _keys(keys), [head, self._ttl, limit])
        listed = [(int(connections), info) for connections, info in rows(rest, 2)]
        return PresenceSnapshot(int(version), int(size), listed)

    async def drained(self) -> None:
        """Wait until everything is written, or has failed to be."""
        await self._writes.drained()

    async def close(self) -> None:
        """Give up what is not written yet."""
        await self._writes.close()

    async def _write_all(self, updates: Sequence[MemberConnections]) -> list[int]:
        keys, head = updates[0].keys, updates[0].head
        members = flat((each.member, each.connections, each.info) for each in updates)
        reply = await self._client.run(_WRITE, _keys(keys), [self._node, self._ttl, head, *members])
        return [int(reply)] * len(updates)


def _size(update: MemberConnections) -> int:
    return len(update.info)


def _keys(keys: TopicKeys) -> list[str]:
    return [keys.channel, keys.nodes, keys.who, keys.info]
