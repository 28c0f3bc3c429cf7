"""How a task is run, and how each way to end it is reported."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from marshmallow import Schema, ValidationError, fields

from jackfield import Error
from jackfield.client import Agent, Rejected, Task
from tests.support.agent_registry import AgentRegistry, Message


async def test_a_function_returns_the_output(agent: Agent, registry: AgentRegistry) -> None:
    async with agent.running():
        registered = await registry.wait_for("register")
        assert (registered["name"], registered["capacity"]) == ("a", 4)
        assert [skill["id"] for skill in registered["skills"]] == ["echo"]
        await registry.assign(input={"text": "hi"})
        assert await registry.wait_for("complete") == {
            "task": "a.1",
            "attempt": 1,
            "output": {"text": "hi"},
        }


async def test_the_input_is_loaded_by_its_schema(agent: Agent, registry: AgentRegistry) -> None:
    class Delay(Schema):
        seconds = fields.TimeDelta(required=True)

    @agent.skill("delay", Delay)
    async def delay(task: Task, data: Message) -> Message:
        return {"days": data["seconds"].days}

    async with agent.running():
        await registry.assign("delay", input={"seconds": 172_800})
        assert (await registry.wait_for("complete"))["output"] == {"days": 2}


async def test_an_input_that_only_the_agents_schema_refuses_is_rejected(
    agent: Agent, registry: AgentRegistry
) -> None:
    def is_even(number: int) -> None:
        if number % 2:
            raise ValidationError("Must be even.")

    @agent.skill("half", {"type": "object"})
    async def half(task: Task, data: Message) -> None: ...

    class Even(Schema):
        number = fields.Integer(required=True, validate=is_even)

    @agent.skill("even", Even)
    async def even(task: Task, data: Message) -> None: ...

    async with agent.running():
        await registry.assign("even", input={"number": 3})
        failed = await registry.wait_for("fail")
    assert failed["rejected"] is True
    assert failed["message"].endswith("is not valid. /number: Must be even.")


async def test_a_skill_that_it_does_not_have_is_rejected(
    agent: Agent, registry: AgentRegistry
) -> None:
    async with agent.running():
        await registry.assign("sing")
        failed = await registry.wait_for("fail")
    assert (failed["rejected"], failed["message"]) == (True, "This agent has no skill 'sing'.")


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (Rejected("Not on Sundays."), {"rejected": True, "message": "Not on Sundays."}),
        (
            Error("a.empty", "There is nothing in it."),
            {"code": "a.empty", "message": "There is nothing in it."},
        ),
        (Error("not_found", "No such page."), {"code": "not_found", "message": "No such page."}),
        (
            ValueError("s3cr3t"),
            {"code": "internal", "message": "The agent failed to handle this task."},
        ),
        (
            SystemExit(1),
            {"code": "internal", "message": "The agent failed to handle this task."},
        ),
        (
            asyncio.CancelledError(),
            {"code": "internal", "message": "The agent failed to handle this task."},
        ),
    ],
)
async def test_what_a_function_raises_fails_the_task_and_not_the_agent(
    agent: Agent, registry: AgentRegistry, raised: BaseException, told: Message
) -> None:
    @agent.skill("raise")
    async def raise_it(task: Task, data: Message) -> None:
        raise raised

    async with agent.running():
        await registry.assign("raise")
        assert await registry.wait_for("fail") == {"task": "a.1", "attempt": 1, **told}
        await registry.assign(task="a.2")
        await registry.wait_for("complete")


async def test_an_exception_is_logged_with_its_trace(
    agent: Agent, registry: AgentRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    @agent.skill("raise")
    async def raise_it(task: Task, data: Message) -> None:
        raise ValueError("s3cr3t")

    async with agent.running():
        await registry.assign("raise")
        await registry.wait_for("fail")
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert "a.1" in record.getMessage()


@pytest.mark.parametrize(
    ("output", "code"),
    [([1], "internal"), ({"at": object()}, "internal"), ({"text": "x" * 70_000}, "too_large")],
)
async def test_an_output_that_cannot_be_sent_fails_the_task(
    agent: Agent, registry: AgentRegistry, output: Any, code: str
) -> None:
    @agent.skill("make")
    async def make(task: Task, data: Message) -> Any:
        return output

    async with agent.running():
        await registry.assign("make")
        assert (await registry.wait_for("fail"))["code"] == code


async def test_a_generator_streams_and_has_an_output(agent: Agent, registry: AgentRegistry) -> None:
    @agent.skill("count", {"type": "object", "properties": {"to": {"type": "integer"}}})
    async def count(task: Task, data: Message) -> AsyncIterator[Message]:
        for n in range(data["to"]):
            yield {"n": n}
        task.output = {"total": data["to"]}

    async with agent.running():
        await registry.assign("count", input={"to": 5000})
        completed = await registry.wait_for("complete")
    assert completed["output"] == {"total": 5000}
    assert registry.chunks == [{"n": n} for n in range(5000)]
    assert max(len(update["chunks"]) for update in registry.received["update"]) <= 1000


async def test_a_function_that_does_not_mind_being_cancelled_sends_nothing_more(
    agent: Agent, registry: AgentRegistry
) -> None:
    going_on = asyncio.Event()
    ended: asyncio.Queue[str] = asyncio.Queue()

    @agent.skill("stubborn")
    async def stubborn(task: Task, data: Message) -> None:
        try:
            going_on.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            try:
                for _ in range(10):
                    await task.update({"text": "still here"})
            finally:
                ended.put_nowait("ended")

    async with agent.running():
        await registry.assign("stubborn")
        await going_on.wait()
        await registry.send("canceled", task="a.1", attempt=1, error={})
        await ended.get()
        await registry.assign(task="a.2")
        assert (await registry.wait_for("complete"))["task"] == "a.2"
    assert "update" not in registry.received
