"""What a plugin may put around its handlers: lifespan, hooks, middleware, state, configuration."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest
from marshmallow import Schema, fields
from structlog.testing import capture_logs

from jackfield import AnyPayload, CallNext, Context, Error, Plugin, Runtime
from jackfield.client import RequestError
from jackfield.dispatch.plugin_entry import PluginFailures
from jackfield.testing import run_server
from tests.support.connections import stored_connection
from tests.support.waiting import wait_until
from tests.support.wire import Wire

Config = Mapping[str, Any]


class Answers(Schema):
    answer = fields.Integer(load_default=42)


async def test_what_a_lifespan_yields_is_there_for_handlers_and_hooks(config: Config) -> None:
    plugin = Plugin("life", config=Answers)
    told: list[str] = []

    @plugin.lifespan
    async def run(runtime: Runtime) -> AsyncIterator[dict[str, Any]]:
        told.append("started")
        yield {"answer": runtime.config["answer"], "node": runtime.node}
        told.append("stopped")

    @plugin.on_connect
    async def connected(ctx: Context) -> None:
        told.append(f"hook sees {ctx.resource['answer']}")

    @plugin.handler("life.answer")
    async def answer(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
        return {"answer": ctx.resource["answer"], "same": ctx.resource["node"] == ctx.node}

    configured = {**config, "plugins": {"life": {"answer": 7}}}
    async with run_server(plugin, config=configured) as server, server.connect() as client:
        assert await client.request("life.answer") == {"answer": 7, "same": True}
        assert told == ["started", "hook sees 7"]
    assert told[-1] == "stopped"


async def test_a_plugin_that_fails_to_start_is_left_out_whole_and_reported(
    config: Config,
) -> None:
    broken, well = Plugin("broken"), Plugin("well")

    @broken.lifespan
    async def fail(runtime: Runtime) -> AsyncIterator[None]:
        if runtime.plugin == "broken":
            raise RuntimeError("no database")
        yield

    @broken.handler("broken.act")
    async def act(ctx: Context, data: dict[str, Any]) -> None: ...

    @broken.middleware(everywhere=True)
    async def everywhere(ctx: Context, data: Any, call_next: Any) -> Any:
        raise AssertionError("a plugin left out has no middleware")

    @broken.on_connect
    async def connected(ctx: Context) -> None:
        raise AssertionError("a plugin left out has no hooks")

    @well.handler("well.act")
    async def well_act(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
        return {"well": True}

    with capture_logs() as logs:
        async with run_server(broken, well, config=config) as server:
            async with server.connect() as client:
                assert await client.request("well.act") == {"well": True}
                with pytest.raises(RequestError, match="unknown_type"):
                    await client.request("broken.act")
            async with aiohttp.ClientSession() as http:
                async with http.get(f"{server.address}/readyz") as response:
                    assert response.status == 200
                    ready = await response.json()
                async with http.get(f"{server.address}/metrics") as response:
                    metrics = await response.text()
    assert ready["status"] == "degraded"
    (reason,) = ready["reasons"]
    assert (reason["reason"], reason["plugin"], reason["stage"]) == ("plugin", "broken", "start")
    assert "no database" not in str(ready)
    line = 'jackfield_plugin_state{distribution="under-test",plugin="broken",state="failed"} 1.0'
    assert line in metrics
    (logged,) = (entry for entry in logs if entry.get("plugin") == "broken")
    assert "no database" in logged["reason"]


async def test_strict_makes_a_plugin_that_fails_to_start_fatal(config: Config) -> None:
    broken = Plugin("broken")

    @broken.lifespan
    async def fail(runtime: Runtime) -> AsyncIterator[None]:
        if runtime.plugin == "broken":
            raise RuntimeError("no database")
        yield

    strict = {**config, "plugins": {"strict": True}}
    with capture_logs(), pytest.raises(PluginFailures, match=r"'broken'.*no database"):
        async with run_server(broken, config=strict):
            pass


async def test_a_plugin_that_fails_to_stop_keeps_no_other_from_stopping(config: Config) -> None:
    first, second = Plugin("first"), Plugin("second")
    stopped = False

    @first.lifespan
    async def well(runtime: Runtime) -> AsyncIterator[None]:
        nonlocal stopped
        yield
        stopped = True

    @second.lifespan
    async def fail(runtime: Runtime) -> AsyncIterator[None]:
        yield
        raise RuntimeError("stuck")

    with capture_logs() as logs:
        async with run_server(first, second, config=config):
            pass
    assert stopped
    assert any(entry["event"] == "a plugin failed to stop" for entry in logs)


async def test_hooks_see_each_connection_come_and_go(config: Config) -> None:
    plugin = Plugin("hooks")
    seen: list[tuple[str, str]] = []

    @plugin.on_connect
    async def connected(ctx: Context) -> None:
        seen.append(("came", ctx.connection))

    @plugin.on_disconnect
    async def disconnected(ctx: Context) -> None:
        seen.append(("went", ctx.connection))

    async with run_server(plugin, config=config) as server:
        async with server.connect() as client:
            assert seen == [("came", client.connection)]
        await wait_until(lambda: len(seen) == 2)
        assert seen[1] == ("went", client.connection)


async def test_a_hook_may_refuse_a_connection(config: Config) -> None:
    plugin = Plugin("club")
    went = False

    @plugin.on_connect
    async def connected(ctx: Context) -> None:
        raise Error("club.members_only", "Members only.")

    @plugin.on_disconnect
    async def disconnected(ctx: Context) -> None:
        nonlocal went
        went = True

    async with run_server(plugin, config=config) as server, Wire(server) as wire:
        refused = await wire.receive()
        assert (refused["type"], refused["id"]) == ("error", None)
        assert refused["error"]["code"] == "club.members_only"
        assert (await wire.receive())["type"] == "goodbye"
        assert (await wire.closed())[0] == 4503
        await wait_until(lambda: went)


async def test_a_hook_may_send_a_client_away_for_now(config: Config) -> None:
    plugin = Plugin("club")

    @plugin.on_connect
    async def connected(ctx: Context) -> None:
        raise Error("club.full", "Come back later.", retryable=True)

    async with run_server(plugin, config=config) as server, Wire(server) as wire:
        assert (await wire.receive())["error"]["code"] == "club.full"
        goodbye = (await wire.receive())["payload"]
        assert 0 <= goodbye.pop("after") <= 5
        assert goodbye == {"code": 4006, "reason": "club.full", "reconnect": True}
        assert await wire.closed() == (4006, "club.full")


async def test_a_hook_that_raises_is_contained(config: Config) -> None:
    plugin = Plugin("faulty")

    @plugin.on_connect
    async def connected(ctx: Context) -> None:
        raise RuntimeError("oops")

    @plugin.on_disconnect
    async def disconnected(ctx: Context) -> None:
        raise RuntimeError("oops again")

    with capture_logs() as logs:
        async with run_server(plugin, config=config) as server:
            async with server.connect() as client:
                assert await client.request("session.ping") == {}
            await wait_until(lambda: len(server.node.hub) == 0)
    assert [entry["plugin"] for entry in logs if "incident" in entry] == ["faulty", "faulty"]


async def test_middleware_wraps_its_own_handlers_or_everybodys(config: Config) -> None:
    inner, outer = Plugin("inner"), Plugin("outer")
    calls: list[str] = []

    @outer.middleware(everywhere=True)
    async def everywhere(ctx: Context, data: Any, call_next: Any) -> Any:
        calls.append(f"outer around {ctx.type}")
        return await call_next(ctx, data)

    @inner.middleware
    async def own(ctx: Context, data: Any, call_next: Any) -> Any:
        calls.append(f"inner around {ctx.type}")
        if data.get("refuse"):
            raise Error("inner.refused", "No.")
        return {**await call_next(ctx, {**data, "added": 1}), "changed": True}

    @inner.handler("inner.echo", AnyPayload)
    async def echo(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
        return data

    @inner.handler("inner.stream", AnyPayload)
    async def stream(ctx: Context, data: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        yield data

    async with run_server(inner, outer, config=config) as server, server.connect() as client:
        assert await client.request("inner.echo", {"a": 1}) == {
            "a": 1,
            "added": 1,
            "changed": True,
        }
        with pytest.raises(RequestError, match=r"inner\.refused"):
            await client.request("inner.echo", {"refuse": True})
        await client.request("session.ping")
        assert calls == [
            "outer around inner.echo",
            "inner around inner.echo",
            "outer around inner.echo",
            "inner around inner.echo",
            "outer around session.ping",
        ]


async def test_middleware_everywhere_keeps_its_own_configuration(config: Config) -> None:
    inner, outer = Plugin("inner", config=Answers), Plugin("outer", config=Answers)

    @outer.middleware(everywhere=True)
    async def everywhere(ctx: Context, data: Any, call_next: CallNext) -> Any:
        result = await call_next(ctx, data)
        return {**result, "outer": ctx.config["answer"]}

    @inner.handler("inner.answer")
    async def answer(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
        return {"inner": ctx.config["answer"]}

    sections = {"inner": {"answer": 1}, "outer": {"answer": 2}}
    async with run_server(inner, outer, config={**config, "plugins": sections}) as server:
        async with server.connect() as client:
            assert await client.request("inner.answer") == {"inner": 1, "outer": 2}


async def test_middleware_wraps_a_whole_stream(config: Config) -> None:
    plugin = Plugin("wrapped")
    told: list[str] = []

    @plugin.middleware
    async def around(ctx: Context, data: Any, call_next: Any) -> Any:
        told.append("before")
        result = await call_next(ctx, data)
        told.append("after")
        return result

    @plugin.handler("wrapped.stream")
    async def stream(ctx: Context, data: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        for number in range(3):
            told.append(f"chunk {number}")
            yield {"number": number}

    async with run_server(plugin, config=config) as server, server.connect() as client:
        chunks = [chunk async for chunk in client.stream("wrapped.stream")]
        assert [chunk["number"] for chunk in chunks] == [0, 1, 2]
        await wait_until(lambda: told[-1] == "after")
        assert told == ["before", "chunk 0", "chunk 1", "chunk 2", "after"]


async def test_state_is_in_redis_and_each_plugins_own(config: Config) -> None:
    one, two = Plugin("one"), Plugin("two")

    @one.handler("one.set", AnyPayload)
    async def write(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
        await ctx.state.set(**data)
        return dict(ctx.state)

    @one.handler("one.delete", AnyPayload)
    async def delete(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
        await ctx.state.delete(*data["names"])
        return dict(ctx.state)

    @two.handler("two.get")
    async def read(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
        return dict(ctx.state)

    async with run_server(one, two, config=config) as server, server.connect() as client:
        assert await client.request("one.set", {"a": [1, "é"], "b": None}) == {
            "a": [1, "é"],
            "b": None,
        }
        assert await client.request("two.get") == {}
        stored = await stored_connection(server.node.redis, server.node.keys, client.connection)
        assert stored is not None
        assert stored["fields"]["one.a"] == '[1,"é"]'.encode()
        assert await client.request("one.delete", {"names": ["a", "never there"]}) == {"b": None}
        stored = await stored_connection(server.node.redis, server.node.keys, client.connection)
        assert stored is not None
        assert "one.a" not in stored["fields"]


async def test_writes_of_one_field_arrive_in_the_order_they_were_made(config: Config) -> None:
    plugin = Plugin("race")

    @plugin.handler("race.write", AnyPayload, concurrent=True)
    async def write(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
        await ctx.state.set(last=data["n"])
        return {}

    async with run_server(plugin, config=config) as server, server.connect() as client:
        async with asyncio.TaskGroup() as tasks:
            for number in range(50):
                tasks.create_task(client.request("race.write", {"n": number}))
        (connection,) = server.node.hub
        stored = await stored_connection(server.node.redis, server.node.keys, client.connection)
        assert stored is not None
        assert stored["fields"]["race.last"] == connection.fields["race.last"]
