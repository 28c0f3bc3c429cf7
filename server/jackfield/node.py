"""One server process: what all of its connections share."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from .auth import Authenticator
from .config import Settings
from .connection import Connection
from .context import Context, Runtime
from .dispatch import Dispatcher
from .errors import Error
from .hub import Hub
from .outbox import Turn
from .plugin import Hook
from .registry import Registry
from .store.client import RedisClient
from .store.connections import ConnectionStore
from .store.keys import Keys
from .topics.access import TopicAccess
from .topics.local import Topics
from .watch import Watch

#: Names of the threads that plain handlers run in start with this.
THREAD_NAME: Final = "jackfield-handler"


class Node:
    """A server process and its parts; made once the plugins are known and Redis is there.

    Args:
        settings: The server's settings.
        registry: Its plugins.
        redis: Its Redis.
        store: The connections' state in it.
        keys: The keys of this process among all that share the Redis.
        authenticators: Asked in turn whose a connection is.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        redis: RedisClient,
        store: ConnectionStore,
        *,
        keys: Keys,
        authenticators: Sequence[Authenticator],
    ) -> None:
        self.id = keys.node_id
        self.settings = settings
        self.registry = registry
        self.redis = redis
        self.store = store
        self.authenticators = authenticators
        self.hub = Hub()
        self.watch = Watch()
        self.turn = Turn()
        self.executor = ThreadPoolExecutor(thread_name_prefix=THREAD_NAME)
        self.topics = Topics(settings, registry, redis, keys)
        self.runtimes = {
            entry.name: Runtime(entry.name, self.id, entry.config, self.topics)
            for entry in registry.loaded
        }
        self.access = TopicAccess(self.topics, self.runtimes)
        self.dispatcher = Dispatcher(self)
        #: Whether the server is going: no new connections, no new requests.
        self.draining = False

    async def run_connect_hooks(self, connection: Connection) -> None:
        """Run every plugin's ``on_connect``.

        Raises:
            Error: A plugin refuses the connection.
        """
        for entry, plugin in self.registry.plugins():
            for hook in plugin.connect_hooks:
                await self._run_hook(hook, connection, entry.name, may_refuse=True)

    async def run_disconnect_hooks(self, connection: Connection) -> None:
        """Run every plugin's ``on_disconnect``; none can keep another from running."""
        for entry, plugin in self.registry.plugins():
            for hook in plugin.disconnect_hooks:
                await self._run_hook(hook, connection, entry.name, may_refuse=False)

    async def _run_hook(
        self, hook: Hook, connection: Connection, plugin: str, *, may_refuse: bool
    ) -> None:
        try:
            async with asyncio.timeout(self.settings.limits.handler_timeout):
                await hook(Context(connection, self.runtimes[plugin]))
        except Exception as exc:
            if may_refuse and isinstance(exc, Error):
                raise
            self.dispatcher.report(exc, plugin=plugin, connection=connection.id)
