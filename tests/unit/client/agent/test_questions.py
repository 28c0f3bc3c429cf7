"""The questions of a task, and the answers to them."""

import asyncio
from typing import Any

from jackfield.client import Agent, Task
from tests.support.agent_registry import AgentRegistry, Message, stuck


async def test_an_answer_that_nobody_waits_for_is_let_be(
    agent: Agent, registry: AgentRegistry
) -> None:
    news = stuck(agent)
    async with agent.running():
        await registry.assign("stuck")
        await news.get()
        await registry.send("answered", task="a.1", attempt=1, input={})
        await registry.send("answered", task="a.2", attempt=1, input={})
        await registry.assign(task="a.3")
        await registry.wait_for("complete")
        await registry.send("canceled", task="a.1", attempt=1, error={})
        assert await news.get() == "cancelled: True"


async def test_an_answer_that_comes_twice_answers_one_question(
    agent: Agent, registry: AgentRegistry
) -> None:
    @agent.skill("ask")
    async def ask(task: Task, data: Message) -> Any:
        return {"first": await task.ask("?"), "second": await task.ask("?")}

    async with agent.running():
        await registry.assign("ask")
        await registry.wait_for("update")
        await registry.send("answered", task="a.1", attempt=1, answer=1, input={"n": 1})
        await registry.wait_for("update", 2)
        await registry.send("answered", task="a.1", attempt=1, answer=1, input={"n": 1})
        await registry.send("answered", task="a.1", attempt=1, answer=2, input={"n": 2})
        output = (await registry.wait_for("complete"))["output"]
    assert output == {"first": {"n": 1}, "second": {"n": 2}}


async def test_who_asks_twice_at_once_is_answered_one_after_the_other(
    agent: Agent, registry: AgentRegistry
) -> None:
    @agent.skill("ask")
    async def ask(task: Task, data: Message) -> Any:
        first, second = await asyncio.gather(task.ask("one?"), task.ask("two?"))
        return {"first": first, "second": second}

    async with agent.running():
        await registry.assign("ask")
        for n, prompt in enumerate(("one?", "two?"), 1):
            assert (await registry.wait_for("update", n))["prompt"] == {"message": prompt}
            assert len(registry.received["update"]) == n
            await registry.send("answered", task="a.1", attempt=1, answer=n, input={"n": n})
        output = (await registry.wait_for("complete"))["output"]
    assert output == {"first": {"n": 1}, "second": {"n": 2}}
