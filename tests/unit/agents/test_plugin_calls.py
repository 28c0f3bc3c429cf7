"""Plugins call agents as callers do, and cancel what they leave."""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import pytest

from jackfield.agents.plugin_calls import call_agent, stream_agent
from jackfield.wire.errors import Error
from tests.support.node_agents import NodeAgents, Peer, node_agents

Config = Mapping[str, Any]


async def serve(bot: Peer, *chunks: dict[str, Any], **output: Any) -> None:
    """Do the next task."""
    job = await bot.next()
    if chunks:
        await bot.access.update(job["task"], job["attempt"], seq=0, chunks=chunks)
    await bot.access.complete(job["task"], job["attempt"], output)


async def stream(node: NodeAgents, **options: Any) -> list[dict[str, Any]]:
    chunks = stream_agent(node.agents, "echo", "say", **{"input": {}, "caller": None, **options})
    return [chunk async for chunk in chunks]


async def call(node: NodeAgents, **options: Any) -> dict[str, Any]:
    return await call_agent(node.agents, "echo", "say", **{"input": {}, "caller": None, **options})


async def test_a_call_returns_the_output_whatever_was_streamed_before(config: Config) -> None:
    async with node_agents(config) as node:
        await (bot := node.bot()).register()
        calling = asyncio.create_task(call(node))
        await serve(bot, {"n": 1}, said="hi")
        assert await calling == {"said": "hi"}
        assert node.agents.followed == 0


async def test_a_stream_yields_the_chunks_and_not_the_output(config: Config) -> None:
    async with node_agents(config) as node:
        await (bot := node.bot()).register()
        streaming = asyncio.create_task(stream(node))
        await serve(bot, {"n": 1}, {"n": 2}, said="hi")
        assert await streaming == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("made", [call, stream])
async def test_why_a_task_has_failed_is_raised_with_its_id(config: Config, made: Any) -> None:
    async with node_agents(config) as node:
        await (bot := node.bot()).register()
        calling = asyncio.create_task(made(node))
        job = await bot.next()
        await bot.access.fail(job["task"], job["attempt"], "no voice", code="hoarse")
        with pytest.raises(Error) as failed:
            await calling
        assert (failed.value.code, failed.value.message) == ("agent_failed", "no voice")
        extra = failed.value.extra
        assert (extra["task"], extra["reason"], extra["state"]) == (job["task"], "hoarse", "failed")


@pytest.mark.parametrize("made", [call, stream])
async def test_what_is_left_is_canceled(config: Config, made: Any) -> None:
    async with node_agents(config) as node:
        await (bot := node.bot()).register()
        calling = asyncio.create_task(made(node))
        job = await bot.next()
        calling.cancel()
        await asyncio.wait([calling])
        assert (await bot.next("canceled"))["task"] == job["task"]


async def test_a_stream_that_is_closed_is_canceled(config: Config) -> None:
    async with node_agents(config) as node:
        await (bot := node.bot()).register()

        async def first() -> dict[str, Any]:
            streaming = stream_agent(node.agents, None, "say", input={}, caller=None)
            async with aclosing(streaming) as chunks:
                return await anext(chunks)

        reading = asyncio.create_task(first())
        job = await bot.next()
        await bot.access.update(job["task"], job["attempt"], seq=0, chunks=[{"n": 1}])
        assert await reading == {"n": 1}
        assert (await bot.next("canceled"))["task"] == job["task"]


@pytest.mark.parametrize("made", [call, stream])
async def test_an_agent_that_is_not_there_is_not_found(config: Config, made: Any) -> None:
    async with node_agents(config) as node:
        with pytest.raises(Error, match="not_found"):
            await made(node)
