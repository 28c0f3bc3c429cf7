"""Tasks are followed: by their callers after a reload, by watchers, and by nobody else."""

from collections.abc import Mapping
from typing import Any

import pytest

from jackfield.testing import RunningServer
from tests.support.agents import SAY, Bot, Caller, event_kinds, refused
from tests.support.topics import Member, Message, offsets

Config = Mapping[str, Any]

NOT_FOUND = "not_found"
#: What may be asked of a task, and what must be said with it.
VERBS: dict[str, Message] = {"agent.task": {}, "agent.cancel": {}, "agent.answer": {"input": {}}}


@pytest.fixture
async def bot(bot: Bot) -> Bot:
    await bot.register(capacity=5)
    return bot


async def test_a_call_with_a_key_is_one_task_that_outlives_its_callers_connection(
    servers: list[RunningServer], bot: Bot
) -> None:
    async with Caller(servers[1], "ada") as ada:
        called = await ada.begin(key="once", input={"n": 1})
        job = await bot.told()
        await bot.update(job, {"n": 1}, seq=0)
    async with Caller(servers[0], "ada") as ada, Caller(servers[1], "ada") as too:
        again = [await each.begin(key="once", input={"n": 1}) for each in (ada, too)]
        for each in again:
            assert each.task == called.task
            await each.news("working")
            assert await each.chunk() == {"n": 1}
        await bot.update(job, {"n": 2}, seq=1)
        await bot.complete(job, sum=3)
        for each in again:
            assert await each.chunk() == {"n": 2}
            assert await each.output() == {"sum": 3}
        after = await ada.begin(key="once")  # it has ended: the same again
        await after.news("working")
        assert [await after.chunk() for _ in range(2)] == [{"n": 1}, {"n": 2}]
        assert await after.output() == {"sum": 3}
        detached = await ada.reply("agent.call", agent="echo", key="once", detach=True)
        assert detached["task"] == called.task
    async with Caller(servers[0], "eve") as eve:
        assert (await eve.begin(key="once")).task != called.task


async def test_a_task_is_seen_by_its_caller_and_watchers_and_by_nobody_else(
    servers: list[RunningServer], bot: Bot, ada: Caller
) -> None:
    called = await ada.begin(watchers=["bob"])
    job = await bot.told()
    topic = f"task:{called.task}"
    async with (
        Caller(servers[0], "ada") as herself,
        Caller(servers[0], "bob") as bob,
        Caller(servers[0], "eve") as eve,
        Member(servers[0]) as nobody,
    ):
        for entitled in (herself, bob):
            assert await entitled.sees_state(called.task, "working")
            assert event_kinds((await entitled.subscribe(topic))["events"]) == [
                "submitted",
                "working",
            ]
        await bot.ask_for(job, message="?")
        assert refused(await bob.request("agent.cancel", task=called.task)) == NOT_FOUND
        assert refused(await bob.request("agent.answer", task=called.task, input={})) == NOT_FOUND
        for stranger in (eve, nobody):
            for verb, more in VERBS.items():
                answer = await stranger.request(verb, task=called.task, **more)
                assert refused(answer) == NOT_FOUND, verb
            for verb in ("topic.subscribe", "topic.history", "topic.presence"):
                assert refused(await stranger.request(verb, topic=topic)) == NOT_FOUND, verb
        for anybody in (eve, bob, ada):
            forged = await anybody.request("topic.publish", topic=topic, payload={"kind": "x"})
            assert forged["type"] == "error"
        await herself.reply("agent.answer", task=called.task, input={})
        await bot.told("answered")
        assert await ada.sees_state(called.task, "working")


@pytest.mark.parametrize("task", ["", "echo", "echo." + "x" * 22, "x" * 129, "echo.}{" + "x" * 20])
async def test_what_is_no_task_is_not_found(ada: Caller, task: str) -> None:
    for verb, more in VERBS.items():
        expected = NOT_FOUND if 0 < len(task) < 129 else "invalid_payload"
        assert refused(await ada.request(verb, task=task, **more)) == expected


