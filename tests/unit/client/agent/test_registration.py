"""An agent is registered anew over each connection, and what it sends waits for one."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from jackfield.client import Agent, RequestError, Task
from tests.support.agent_registry import AgentRegistry, Message, stuck
from tests.support.peer import Peer
from tests.support.waiting import wait_until


async def test_what_was_not_acknowledged_is_sent_again_as_it_was(
    agent: Agent, registry: AgentRegistry
) -> None:
    @agent.skill("say")
    async def say(task: Task, data: Message) -> AsyncIterator[Message]:
        yield {"n": 0}
        task.output = {"n": 1}

    registry.hold("update")
    registry.tasks = [{"task": "a.1", "attempt": 1, "seq": 1, "state": "working"}]
    async with agent.running():
        await registry.assign("say")
        await registry.wait_for("update")
        del registry.answers["update"]
        registry.hold("complete")
        registry.peers[-1].cut()
        await registry.wait_for("complete")
        del registry.answers["complete"]
        registry.peers[-1].cut()
        await registry.wait_for("complete", 2)
    assert registry.received["update"][0] == registry.received["update"][1]
    assert registry.received["complete"][0] == registry.received["complete"][1]


async def test_what_is_refused_for_now_is_said_again(agent: Agent, registry: AgentRegistry) -> None:
    registry.refuse("complete", "unavailable", retryable=True, retry_after=0.01)
    async with agent.running():
        await registry.assign()
        await registry.wait_for("complete", 2)
        del registry.answers["complete"]
        await registry.wait_for("complete", 3)
    assert registry.received["complete"][0] == registry.received["complete"][-1]


async def test_an_instance_that_the_server_has_forgotten_begins_anew(
    agent: Agent, registry: AgentRegistry
) -> None:
    news = stuck(agent)

    async def forget(peer: Peer, message: Message) -> None:
        if "instance" in message["payload"]:
            error = {"code": "not_found", "message": "No.", "retryable": False}
            await peer.send("error", id=message["id"], error=error)
        else:
            await registry.accept(peer, message)

    registry.answers["register"] = forget
    async with agent.running():
        await registry.assign("stuck")
        assert await news.get() == "begun"
        registry.peers[-1].cut()
        await registry.wait_for("register", 3)
        assert await news.get() == "cancelled: True"
    assert ["instance" in each for each in registry.received["register"]] == [False, True, False]


@pytest.mark.parametrize("code", ["forbidden", "invalid_payload", "unknown_type", "conflict"])
async def test_a_refused_registration_ends_it_with_the_error(
    agent: Agent, registry: AgentRegistry, code: str
) -> None:
    registry.refuse("register", code)
    with pytest.raises(RequestError, match=f"{code}: No."):
        await agent.serve()
    with pytest.raises(RequestError, match=f"{code}: No."):
        async with agent.running():
            pytest.fail("it is not registered")
    assert len(registry.received["register"]) == 2


async def test_a_registration_that_is_refused_for_now_is_tried_again(
    agent: Agent, registry: AgentRegistry
) -> None:
    registry.refuse("register", "unavailable", retryable=True)
    serving = asyncio.create_task(agent.serve())
    await registry.wait_for("register", 2)
    del registry.answers["register"]
    await wait_until(lambda: agent._registration.is_active)
    agent.stop()
    await serving
    assert len(registry.received["register"]) >= 3
