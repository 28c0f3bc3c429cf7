"""What a caller of agents may keep in Redis, and for how long ended tasks are kept."""

from collections.abc import Mapping
from typing import Any

import pytest

from jackfield import Context, Plugin
from jackfield.testing import RunningServer
from tests.support.agents import Bot, Caller, agent_nodes
from tests.support.topics import Message

Config = Mapping[str, Any]

KEPT = 2**20
LARGE: Message = {"text": "x" * 60_000}

asker = Plugin("asker")


@asker.handler("asker.ask", concurrent=True)
async def ask(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    return await ctx.call_agent("echo", LARGE)


async def calls_until_refused(member: Caller) -> tuple[int, Message]:
    """Call and cancel, over and over; how often it is let, and the error then."""
    for number in range(1000):
        answer = await member.request("agent.call", agent="echo", input=LARGE, detach=True)
        if answer["type"] == "error":
            return number, answer["error"]
        await member.reply("agent.cancel", task=answer["payload"]["task"])
    raise AssertionError("it is never refused")


async def ttl_of(server: RunningServer, task: str) -> float:
    keys = server.node.keys
    topic = keys.topic(f"task:{task}")
    found = [
        await server.node.redis.execute("PTTL", key)
        for key in (keys.task("echo", task), topic.meta, topic.log)
    ]
    assert max(found) - min(found) < 1000
    return float(found[0]) / 1000


async def test_the_input_of_a_call_is_charged_to_its_caller(config: Config) -> None:
    async with agent_nodes({**config, "limits": {"kept_bytes": KEPT}}, 1) as (server,):
        async with Bot(server) as bot, Caller(server, "ada") as ada, Caller(server, "bob") as bob:
            await bot.register()
            called, error = await calls_until_refused(ada)
            assert (error["code"], error["limit"]) == ("rate_limited", KEPT)
            assert error["retry_after"] > 0
            assert called == KEPT // 123_000
            # What it has begun it may see and end; others call as before.
            await bob.reply("agent.call", agent="echo", input=LARGE, detach=True)
            assert (await bot.told())["caller"] == "ada"


async def test_what_a_handler_calls_for_is_charged_to_its_client(config: Config) -> None:
    limited = {**config, "limits": {"kept_bytes": 2**18}}
    async with agent_nodes(limited, 1, asker) as (server,):
        async with Bot(server) as bot, Caller(server, "ada") as ada:
            await bot.register()
            asked = [await ada.post("asker.ask") for _ in range(3)]
            error = (await ada.answer(asked[2]))["error"]
            assert error["code"] == "rate_limited"


@pytest.mark.parametrize(("size", "kept"), [(10, 3600), (4000, 3600), (16_000, 920), (60_000, 245)])
async def test_a_large_input_shortens_how_long_an_ended_task_is_kept(
    config: Config, size: int, kept: float
) -> None:
    async with agent_nodes(config, 1) as (server,):
        async with Bot(server) as bot, Caller(server, "ada") as ada:
            await bot.register()
            called = await ada.begin(input={"text": "x" * size})
            await called.news("working")
            await bot.complete(await bot.told())
            await called.output()
            assert await ttl_of(server, called.task) == pytest.approx(kept, rel=0.03)


async def test_who_keeps_much_keeps_ended_tasks_for_a_shorter_time_but_a_minute(
    config: Config,
) -> None:
    async with agent_nodes({**config, "limits": {"kept_bytes": KEPT}}, 1) as (server,):
        async with Bot(server) as bot, Caller(server, "ada") as ada:
            await bot.register("echo", capacity=100)
            kept = []
            for _ in range(8):
                called = await ada.begin(input=LARGE)
                await called.news("working")
                await bot.complete(await bot.told())
                await called.output()
                kept.append(await ttl_of(server, called.task))
            assert kept == sorted(kept, reverse=True)
            assert 59 < kept[-1] <= 60.5


async def test_a_nearly_full_redis_takes_no_calls_and_lets_tasks_end(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with agent_nodes(config, 1) as (server,):

        async def look() -> None:
            """Leave it as the test has it."""

        async with Bot(server) as bot, Caller(server, "ada") as ada:
            await bot.register()
            called = await ada.begin(input={})
            monkeypatch.setattr(server.node.memory, "look", look)
            server.node.memory.nearly_full = True
            error = await ada.error("agent.call", agent="echo", input={}, detach=True)
            assert error["code"] == "unavailable"
            assert error["retry_after"] > 0
            await called.news("working")
            job = await bot.told()
            # What an agent streams waits until there is room, and tasks can end.
            streaming = await bot.post(
                "agent.update", task=job["task"], attempt=job["attempt"], seq=0, chunks=[{"n": 1}]
            )
            await bot.reply("session.ping")
            assert (await server.node.agents.store.read_task(job["task"]))["seq"] == b"0"
            server.node.memory.nearly_full = False
            answer = await bot.answer(streaming)
            assert answer["type"] == "reply", answer
            assert answer["payload"]["seq"] == 1
            server.node.memory.nearly_full = True
            answer = await bot.complete(job)
            assert answer["type"] == "reply", answer
            assert answer["payload"]["state"] == "completed"
