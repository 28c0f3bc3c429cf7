"""`Context`: what a handler or hook is called with; one request of one connection."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import structlog

from jackfield.agents.access import AgentAccess
from jackfield.agents.plugin_calls import call_agent, stream_agent
from jackfield.connection.connection import Connection
from jackfield.connection.request import Request
from jackfield.connection.running import MessageOptions
from jackfield.declaration.topic_family import BROADCAST, USER
from jackfield.topics.access import TopicAccess
from jackfield.wire.position import Position
from jackfield.wire.protocol import MessageId

from .runtime import Runtime
from .services import Services
from .state import State


class Context:
    """One message being handled, or one hook being run."""

    __slots__ = ("_connection", "_request", "_runtime")

    def __init__(
        self,
        connection: Connection,
        runtime: Runtime,
        request: Request[MessageOptions] | None = None,
    ) -> None:
        self._connection = connection
        self._runtime = runtime
        self._request = request

    @property
    def type(self) -> str | None:
        """The message type; None in a hook."""
        return None if self._request is None else self._request.options.type

    @property
    def id(self) -> MessageId | None:
        """The message's id; None if it has none, and in a hook."""
        return None if self._request is None else self._request.id

    @property
    def connection(self) -> str:
        """The connection's id, unique among all nodes."""
        return self._connection.id

    @property
    def user(self) -> str | None:
        """Who the connection belongs to; None if it is anonymous."""
        return self._connection.identity.user

    @property
    def scopes(self) -> frozenset[str]:
        """What the connection's identity may do."""
        return self._connection.identity.scopes

    def has_scope(self, scope: str) -> bool:
        """Whether the connection's identity has a scope."""
        return scope in self._connection.identity.scopes

    @property
    def expires_at(self) -> float | None:
        """When the identity runs out, in seconds since the epoch; None if it never does."""
        return self._connection.identity.expires_at

    @property
    def remote(self) -> str:
        """The client's address."""
        return self._connection.remote

    @property
    def node(self) -> str:
        """The id of the server process that holds the connection."""
        return self._runtime.node

    @property
    def config(self) -> Mapping[str, Any]:
        """The plugin's section of the configuration, as its schema loaded it."""
        return self._runtime.config

    @property
    def resource(self) -> Any:
        """What the plugin's lifespan yielded; None if it has none."""
        return self._runtime.resource

    @property
    def state(self) -> State:
        """The plugin's own fields of this connection's state, kept in Redis."""
        services = self._services
        return State(self._connection, self._runtime.plugin, services.store, services.shares)

    @property
    def log(self) -> structlog.stdlib.BoundLogger:
        """A structlog logger bound to the plugin, the connection and the message type."""
        return self._runtime.log.bind(connection=self.connection, type=self.type)

    def cancel(self, message_id: MessageId) -> bool:
        """Cancel another request of this connection; its client gets ``cancelled``.

        Args:
            message_id: The id the request was sent with.

        Returns:
            False if no such request is under way.
        """
        return self._connection.cancel(message_id)

    def pause(self, message_id: MessageId, *, wait: bool = True) -> bool:
        """Have a stream of this connection wait for its client, or go on.

        Args:
            message_id: The id it was sent with.
            wait: Whether it is to wait.

        Returns:
            False if no stream of that id is under way.
        """
        return self._connection.pause(message_id, wait=wait)

    async def refresh_identity(self, token: str) -> float | None:
        """Replace the identity of this connection by that of a newer token of the same user.

        Requests that need a scope which the new identity lacks are stopped, and topics that it may
        not join are left; the client is told so.

        Args:
            token: A token for any of the server's authenticators.

        Returns:
            When the identity expires, in seconds since the epoch; None if it never does.

        Raises:
            Error: ``unauthenticated`` or ``token_expired`` if the token is not valid, ``forbidden``
                if it is another user's, ``unavailable``; nothing has changed then.
        """
        return await self._services.refresh.refresh(self._connection, token)

    async def publish(self, topic: str, payload: Any, /, *, key: str | None = None) -> Position:
        """Publish an event to a topic; see `Runtime.publish`.

        What is kept of it is charged to the connection's user: past what one may keep this raises
        `Error` ``rate_limited``, as all that publishes by a context.
        """
        return await self._services.topics.publish(topic, payload, key=key, client=self._connection)

    async def send_to_user(self, user: str, payload: Any, /, *, key: str | None = None) -> Position:
        """Publish an event to all connections of a user; see `Runtime.send_to_user`."""
        return await self.publish(USER + user, payload, key=key)

    async def broadcast(self, payload: Any, /, *, key: str | None = None) -> Position:
        """Publish an event to all connections; see `Runtime.broadcast`."""
        return await self.publish(BROADCAST, payload, key=key)

    async def subscribe(self, topic: str, since: Position | None = None) -> dict[str, Any]:
        """Make this connection a member of a topic, if its family's `authorize` allows that.

        Events come behind the reply of the handler that calls this; behind the welcome, in a hook
        that runs before it; and at once in a stream.

        Args:
            topic: The topic's name.
            since: Up to where the client knows the topic already.

        Returns:
            The reply of ``topic.subscribe``: where the topic stands, and with ``since`` whether
            that was recovered, and the events in between.

        Raises:
            Error: ``not_found`` if there is no such topic for this connection, ``rate_limited`` if
                it is in too many, ``unavailable`` if Redis is away.
        """
        return await self._access.subscribe(self._connection, self._request, topic, since)

    def unsubscribe(self, topic: str) -> bool:
        """Make this connection no member of a topic.

        Returns:
            False if it was none.
        """
        return self._access.unsubscribe(self._connection, topic)

    async def publish_as_client(
        self, topic: str, payload: dict[str, Any], key: str | None = None
    ) -> Position:
        """Publish as ``topic.publish`` does: where the family lets clients, validated, prepared.

        Args:
            topic: The topic's name.
            payload: The event as the client sent it.
            key: Makes it idempotent, among what this user publishes to this topic.

        Raises:
            Error: ``not_found``, ``invalid_payload``, ``rate_limited``, ``too_large`` or
                ``unavailable``.
        """
        return await self._access.publish(self._connection, self._request, topic, payload, key)

    async def history(
        self,
        topic: str,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> dict[str, Any]:
        """A part of a topic's past, if this connection may join it.

        Args:
            topic: The topic's name.
            after: Only events behind this offset, the oldest first of them; by default the newest.
            before: Only events before this offset.
            limit: How many, at most; also bounded by ``limits.history`` and ``limits.reply_bytes``.

        Returns:
            The reply of ``topic.history``: where the topic stands, and the events in their order.

        Raises:
            Error: ``unrecoverable`` if what is behind ``after`` is no longer kept; ``too_large`` if
                one event is larger than a reply may be; ``not_found``; ``unavailable``.
        """
        return await self._access.history(
            self._connection, self._request, topic, after=after, before=before, limit=limit
        )

    async def is_online(self, user: str) -> bool:
        """Whether a user has a connection, at any server.

        Args:
            user: The user's id.

        Raises:
            Error: ``unavailable`` if Redis is away.
        """
        return bool(await self._services.store.of_user(user))

    async def presence(self, topic: str) -> dict[str, Any]:
        """Who is in a topic, on all nodes, if this connection may join it.

        Returns:
            The reply of ``topic.presence``: the members and how many there are.

        Raises:
            Error: ``not_found``, also where the family has no presence; ``unavailable``.
        """
        return await self._access.presence(self._connection, self._request, topic)

    @property
    def _services(self) -> Services:
        return self._runtime._services  # noqa: SLF001 - the runtime's other side

    @property
    def _access(self) -> TopicAccess:
        return self._services.topic_access

    async def call_agent(
        self,
        agent: str | None,
        payload: Mapping[str, Any],
        /,
        *,
        skill: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - of the task, wherever it runs
    ) -> dict[str, Any]:
        """Call an agent for this connection's user; see `Runtime.call_agent`."""
        return await call_agent(
            self._services.agents,
            agent,
            skill,
            input=payload,
            caller=self.user,
            timeout=timeout,
            payer=self._connection,
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
        """Call an agent and iterate over its chunks; see `Runtime.stream_agent`."""
        return stream_agent(
            self._services.agents,
            agent,
            skill,
            input=payload,
            caller=self.user,
            timeout=timeout,
            payer=self._connection,
        )

    @property
    def agents(self) -> AgentAccess:
        """What this connection may do with agents, as the built-in ``agent.*`` types do it."""
        return AgentAccess(self._services.agents, self._connection, self._request)

    def describe(self, message_type: str | None = None) -> dict[str, Any]:
        """The message types this connection may use, and the kinds of topics, with JSON Schemas.

        Args:
            message_type: Only this one, and no topics.

        Raises:
            Error: ``not_found`` if there is none of that name, or none for this connection.
        """
        return self._services.describe(self.scopes, message_type)
