"""Plugins call agents: for a user, or in the background for nobody."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

import pytest

from jackfield import AnyPayload, Context, Error, Plugin
from jackfield.testing import RunningServer
from tests.support.agents import COUNT, Bot, Caller, agent_nodes, refused
from tests.support.topics import Message

Config = Mapping[str, Any]

plugin = Plugin("asking")


@plugin.handler("asking.call", AnyPayload)
async def ask(ctx: Context, data: Message) -> Message:
    agent, skill, timeout = (data.get(name) for name in ("agent", "skill", "timeout"))
    payload = data.get("input", {})
    return {"got": await ctx.call_agent(agent, payload, skill=skill, timeout=timeout)}


@plugin.handler("asking.stream", AnyPayload)
async def stream(ctx: Context, data: Message) -> AsyncIterator[Message]:
    async for chunk in ctx.stream_agent("echo", data):
        yield {"passed_on": chunk}


@plugin.handler("asking.first", AnyPayload)
async def first(ctx: Context, data: Message) -> Message:
    async with aclosing(ctx.stream_agent("echo", data)) as chunks:
        async for chunk in chunks:
            return {"first": chunk}
    return {}


@pytest.fixture
async def servers(config: Config) -> AsyncIterator[list[RunningServer]]:
    async with agent_nodes(config, 2, plugin) as servers:
        yield servers


async def test_a_plugin_calls_an_agent_for_its_user(bot: Bot, ada: Caller) -> None:
    await bot.register("echo", COUNT)
    message_id = await ada.post("asking.call", agent="echo", input={"to": 2})
    job = await bot.told()
    assert (job["caller"], job["input"]) == ("ada", {"to": 2})
    await bot.update(job, {"n": 1}, seq=0)
    await bot.complete(job, sum=3)
    assert (await ada.answer(message_id))["payload"] == {"got": {"sum": 3}}
    message_id = await ada.post("asking.call", skill="count", input={"to": 2})
    await bot.fail(await bot.told(), "too tired", code="tired")
    error = (await ada.answer(message_id))["error"]
    assert (error["code"], error["reason"]) == ("agent_failed", "tired")
    assert (await ada.error("asking.call", agent="echo", input={}))["code"] == "invalid_payload"
    assert (await ada.error("asking.call", agent="nobody"))["code"] == "not_found"
    error = await ada.error("asking.call", agent="echo", input={"to": 2}, timeout=0.1)
    assert error["code"] == "timeout"
    assert (await bot.told("canceled" if bot.inbox else "assigned"))["attempt"] == 1


async def test_a_plugin_passes_on_what_an_agent_streams(bot: Bot, ada: Caller) -> None:
    await bot.register()
    message_id = await ada.post("asking.stream", text="hi")
    job = await bot.told()
    await bot.update(job, {"n": 1}, {"n": 2}, seq=0)
    await bot.update(job, {"n": 3}, seq=2)
    chunks = [(await ada.answer(message_id))["payload"] for _ in range(3)]
    assert chunks == [{"passed_on": {"n": n}} for n in (1, 2, 3)]
    await bot.complete(job, ignored=True)
    assert (await ada.answer(message_id))["type"] == "reply"
    message_id = await ada.post("asking.stream", text="hi")
    await bot.fail(await bot.told(), "no", rejected=True)
    assert (await ada.answer(message_id))["error"]["state"] == "rejected"


async def test_a_plugin_that_leaves_early_cancels_the_task(bot: Bot, ada: Caller) -> None:
    await bot.register()
    message_id = await ada.post("asking.first", text="hi")
    job = await bot.told()
    await bot.update(job, {"n": 1}, {"n": 2}, seq=0)
    assert (await ada.answer(message_id))["payload"] == {"first": {"n": 1}}
    assert (await bot.told("canceled"))["error"]["code"] == "cancelled"
    message_id = await ada.post("asking.call", agent="echo")
    job = await bot.told()
    assert (await ada.reply("request.cancel", id=message_id))["cancelled"] is True
    assert (await bot.told("canceled"))["task"] == job["task"]
    assert refused(await bot.complete(job)) == "conflict"


async def test_a_plugin_calls_agents_in_the_background_for_nobody(
    servers: list[RunningServer], bot: Bot
) -> None:
    await bot.register()
    runtime = servers[1].node.runtimes["asking"]
    calling = asyncio.create_task(runtime.call_agent(None, {"a": 1}, skill="say"))
    job = await bot.told()
    assert (job["caller"], job["input"]) == (None, {"a": 1})
    await bot.complete(job, b=2)
    assert await calling == {"b": 2}
    chunks = runtime.stream_agent("echo", {})
    reading = asyncio.create_task(anext(chunks))
    job = await bot.told()
    await bot.update(job, {"n": 1}, seq=0)
    assert await reading == {"n": 1}
    await chunks.aclose()
    assert (await bot.told("canceled"))["task"] == job["task"]
    with pytest.raises(Error) as raised:
        await runtime.call_agent(f"no-{secrets.token_hex(4)}", {})
    assert raised.value.code == "not_found"
    calling = asyncio.create_task(runtime.call_agent("echo", {}))
    job = await bot.told()
    calling.cancel()
    assert (await bot.told("canceled"))["task"] == job["task"]
