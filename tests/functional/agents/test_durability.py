"""Tasks outlive connections, instances and lost messages."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from jackfield.testing import RunningServer
from tests.support.agents import (
    AGAIN,
    COUNT,
    SAY,
    Bot,
    Caller,
    agent_nodes,
    beat,
    event_kinds,
    refused,
    sweep,
)
from tests.support.topics import Ear, Message
from tests.support.waiting import wait_until

Config = Mapping[str, Any]


async def is_gone(server: RunningServer) -> None:
    """Wait until a node's instances have left, for Redis as well."""
    agents = server.node.agents
    await wait_until(lambda: not agents.instances and not agents._tasks)


async def end_lease(server: RunningServer, instance: str, agent: str = "echo") -> None:
    """Have the lease of an instance end, as when nobody has renewed it for long."""
    base = server.node.agents._keys.agent(agent)
    await server.node.redis.execute("ZADD", f"{base}:leases", 1, instance)
    await sweep(server, agent)


@pytest.mark.parametrize("where", [0, 1])
async def test_an_instance_that_comes_back_within_its_lease_goes_on_with_its_tasks(
    servers: list[RunningServer], ada: Caller, where: int
) -> None:
    async with Bot(servers[0]) as bot:
        instance = (await bot.register(capacity=3))["instance"]
        called, canceled = await ada.begin(), await ada.begin()
        job = await bot.told()
        await bot.told()
        await bot.update(job, {"n": 1}, seq=0)
    await is_gone(servers[0])
    await ada.reply("agent.cancel", task=canceled.task)
    queued = await ada.begin()
    async with Bot(servers[where]) as bot:
        registered = await bot.register(capacity=3, instance=instance)
        mine = {"task": called.task, "attempt": 1, "seq": 1, "state": "working"}
        assert registered["instance"] == instance
        assert registered["tasks"] == [mine]
        told = [await bot.told() for _ in range(2)]
        assert {each["task"]: each["seq"] for each in told} == {called.task: 1, queued.task: 0}
        await bot.update(job, {"n": 2}, seq=1)
        await bot.complete(job)
    await called.news("working")
    assert [await called.chunk() for _ in range(2)] == [{"n": 1}, {"n": 2}]
    assert await called.output() == {}


async def test_an_answer_that_was_given_meanwhile_is_told_to_an_instance_that_comes_back(
    servers: list[RunningServer], ada: Caller
) -> None:
    async with Bot(servers[0]) as bot:
        instance = (await bot.register())["instance"]
        called = await ada.begin()
        job = await bot.told()
        await bot.ask_for(job, message="?")
    await is_gone(servers[0])
    await ada.reply("agent.answer", task=called.task, input={"yes": True})
    async with Bot(servers[0]) as bot:
        await bot.register(instance=instance)
        assert (await bot.told())["task"] == called.task
        assert (await bot.told("answered"))["input"] == {"yes": True}


async def test_an_agent_that_went_without_a_task_is_no_burden(
    servers: list[RunningServer], ada: Caller
) -> None:
    async with Bot(servers[0]) as bot:
        instance = (await bot.register())["instance"]
        await ada.begin()
        job = await bot.told()
        await bot.complete(job)
    await is_gone(servers[0])
    redis, base = servers[0].node.redis, servers[0].node.agents._keys.agent("echo")
    assert await redis.execute("EXISTS", f"{base}:i:{instance}", f"{base}:leases") == 0


