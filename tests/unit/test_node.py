"""A node's parts are given each other, and are made without asking Redis anything."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from jackfield import Context, Plugin
from jackfield.config import load_settings
from jackfield.dispatch.dispatcher import Dispatcher
from jackfield.dispatch.registry import Registry
from jackfield.node import THREAD_NAME, Node
from jackfield.redis.client import RedisClient
from jackfield.session.connection_hooks import ConnectionHooks
from jackfield.store.connections import ConnectionStore
from jackfield.store.keys import Keys
from tests.support.candidates import Strict, candidate, plugin
from tests.support.connected import Connected


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    settings = load_settings(
        None, {}, {"limits": {"threads": 3}, "plugins": {"chat": {"history": 5}}}
    )
    chat = Plugin("chat", config=Strict)
    failing = candidate(ImportError("no numpy"), "broken")
    registry = Registry([candidate(chat), candidate(plugin("poll")), failing], settings.plugins)
    redis = RedisClient(settings.redis, "redis://127.0.0.1:1")
    keys = Keys("test", "this-node")
    store = ConnectionStore(redis, keys, settings.connections.ttl)
    made = Node(settings, registry, redis, store, keys=keys, authenticators=[])
    yield made
    made.executor.shutdown(wait=False)
    made.slow_requests.close()
    await made.topics.close()
    await made.agents.close()
    await store.close()
    await redis.close()


async def test_each_plugin_that_runs_has_a_runtime_with_its_configuration(node: Node) -> None:
    assert set(node.runtimes) == {"chat", "poll"}
    assert node.runtimes["chat"].config == {"history": 5}
    assert {each.node for each in node.runtimes.values()} == {"this-node"}
    assert node.id == "this-node"


async def test_its_message_types_can_be_handled_once_they_have_routes(node: Node) -> None:
    client = Connected()
    data = b'{"type":"poll.send","id":1,"payload":{}}'
    assert node.dispatcher.accept(client.connection, data) is None
    node.registry.make_routes(node.settings, node.runtimes, node.executor)
    request = node.dispatcher.accept(client.connection, data)
    assert request is not None
    assert request.options.runtime is node.runtimes["poll"]


async def test_a_shutdown_of_its_hub_is_the_dispatchers(node: Node) -> None:
    node.registry.make_routes(node.settings, node.runtimes, node.executor)
    client = Connected()
    node.hub.draining = True
    data = b'{"type":"poll.send","id":1,"payload":{}}'
    assert node.dispatcher.accept(client.connection, data) is None
    assert client.sent()[0]["error"]["code"] == "unavailable"


async def test_hooks_of_topics_get_the_contexts_of_their_plugins(node: Node) -> None:
    connection = Connected().connection
    context = node._make_context("chat", connection, None)
    assert isinstance(context, Context)
    assert (context.connection, context.type, context.config) == ("c1", None, {"history": 5})


async def test_plain_handlers_have_threads_of_their_own_name(node: Node) -> None:
    assert node.executor._max_workers == 3
    name: Any = node.executor.submit(lambda: __import__("threading").current_thread().name)
    assert name.result().startswith(THREAD_NAME)


async def test_the_watchdog_knows_what_runs_plugins_code(node: Node) -> None:
    watched = set(node.watchdog._readers)
    assert watched == {
        Dispatcher.accept.__code__,
        Dispatcher.run.__code__,
        ConnectionHooks.run.__code__,
    }
