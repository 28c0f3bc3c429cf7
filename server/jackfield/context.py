"""`Context`: one request (or hook) of one connection, and all that a handler may do with it."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

if TYPE_CHECKING:
    from .connection import Connection
    from .protocol import MessageId
    from .request import Request


class Runtime:
    """What a plugin's lifespan is given: its part of the server it runs in.

    Attributes:
        plugin: The plugin's name.
        node: The id of this server process among all that share a Redis.
        config: The plugin's section of the configuration, as its schema loaded it.
        log: A structlog logger bound to the plugin.
    """

    __slots__ = ("config", "log", "node", "plugin", "resource")

    def __init__(self, plugin: str, node: str, config: Mapping[str, Any]) -> None:
        self.plugin = plugin
        self.node = node
        self.config = config
        self.log: structlog.stdlib.BoundLogger = structlog.get_logger("jackfield").bind(
            plugin=plugin
        )
        #: What the lifespan yielded; None before, and for a plugin that has none.
        self.resource: Any = None


class Context:
    """One message being handled, or one hook being run."""

    __slots__ = ("_connection", "_request", "_runtime")

    def __init__(
        self, connection: "Connection", runtime: Runtime, request: "Request | None" = None
    ) -> None:
        self._connection = connection
        self._runtime = runtime
        self._request = request

    @property
    def type(self) -> str | None:
        """The message type; None in a hook."""
        return None if self._request is None else self._request.route.type

    @property
    def id(self) -> "MessageId | None":
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
    def state(self) -> "State":
        """The plugin's own fields of this connection's state, kept in Redis."""
        return State(self._connection, self._runtime.plugin)

    @property
    def log(self) -> structlog.stdlib.BoundLogger:
        """A structlog logger bound to the plugin, the connection and the message type."""
        return self._runtime.log.bind(connection=self.connection, type=self.type)

    def cancel(self, message_id: "MessageId") -> bool:
        """Cancel another request of this connection; its client gets ``cancelled``.

        Args:
            message_id: The id the request was sent with.

        Returns:
            False if no such request is under way.
        """
        return self._connection.cancel(message_id)

    def describe(self, message_type: str | None = None) -> dict[str, Any]:
        """The message types this connection may use, each with its documentation and JSON Schemas.

        Args:
            message_type: Only this one.

        Raises:
            Error: ``not_found`` if there is none of that name, or none for this connection.
        """
        return self._connection.describe(message_type)


class State(Mapping[str, Any]):
    """A plugin's own fields of a connection's state: read here, kept in Redis.

    They live as long as the connection. Reading is local and costs nothing. Writing goes to
    Redis first, and only then can be read: when `set` returns, the field is in both.
    """

    __slots__ = ("_connection", "_prefix")

    def __init__(self, connection: "Connection", plugin: str) -> None:
        self._connection = connection
        self._prefix = f"{plugin}."

    def __getitem__(self, name: str) -> Any:
        return msgspec.json.decode(self._connection.fields[self._prefix + name])

    def __iter__(self) -> Iterator[str]:
        start = len(self._prefix)
        return (key[start:] for key in self._connection.fields if key.startswith(self._prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    async def set(self, **values: Any) -> None:
        """Write fields.

        Args:
            **values: Any JSON values.

        Raises:
            Error: ``unavailable`` if Redis is away; nothing has changed here then.
            TypeError: A value can't be JSON.
        """
        await self._connection.write_fields(
            {self._prefix + name: msgspec.json.encode(value) for name, value in values.items()}
        )

    async def delete(self, *names: str) -> None:
        """Remove fields; one that isn't there is no error.

        Raises:
            Error: ``unavailable`` if Redis is away; nothing has changed here then.
        """
        await self._connection.write_fields(
            {
                self._prefix + name: None
                for name in names
                if self._prefix + name in self._connection.fields
            }
        )
