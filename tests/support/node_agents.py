"""The agents of a node on a real Redis, without the node; who serves and who calls is connected."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from jackfield.agents.access import AgentAccess
from jackfield.agents.agents import Agents
from jackfield.agents.ownership import SCOPE
from jackfield.config import load_settings
from jackfield.wire.identity import Identity
from tests.support.connected import Connected
from tests.support.node_topics import NodeTopics
from tests.support.waiting import wait_until

SAY: dict[str, Any] = {"id": "say"}
COUNT: dict[str, Any] = {
    "id": "count",
    "idempotent": True,
    "input": {"type": "object", "properties": {"to": {"type": "integer"}}, "required": ["to"]},
}


class Peer(Connected):
    """A client, and what it may do with agents.

    Args:
        agents: The agents of its node.
        user: Who it is.
        options: As of `Connected`.
    """

    def __init__(self, agents: Agents, user: str | None, *scopes: str, **options: Any) -> None:
        super().__init__(identity=Identity(user, frozenset(scopes)), **options)
        self.access = AgentAccess(agents, self.connection, None)
        #: What it was sent and nobody has looked at yet.
        self.inbox: list[Any] = []

    async def next(self, verb: str = "assigned") -> dict[str, Any]:
        """The payload of the next message, which is of this kind."""

        def has_come() -> bool:
            self.inbox += self.sent()
            return bool(self.inbox)

        await wait_until(has_come)
        message = self.inbox.pop(0)
        assert message["type"] == f"agent.{verb}", message
        payload: dict[str, Any] = message["payload"]
        return payload

    async def register(self, *skills: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """Be an instance of the agent ``echo``, and be sent its orders from now on."""
        reply = await self.access.register("echo", skills or (SAY,), **more)
        instance = self.access._registered
        assert instance is not None
        instance.activate()
        return reply


class NodeAgents(NodeTopics):
    """The agents of one node, and its topics."""

    def __init__(self, url: str, prefix: str, **sections: Mapping[str, Any]) -> None:
        super().__init__(url, prefix, **sections)
        settings = load_settings(None, {}, sections)
        self.agents = Agents(settings, self.redis, self.keys, self.topics, self.topics.shares)

    def bot(self, user: str | None = "bot", **options: Any) -> Peer:
        options.setdefault("connection_id", "bot")
        return Peer(self.agents, user, SCOPE, **options)

    def caller(self, user: str | None = "ada", **options: Any) -> Peer:
        return Peer(self.agents, user, **options)

    async def sweep(self) -> None:
        """Do what is due, as every node does it each second."""
        await self.agents.store.sweep(["echo"])

    async def renew(self) -> None:
        """Renew leases and read what was missed, as every node does it three times a lease."""
        await self.agents._upkeep.renew(self.agents.channels.by_agent["echo"])


@asynccontextmanager
async def node_agents(
    config: Mapping[str, Any], **sections: Mapping[str, Any]
) -> AsyncIterator[NodeAgents]:
    """The agents of one node, on the Redis and with the prefix of a configuration."""
    redis = config["redis"]
    node = NodeAgents(redis["url"], redis["prefix"], **sections)
    try:
        yield node
    finally:
        await node.agents.close()
        await node.topics.close()
        await node.redis.close()


def decoded(value: Any) -> Any:
    """What a reply holds, as a client would get it."""
    return msgspec.json.decode(msgspec.json.encode(value))