async def test_what_can_be_done_again_is_handed_to_another_instance_when_a_lease_ends(
    servers: list[RunningServer], ada: Caller
) -> None:
    async with Bot(servers[0]) as first, Bot(servers[1]) as second:
        instance = (await first.register("echo", AGAIN))["instance"]
        called = await ada.begin()
        job = await first.told()
        await first.update(job, {"n": 1}, {"n": 2}, seq=0)
        await second.register("echo", AGAIN)
        await end_lease(servers[0], instance)
        again = await second.told()
        assert again == {**job, "attempt": 2, "seq": 2}
        late = await first.update(job, {"n": 3}, seq=2)
        assert refused(late) == "not_found"
        assert (await second.update(again, {"n": 2}, {"n": 3}, seq=1))["payload"]["seq"] == 3
        await second.complete(again)
    await called.news("working")
    assert [await called.chunk() for _ in range(2)] == [{"n": 1}, {"n": 2}]
    assert (await called.news("working"))["attempt"] == 2
    assert await called.chunk() == {"n": 3}
    assert await called.output() == {}


async def test_what_cannot_be_done_again_fails_when_a_lease_ends(
    servers: list[RunningServer], ada: Caller
) -> None:
    async with Bot(servers[0]) as first, Bot(servers[1]) as second:
        instance = (await first.register("echo", SAY))["instance"]
        called = await ada.begin()
        job = await first.told()
        await second.register("echo", SAY)
        await end_lease(servers[1], instance)
        error = await called.error()
        assert (error["code"], error["task"]) == ("agent_gone", called.task)
        assert (await ada.task(called.task))["state"] == "failed"
        assert refused(await first.complete(job)) == "conflict"
        assert await second.hears_nothing_more()


async def test_an_instance_that_lost_its_lease_is_told_so_and_registers_anew(
    servers: list[RunningServer], ada: Caller
) -> None:
    async with Bot(servers[0]) as bot:
        instance = (await bot.register("echo", AGAIN))["instance"]
        called = await ada.begin()
        job = await bot.told()
        await end_lease(servers[1], instance)
        await beat(servers[0])
        told = await bot.told("canceled")
        assert (told["task"], told["attempt"]) == (job["task"], 1)
        assert told["error"]["code"] == "agent_gone"
        assert (await bot.next())["payload"]["reconnect"] is True
        await bot.socket.wait_closed()
        assert bot.socket.close_code == 4006
    async with Bot(servers[0]) as bot:
        registered = await bot.register("echo", AGAIN, instance=instance)
        assert registered["tasks"] == []
        assert (await bot.told())["attempt"] == 2
        assert await ada.sees_state(called.task, "working")


async def test_a_task_that_was_asking_goes_on_with_another_instance(
    servers: list[RunningServer], ada: Caller
) -> None:
    async with Bot(servers[0]) as first, Bot(servers[1]) as second:
        instance = (await first.register("echo", AGAIN))["instance"]
        called = await ada.begin()
        await first.ask_for(await first.told(), message="?")
        await end_lease(servers[0], instance)
        assert (await ada.error("agent.answer", task=called.task, input={}))["code"] == "conflict"
        await second.register("echo", AGAIN)
        job = await second.told()
        assert "prompt" not in await ada.task(called.task)
        await second.ask_for(job, message="?")
        await ada.reply("agent.answer", task=called.task, input={"yes": True})
        assert (await second.told("answered"))["attempt"] == 2


async def test_an_instance_that_dies_with_tasks_of_several_skills_leaves_nothing_behind(
    servers: list[RunningServer], ada: Caller
) -> None:
    async with Bot(servers[0]) as first, Bot(servers[1]) as second:
        skills: list[Message] = [{**COUNT, "idempotent": True}, AGAIN]
        instance = (await first.register("echo", *skills, capacity=4))["instance"]
        calls = [
            await ada.begin(skill=skill, input=payload)
            for skill, payload in (("say", {}), ("count", {"to": 1})) * 2
        ]
        for _ in calls:
            await first.told()
        waiting = await ada.begin(skill="say")
        await end_lease(servers[0], instance)
        assert {(await ada.task(call.task))["state"] for call in calls} == {"working"}
        await second.register("echo", *skills, capacity=5)
        again = [await second.told() for _ in range(5)]
        assert {job["task"] for job in again} == {call.task for call in (*calls, waiting)}
        assert await first.hears_nothing_more()
        for job in again:
            await second.complete(job)
        redis, base = servers[0].node.redis, servers[0].node.agents._keys.agent("echo")
        for skill in ("say", "count"):
            assert await redis.execute("XLEN", f"{base}:work:{skill}") == 0
            free = await redis.execute("ZRANGE", f"{base}:free:{skill}", 0, -1)
            assert len(free) == 1
        assert await redis.execute("HGET", f"{base}:meta", "waiting") == b"0"


