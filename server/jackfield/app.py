"""Make the aiohttp application: its HTTP routes, and its node, started and stopped in order."""

import asyncio
import contextlib
import secrets
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from typing import Any, Final

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry

from .auth import Authenticator
from .auth.loading import load_authenticators
from .auth.ticket import TICKETS
from .config import Settings
from .declaration.candidates import Candidate, discover
from .dispatch.plugin_entry import PluginEntry, Stage
from .dispatch.registry import Registry
from .http import api as server_api
from .http.answers import check_host, set_headers
from .http.api import API, ServerApi
from .http.console import console_routes
from .http.health import READINESS, Readiness, healthz, readyz, root
from .http.metrics import REGISTRY, NodeCollector, metrics
from .http.pages import page_routes
from .node import NODE, THREAD_NAME, Node
from .plugin.hooks import Lifespan
from .redis.client import RedisClient
from .redis.embedded import embedded_valkey
from .session.request_heads import track_requests
from .session.session import SESSIONS, websocket
from .store.connections import ConnectionStore
from .store.keys import Keys
from .wire.errors import CONTAINED, Error

_log = structlog.get_logger("jackfield")

#: Seconds that a plugin or authenticator has to start: one that takes longer may never end.
_START_TIMEOUT: Final = 30.0
#: The share of ``drain.deadline`` that requests have to finish; the rest is for close handshakes,
#: lifespans and Redis.
_SHARE_FOR_REQUESTS: Final = 0.6
#: The share of it that the lifespan of one plugin has to stop.
_SHARE_FOR_A_PLUGIN: Final = 0.2


def create_app(
    settings: Settings,
    *,
    candidates: Iterable[Candidate] | None = None,
    authenticators: Sequence[Authenticator] | None = None,
) -> web.Application:
    """Make the application, ready for an aiohttp runner.

    Args:
        settings: See `jackfield.config.load_settings`.
        candidates: The plugins to choose from; by default all that are installed.
        authenticators: What authenticates clients, asked in turn; by default what the settings say.

    Raises:
        ConfigError: The configuration names plugins that are not installed.
        PluginFailures: A plugin failed, and the configuration is strict.
    """
    registry = Registry(discover() if candidates is None else candidates, settings.plugins)
    for entry in registry.failed:
        _log_failure(entry)
    registry.enforce_strictness()
    if authenticators is None:
        authenticators = load_authenticators(settings)
    app = web.Application(middlewares=[track_requests, check_host])
    app.on_response_prepare.append(set_headers)
    app.add_routes(console_routes() if settings.server.console else [web.get("/", root)])
    # HEAD would be taken for a handshake, which is a GET (RFC 6455, section 4.1).
    app.router.add_get("/ws", websocket, allow_head=False)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    app.add_routes(server_api.ROUTES)
    app.add_routes(page_routes(registry))

    async def node(app: web.Application) -> AsyncIterator[None]:
        async with _running_node(settings, registry, authenticators) as running:
            _provide_parts(app, running)
            yield

    app.cleanup_ctx.append(node)
    app.on_shutdown.append(drain)
    return app


def _provide_parts(app: web.Application, node: Node) -> None:
    """Put the parts of the node that HTTP routes work with into the application."""
    app[NODE] = node
    app[SESSIONS] = node.sessions
    app[TICKETS] = node.tickets
    settings = node.settings
    app[READINESS] = Readiness(
        node.redis,
        node.topics.bus,
        node.hub,
        node.registry,
        memory=node.memory,
        layouts=node.layouts,
        full_is_ready=settings.redis.readyz_when_full == "degraded",
    )
    app[API] = ServerApi(
        settings.api,
        node.tickets,
        node.revocations,
        revocation_ttl=settings.auth.revocation_ttl,
    )
    app[REGISTRY] = CollectorRegistry()
    app[REGISTRY].register(
        NodeCollector(
            hub=node.hub,
            redis=node.redis,
            memory=node.memory,
            shares=node.shares,
            waiting_clients=node.waiting_clients,
            watchdog=node.watchdog,
            topics=node.topics,
            agents=node.agents,
            registry=node.registry,
            dispatcher=node.dispatcher,
        )
    )


async def drain(app: web.Application) -> None:
    """Close all connections; to be called before the runner's cleanup.

    The cleanup calls it as well, but aiohttp has stopped reading by then: no client could finish a
    request or the close handshake.
    """
    node = app[NODE]
    await node.hub.drain(node.settings.drain.deadline * _SHARE_FOR_REQUESTS)


