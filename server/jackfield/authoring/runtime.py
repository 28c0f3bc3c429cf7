"""`Runtime`: a plugin's part of the server it runs in, for its lifespan and background tasks."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import structlog

from jackfield.agents.plugin_calls import call_agent, stream_agent
from jackfield.declaration.topic_family import BROADCAST, USER
from jackfield.wire.position import Position

from .services import Services


class Runtime:
    """A plugin's part of the server it runs in: what its lifespan is called with.

    It may be kept for background tasks, which can publish and call agents with it.

    Attributes:
        plugin: The plugin's name.
        node: The id of this server process among all that share a Redis.
        config: The plugin's section of the configuration, as its schema loaded it.
        log: A structlog logger bound to the plugin.
    """

    __slots__ = ("_services", "config", "log", "node", "plugin", "resource")

    def __init__(
        self,
        plugin: str,
        node: str,
        config: Mapping[str, Any],
        services: Services,
    ) -> None:
        self.plugin = plugin
        self.node = node
        self.config = config
        self._services = services
        self.log: structlog.stdlib.BoundLogger = structlog.get_logger("jackfield").bind(
            plugin=plugin
        )
        #: What the lifespan yielded; None before, and for a plugin that has none.
        self.resource: Any = None

    async def listening(self) -> str:
        """Wait until this server accepts connections, which it does once all plugins have started.

        A lifespan would wait for itself; this is for the tasks that it starts.

        Returns:
            Where its WebSocket is for a client on this machine: ``ws://127.0.0.1:8080/ws``.
        """
        return await asyncio.shield(self._services.address)

    async def publish(self, topic: str, payload: Any, /, *, key: str | None = None) -> Position:
        """Publish an event to a topic, for its members on all nodes.

        Args:
            topic: The topic's name; any plugin's.
            payload: What the event carries, a mapping.
            key: Makes it idempotent: of several with the same key within ten minutes, only the
                first is published, and all return its position.

        Returns:
            Where in the topic the event stands. It is stored then, and on its way.

        Raises:
            Error: ``unavailable`` if Redis is away, and then it may have been published or not;
                ``too_large`` past ``limits.event_bytes``; ``not_found`` if no plugin declares such
                a topic.
            TypeError: The payload can't be JSON.
            ValueError: The key is empty or longer than 128 characters.
        """
        return await self._services.topics.publish(topic, payload, key=key)

    async def send_to_user(self, user: str, payload: Any, /, *, key: str | None = None) -> Position:
        """Publish an event to all connections of a user on all nodes: to the topic ``user:<id>``.

        The arguments and errors are those of `publish`.
        """
        return await self._services.topics.publish(USER + user, payload, key=key)

    async def broadcast(self, payload: Any, /, *, key: str | None = None) -> Position:
        """Publish an event to all connections of all nodes: to the topic ``broadcast``.

        The arguments and errors are those of `publish`.
        """
        return await self._services.topics.publish(BROADCAST, payload, key=key)

    async def call_agent(
        self,
        agent: str | None,
        payload: Mapping[str, Any],
        /,
        *,
        skill: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - of the task, wherever it runs
    ) -> dict[str, Any]:
        """Call an agent and wait for what it answers.

        Who stops waiting, because it is cancelled itself, cancels the task.

        Args:
            agent: The agent's name; None for whichever has the skill and is least busy.
            payload: The input, as the skill's JSON Schema has it.
            skill: The skill; may be left out for an agent that has only one.
            timeout: Seconds that it may take, waiting for an instance included; by default
                ``agents.timeout``.

        Returns:
            The output.

        Raises:
            Error: ``not_found`` if there is no such agent or skill; ``invalid_payload``;
                ``agent_failed`` if the agent says so; ``agent_gone`` if it died with the task;
                ``timeout``; ``cancelled``; ``unavailable`` if too many wait or Redis is away.
        """
        return await call_agent(
            self._services.agents, agent, skill, input=payload, caller=None, timeout=timeout
        )

    def stream_agent(
        self,
        agent: str | None,
        payload: Mapping[str, Any],
        /,
        *,
        skill: str | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Call an agent and iterate over the chunks that it streams; see `call_agent`.

        To leave the iteration early cancels the task; `contextlib.aclosing` has that happen at
        once.
        """
        return stream_agent(
            self._services.agents, agent, skill, input=payload, caller=None, timeout=timeout
        )
