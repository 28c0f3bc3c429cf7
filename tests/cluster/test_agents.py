"""Agents on a real Cluster, and with Sentinels: tasks are called, streamed, asked and ended."""

import secrets
from contextlib import AsyncExitStack
from typing import Any

from tests.support.agents import AGAIN, Bot, Caller, agent_nodes, event_kinds, refused
from tests.support.topics import Message, offsets
from tests.support.valkey_cluster import ValkeyCluster, valkey_cluster
from tests.support.valkey_sentinel import valkey_sentinel
from tests.support.waiting import wait_until

#: Agents enough to be spread over all masters, whatever their slots.
AGENTS = [f"echo-{number}" for number in range(12)]
#: Seconds that a failover may take on a busy machine.
FAILOVER = 40.0


def on(url: str) -> dict[str, Any]:
    """A configuration with short waits, so that a failover is noticed soon."""
    prefix = f"test-{secrets.token_hex(6)}"
    return {"redis": {"url": url, "prefix": prefix, "probe": "300ms", "timeout": "500ms"}}


async def live(bot: Bot, ada: Caller, agent: str) -> None:
    """All that a task may go through."""
    called = await ada.begin(agent, input={"n": 1}, key="once", watchers=["bob"])
    job = await bot.told()
    assert (job["task"], job["input"]) == (called.task, {"n": 1})
    await called.news("working")
    await bot.update(job, {"n": 1}, {"n": 2}, seq=0)
    assert [await called.chunk() for _ in range(2)] == [{"n": 1}, {"n": 2}]
    await bot.ask_for(job, message="?")
    await called.news("input_required")
    await ada.reply("agent.answer", task=called.task, input={"yes": True})
    assert (await bot.told("answered"))["input"] == {"yes": True}
    await called.news("working")
    assert (await bot.complete(job, sum=3))["type"] == "reply"
    assert await called.output() == {"sum": 3}
    again = await ada.begin(agent, key="once")
    assert again.task == called.task
    canceled = await ada.begin(agent)
    await bot.told()
    await ada.reply("agent.cancel", task=canceled.task)
    assert (await bot.told("canceled"))["task"] == canceled.task
    assert (await canceled.error())["code"] == "cancelled"
    reply = await ada.subscribe(f"task:{called.task}")
    assert event_kinds(reply["events"]) == [
        *("submitted", "working", "chunks", "input_required", "working", "completed")
    ]
    await ada.reply("topic.unsubscribe", topic=f"task:{called.task}")


async def report_until_taken(bot: Bot, job: Message, *chunks: Message, seq: int) -> None:
    """Stream chunks, again and again until they are stored."""

    async def is_taken() -> bool:
        answer = await bot.update(job, *chunks, seq=seq)
        if answer["type"] == "error":
            assert refused(answer) == "unavailable", answer
            return False
        return True

    await wait_until(is_taken, FAILOVER)


async def test_agents_of_all_masters_are_called_through_any_node(cluster: ValkeyCluster) -> None:
    async with agent_nodes(on(cluster.url), 2) as (here, there), Caller(there, "ada") as ada:
        keys = here.node.agents._keys
        shards = {await here.node.redis.shard(keys.agent(agent)) for agent in AGENTS}
        assert len(shards) == len(cluster.masters)
        async with AsyncExitStack() as stack:
            bots = {agent: await stack.enter_async_context(Bot(here)) for agent in AGENTS}
            for agent, bot in bots.items():
                await bot.register(agent, capacity=2)

            async def are_listed() -> bool:
                answer = await ada.request("agent.list")
                if answer["type"] == "error":  # a master that is busy answers late
                    assert refused(answer) == "unavailable", answer
                    return False
                return [each["name"] for each in answer["payload"]["agents"]] == sorted(AGENTS)

            await wait_until(are_listed)
            for agent, bot in bots.items():
                await live(bot, ada, agent)


async def test_what_a_dead_instance_had_is_handed_to_another_on_a_cluster(
    cluster: ValkeyCluster,
) -> None:
    async with (
        agent_nodes(on(cluster.url), 2, lease="1s") as (here, there),
        Bot(there) as second,
        Caller(there, "ada") as ada,
    ):
        async with Bot(here) as first:
            await first.register("echo", AGAIN)
            called = await ada.begin()
            await first.update(await first.told(), {"n": 1}, seq=0)
        await second.register("echo", AGAIN)
        job = await second.told()
        assert (job["task"], job["attempt"], job["seq"]) == (called.task, 2, 1)
        await second.complete(job, done=True)
        assert (await ada.task(called.task))["output"] == {"done": True}


async def test_when_a_master_of_the_cluster_is_killed_its_agents_go_on_with_its_replica() -> None:
    async with (
        valkey_cluster(masters=3, replicas=1) as cluster,
        agent_nodes(on(cluster.url), 2, lease="1m", ttl="2m") as (here, there),
        Bot(here) as bot,
        Caller(there, "ada") as ada,
    ):
        await bot.register("echo", capacity=2)
        called = await ada.begin()
        job = await bot.told()
        await called.news("working")
        await bot.update(job, {"n": 1}, seq=0)
        assert await called.chunk() == {"n": 1}
        slot = here.node.redis.slot(here.node.agents._keys.agent("echo"))
        owner = await cluster.owner(slot)
        await owner.ask("WAIT", 1, 5000)
        await owner.kill()
        await report_until_taken(bot, job, {"n": 2}, seq=1)
        await report_until_taken(bot, job, {"n": 3}, seq=2)
        await wait_until(lambda: there.node.topics.bus.healthy, FAILOVER)
        assert [await called.chunk() for _ in range(2)] == [{"n": 2}, {"n": 3}]
        await bot.complete(job, done=True)
        assert await called.output() == {"done": True}
        await bot.reply("agent.unregister")
        await wait_until(lambda: here.node.topics.bus.healthy, FAILOVER)
        async with Bot(here) as new:
            await new.register("echo", capacity=2)
            await live(new, ada, "echo")


async def test_with_sentinels_agents_go_on_with_the_master_that_they_name() -> None:
    async with (
        valkey_sentinel() as servers,
        agent_nodes(on(servers.url), 1, lease="1m", ttl="2m") as (server,),
        Bot(server) as bot,
        Caller(server, "ada") as ada,
    ):
        await bot.register("echo", capacity=2)
        await live(bot, ada, "echo")
        called = await ada.begin()
        job = await bot.told()
        await called.news("working")
        await bot.update(job, {"n": 1}, seq=0)
        assert await called.chunk() == {"n": 1}
        await servers.master.ask("WAIT", 1, 5000)
        await servers.master.kill()
        await report_until_taken(bot, job, {"n": 2}, seq=1)
        await bot.complete(job, done=True)
        assert await called.chunk() == {"n": 2}
        assert await called.output() == {"done": True}
        topic = f"task:{called.task}"
        assert (await ada.subscribe(topic))["recovered"] is False  # another server counts by now
        history = await ada.reply("topic.history", topic=topic, after=0)
        assert offsets(history["events"]) == [1, 2, 3, 4, 5]
        await servers.failed_over()
