"""Without Redis nothing of agents hangs, and with it again all goes on."""

from collections.abc import AsyncIterator

import pytest

from tests.support.agents import SAY, Bot, Caller, agent_nodes, beat, refused
from tests.support.topics import Message, own_redis
from tests.support.valkeys import Valkey, single_valkey
from tests.support.waiting import assert_every_key_expires, wait_until


@pytest.fixture
async def valkey() -> AsyncIterator[Valkey]:
    async with single_valkey() as valkey:
        yield valkey


async def test_a_caller_is_told_if_what_became_of_its_task_is_lost() -> None:
    async with (
        own_redis() as (config, redis),
        agent_nodes(config) as (server,),
        Bot(server) as bot,
        Caller(server, "ada") as ada,
    ):
        await bot.register()
        called = await ada.begin()
        job = await bot.told()
        await redis.flushall()
        await beat(server)
        error = await called.error()
        assert (error["code"], error["task"]) == ("unavailable", called.task)
        assert (await bot.told("canceled"))["task"] == job["task"]


async def test_without_redis_every_verb_says_so_and_nothing_hangs(valkey: Valkey) -> None:
    config = {"redis": {"url": valkey.url, "prefix": "test", "timeout": "300ms"}}
    async with (
        agent_nodes(config) as (server,),
        Bot(server) as bot,
        Bot(server) as another,
        Caller(server, "ada") as ada,
        Caller(server, "eve") as eve,
    ):
        await bot.register()
        called = await ada.begin()
        job = await bot.told()
        task = {"task": called.task}
        valkey.pause()
        server.node.agents.directory.invalidate()
        messages: list[tuple[Caller | Bot, str, Message]] = [
            (eve, "agent.list", {}),
            (eve, "agent.call", {"agent": "echo"}),
            (eve, "agent.call", {"agent": "echo", "detach": True, "key": "k"}),
            (ada, "agent.task", task),
            (ada, "agent.cancel", task),
            (ada, "agent.answer", {**task, "input": {}}),
            (ada, "topic.subscribe", {"topic": f"task:{called.task}"}),
            (another, "agent.register", {"name": "echo", "skills": [SAY]}),
            (bot, "agent.update", {**task, "attempt": 1, "chunks": [{}], "seq": 0}),
            (bot, "agent.complete", {**task, "attempt": 1}),
            (bot, "agent.fail", {**task, "attempt": 1, "message": "no"}),
            (bot, "agent.unregister", {}),
        ]
        sent = [(who, kind, await who.post(kind, **rest)) for who, kind, rest in messages]
        for who, kind, message_id in sent:
            answer = await who.answer(message_id)
            assert refused(answer) == "unavailable", kind
            assert answer["error"]["retry_after"] > 0
        valkey.resume()

        async def ends() -> bool:
            answer = await bot.complete(job, done=True)
            return answer["type"] == "reply" or refused(answer) != "unavailable"

        await wait_until(ends)
        assert (await ada.task(called.task))["state"] in ("completed", "failed", "canceled")
        await assert_every_key_expires(server.node.redis, "test:*")


async def test_calls_and_agents_outlive_a_redis_that_is_away_for_a_while(valkey: Valkey) -> None:
    config = {"redis": {"url": valkey.url, "prefix": "test", "timeout": "300ms", "probe": "200ms"}}
    async with (
        agent_nodes(config) as (server,),
        Bot(server) as bot,
        Caller(server, "ada") as ada,
    ):
        await bot.register()
        called = await ada.begin()
        job = await bot.told()
        await called.news("working")
        with valkey.paused():
            assert refused(await bot.update(job, {"n": 1}, seq=0)) == "unavailable"

        async def is_stored() -> bool:
            return bool((await bot.update(job, {"n": 1}, seq=0))["type"] == "reply")

        await wait_until(is_stored)
        await bot.complete(job)
        assert await called.chunk() == {"n": 1}  # once, though it was said twice
        assert await called.output() == {}


async def test_an_agent_that_leaves_while_it_is_registered_is_no_agent(valkey: Valkey) -> None:
    config = {"redis": {"url": valkey.url, "prefix": "test", "timeout": "10s"}}
    async with agent_nodes(config) as (server,), Caller(server, "ada") as ada:
        async with Bot(server) as present:
            await present.register("echo", SAY)
        async with Bot(server) as bot:
            valkey.pause()
            await bot.post("agent.register", name="echo", skills=[SAY])
            await wait_until(lambda: server.node.agents.instances)
        await wait_until(lambda: len(server.node.hub) == 1)
        valkey.resume()
        await wait_until(lambda: not server.node.agents._tasks)
        (state,) = await server.node.agents.store.read(["echo"])
        assert state.instances == []
        called = await ada.begin()
        async with Bot(server) as bot:
            await bot.register("echo", SAY)
            assert (await bot.told())["task"] == called.task


async def test_the_deadline_of_a_call_passes_without_redis_as_well(valkey: Valkey) -> None:
    config = {"redis": {"url": valkey.url, "prefix": "test", "timeout": "300ms"}}
    async with (
        agent_nodes(config) as (server,),
        Bot(server) as bot,
        Caller(server, "ada") as ada,
    ):
        await bot.register()
        called = await ada.begin(timeout=0.3)
        with valkey.paused():
            error = await called.error()
        assert (error["code"], error["task"]) == ("unavailable", called.task)
