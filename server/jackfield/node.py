"""`Node`: make the parts of one server process, and give each what it needs."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog
from aiohttp import web

from .agents.agents import Agents
from .auth import Authenticator
from .auth.chain import AuthenticatorChain
from .auth.expiry import Expiry
from .auth.refresh import IdentityRefresh
from .auth.revocations import Revocations
from .authoring.context import Context
from .authoring.runtime import Runtime
from .authoring.services import Services
from .config import Settings
from .connection.connection import Connection
from .connection.hub import Hub
from .connection.permits import Permits
from .connection.proxies import TrustedProxies
from .connection.request import Request
from .connection.running import MessageOptions
from .dispatch.dispatcher import Dispatcher
from .dispatch.registry import Registry
from .dispatch.timeouts import SlowRequests
from .redis.client import RedisClient
from .session.connection_hooks import ConnectionHooks
from .session.heartbeat import Heartbeat
from .session.request_heads import WaitingClients
from .session.session import Sessions
from .store.connections import ConnectionStore
from .store.keys import Keys
from .store.revocations import RevocationStore
from .store.tickets import TicketStore
from .telemetry.log import RateLimitedLog
from .telemetry.watchdog import Watchdog, of_hook, of_message, of_request
from .topics.access import TopicAccess
from .topics.topics import Topics

#: Names of the threads that plain handlers run in start with this.
THREAD_NAME: Final = "jackfield-handler"


class Node:
    """The parts of a server process; `app` starts and stops them.

    Args:
        settings: The server's settings.
        registry: Its plugins.
        redis: Its Redis.
        store: The connections' state in Redis.
        keys: The names of Redis keys, with the id of this process.
        authenticators: What authenticates clients, asked in turn.
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
        limits, auth = settings.limits, settings.auth
        #: For what any client can cause.
        self.rate_limited_log = RateLimitedLog(structlog.get_logger("jackfield"))

        self.hub = Hub()
        self.permits = Permits(limits)
        self.waiting_clients = WaitingClients(limits, self.rate_limited_log)
        self.executor = ThreadPoolExecutor(limits.threads, THREAD_NAME)

        self.tickets = TicketStore(redis, keys)
        self.revocations = Revocations(RevocationStore(redis, keys), self.hub)
        self.authenticators = AuthenticatorChain(authenticators, self.revocations)
        self.expiry = Expiry(warn_before=auth.warn_before, grace=auth.grace)

        self.topics = Topics(settings, registry.find_family, redis, keys)
        self.agents = Agents(settings, redis, keys, self.topics)
        #: Where the WebSocket is for a client on this machine; known when the server listens.
        self.address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.runtimes: dict[str, Runtime] = {}
        topic_access = TopicAccess(self.topics, limits, self._make_context)
        services = Services(
            topics=self.topics,
            topic_access=topic_access,
            agents=self.agents,
            refresh=IdentityRefresh(
                self.authenticators,
                self.expiry,
                [self.agents.check_again, topic_access.check_again],
            ),
            store=store,
            describe=registry.describe,
            address=self.address,
        )
        for entry in registry.loaded:
            self.runtimes[entry.name] = Runtime(entry.name, self.id, entry.config, services)

        self.slow_requests = SlowRequests()
        self.dispatcher = Dispatcher(registry.routes, self.hub, self.slow_requests, limits)
        self.sessions = Sessions(
            settings,
            hub=self.hub,
            permits=self.permits,
            proxies=TrustedProxies(settings.server.trusted_proxies),
            authenticators=self.authenticators,
            expiry=self.expiry,
            store=store,
            dispatcher=self.dispatcher,
            topics=self.topics,
            agents=self.agents,
            hooks=ConnectionHooks(registry, self.runtimes, timeout=limits.handler_timeout),
            log=self.rate_limited_log,
        )
        self.heartbeat = Heartbeat(
            self.hub,
            store,
            self.topics,
            settings.connections,
            idle_timeout=limits.idle_timeout,
        )
        self.watchdog = Watchdog(
            settings.server.blocked_after,
            {
                Dispatcher.accept.__code__: of_message,
                Dispatcher.run.__code__: of_request,
                ConnectionHooks.run.__code__: of_hook,
            },
        )

    def _make_context(
        self, plugin: str, connection: Connection, request: Request[MessageOptions] | None
    ) -> Context:
        return Context(connection, self.runtimes[plugin], request)


#: The key of an application's node; only what starts and stops it may use it.
NODE: Final = web.AppKey("jackfield.node", Node)
