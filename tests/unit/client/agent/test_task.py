"""What a skill's function does with its task."""

from typing import Any

import pytest
from marshmallow import Schema, fields, validate

from jackfield.client import Agent, Task
from tests.support.agent_registry import AgentRegistry, Message


async def test_a_function_knows_its_task(
    agent: Agent, registry: AgentRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    tasks: list[Task] = []

    @agent.skill("look")
    async def look(task: Task, data: Message) -> None:
        tasks.append(task)
        task.log.warning("seen %d times", 1)

    async with agent.running():
        await registry.assign("look", attempt=2, deadline=1234.5)
        assert (await registry.wait_for("complete"))["output"] == {}
    (task,) = tasks
    assert (task.id, task.skill, task.caller) == ("a.1", "look", "alice")
    assert (task.deadline, task.attempt, task.cancelled) == (1234.5, 2, False)
    assert "a.1: seen 1 times" in caplog.messages


async def test_a_function_may_send_chunks_too(agent: Agent, registry: AgentRegistry) -> None:
    @agent.skill("say")
    async def say(task: Task, data: Message) -> Message:
        await task.update({"text": "one"})
        return {}

    async with agent.running():
        await registry.assign("say")
        await registry.wait_for("complete")
    assert registry.chunks == [{"text": "one"}]


async def test_a_question_waits_for_the_answer_and_loads_it(
    agent: Agent, registry: AgentRegistry
) -> None:
    class Choice(Schema):
        colour = fields.String(required=True, validate=validate.OneOf(["red", "blue"]))

    @agent.skill("paint")
    async def paint(task: Task, data: Message) -> Message:
        await task.update({"text": "mixing"})
        choice = await task.ask("Which colour?", Choice, expires=60)
        again = await task.ask("Sure?", {"type": "object", "required": ["yes"]})
        return {**choice, **again}

    async with agent.running():
        await registry.assign("paint")
        asked = await registry.wait_for("update", 2)
        assert asked["state"] == "input_required"
        assert asked["prompt"] == {
            "message": "Which colour?",
            "expires": 60,
            "schema": {
                "type": "object",
                "properties": {"colour": {"type": "string", "enum": ["red", "blue"]}},
                "required": ["colour"],
                "additionalProperties": False,
            },
        }
        await registry.send("answered", task="a.1", attempt=1, input={"colour": "red"})
        asked = await registry.wait_for("update", 3)
        assert asked["prompt"]["schema"] == {"type": "object", "required": ["yes"]}
        await registry.send("answered", task="a.1", attempt=1, input={"yes": True})
        completed = await registry.wait_for("complete")
    assert completed["output"] == {"colour": "red", "yes": True}
    assert registry.received["update"][0]["chunks"] == [{"text": "mixing"}]


async def test_signing_in_is_a_question_too(agent: Agent, registry: AgentRegistry) -> None:
    @agent.skill("sign")
    async def sign(task: Task, data: Message) -> Any:
        return await task.ask("Your key?", state="auth_required")

    async with agent.running():
        await registry.assign("sign")
        assert await registry.wait_for("update") == {
            "task": "a.1",
            "attempt": 1,
            "state": "auth_required",
            "prompt": {"message": "Your key?"},
        }
        await registry.send("answered", task="a.1", attempt=1, input={"key": "k"})
        assert (await registry.wait_for("complete"))["output"] == {"key": "k"}


async def test_a_question_that_nobody_can_answer_is_a_mistake_here(
    agent: Agent, registry: AgentRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    @agent.skill("ask")
    async def ask(task: Task, data: Message) -> None:
        await task.ask("?", {"type": "array"})

    async with agent.running():
        await registry.assign("ask")
        assert (await registry.wait_for("fail"))["code"] == "internal"
    assert "The question has a schema that no server takes at /type" in caplog.text
