"""One server process: what all of its connections share."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from operator import attrgetter
from typing import Final

import structlog

from .agents.local import Agents
from .auth import Authenticator
from .auth.chain import AuthenticatorChain
from .auth.expiry import Expiry
from .auth.revocations import Revocations
from .config import Settings
from .connection import Connection
from .context import Context
from .dispatch import Dispatcher
from .errors import CONTAINED, Error
from .hub import Hub
from .log import SparingLog
from .outbox import Turn
from .places import Places
from .plugin import Hook, Plugin
from .proxies import TrustedProxies
from .registry import Registry
from .runtime import Runtime
from .site import Gate
from .store.client import RedisClient
from .store.connections import ConnectionStore
from .store.keys import Keys
from .store.revocations import RevocationStore
from .store.tickets import TicketStore
from .topics.access import TopicAccess
from .topics.local import Topics
from .watch import Watch
from .watchdog import Watchdog, of_hook, of_message, of_request

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
        self.keys = keys
        self.settings = settings
        self.registry = registry
        self.redis = redis
        self.store = store
        self.hub = Hub()
        self.tickets = TicketStore(redis, keys)
        self.revocations = Revocations(RevocationStore(redis, keys), self.hub)
        auth = settings.auth
        self.expiry = Expiry(warn_before=auth.warn_before, grace=auth.grace)
        self.places = Places(settings.limits)
        #: For what strangers cause.
        self.sparing_log = SparingLog(structlog.get_logger("jackfield"))
        self.gate = Gate(settings.limits, self.sparing_log)
        self.proxies = TrustedProxies(settings.server.trusted_proxies)
        self.watch = Watch()
        self.turn = Turn()
        self.executor = ThreadPoolExecutor(settings.limits.threads, THREAD_NAME)
        self.topics = Topics(settings, registry, redis, keys)
        self.agents = Agents(settings, redis, keys, self.topics)
        #: Where the WebSocket is for a client on this machine; known when the server listens.
        self.address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.runtimes = {
            entry.name: Runtime(
                entry.name, self.id, entry.config, self.topics, self.agents, address=self.address
            )
            for entry in registry.loaded
        }
        self.access = TopicAccess(self.topics, self.runtimes)
        self.dispatcher = Dispatcher(self)
        self.watchdog = Watchdog(
            settings.server.blocked_after,
            {
                Dispatcher.accept.__code__: of_message,
                Dispatcher.run.__code__: of_request,
                Node._run_hook.__code__: of_hook,
            },
        )
        self.authenticators = AuthenticatorChain(
            authenticators, self.revocations, self.dispatcher.report
        )
        #: Whether the server is going: no new connections, no new requests.
        self.draining = False

    async def run_connect_hooks(self, connection: Connection) -> None:
        """Run every plugin's ``on_connect``.

        Raises:
            Error: A plugin refuses the connection.
        """
        for name, hook in self._connect_hooks:
            await self._run_hook(hook, connection, name, may_refuse=True)

    async def run_disconnect_hooks(self, connection: Connection) -> None:
        """Run every plugin's ``on_disconnect``; none can keep another from running."""
        for name, hook in self._disconnect_hooks:
            await self._run_hook(hook, connection, name, may_refuse=False)

    # Listed when the first client comes: until then a plugin may fail to start.

    @cached_property
    def _connect_hooks(self) -> list[tuple[str, Hook]]:
        return self._hooks(attrgetter("connect_hooks"))

    @cached_property
    def _disconnect_hooks(self) -> list[tuple[str, Hook]]:
        return self._hooks(attrgetter("disconnect_hooks"))

    def _hooks(self, of: Callable[[Plugin], list[Hook]]) -> list[tuple[str, Hook]]:
        return [(plugin.name, hook) for _, plugin in self.registry.plugins() for hook in of(plugin)]

    async def _run_hook(
        self, hook: Hook, connection: Connection, plugin: str, *, may_refuse: bool
    ) -> None:
        try:
            async with asyncio.timeout(self.settings.limits.handler_timeout):
                await hook(Context(connection, self.runtimes[plugin]))
        except CONTAINED as exc:
            if may_refuse and isinstance(exc, Error):
                raise
            self.dispatcher.report(exc, plugin=plugin, connection=connection.id)
