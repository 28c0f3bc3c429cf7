"""What the server says about a task, and what becomes of it here."""

import asyncio
from collections.abc import AsyncIterator

from jackfield.client import Agent, Task
from tests.support.agent_registry import FAST_RETRY, AgentRegistry, Message, stuck
from tests.support.peer import Server


async def test_a_cancelled_task_stops_and_says_nothing(
    agent: Agent, registry: AgentRegistry
) -> None:
    news = stuck(agent)
    async with agent.running():
        await registry.assign("stuck")
        assert await news.get() == "begun"
        await registry.send("canceled", task="a.1", attempt=2, error={})  # another attempt
        await registry.send("canceled", task="a.2", attempt=1, error={})  # another task
        await registry.assign(task="a.3")
        await registry.wait_for("complete")
        assert news.empty()
        await registry.send("canceled", task="a.1", attempt=1, error={"code": "cancelled"})
        assert await news.get() == "cancelled: True"
    assert len(registry.received["complete"]) == 1
    assert "fail" not in registry.received


async def test_a_later_attempt_takes_the_place_of_an_earlier_one(
    agent: Agent, registry: AgentRegistry
) -> None:
    news = stuck(agent)
    async with agent.running():
        await registry.assign("stuck")
        assert await news.get() == "begun"
        await registry.assign("stuck")  # the same again
        await registry.assign(task="a.2")
        await registry.wait_for("complete")
        assert news.empty()
        await registry.assign("stuck", attempt=2)
        assert {await news.get(), await news.get()} == {"begun", "cancelled: True"}
        await registry.send("canceled", task="a.1", attempt=2, error={})
        assert await news.get() == "cancelled: True"
        assert news.empty()


async def test_tasks_that_are_still_its_own_go_on_over_the_next_connection(
    agent: Agent, registry: AgentRegistry
) -> None:
    go_on = asyncio.Event()

    @agent.skill("slow")
    async def slow(task: Task, data: Message) -> AsyncIterator[Message]:
        yield {"n": 0}
        await go_on.wait()
        yield {"n": 1}
        task.output = {"done": True}

    async with agent.running():
        await registry.assign("slow")
        await registry.wait_for("update")
        registry.tasks = [{"task": "a.1", "attempt": 1, "seq": 1, "state": "working"}]
        registry.peers[-1].cut()
        assert (await registry.wait_for("register", 2))["instance"] == "i1"
        go_on.set()
        assert (await registry.wait_for("complete"))["output"] == {"done": True}
    assert registry.chunks == [{"n": 0}, {"n": 1}]
    assert "instance" not in registry.received["register"][0]


async def test_tasks_that_were_taken_away_are_cancelled_here(
    agent: Agent, registry: AgentRegistry
) -> None:
    news = stuck(agent)
    async with agent.running():
        await registry.assign("stuck")
        await registry.assign("stuck", task="a.2")
        assert [await news.get(), await news.get()] == ["begun", "begun"]
        registry.tasks = [{"task": "a.2", "attempt": 1, "seq": 0, "state": "working"}]
        registry.peers[-1].cut()
        assert await news.get() == "cancelled: True"
        assert news.empty()
        registry.tasks = []
        registry.peers[-1].cut()
        assert await news.get() == "cancelled: True"
    assert "fail" not in registry.received


async def test_tasks_that_do_not_end_in_time_are_failed_or_left_to_others(
    server: Server, registry: AgentRegistry
) -> None:
    agent = Agent("a", server.url, capacity=4, grace=0.05, **FAST_RETRY)
    once, many = stuck(agent, "once"), stuck(agent, "many", idempotent=True)
    async with agent.running():
        await registry.assign("once", task="a.1")
        await registry.assign("many", task="a.2")
        assert [await once.get(), await many.get()] == ["begun", "begun"]
    assert [await once.get(), await many.get()] == ["cancelled: True", "cancelled: True"]
    (failed,) = registry.received["fail"]
    assert (failed["task"], failed["message"]) == ("a.1", "The agent was stopped.")
