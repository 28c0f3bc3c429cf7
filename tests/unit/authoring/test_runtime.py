"""A runtime is a plugin's part of its server, and publishes by it."""

import asyncio
from typing import Any, cast

from jackfield import Runtime
from jackfield.authoring.services import Services
from jackfield.wire.position import Position


class Topics:
    def __init__(self) -> None:
        self.published: list[tuple[Any, ...]] = []

    async def publish(self, topic: str, payload: Any, *, key: str | None = None) -> Position:
        self.published.append((topic, payload, key))
        return Position("e", len(self.published))


def runtime(topics: Topics) -> Runtime:
    services = Services(
        topics=cast(Any, topics),
        topic_access=cast(Any, None),
        agents=cast(Any, None),
        refresh=cast(Any, None),
        store=cast(Any, None),
        describe=cast(Any, None),
        address=asyncio.get_running_loop().create_future(),
    )
    return Runtime("chat", "node", {"size": 5}, services)


async def test_it_knows_its_plugin_and_node() -> None:
    made = runtime(Topics())
    assert (made.plugin, made.node, made.config, made.resource) == (
        "chat",
        "node",
        {"size": 5},
        None,
    )
    assert cast(Any, made.log)._context == {"plugin": "chat"}


async def test_it_publishes_to_topics_users_and_everyone() -> None:
    topics = Topics()
    made = runtime(topics)
    assert await made.publish("room:a", {"n": 1}) == Position("e", 1)
    assert await made.send_to_user("bob", {"n": 2}, key="k") == Position("e", 2)
    assert await made.broadcast({"n": 3}, key="k") == Position("e", 3)
    assert topics.published == [
        ("room:a", {"n": 1}, None),
        ("user:bob", {"n": 2}, "k"),
        ("broadcast", {"n": 3}, "k"),
    ]


async def test_it_tells_where_the_server_listens_once_it_does() -> None:
    made = runtime(Topics())
    given_up, waiting = (asyncio.create_task(made.listening()) for _ in range(2))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait([given_up])
    assert not waiting.done()
    made._services.address.set_result("ws://127.0.0.1:8080/ws")
    assert await waiting == "ws://127.0.0.1:8080/ws"
    assert await made.listening() == "ws://127.0.0.1:8080/ws"
