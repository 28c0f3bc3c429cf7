"""A context hands plugin code its connection, its request and its plugin, and nothing more."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from jackfield import Context, Error, Runtime
from jackfield.authoring.services import Services
from jackfield.connection.connection import Connection
from jackfield.connection.request import Request
from jackfield.connection.running import MessageOptions
from jackfield.wire.identity import Identity
from jackfield.wire.position import Position
from tests.support.connected import Connected

IDENTITY = Identity("alice", frozenset({"a"}), expires_at=7.5)


class Access:
    """What clients may do with topics: keeps what it was asked for, and by whom."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    async def subscribe(self, *args: Any) -> Any:
        return self._ask("subscribe", args, {"reply": True})

    def unsubscribe(self, *args: Any) -> bool:
        return bool(self._ask("unsubscribe", args, result=True))

    async def publish(self, *args: Any) -> Any:
        return self._ask("publish", args, Position("e", 1))

    async def history(self, *args: Any, **options: Any) -> Any:
        return self._ask("history", (*args, options), {"events": []})

    async def presence(self, *args: Any) -> Any:
        return self._ask("presence", args, {"members": []})

    def _ask(self, what: str, args: tuple[Any, ...], result: Any) -> Any:
        self.asked.append((what, *args))
        return result


class Topics:
    """Publishes for everyone."""

    def __init__(self) -> None:
        self.published: list[tuple[str, Any, str | None]] = []

    async def publish(self, topic: str, payload: Any, *, key: str | None = None) -> Position:
        self.published.append((topic, payload, key))
        return Position("e", len(self.published))


class Refresh:
    """Keeps whose identity was to be refreshed, and by what."""

    def __init__(self) -> None:
        self.asked: list[tuple[Connection, str]] = []

    async def refresh(self, connection: Connection, token: str) -> float:
        self.asked.append((connection, token))
        return 7.5


def describe(scopes: frozenset[str], message_type: str | None) -> dict[str, Any]:
    return {"scopes": sorted(scopes), "type": message_type}


class World:
    """A context of a request, and one of a hook."""

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self.topics, self.access, self.refresh = Topics(), Access(), Refresh()
        services = Services(
            topics=cast(Any, self.topics),
            topic_access=cast(Any, self.access),
            agents=cast(Any, None),
            refresh=cast(Any, self.refresh),
            store=cast(Any, None),
            describe=describe,
            address=asyncio.get_running_loop().create_future(),
        )
        self.connected = Connected(identity=IDENTITY)
        self.connection = self.connected.connection
        options = MessageOptions(
            "chat.send",
            scopes=frozenset(),
            rate=None,
            streams=False,
            concurrent=False,
            timeout=None,
        )
        self.request = Request(self.connection, options, "q", {})
        self.connection.requests["q"] = self.request
        self.runtime = Runtime("chat", "node", config or {}, services)
        self.context = Context(self.connection, self.runtime, self.request)
        self.hook = Context(self.connection, self.runtime)


async def test_it_says_whose_message_it_is() -> None:
    ctx = World().context
    assert (ctx.type, ctx.id, ctx.connection) == ("chat.send", "q", "c1")
    assert (ctx.user, ctx.scopes, ctx.expires_at) == ("alice", IDENTITY.scopes, 7.5)
    assert (ctx.remote, ctx.node) == ("192.0.2.1", "node")
    assert [ctx.has_scope(scope) for scope in ("a", "b")] == [True, False]


async def test_in_a_hook_there_is_no_message() -> None:
    ctx = World().hook
    assert (ctx.type, ctx.id, ctx.connection) == (None, None, "c1")


async def test_a_new_identity_is_seen_at_once() -> None:
    world = World()
    world.connection.identify(Identity("bob", frozenset({"b"})))
    assert (world.context.user, world.context.has_scope("b")) == ("bob", True)


async def test_config_and_resource_are_the_plugins() -> None:
    world = World({"size": 5})
    assert world.context.config == {"size": 5}
    assert world.context.resource is None
    world.runtime.resource = ["pool"]
    assert world.context.resource == ["pool"]


async def test_its_state_and_its_log_are_the_plugins_for_this_connection() -> None:
    world = World()
    world.connection.fields.update({"chat.name": b'"Ada"', "poll.name": b'"Ben"'})
    assert dict(world.context.state) == {"name": "Ada"}
    bound = cast(Any, world.context.log)._context
    assert bound == {"plugin": "chat", "connection": "c1", "type": "chat.send"}


async def test_it_cancels_requests_of_its_own_connection() -> None:
    world = World()
    assert world.hook.cancel("q")
    assert not world.hook.cancel("another")
    assert world.request.stop_reason is not None
    assert world.request.stop_reason.code == "cancelled"


async def test_it_refreshes_the_connections_identity() -> None:
    world = World()
    assert await world.context.refresh_identity("a token") == 7.5
    assert world.refresh.asked == [(world.connection, "a token")]


async def test_it_publishes_as_the_plugin() -> None:
    world = World()
    assert await world.context.publish("room:a", {"n": 1}, key="k") == Position("e", 1)
    await world.context.send_to_user("bob", {"n": 2})
    await world.context.broadcast({"n": 3})
    assert world.topics.published == [
        ("room:a", {"n": 1}, "k"),
        ("user:bob", {"n": 2}, None),
        ("broadcast", {"n": 3}, None),
    ]


async def test_what_clients_may_do_with_topics_it_asks_for_this_connection_and_request() -> None:
    world = World()
    ctx, since = world.context, Position("e", 3)
    assert await ctx.subscribe("room:a", since) == {"reply": True}
    assert ctx.unsubscribe("room:a")
    assert await ctx.publish_as_client("room:a", {"n": 1}, "k") == Position("e", 1)
    assert await ctx.history("room:a", after=1, limit=2) == {"events": []}
    assert await ctx.presence("room:a") == {"members": []}
    connection, request = world.connection, world.request
    assert world.access.asked == [
        ("subscribe", connection, request, "room:a", since),
        ("unsubscribe", connection, "room:a"),
        ("publish", connection, request, "room:a", {"n": 1}, "k"),
        ("history", connection, request, "room:a", {"after": 1, "before": None, "limit": 2}),
        ("presence", connection, request, "room:a"),
    ]


async def test_it_describes_what_its_identity_may_use() -> None:
    ctx = World().context
    assert ctx.describe() == {"scopes": ["a"], "type": None}
    assert ctx.describe("chat.send") == {"scopes": ["a"], "type": "chat.send"}


async def test_calls_of_agents_are_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[dict[str, Any]] = []

    async def call(agents: Any, agent: str | None, skill: str | None, **options: Any) -> Any:
        called.append({"agent": agent, "skill": skill, **options})
        raise Error("not_found")

    monkeypatch.setattr("jackfield.authoring.context.call_agent", call)
    monkeypatch.setattr("jackfield.authoring.runtime.call_agent", call)
    world = World()
    with pytest.raises(Error, match="not_found"):
        await world.context.call_agent("bot", {"n": 1}, skill="add", timeout=2.5)
    with pytest.raises(Error, match="not_found"):
        await world.runtime.call_agent(None, {"n": 1}, skill="add")
    assert called == [
        {"agent": "bot", "skill": "add", "input": {"n": 1}, "caller": "alice", "timeout": 2.5},
        {"agent": None, "skill": "add", "input": {"n": 1}, "caller": None, "timeout": None},
    ]
