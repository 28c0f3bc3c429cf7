"""One server process: the parts that it is made of, and how they are put together."""

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
from .telemetry.log import SparingLog
from .telemetry.watchdog import Watchdog, of_hook, of_message, of_request
from .topics.access import TopicAccess
from .topics.topics import Topics

#: Names of the threads that plain handlers run in start with this.
THREAD_NAME: Final = "jackfield-handler"


class Node:
    """A server process and its parts; made once the plugins are known and Redis is there.

    Each part is given what it needs. Only `app`, which starts and stops them, knows them all.

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
        limits, auth = settings.limits, settings.auth
        #: For what strangers cause.
        self.sparing_log = SparingLog(structlog.get_logger("jackfield"))

        self.hub = Hub()
        self.permits = Permits(limits)
        self.waiting_clients = WaitingClients(limits, self.sparing_log)
        self.executor = ThreadPoolExecutor(limits.threads, THREAD_NAME)

        self.tickets = TicketStore(redis, keys)
        self.revocations = Revocations(RevocationStore(redis, keys), self.hub)
        self.authenticators = AuthenticatorChain(authenticators, self.revocations)
        self.expiry = Expiry(warn_before=auth.warn_before, grace=auth.grace)

        self.topics = Topics(settings, registry.find_family, redis, keys)
        self.agents = Agents(settings, redis, keys, self.topics)
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
            log=self.sparing_log,
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


#: Where an application has its node; only what starts and stops it looks there.
NODE: Final = web.AppKey("jackfield.node", Node)
