"""Lines to Redis that break or fall silent under tasks: every order arrives, each thing is once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from jackfield.client import Client, RequestError
from tests.support.agent_processes import Puppet, agent_nodes, puppet, user
from tests.support.nodes import NodeProcess
from tests.support.proxy import Proxy, proxied
from tests.support.valkeys import Valkey
from tests.support.verdicts import calling, verdict, watching
from tests.support.waiting import wait_until

#: What a connection has sent that is a pub/sub link.
LINK = "SSUBSCRIBE"


class Line(NamedTuple):
    """A node, and what is between it and Redis."""

    node: NodeProcess
    proxy: Proxy

    async def dies(self) -> None:
        """Have its pub/sub link die, of which neither end takes notice."""
        await wait_until(self.node.is_ready)
        assert self.proxy.strand(LINK) == 1


@pytest.fixture
async def lines(valkey: Valkey, tmp_path: Path) -> AsyncIterator[list[Line]]:
    async with proxied(valkey.url) as one, proxied(valkey.url) as another:
        proxies = [one, another]
        async with agent_nodes(tmp_path, [proxy.url for proxy in proxies]) as nodes:
            yield [Line(*pair) for pair in zip(nodes, proxies, strict=True)]


@pytest.fixture
async def agent(lines: list[Line]) -> AsyncIterator[Puppet]:
    async with puppet(lines[0].node) as agent:
        await agent.register(capacity=2)
        yield agent


@pytest.fixture
async def alice(lines: list[Line]) -> AsyncIterator[Client]:
    async with user(lines[1].node) as alice:
        yield alice


async def unanswered(request: Awaitable[object]) -> None:
    """Expect that a request has no answer but that Redis is away."""
    with pytest.raises(RequestError) as refused:
        await request
    assert (refused.value.code, refused.value.retryable) == ("unavailable", True)


async def test_an_agent_whose_link_died_unnoticed_gets_its_orders_all_the_same(
    lines: list[Line], agent: Puppet, alice: Client
) -> None:
    line, _ = lines
    async with calling(alice, agent="puppet") as one:
        job = await agent.told()
        await line.dies()
        async with calling(alice, agent="puppet") as other:
            other_job = await agent.told()
            assert other_job["task"] == other.task
            await agent.say("update", job, state="input_required", prompt={"message": "Well?"})
            await line.dies()
            answer = {"task": one.task, "input": {"yes": True}}
            await alice.request("agent.answer", answer)
            answered = await agent.told("answered")
            assert answered["input"] == {"yes": True}
            await line.dies()
            await alice.request("agent.cancel", {"task": other.task})
            canceled = await agent.told("canceled")
            assert canceled["task"] == other.task
            await agent.say("complete", job)
            found = await verdict(other.task, alice, calls=[other])
            assert (found.state, found.attempts) == ("canceled", 1)
            found = await verdict(one.task, alice, calls=[one])
            assert (found.state, found.attempts) == ("completed", 1)


async def test_a_caller_whose_link_died_unnoticed_gets_the_answer_all_the_same(
    lines: list[Line], agent: Puppet, alice: Client
) -> None:
    _, line = lines
    async with calling(alice, agent="puppet") as call, watching(alice) as watch:
        job = await agent.told()
        await watch.join(call.task)
        await line.dies()
        await agent.say("update", job, seq=0, chunks=[{"number": 0}])
        await call.has(1)
        await line.dies()
        await agent.say("update", job, seq=1, chunks=[{"number": 1}])
        await agent.say("complete", job)
        found = await verdict(call.task, alice, calls=[call], watches=[watch])
        assert found.state == "completed"
        assert found.chunks == [{"number": 0}, {"number": 1}]


async def test_what_was_done_though_its_reply_was_lost_is_not_done_twice(
    lines: list[Line], agent: Puppet, alice: Client
) -> None:
    (_, agents), (_, callers) = lines
    async with AsyncExitStack() as run:
        asked: dict[str, Any] = {"agent": "puppet", "key": "once", "input": {"said": "a call"}}
        callers.cut_after_request(b"a call")
        await unanswered(alice.request("agent.call", asked))
        call = await run.enter_async_context(calling(alice, **asked))
        job = await agent.told()
        assert job["task"] == call.task
        chunks = {"seq": 0, "chunks": [{"said": "a chunk"}]}
        agents.cut_after_request(b"a chunk")
        await unanswered(agent.say("update", job, **chunks))
        assert (await agent.say("update", job, **chunks))["seq"] == 1
        agents.cut_after_request(b"a result")
        output = {"said": "a result"}
        await unanswered(agent.say("complete", job, output=output))
        assert (await agent.say("complete", job, output=output))["state"] == "completed"
        found = await verdict(call.task, alice, calls=[call])
        assert (found.attempts, found.chunks, found.output) == (1, chunks["chunks"], output)

        other = await run.enter_async_context(calling(alice, agent="puppet"))
        job = await agent.told()
        assert job["task"] == other.task
        cancel = {"task": other.task, "reason": "a reason"}
        callers.cut_after_request(b"a reason")
        await unanswered(alice.request("agent.cancel", cancel))
        assert (await alice.request("agent.cancel", cancel))["state"] == "canceled"
        assert (await agent.told("canceled"))["error"]["message"] == "a reason"
        with pytest.raises(RequestError) as late:
            await agent.say("complete", job)
        assert late.value.code == "conflict"
        found = await verdict(other.task, alice, calls=[other])
        assert (found.state, found.code) == ("canceled", "cancelled")


async def test_a_caller_who_leaves_just_when_redis_takes_the_call_leaves_no_task_behind(
    valkey: Valkey, lines: list[Line], agent: Puppet, alice: Client
) -> None:
    _, (node, _) = lines
    async with calling(alice, agent="puppet") as call:  # so that the node knows the agent
        await agent.say("complete", await agent.told())
        await call.ends()
    async with user(node) as page:
        with valkey.paused():
            asked = asyncio.create_task(page.request("agent.call", {"agent": "puppet"}))
            for _ in range(2):  # sent once the first is answered, and read before the second
                await page.request("session.ping")
            asked.cancel()
            with suppress(asyncio.CancelledError):
                await asked
            await page.request("session.ping")
        job = await agent.told()
        assert (await agent.told("canceled"))["task"] == job["task"]
        found = await verdict(job["task"], alice)
        assert (found.state, found.code) == ("canceled", "cancelled")
