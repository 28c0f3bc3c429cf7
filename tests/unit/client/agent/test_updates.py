"""Chunks and questions go to the server in order, and no faster than it answers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from jackfield.client import Agent, Task
from tests.support.agent_registry import AgentRegistry, Message
from tests.support.peer import Peer, Server
from tests.support.waiting import wait_until


async def test_one_update_is_under_way_and_a_fast_generator_waits(
    agent: Agent, registry: AgentRegistry
) -> None:
    made = 0

    @agent.skill("flood")
    async def flood(task: Task, data: Message) -> AsyncIterator[Message]:
        nonlocal made
        for _ in range(10_000):
            made += 1
            yield {"text": "x" * 100}

    held = registry.hold("update")
    async with agent.running():
        await registry.assign("flood")
        await registry.assign(task="a.2")  # it is answered behind all that the other could send
        await registry.wait_for("complete")
        await wait_until(lambda: made > 400)
        assert len(held) == 1
        assert made < 2000
        await registry.release("update", held)
        await registry.wait_for("complete", 2)
    assert len(registry.chunks) == 10_000
    sizes = [len(str(update["chunks"])) for update in registry.received["update"]]
    assert max(sizes) < 60_000
    assert len(sizes) < 100


async def test_a_server_that_takes_less_is_sent_less(
    agent: Agent, server: Server, registry: AgentRegistry
) -> None:
    payload = {"connection": "c1", "user": None, "limits": {"message_bytes": 4096}}
    server.first = {"type": "welcome", "payload": payload}

    @agent.skill("flood")
    async def flood(task: Task, data: Message) -> AsyncIterator[Message]:
        for _ in range(1000):
            yield {"text": "x" * 100}

    async with agent.running():
        await registry.assign("flood")
        await registry.wait_for("complete")
    assert len(registry.chunks) == 1000
    assert max(len(str(update)) for update in registry.received["update"]) < 4096


async def test_a_server_whose_events_are_small_is_sent_parts(
    agent: Agent, registry: AgentRegistry
) -> None:
    @agent.skill("flood")
    async def flood(task: Task, data: Message) -> AsyncIterator[Message]:
        for n in range(2000):
            yield {"n": n, "text": "x" * 100}

    taken: list[Message] = []

    async def take_little(peer: Peer, message: Message) -> None:
        chunks = message["payload"]["chunks"]
        if len(chunks) > 100:
            error = {"code": "too_large", "message": "No.", "retryable": False}
            await peer.send("error", id=message["id"], error=error)
        else:
            assert message["payload"]["seq"] == len(taken)
            taken.extend(chunks)
            await registry.accept(peer, message)

    registry.answers["update"] = take_little
    async with agent.running():
        await registry.assign("flood")
        await registry.wait_for("complete")
    assert [chunk["n"] for chunk in taken] == [*range(2000)]
    assert len(registry.received["update"]) < 60  # it learns


@pytest.mark.parametrize("chunk", [[1], "text", {"at": object()}, {"text": "x" * 50_000}])
async def test_a_chunk_that_cannot_be_sent_fails_the_task(
    agent: Agent, registry: AgentRegistry, chunk: Any
) -> None:
    @agent.skill("say")
    async def say(task: Task, data: Message) -> AsyncIterator[Message]:
        yield {"text": "first"}
        await wait_until(lambda: registry.chunks)
        yield chunk

    async with agent.running():
        await registry.assign("say")
        assert (await registry.wait_for("fail"))["code"] == "internal"
    assert registry.chunks == [{"text": "first"}]


async def test_chunks_that_an_earlier_attempt_delivered_are_not_sent_again(
    agent: Agent, registry: AgentRegistry
) -> None:
    @agent.skill("count", idempotent=True)
    async def count(task: Task, data: Message) -> AsyncIterator[Message]:
        for n in range(10):
            yield {"n": n}

    async with agent.running():
        await registry.assign("count", attempt=2, seq=7)
        await registry.wait_for("complete")
    sent = [(update["seq"], update["chunks"]) for update in registry.received["update"]]
    assert sent[0][0] == 7
    assert [chunk for _, chunks in sent for chunk in chunks] == [{"n": 7}, {"n": 8}, {"n": 9}]


async def test_what_the_server_does_not_take_fails_the_task_with_its_words(
    agent: Agent, registry: AgentRegistry
) -> None:
    @agent.skill("say")
    async def say(task: Task, data: Message) -> AsyncIterator[Message]:
        yield {"text": "one"}

    registry.refuse("update", "too_large")
    async with agent.running():
        await registry.assign("say")
        failed = await registry.wait_for("fail")
    assert (failed["code"], failed["message"]) == ("too_large", "No.")


@pytest.mark.parametrize("code", ["not_found", "conflict"])
async def test_a_task_that_is_its_own_no_more_is_left_in_silence(
    agent: Agent, registry: AgentRegistry, code: str
) -> None:
    ended = asyncio.Event()

    @agent.skill("say")
    async def say(task: Task, data: Message) -> AsyncIterator[Message]:
        try:
            while True:
                yield {"text": "more"}
                await asyncio.sleep(0)
        finally:
            ended.set()

    registry.refuse("update", code, state="canceled")
    registry.refuse("complete", code, state="canceled")
    async with agent.running():
        await registry.assign("say")
        await ended.wait()
        await registry.assign(task="a.2")
        await registry.wait_for("complete")
    assert "fail" not in registry.received


async def test_a_question_that_the_server_has_already_is_not_asked_twice(
    agent: Agent, registry: AgentRegistry
) -> None:
    @agent.skill("ask")
    async def ask(task: Task, data: Message) -> Any:
        return await task.ask("?")

    registry.hold("update")
    registry.tasks = [{"task": "a.1", "attempt": 1, "seq": 0, "state": "input_required"}]
    async with agent.running():
        await registry.assign("ask")
        await registry.wait_for("update")
        registry.refuse("update", "conflict", state="input_required")
        registry.peers[-1].cut()
        await registry.wait_for("update", 2)
        await registry.send("answered", task="a.1", attempt=1, input={"yes": 1})
        assert (await registry.wait_for("complete"))["output"] == {"yes": 1}
