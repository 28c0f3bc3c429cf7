"""Agents are called, and what they stream comes back."""

from collections.abc import Mapping
from typing import Any

import pytest

from jackfield.testing import RunningServer
from tests.support.agents import COUNT, SAY, Bot, Caller
from tests.support.topics import Message
from tests.support.waiting import wait_until

Config = Mapping[str, Any]


@pytest.mark.parametrize(
    "named", [{"agent": "echo"}, {"skill": "say"}, {"agent": "echo", "skill": "say"}]
)
async def test_an_agent_is_called_by_its_name_or_its_skill(
    bot: Bot, ada: Caller, named: Message
) -> None:
    await bot.register()
    called = await ada.call(**{"agent": None, "input": {"text": "hi"}, **named})
    told = await called.news("submitted")
    job = await bot.told()
    assert told.items() >= {"agent": "echo", "skill": "say", "caller": "ada", "attempt": 0}.items()
    assert told["deadline"] - told["created_at"] == pytest.approx(300)
    assert job == {
        **{name: told[name] for name in ("task", "agent", "skill", "caller", "created_at")},
        "deadline": told["deadline"],
        "attempt": 1,
        "seq": 0,
        "input": {"text": "hi"},
    }
    assert (await called.news("working"))["attempt"] == 1
    answer = await bot.complete(job, said="hi")
    assert answer["payload"] == {"task": called.task, "state": "completed"}
    assert await called.output() == {"said": "hi"}


async def test_what_an_agent_streams_comes_in_order_and_as_it_is(bot: Bot, ada: Caller) -> None:
    # Events of AG-UI (https://docs.ag-ui.com), and whatever else an object may be.
    told: list[Message] = [
        {"type": "TEXT_MESSAGE_START", "messageId": "1", "role": "assistant"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "1", "delta": 'é "\\\n😀'},
        {"type": "STATE_DELTA", "delta": [{"op": "add", "path": "/a", "value": None}]},
        {"id": 7, "seq": 99, "state": "completed", "payload": {}},
        {},
        {"number": 1.5, "large": 2**53, "deep": [[[{"a": {}}]]]},
    ]
    await bot.register()
    called = await ada.begin()
    job = await bot.told()
    await called.news("working")
    await bot.update(job, *told[:2], seq=0)
    await bot.update(job, *told[2:], seq=2)
    assert [await called.chunk() for _ in told] == told
    await bot.complete(job)
    assert await called.output() == {}
    assert (await ada.task(called.task))["seq"] == len(told)


@pytest.mark.parametrize("caller", ["jackfield.v1", "jackfield.v1.msgpack"])
@pytest.mark.parametrize("agent", ["jackfield.v1", "jackfield.v1.msgpack"])
async def test_either_side_may_speak_messagepack(
    servers: list[RunningServer], caller: str, agent: str
) -> None:
    async with (
        Bot(servers[0], subprotocol=agent) as bot,
        Caller(servers[1], "ada", subprotocol=caller) as ada,
    ):
        await bot.register("echo", COUNT)
        called = await ada.begin(input={"to": 3})
        job = await bot.told()
        assert job["input"] == {"to": 3}
        await called.news("working")
        await bot.update(job, {"n": 1}, {"n": [2.5, None, "ä"]}, seq=0)
        assert [await called.chunk() for _ in range(2)] == [{"n": 1}, {"n": [2.5, None, "ä"]}]
        await bot.ask_for(job, message="more?", schema={"type": "object", "maxProperties": 1})
        prompt = (await called.news("input_required"))["prompt"]
        assert (prompt["message"], prompt["schema"]["maxProperties"]) == ("more?", 1)
        await ada.reply("agent.answer", task=called.task, input={"yes": True})
        assert (await bot.told("answered"))["input"] == {"yes": True}
        await called.news("working")
        await bot.complete(job, sum=6)
        assert await called.output() == {"sum": 6}
        failing = await ada.begin(input={"to": 3})
        await bot.fail(await bot.told(), "no", code="bad_luck")
        assert (await failing.error())["reason"] == "bad_luck"
        canceled = await ada.begin(input={"to": 3})
        await bot.told()
        await ada.reply("agent.cancel", task=canceled.task, reason="enough")
        assert (await bot.told("canceled"))["error"]["message"] == "enough"


@pytest.mark.parametrize(
    ("payload", "pointer", "code"),
    [
        ({}, "/agent", None),
        ({"agent": "Echo"}, "/agent", "regexp"),
        ({"agent": "echo"}, "/skill", "required"),
        ({"skill": "count"}, "/input/to", "required"),
        ({"skill": "count", "input": {"to": "3"}}, "/input/to", "type"),
        ({"skill": "count", "input": {"to": 0}}, "/input/to", "minimum"),
        ({"skill": "count", "input": {"to": 1, "of": 2}}, "/input/of", "unknown"),
        ({"skill": "count", "input": [1]}, "/input", "invalid"),
        ({"skill": "say", "timeout": 0}, "/timeout", "range"),
        ({"skill": "say", "timeout": -1}, "/timeout", "range"),
        ({"skill": "say", "key": ""}, "/key", "length"),
        ({"skill": "say", "watchers": ["u"] * 21}, "/watchers", "length"),
        ({"skill": "say", "watchers": [""]}, "/watchers/0", "length"),
        ({"skill": "say", "then": 1}, "/then", "unknown"),
    ],
)
async def test_a_call_that_is_wrong_says_where_and_no_agent_sees_it(
    bot: Bot, ada: Caller, payload: Message, pointer: str, code: str | None
) -> None:
    await bot.register("echo", SAY, COUNT)
    error = await ada.error("agent.call", **payload)
    assert error["code"] == "invalid_payload"
    (fault,) = error["fields"]
    assert fault["pointer"] == pointer
    assert code in (None, fault["code"])
    assert await bot.hears_nothing_more()


async def test_the_least_busy_instance_is_called_wherever_it_is(
    servers: list[RunningServer], ada: Caller
) -> None:
    async with Bot(servers[0]) as small, Bot(servers[1]) as large:
        await small.register(capacity=2)
        await large.register(capacity=4)
        jobs: list[Message] = []
        for _ in range(2):
            for _ in range(3):
                await (await ada.begin()).news("working")
            await small.told()
            jobs += [await large.told() for _ in range(2)]
        assert len({job["task"] for job in jobs}) == 4
        seventh = await ada.begin()
        assert await small.hears_nothing_more()
        assert await large.hears_nothing_more()
        await large.complete(jobs[2])
        assert (await large.told())["task"] == seventh.task


async def test_of_two_agents_with_a_skill_the_less_busy_one_is_called(
    servers: list[RunningServer], ada: Caller
) -> None:
    async with Bot(servers[0]) as one, Bot(servers[1]) as two:
        await one.register("one", capacity=2)
        await two.register("two", capacity=2)
        await ada.begin("one")
        job = await one.told()

        async def is_seen() -> bool:
            agents = (await ada.reply("agent.list"))["agents"]
            return [each["running"] for each in agents] == [1, 0]

        await wait_until(is_seen)
        await ada.begin(None, skill="say")
        assert (await two.told())["agent"] == "two"
        assert await one.hears_nothing_more()
        await one.complete(job)
