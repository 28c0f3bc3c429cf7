"""Agents made with the SDK are called through real nodes and a real Valkey."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from types import ModuleType
from typing import Any

import pytest
from marshmallow import Schema, fields, validate

from jackfield.agents.instance import REGISTRATION
from jackfield.auth import Credentials
from jackfield.client import Agent, Client, Rejected, RequestError, Task
from jackfield.testing import RunningServer, run_server
from jackfield.wire.close_codes import CloseCode
from jackfield.wire.identity import Identity
from tests.support.paths import DOCS
from tests.support.waiting import wait_until

Message = dict[str, Any]


class ByName:
    """Whoever says a name has it, and "worker" may be an agent."""

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        scopes = {"agent"} if credentials.token == "worker" else ()
        return Identity(credentials.token or None, frozenset(scopes))


class Input(Schema):
    text = fields.String(required=True, validate=validate.Length(1, 100))


@asynccontextmanager
async def node(config: Mapping[str, Any]) -> AsyncIterator[RunningServer]:
    async with run_server(config=config, authenticators=[ByName()]) as server:
        yield server


@pytest.fixture
async def server(config: Mapping[str, Any]) -> AsyncIterator[RunningServer]:
    async with node(config) as server:
        yield server


@pytest.fixture
async def other(config: Mapping[str, Any]) -> AsyncIterator[RunningServer]:
    """Another node with the same Valkey."""
    async with node(config) as server:
        yield server


def make_agent(server: RunningServer, name: str = "summariser", **options: Any) -> Agent:
    hasty = {"backoff": 0.01, "max_backoff": 0.05}
    return Agent(name, server.url, "worker", **{"capacity": 4, **hasty, **options})


@pytest.fixture
def agent(server: RunningServer) -> Agent:
    agent = make_agent(server)

    @agent.skill("shout", Input, idempotent=True)
    async def shout(task: Task, data: Message) -> Message:
        """Say it louder."""
        return {"text": data["text"].upper(), "caller": task.caller}

    @agent.skill("spell", Input)
    async def spell(task: Task, data: Message) -> AsyncIterator[Message]:
        """Say it letter by letter."""
        for letter in data["text"]:
            yield {"letter": letter}
        task.output = {"letters": len(data["text"])}

    return agent


@pytest.fixture
async def caller(other: RunningServer) -> AsyncIterator[Client]:
    async with other.connect(token="alice") as client:
        yield client


def lose_the_line(*servers: RunningServer) -> int:
    """End the connections of all agents, without a word about it."""
    connections = [
        each for server in servers for each in server.node.hub if each[REGISTRATION].instance
    ]
    for connection in connections:
        connection.close(CloseCode.INTERNAL_ERROR)
    return len(connections)


async def answers(client: Client, **payload: Any) -> tuple[list[Message], list[str], Message]:
    """The chunks of a call, the states it went through, and its reply."""
    chunks, states = [], []
    async with aclosing(client.answers("agent.call", payload, timeout=20)) as messages:
        async for message in messages:
            if "state" in message:
                states.append(message["state"])
            elif message["type"] == "chunk":
                chunks.append(message["payload"])
            else:
                return chunks, states, message["payload"]
    pytest.fail("there was no reply")


async def test_a_call_through_two_nodes_gets_the_output(agent: Agent, caller: Client) -> None:
    async with agent.running():
        called = {"agent": "summariser", "skill": "shout", "input": {"text": "hi"}}
        reply = await caller.request("agent.call", called)
    assert (reply["state"], reply["output"]) == ("completed", {"text": "HI", "caller": "alice"})


async def test_an_agent_is_listed_with_its_skills_while_it_runs(
    agent: Agent, caller: Client
) -> None:
    async with agent.running():
        (listed,) = (await caller.request("agent.list"))["agents"]
        assert (listed["name"], listed["instances"], listed["capacity"]) == ("summariser", 1, 4)
        skills = {skill["id"]: skill for skill in listed["skills"]}
        assert skills["shout"]["description"] == "Say it louder."
        assert skills["shout"]["idempotent"] is True
        assert skills["spell"]["input"]["required"] == ["text"]

    async def is_gone() -> bool:
        listed = (await caller.request("agent.list"))["agents"]
        return all(each["instances"] == 0 for each in listed)

    await wait_until(is_gone)


async def test_a_generator_streams_to_the_caller_in_order(agent: Agent, caller: Client) -> None:
    text = "abcdefghij" * 10
    async with agent.running():
        chunks, states, reply = await answers(caller, skill="spell", input={"text": text})
    assert "".join(chunk["letter"] for chunk in chunks) == text
    assert states == ["submitted", "working"]
    assert reply["output"] == {"letters": 100}


async def test_the_server_checks_the_input_before_the_agent_sees_it(
    agent: Agent, caller: Client
) -> None:
    async with agent.running():
        with pytest.raises(RequestError) as refused:
            await caller.request("agent.call", {"skill": "shout", "input": {"text": "", "x": 1}})
    assert sorted((fault["pointer"], fault["code"]) for fault in refused.value.fields) == [
        ("/input/text", "min_length"),
        ("/input/x", "unknown"),
    ]


async def test_what_a_skill_raises_is_what_the_caller_is_told(agent: Agent, caller: Client) -> None:
    @agent.skill("refuse")
    async def refuse(task: Task, data: Message) -> None:
        raise Rejected("Not on Sundays.")

    @agent.skill("break")
    async def break_(task: Task, data: Message) -> None:
        raise ValueError("s3cr3t")

    async with agent.running():
        with pytest.raises(RequestError) as rejected:
            await caller.request("agent.call", {"skill": "refuse"})
        with pytest.raises(RequestError) as failed:
            await caller.request("agent.call", {"skill": "break"})
    assert rejected.value.code == failed.value.code == "agent_failed"
    assert (rejected.value.extra["state"], rejected.value.message) == (
        "rejected",
        "Not on Sundays.",
    )
    assert (failed.value.extra["state"], failed.value.extra["reason"]) == ("failed", "internal")
    assert "s3cr3t" not in str(failed.value)


async def test_a_caller_that_leaves_cancels_the_function(agent: Agent, caller: Client) -> None:
    news: asyncio.Queue[str] = asyncio.Queue()

    @agent.skill("wait")
    async def wait(task: Task, data: Message) -> AsyncIterator[Message]:
        yield {"begun": True}
        try:
            await asyncio.Event().wait()
        finally:
            news.put_nowait(f"cancelled: {task.cancelled}")

    async with agent.running():
        async with aclosing(caller.stream("agent.call", {"skill": "wait"})) as chunks:
            async for chunk in chunks:
                if "begun" in chunk:
                    break
        assert await news.get() == "cancelled: True"


async def test_a_deadline_that_passes_cancels_the_function(agent: Agent, caller: Client) -> None:
    news: asyncio.Queue[str] = asyncio.Queue()

    @agent.skill("wait")
    async def wait(task: Task, data: Message) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            news.put_nowait(f"cancelled: {task.cancelled}")

    async with agent.running():
        with pytest.raises(RequestError, match="timeout"):
            await caller.request("agent.call", {"skill": "wait", "timeout": 0.3})
        assert await news.get() == "cancelled: True"


async def test_a_person_is_asked_and_the_answer_reaches_the_function(
    agent: Agent, caller: Client
) -> None:
    class Colour(Schema):
        colour = fields.String(required=True, validate=validate.OneOf(["red", "blue"]))

    @agent.skill("paint")
    async def paint(task: Task, data: Message) -> Message:
        chosen = await task.ask("Which colour?", Colour, expires=60)
        return {"painted": chosen["colour"]}

    async with agent.running():
        states = []
        async with aclosing(caller.answers("agent.call", {"skill": "paint"})) as messages:
            async for message in messages:
                states.append(message.get("state"))
                if message.get("state") == "input_required":
                    told = message["payload"]
                    assert told["prompt"]["message"] == "Which colour?"
                    answer = {"task": told["task"], "input": {"colour": "green"}}
                    with pytest.raises(RequestError) as refused:
                        await caller.request("agent.answer", answer)
                    assert refused.value.fields[0]["pointer"] == "/input/colour"
                    answer["input"] = {"colour": "red"}
                    await caller.request("agent.answer", answer)
        assert states == ["submitted", "working", "input_required", "working", None]
        assert message["payload"]["output"] == {"painted": "red"}


async def test_a_line_that_is_lost_in_a_stream_costs_no_chunk_and_doubles_none(
    agent: Agent, server: RunningServer, caller: Client
) -> None:
    @agent.skill("count")
    async def count(task: Task, data: Message) -> AsyncIterator[Message]:
        for n in range(1000):
            if n in (200, 500, 900):
                await wait_until(
                    lambda: any(each[REGISTRATION].instance for each in server.node.hub)
                )
                lose_the_line(server)
            yield {"n": n}
            await asyncio.sleep(0)

    async with agent.running():
        chunks, _, reply = await answers(caller, skill="count")
    assert reply["state"] == "completed"
    assert [chunk["n"] for chunk in chunks] == [*range(1000)]


async def test_a_task_goes_on_over_another_node(
    server: RunningServer, other: RunningServer, caller: Client
) -> None:
    urls = iter([server.url, other.url])
    agent = make_agent(server)
    agent.url = next(urls)
    moved = asyncio.Event()

    @agent.skill("move")
    async def move(task: Task, data: Message) -> AsyncIterator[Message]:
        yield {"n": 0}
        agent.url = next(urls)
        lose_the_line(server)
        await wait_until(lambda: any(each[REGISTRATION].instance for each in other.node.hub))
        moved.set()
        yield {"n": 1}

    async with agent.running():
        chunks, _, reply = await answers(caller, skill="move")
    assert moved.is_set()
    assert reply["state"] == "completed"
    assert chunks == [{"n": 0}, {"n": 1}]


async def test_a_flood_of_chunks_comes_whole_and_in_order(
    agent: Agent, server: RunningServer
) -> None:
    @agent.skill("flood")
    async def flood(task: Task, data: Message) -> AsyncIterator[Message]:
        for n in range(3000):
            yield {"n": n, "text": "x" * 1000}

    async with agent.running(), server.connect(token="alice", buffer_bytes=2**23) as caller:
        chunks, _, reply = await answers(caller, skill="flood")
    assert reply["state"] == "completed"
    assert [chunk["n"] for chunk in chunks] == [*range(3000)]


async def test_an_agent_that_stops_leaves_its_work_to_another(
    server: RunningServer, other: RunningServer, caller: Client
) -> None:
    begun: asyncio.Queue[str] = asyncio.Queue()
    go_on = asyncio.Event()

    def instance(where: RunningServer, name: str, grace: float) -> Agent:
        agent = make_agent(where, grace=grace, capacity=1)

        @agent.skill("work")
        async def work(task: Task, data: Message) -> Message:
            begun.put_nowait(name)
            await go_on.wait()
            return {"by": name}

        return agent

    first, second = instance(server, "first", 30), instance(other, "second", 30)
    serving = asyncio.create_task(first.serve())
    await wait_until(lambda: any(each[REGISTRATION].instance for each in server.node.hub))
    called = {"agent": "summariser", "skill": "work"}
    calls = [asyncio.create_task(caller.request("agent.call", called))]
    assert await begun.get() == "first"
    first.stop()
    calls.append(asyncio.create_task(caller.request("agent.call", called)))
    async with second.running():
        assert await begun.get() == "second"
        go_on.set()
        replies = await asyncio.gather(*calls)
        await serving
    assert [reply["output"]["by"] for reply in replies] == ["first", "second"]


async def test_who_may_not_be_an_agent_is_told_and_does_not_try_again(
    server: RunningServer,
) -> None:
    agent = Agent("spy", server.url, "alice")

    @agent.skill("listen")
    async def listen(task: Task, data: Message) -> None: ...

    with pytest.raises(RequestError) as refused:
        await agent.serve()
    assert refused.value.code == "forbidden"
    assert refused.value.extra["scopes"] == ["agent"]


async def test_the_pages_agent_does_what_the_page_says(
    server: RunningServer, caller: Client
) -> None:
    page = (DOCS / "agents/writing.md").read_text("utf-8")
    text = "".join(re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    module = ModuleType("summariser")
    exec(
        text.replace("ws://127.0.0.1:8080/ws", server.url).replace('"…"', '"worker"'), vars(module)
    )
    await module.test_it_makes_texts_short()
    async with module.agent.running():
        words = {"text": "one two three"}
        chunks, _, reply = await answers(caller, skill="spell", input=words)
        assert chunks == [{"word": "one"}, {"word": "two"}, {"word": "three"}]
        assert reply["output"] == {"count": 3}
        states = []
        called = {"skill": "publish", "input": words}
        async with aclosing(caller.answers("agent.call", called)) as messages:
            async for message in messages:
                states.append(message.get("state"))
                if message.get("state") == "input_required":
                    answer = {"task": message["payload"]["task"], "input": {"approved": True}}
                    await caller.request("agent.answer", answer)
        assert message["payload"]["output"] == {"published": True}
        for said, told in (("12", "nothing to translate"), ("hi", "not loaded")):
            with pytest.raises(RequestError, match=told):
                await caller.request("agent.call", {"skill": "translate", "input": {"text": said}})
