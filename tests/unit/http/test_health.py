"""A server is ready while it can serve, and says of what it can't."""

from importlib.metadata import version
from typing import Any, cast

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from jackfield.connection.hub import Hub
from jackfield.dispatch.registry import Registry
from jackfield.http.health import READINESS, Readiness, healthz, readyz, root
from jackfield.redis.bus import Bus
from jackfield.redis.client import RedisClient
from tests.support.candidates import candidate, plugin, registry


class Redis:
    answers = True

    async def ping(self) -> bool:
        return self.answers


class Links:
    healthy = True


class World:
    def __init__(self, made: Registry | None = None) -> None:
        self.redis, self.bus, self.hub = Redis(), Links(), Hub()
        self.readiness = Readiness(
            cast(RedisClient, self.redis),
            cast(Bus, self.bus),
            self.hub,
            registry() if made is None else made,
        )

    async def answer(self) -> tuple[int, str, list[Any]]:
        app = web.Application()
        app[READINESS] = self.readiness
        response = await readyz(make_mocked_request("GET", "/readyz", app=app))
        assert response.headers["Cache-Control"] == "no-store"
        body = decoded(response)
        return response.status, body["status"], body["reasons"]


def decoded(response: web.Response) -> Any:
    assert isinstance(response.body, bytes)
    return msgspec.json.decode(response.body)


async def test_where_nothing_is_wrong_it_is_ready() -> None:
    assert await World().answer() == (200, "ready", [])


async def test_each_thing_that_is_wrong_is_a_reason() -> None:
    world = World()
    world.hub.draining, world.redis.answers, world.bus.healthy = True, False, False
    status, state, reasons = await world.answer()
    assert (status, state) == (503, "unavailable")
    assert [each["reason"] for each in reasons] == ["shutdown", "redis", "bus"]
    assert all(each["message"] for each in reasons)


@pytest.mark.parametrize("what", ["shutdown", "redis", "bus"])
async def test_one_of_them_is_enough(what: str) -> None:
    world = World()
    world.hub.draining = what == "shutdown"
    world.redis.answers, world.bus.healthy = what != "redis", what != "bus"
    status, _, reasons = await world.answer()
    assert (status, [each["reason"] for each in reasons]) == (503, [what])


async def test_a_plugin_that_was_left_out_is_told_and_takes_no_server_out() -> None:
    world = World(registry(candidate(ImportError("no numpy"), "chat"), candidate(plugin("poll"))))
    assert await world.answer() == (
        200,
        "degraded",
        [
            {
                "reason": "plugin",
                "plugin": "chat",
                "distribution": "jackfield-third 1.0",
                "stage": "import",
                "message": "The plugin was left out; the log and 'jackfield plugins' say why.",
            }
        ],
    )
    world.redis.answers = False
    status, state, reasons = await world.answer()
    assert (status, state) == (503, "unavailable")
    assert [each["reason"] for each in reasons] == ["redis", "plugin"]


async def test_a_process_that_answers_is_alive() -> None:
    response = await healthz(make_mocked_request("GET", "/healthz"))
    assert (response.status, decoded(response)) == (200, {"status": "ok"})


async def test_the_root_says_where_the_websocket_is() -> None:
    request = make_mocked_request("GET", "/?a=b", headers={"Host": "example.com:8080"})
    assert decoded(await root(request)) == {
        "server": "jackfield",
        "version": version("jackfield"),
        "websocket": "ws://example.com:8080/ws",
        "subprotocols": ["jackfield.v1", "jackfield.v1.msgpack"],
    }