async def test_an_instance_that_is_forgotten_while_it_counts_as_free_is_passed_over(
    servers: list[RunningServer], ada: Caller
) -> None:
    async with Bot(servers[0]) as gone, Bot(servers[1]) as bot:
        instance = (await gone.register())["instance"]
        redis, base = servers[0].node.redis, servers[0].node.agents._keys.agent("echo")
        await redis.execute("DEL", f"{base}:i:{instance}")
        called = await ada.begin()
        await bot.register()
        assert (await bot.told())["task"] == called.task


@asynccontextmanager
async def deaf(config: Config) -> AsyncIterator[tuple[RunningServer, Ear]]:
    """A node that may be kept from hearing what is published."""
    async with agent_nodes(config) as (server,):
        yield server, Ear(server)


async def test_orders_that_an_instance_has_missed_are_made_up_for(config: Config) -> None:
    async with (
        deaf(config) as (here, ear),
        agent_nodes(config) as (there,),
        Bot(here) as bot,
        Caller(there, "ada") as ada,
    ):
        await bot.register("echo", SAY, capacity=2)
        ear.is_deaf = True
        called = await ada.begin()
        await called.news("working")
        ear.is_deaf = False
        await beat(here)
        job = await bot.told()
        assert job["task"] == called.task
        await bot.ask_for(job, message="?")
        ear.is_deaf = True
        await ada.reply("agent.answer", task=called.task, input={"yes": True})
        ear.is_deaf = False
        await beat(here)
        assert (await bot.told("answered"))["input"] == {"yes": True}
        ear.is_deaf = True
        await ada.reply("agent.cancel", task=called.task)
        ear.is_deaf = False
        await beat(here)
        assert (await bot.told("canceled"))["task"] == called.task
        await beat(here)
        assert await bot.hears_nothing_more()


async def test_events_that_a_caller_has_missed_are_made_up_for(config: Config) -> None:
    async with (
        deaf(config) as (here, ear),
        agent_nodes(config) as (there,),
        Bot(there) as bot,
        Caller(here, "ada") as ada,
    ):
        await bot.register()
        called = await ada.begin()
        job = await bot.told()
        await called.news("working")
        ear.is_deaf = True
        await bot.update(job, {"n": 1}, {"n": 2}, seq=0)
        ear.is_deaf = False
        await bot.update(job, {"n": 3}, seq=2)  # the gap before it is seen
        assert [await called.chunk() for _ in range(3)] == [{"n": n} for n in (1, 2, 3)]
        ear.is_deaf = True
        await bot.complete(job, done=True)
        ear.is_deaf = False
        await beat(here)
        assert await called.output() == {"done": True}


async def test_a_server_that_stops_cancels_its_callers_calls_and_frees_its_agents(
    config: Config,
) -> None:
    async with agent_nodes(config) as (there,), Bot(there) as bot:
        await bot.register()
        async with agent_nodes(config) as (here,):
            ada = Caller(here, "ada")
            async with ada:
                called = await ada.begin()
                kept = await ada.begin(key="kept")
                await bot.told()
                stopping = asyncio.create_task(here.app.shutdown())
                await stopping
        assert (await bot.told("canceled"))["task"] == called.task
        assert (await bot.told())["task"] == kept.task
        async with Caller(there, "ada") as ada:
            again = await ada.begin(key="kept")
            events = (await ada.subscribe(f"task:{again.task}"))["events"]
            assert event_kinds(events) == ["submitted", "working"]