@contextlib.asynccontextmanager
async def _running_node(
    settings: Settings, registry: Registry, authenticators: Sequence[Authenticator]
) -> AsyncIterator[Node]:
    """Start a node and all that it needs, and stop them in reverse order."""
    async with contextlib.AsyncExitStack() as stack:
        url = settings.redis.url
        if url == "embedded":
            url = await stack.enter_async_context(embedded_valkey(settings.redis.embedded_memory))
        redis = RedisClient(settings.redis, url)
        stack.push_async_callback(redis.close)
        keys = Keys(settings.redis.prefix, secrets.token_hex(8))
        store = ConnectionStore(redis, keys, settings.connections.ttl)
        stack.push_async_callback(store.close)
        node = Node(settings, registry, redis, store, keys=keys, authenticators=authenticators)
        stack.callback(node.executor.shutdown, wait=False, cancel_futures=True)
        stack.callback(node.slow_requests.close)
        stack.enter_context(node.watchdog)
        stack.push_async_callback(node.topics.close)
        stack.push_async_callback(node.agents.close)
        for entry, plugin in list(registry.plugins()):
            if plugin.lifespan_function is not None:
                await _start_plugin(stack, entry, plugin.lifespan_function, node)
        registry.enforce_strictness()
        registry.make_routes(settings, node.runtimes, node.executor)
        node.topics.clear_cache()
        for authenticator in authenticators:
            if isinstance(authenticator, contextlib.AbstractAsyncContextManager):
                async with asyncio.timeout(_START_TIMEOUT):
                    await stack.enter_async_context(authenticator)
        stack.push_async_callback(_remove_state, node)
        stack.callback(node.expiry.close)
        with contextlib.suppress(Error):  # Redis is away: no client is served before it is back
            await node.layouts.check()
            await node.revocations.poll()
        await stack.enter_async_context(_in_background(node.revocations.run()))
        await stack.enter_async_context(_in_background(node.memory.run()))
        await stack.enter_async_context(_in_background(node.heartbeat.run()))
        await stack.enter_async_context(_in_background(node.agents.run()))
        yield node


@contextlib.asynccontextmanager
async def _in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run a coroutine that never ends by itself, in a task, while the context lasts."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and (exc := task.exception()) is not None:
            raise exc


async def _remove_state(node: Node) -> None:
    try:
        await node.store.remove_all(list(node.hub))
    except Error:  # Redis is away: the TTLs remove it
        _log.warning("Redis is away; this node's state is left to its TTL")


async def _start_plugin(
    stack: contextlib.AsyncExitStack, entry: PluginEntry, lifespan: Lifespan, node: Node
) -> None:
    """Run a plugin's lifespan up to its yield, and have the stack run the rest."""
    runtime = node.runtimes[entry.name]
    generator = lifespan(runtime)
    try:
        async with asyncio.timeout(_START_TIMEOUT):
            runtime.resource = await anext(generator)
    except CONTAINED as exc:
        entry.fail(Stage.START, f"it failed to start: {type(exc).__name__}: {exc}")
        _log_failure(entry, exc)
        return
    limit = node.settings.drain.deadline * _SHARE_FOR_A_PLUGIN
    stack.push_async_callback(_stop_plugin, entry, generator, limit)


async def _stop_plugin(entry: PluginEntry, generator: Any, limit: float) -> None:
    """Run the rest of a plugin's lifespan; a failure keeps no other plugin from stopping."""
    try:
        async with asyncio.timeout(limit):
            await anext(generator)
    except StopAsyncIteration:
        return
    except CONTAINED as exc:
        _log.error("a plugin failed to stop", plugin=entry.name, exc_info=exc)
        return
    _log.error("a plugin's lifespan yields twice", plugin=entry.name)
    await generator.aclose()


def _log_failure(entry: PluginEntry, exc: BaseException | None = None) -> None:
    _log.error(
        "a plugin was left out",
        plugin=entry.name,
        distribution=entry.source,
        stage=str(entry.stage),
        reason=entry.reason,
        exc_info=exc,
    )


def busy_threads() -> list[threading.Thread]:
    """Return the threads that run plain handlers: only the end of the process can stop them."""
    return [thread for thread in threading.enumerate() if thread.name.startswith(THREAD_NAME)]
