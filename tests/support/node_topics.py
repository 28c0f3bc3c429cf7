"""The topics of a node on a real Redis, without the node."""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from jackfield.config import Settings, load_settings
from jackfield.connection.connection import Connection
from jackfield.declaration.topic_family import Publisher, TopicFamily
from jackfield.redis.client import RedisClient
from jackfield.store.keys import Keys
from jackfield.topics.access import TopicAccess
from jackfield.topics.topics import Topics
from tests.support.shares import shares
from tests.support.waiting import redis_settings


class HookContext:
    """What a hook is called with, as far as the hooks of these tests look at it."""

    def __init__(self, plugin: str, connection: Connection, request: object) -> None:
        self.plugin = plugin
        self.connection = connection
        self.request = request

    @property
    def user(self) -> str | None:
        return self.connection.user


class NodeTopics:
    """The topics of one node.

    Args:
        url: The Redis.
        prefix: Of all keys.
        families: The families that there are.
        sections: What a configuration file would say.
    """

    def __init__(
        self, url: str, prefix: str, *families: TopicFamily, **sections: Mapping[str, Any]
    ) -> None:
        self.settings: Settings = load_settings(None, {}, sections)
        self.families = list(families)
        self.redis = RedisClient(redis_settings(), url)
        self.keys = Keys(prefix, f"node-{secrets.token_hex(3)}")
        self.topics = Topics(self.settings, self.find_family, self.redis, self.keys, shares())
        self.access = TopicAccess(self.topics, self.settings.limits, make_context)
        #: Whether what comes over channels is lost; and the channels over which any came.
        self.is_deaf = False
        self.heard: list[bytes] = []
        self._hand_on, self.topics.bus.on_message = self.topics.bus.on_message, self._hear

    def _hear(self, channel: bytes, data: bytes) -> None:
        self.heard.append(channel)
        if not self.is_deaf:
            self._hand_on(channel, data)

    def find_family(self, name: str) -> tuple[TopicFamily, dict[str, str]] | None:
        for family in self.families:
            parts = family.pattern.match(name)
            if parts is not None:
                return family, parts
        return None


def make_context(plugin: str, connection: Connection, request: object) -> Publisher:
    context: Any = HookContext(plugin, connection, request)
    return context  # type: ignore[no-any-return]


@asynccontextmanager
async def node_topics(
    config: Mapping[str, Any], *families: TopicFamily, **sections: Mapping[str, Any]
) -> AsyncIterator[NodeTopics]:
    """The topics of one node, on the Redis and with the prefix of a configuration."""
    redis = config["redis"]
    node = NodeTopics(redis["url"], redis["prefix"], *families, **sections)
    try:
        yield node
    finally:
        await node.topics.close()
        await node.redis.close()
