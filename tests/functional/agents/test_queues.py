"""Calls wait for an instance, in their order and not without bound; skills change meanwhile."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from jackfield.testing import RunningServer
from tests.support.agents import SAY, Bot, Caller, agent_nodes
from tests.support.topics import Message

Config = Mapping[str, Any]


async def test_calls_are_taken_in_their_order(bot: Bot, ada: Caller) -> None:
    await bot.register(capacity=1)
    calls = [await ada.begin(input={"text": str(n)}) for n in range(3)]
    for n, called in enumerate(calls):
        job = await bot.told()
        assert (job["task"], job["input"]) == (called.task, {"text": str(n)})
        await bot.complete(job, n=n)
        await called.news("working")
        assert await called.output() == {"n": n}


async def test_no_more_calls_wait_than_may(config: Config) -> None:
    async with agent_nodes(config, queue=2) as (server,):
        async with Bot(server) as bot, Caller(server, "ada") as ada, Caller(server, "eve") as eve:
            await bot.register(capacity=1)
            first, _ = [await ada.begin(input={"text": "hi"}) for _ in range(2)]
            await eve.begin(input={"text": "hi"})
            error = await ada.error("agent.call", agent="echo", input={"text": "hi"})
            assert (error["code"], error["retryable"]) == ("unavailable", True)
            assert error["retry_after"] > 0
            await bot.complete(await bot.told())
            await first.news("working")
            await first.output()
            await ada.begin(input={"text": "hi"})


async def test_of_many_calls_at_once_as_many_are_taken_as_may_wait(config: Config) -> None:
    async with agent_nodes(config, queue=100, queue_per_user=5) as (server,):
        async with Bot(server) as bot, Caller(server, "ada") as ada:
            await bot.register(capacity=2)
            call: Message = {"agent": "echo", "input": {"text": "hi"}, "detach": True}
            sent = [await ada.post("agent.call", **call) for _ in range(20)]
            answers = [await ada.answer(each) for each in sent]
            assert Counter(each["type"] for each in answers) == {"reply": 7, "error": 13}


async def test_a_call_waits_for_an_agent_that_is_away(
    servers: list[RunningServer], ada: Caller
) -> None:
    async with Bot(servers[0]) as gone:
        await gone.register()
        await gone.reply("agent.unregister")
    called = await ada.begin(input={"text": "hi"})
    async with Bot(servers[0]) as bot:
        await bot.register()
        await bot.complete(await bot.told(), done=True)
        await called.news("working")
        assert await called.output() == {"done": True}


async def test_a_skill_that_has_changed_is_checked_by_its_new_schema(bot: Bot, ada: Caller) -> None:
    await bot.register()
    await ada.reply("agent.list")  # so that this node knows the old one
    await bot.register("echo", {**SAY, "input": {"required": ["number"]}})
    error = await ada.error("agent.call", agent="echo", input={"text": "hi"})
    assert [fault["pointer"] for fault in error["fields"]] == ["/input/number"]
    await ada.begin(input={"number": 1})
    assert (await bot.told())["input"] == {"number": 1}


async def test_who_calls_an_agent_of_several_skills_names_one(bot: Bot, ada: Caller) -> None:
    await bot.register("echo", SAY, {"id": "sing"})
    error = await ada.error("agent.call", agent="echo", input={"text": "hi"})
    (fault,) = error["fields"]
    assert (fault["pointer"], fault["message"]) == ("/skill", "One of: say, sing.")


async def test_a_task_that_kills_its_agents_is_not_tried_for_ever(config: Config) -> None:
    async with agent_nodes(config, lease="200ms", attempts=2) as (server,):
        async with Caller(server, "ada") as ada:
            called = None
            for attempt in (1, 2):
                async with Bot(server) as dying:
                    await dying.register("echo", {**SAY, "idempotent": True})
                    called = called or await ada.begin(input={"text": "hi"})
                    assert (await dying.told())["attempt"] == attempt
            assert called is not None
            assert (await called.error())["code"] == "agent_gone"