async def test_an_anonymous_callers_task_is_seen_by_whoever_knows_its_id(
    servers: list[RunningServer], bot: Bot
) -> None:
    async with Caller(servers[0]) as one, Caller(servers[1]) as two:
        called = await one.begin()
        await bot.told()
        assert await two.sees_state(called.task, "working")
        assert (await two.reply("agent.cancel", task=called.task))["state"] == "canceled"
        assert (await called.error())["code"] == "cancelled"


async def test_reports_that_are_late_foreign_or_forged_are_dropped_and_counted(
    servers: list[RunningServer], bot: Bot, ada: Caller
) -> None:
    agents = servers[0].node.agents
    called = await ada.begin()
    job = await bot.told()
    async with Bot(servers[0]) as thief:  # another instance
        assert refused(await thief.complete(job)) == "conflict"  # it is no agent
        await thief.register("echo", SAY)
        for answer in (
            await thief.update(job, {"n": 1}, seq=0),
            await thief.complete(job),
            await thief.fail(job, "no"),
            await thief.complete({**job, "task": "other." + "x" * 22}),
            await thief.complete({**job, "task": "no id at all"}),
        ):
            assert refused(answer) == NOT_FOUND
    assert agents.dropped == 5
    assert refused(await bot.complete({**job, "attempt": 2})) == "conflict"
    assert agents.dropped == 6
    first = await bot.complete(job, n=1)
    assert await bot.complete(job, n=2) == {**first, "id": first["id"] + 1}  # said again
    assert agents.dropped == 6
    assert refused(await bot.fail(job, "no")) == "conflict"
    assert agents.dropped == 7
    await called.news("working")
    assert await called.output() == {"n": 1}


async def test_after_a_reload_a_task_is_there_from_its_beginning_and_goes_on_live(
    servers: list[RunningServer], bot: Bot
) -> None:
    async with Caller(servers[1], "ada") as ada:
        called = await ada.begin(key="kept", input={"text": "hi"})
        job = await bot.told()
        await bot.update(job, {"n": 1}, seq=0)
    topic = f"task:{called.task}"
    async with Caller(servers[0], "ada") as ada:
        reply = await ada.subscribe(topic)
        assert reply["recovered"] is True
        events = reply["events"]
        await bot.update(job, {"n": 2}, seq=1)
        await bot.complete(job, sum=3)
        events += await ada.events(topic, 2)
        assert event_kinds(events) == ["submitted", "working", "chunks", "chunks", "completed"]
        assert offsets(events) == [1, 2, 3, 4, 5]
        payloads = [event["payload"] for event in events]
        assert payloads[0]["task"]["input"] == {"text": "hi"}
        assert payloads[2] == {"kind": "chunks", "seq": 0, "chunks": [{"n": 1}]}
        assert payloads[3] == {"kind": "chunks", "seq": 1, "chunks": [{"n": 2}]}
        assert payloads[4]["output"] == {"sum": 3}
        missed = await ada.subscribe(topic, {"epoch": reply["epoch"], "offset": 3})
        assert offsets(missed["events"]) == [4, 5]
    async with Caller(servers[1], "ada") as ada:
        assert (await ada.subscribe(topic))["events"] == events


async def test_a_task_that_fits_into_no_reply_is_read_from_its_history(
    servers: list[RunningServer], bot: Bot, ada: Caller
) -> None:
    called = await ada.begin(key="kept")
    job = await bot.told()
    for number in range(20):
        await bot.update(job, {"n": number, "x": "x" * 50_000}, seq=number)
    topic = f"task:{called.task}"
    async with Caller(servers[0], "ada") as again:
        reply = await again.subscribe(topic)
        assert reply["recovered"] is False
        assert "events" not in reply
        events: list[Message] = []
        while len(events) < reply["offset"]:
            page = await again.reply("topic.history", topic=topic, after=len(events))
            events += page["events"]
        await bot.complete(job)
        events += await again.events(topic, 1)
    assert event_kinds(events) == ["submitted", "working", *["chunks"] * 20, "completed"]
