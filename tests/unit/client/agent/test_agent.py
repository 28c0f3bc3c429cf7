"""What the agent SDK promises, against a server whose every word the test speaks itself."""

import asyncio
import logging
import os
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from marshmallow import Schema, ValidationError, fields, validate

from jackfield import Error
from jackfield.client import Agent, ConnectionClosed, ConnectionFailed, Rejected, RequestError, Task
from tests.support.peer import Peer, Server, serve
from tests.support.waiting import wait_until

#: Seconds to wait at the most before each connection: no test is about them.
HASTY: dict[str, Any] = {"backoff": 0.01, "max_backoff": 0.01}

Message = dict[str, Any]


class Input(Schema):
    text = fields.String(required=True, validate=validate.Length(1, 10))


class Desk:
    """The server's side of agents: it registers them, and notes what they say.

    Attributes:
        said: The payloads of what came, by type.
        instance: What an agent is registered as.
        own: The tasks that an instance is said to have.
        answer: What is done with a message in the place of agreeing to it, by type.
        peers: The connections over which agents are registered, the last one last.
    """

    def __init__(self) -> None:
        self.said: dict[str, list[Message]] = defaultdict(list)
        self.instance = "i1"
        self.own: list[Message] = []
        self.answers: dict[str, Callable[[Peer, Message], Any]] = {}
        self.peers: list[Peer] = []

    async def answer(self, peer: Peer, message: Message) -> None:
        kind = message["type"].removeprefix("agent.")
        self.said[kind].append(message["payload"])
        if kind in self.answers:
            await self.answers[kind](peer, message)
        else:
            await self.agree(peer, message)

    async def agree(self, peer: Peer, message: Message) -> None:
        reply: Message = {}
        if message["type"] == "agent.register":
            self.peers.append(peer)
            reply = {"instance": self.instance, "lease": 30, "tasks": self.own}
        if "id" in message:
            await peer.send("reply", id=message["id"], payload=reply)

    def refuse(self, kind: str, code: str, **extra: Any) -> None:
        """Answer with an error from now on."""
        error = {"code": code, "message": "No.", "retryable": False, **extra}

        async def answer(peer: Peer, message: Message) -> None:
            await peer.send("error", id=message["id"], error=error)

        self.answers[kind] = answer

    def hold(self, kind: str) -> list[Message]:
        """Answer no more; what would be answered is in the list."""
        held: list[Message] = []

        async def answer(_peer: Peer, message: Message) -> None:
            held.append(message)

        self.answers[kind] = answer
        return held

    async def release(self, kind: str, held: list[Message]) -> None:
        """Answer again, what was held too."""
        del self.answers[kind]
        for message in held:
            await self.agree(self.peers[-1], message)

    async def tell(self, type_: str, **payload: Any) -> None:
        await self.peers[-1].send(f"agent.{type_}", payload=payload)

    async def assign(self, skill: str = "echo", **payload: Any) -> None:
        known = {"task": "a.1", "agent": "a", "input": {}, "caller": "alice"}
        more = {"deadline": 2e9, "attempt": 1, "seq": 0}
        await self.tell("assigned", **{**known, **more, "skill": skill, **payload})

    async def heard(self, kind: str, count: int = 1) -> Message:
        """Wait until so many of a type came; the last of them."""
        await wait_until(lambda: len(self.said[kind]) >= count)
        return self.said[kind][count - 1]

    @property
    def chunks(self) -> list[Message]:
        """All chunks that came, which must be in order and whole."""
        all_: list[Message] = []
        for update in self.said["update"]:
            if "chunks" in update:
                assert update["seq"] == len(all_)
                all_ += update["chunks"]
        return all_


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serve() as server:
        yield server


@pytest.fixture
def desk(server: Server) -> Desk:
    desk = Desk()
    server.answer = desk.answer
    return desk


@pytest.fixture
def agent(server: Server) -> Agent:
    agent = Agent("a", server.url, capacity=4, grace=5, **HASTY)

    @agent.skill("echo")
    async def echo(task: Task, data: Message) -> Message:
        """Say it again."""
        return data

    return agent


def stuck(agent: Agent, name: str = "stuck", **options: Any) -> asyncio.Queue[str]:
    """Add a skill that never ends; what becomes of it is in the queue."""
    news: asyncio.Queue[str] = asyncio.Queue()

    @agent.skill(name, **options)
    async def wait(task: Task, data: Message) -> None:
        news.put_nowait("begun")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            news.put_nowait(f"cancelled: {task.cancelled}")
            raise

    return news


# Declaring


def test_a_skill_is_registered_with_its_docstring_and_json_schema() -> None:
    agent = Agent("a", "ws://x")

    @agent.skill("sum.up", Input, idempotent=True)
    async def sum_up(task: Task, data: Message) -> None:
        """Make it short.

        In some words.
        """

    @agent.skill("plain", description="As it is.")
    async def plain(task: Task, data: Message) -> None: ...

    first, second = (skill.as_dict() for skill in agent._skills.values())
    assert first == {
        "id": "sum.up",
        "description": "Make it short.\n\nIn some words.",
        "idempotent": True,
        "input": {
            "type": "object",
            "properties": {"text": {"type": "string", "minLength": 1, "maxLength": 10}},
            "required": ["text"],
            "additionalProperties": False,
        },
    }
    assert second == {"id": "plain", "description": "As it is.", "idempotent": False}


@pytest.mark.parametrize("name", ["", "A", "1a", "a b", "a" * 65, "ä"])
def test_a_wrong_name_is_refused_in_words(name: str) -> None:
    with pytest.raises(ValueError, match="is no name for an agent: lower-case"):
        Agent(name, "ws://x")
    with pytest.raises(ValueError, match="is no id for a skill: lower-case"):
        Agent("a", "ws://x").skill(name)


def test_wrong_use_is_refused_in_words_where_it_stands() -> None:
    agent = Agent("a", "ws://x")
    with pytest.raises(ValueError, match="takes 1 to 1000 tasks at once, not 0"):
        Agent("a", "ws://x", capacity=0)
    with pytest.raises(TypeError, match="'one' of agent 'a' must be an async function, or an"):
        agent.skill("one")(print)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="'one' of agent 'a' must have a marshmallow Schema"):
        agent.skill("one", str)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"no server takes at /properties/a/pattern: No regular"):
        agent.skill("one", {"properties": {"a": {"pattern": "(?=a)"}}})
    with pytest.raises(ValueError, match="A description has at most 2000 characters"):
        stuck(agent, description="x" * 2001)
    stuck(agent)
    with pytest.raises(ValueError, match="'stuck' of agent 'a' is declared twice"):
        stuck(agent)
    for n in range(63):
        stuck(agent, f"s{n}")
    with pytest.raises(ValueError, match="'a' has 64 skills, as many as may be"):
        stuck(agent, "s63")


async def test_an_agent_without_skills_does_not_serve() -> None:
    with pytest.raises(RuntimeError, match="The agent 'a' has no skills"):
        await Agent("a", "ws://x").serve()


async def test_an_agent_serves_once_at_a_time(agent: Agent, desk: Desk) -> None:
    async with agent.running():
        with pytest.raises(RuntimeError, match="is serving already"):
            await agent.serve()
    async with agent.running():
        await desk.heard("register", 2)


# One task


async def test_a_function_returns_the_output(agent: Agent, desk: Desk) -> None:
    async with agent.running():
        registered = await desk.heard("register")
        assert (registered["name"], registered["capacity"]) == ("a", 4)
        assert [skill["id"] for skill in registered["skills"]] == ["echo"]
        await desk.assign(input={"text": "hi"})
        assert await desk.heard("complete") == {
            "task": "a.1",
            "attempt": 1,
            "output": {"text": "hi"},
        }


async def test_a_function_knows_its_task(
    agent: Agent, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    tasks: list[Task] = []

    @agent.skill("look")
    async def look(task: Task, data: Message) -> None:
        tasks.append(task)
        task.log.warning("seen %d times", 1)

    async with agent.running():
        await desk.assign("look", attempt=2, deadline=1234.5)
        assert (await desk.heard("complete"))["output"] == {}
    (task,) = tasks
    assert (task.id, task.skill, task.caller) == ("a.1", "look", "alice")
    assert (task.deadline, task.attempt, task.cancelled) == (1234.5, 2, False)
    assert "a.1: seen 1 times" in caplog.messages


async def test_the_input_is_loaded_by_its_schema(agent: Agent, desk: Desk) -> None:
    class Delay(Schema):
        seconds = fields.TimeDelta(required=True)

    @agent.skill("delay", Delay)
    async def delay(task: Task, data: Message) -> Message:
        return {"days": data["seconds"].days}

    async with agent.running():
        await desk.assign("delay", input={"seconds": 172_800})
        assert (await desk.heard("complete"))["output"] == {"days": 2}


async def test_an_input_that_only_the_agents_schema_refuses_is_rejected(
    agent: Agent, desk: Desk
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
        await desk.assign("even", input={"number": 3})
        failed = await desk.heard("fail")
    assert failed["rejected"] is True
    assert failed["message"].endswith("is not valid. /number: Must be even.")


async def test_a_skill_that_it_does_not_have_is_rejected(agent: Agent, desk: Desk) -> None:
    async with agent.running():
        await desk.assign("sing")
        failed = await desk.heard("fail")
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
    agent: Agent, desk: Desk, raised: BaseException, told: Message
) -> None:
    @agent.skill("raise")
    async def raise_it(task: Task, data: Message) -> None:
        raise raised

    async with agent.running():
        await desk.assign("raise")
        assert await desk.heard("fail") == {"task": "a.1", "attempt": 1, **told}
        await desk.assign(task="a.2")
        await desk.heard("complete")


async def test_an_exception_is_logged_with_its_trace(
    agent: Agent, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    @agent.skill("raise")
    async def raise_it(task: Task, data: Message) -> None:
        raise ValueError("s3cr3t")

    async with agent.running():
        await desk.assign("raise")
        await desk.heard("fail")
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert "a.1" in record.getMessage()


@pytest.mark.parametrize("output", [[1], {"at": object()}, {"text": "x" * 70_000}])
async def test_an_output_that_cannot_be_sent_fails_the_task(
    agent: Agent, desk: Desk, output: Any
) -> None:
    @agent.skill("make")
    async def make(task: Task, data: Message) -> Any:
        return output

    async with agent.running():
        await desk.assign("make")
        assert (await desk.heard("fail"))["code"] in ("internal", "too_large")


# Chunks


async def test_a_generator_streams_and_has_an_output(agent: Agent, desk: Desk) -> None:
    @agent.skill("count", {"type": "object", "properties": {"to": {"type": "integer"}}})
    async def count(task: Task, data: Message) -> AsyncIterator[Message]:
        for n in range(data["to"]):
            yield {"n": n}
        task.output = {"total": data["to"]}

    async with agent.running():
        await desk.assign("count", input={"to": 5000})
        completed = await desk.heard("complete")
    assert completed["output"] == {"total": 5000}
    assert desk.chunks == [{"n": n} for n in range(5000)]
    assert max(len(update["chunks"]) for update in desk.said["update"]) <= 1000


async def test_a_function_may_send_chunks_too(agent: Agent, desk: Desk) -> None:
    @agent.skill("say")
    async def say(task: Task, data: Message) -> Message:
        await task.update({"text": "one"})
        return {}

    async with agent.running():
        await desk.assign("say")
        await desk.heard("complete")
    assert desk.chunks == [{"text": "one"}]


async def test_one_update_is_under_way_and_a_fast_generator_waits(agent: Agent, desk: Desk) -> None:
    made = 0

    @agent.skill("flood")
    async def flood(task: Task, data: Message) -> AsyncIterator[Message]:
        nonlocal made
        for _ in range(10_000):
            made += 1
            yield {"text": "x" * 100}

    held = desk.hold("update")
    async with agent.running():
        await desk.assign("flood")
        await desk.assign(task="a.2")  # it is answered behind all that the other could send
        await desk.heard("complete")
        await wait_until(lambda: made > 400)
        assert len(held) == 1
        assert made < 2000
        await desk.release("update", held)
        await desk.heard("complete", 2)
    assert len(desk.chunks) == 10_000
    sizes = [len(str(update["chunks"])) for update in desk.said["update"]]
    assert max(sizes) < 60_000
    assert len(sizes) < 100


async def test_a_server_that_takes_less_is_sent_less(
    agent: Agent, server: Server, desk: Desk
) -> None:
    payload = {"connection": "c1", "user": None, "limits": {"message_bytes": 4096}}
    server.first = {"type": "welcome", "payload": payload}

    @agent.skill("flood")
    async def flood(task: Task, data: Message) -> AsyncIterator[Message]:
        for _ in range(1000):
            yield {"text": "x" * 100}

    async with agent.running():
        await desk.assign("flood")
        await desk.heard("complete")
    assert len(desk.chunks) == 1000
    assert max(len(str(update)) for update in desk.said["update"]) < 4096


async def test_a_server_whose_events_are_small_is_sent_parts(agent: Agent, desk: Desk) -> None:
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
            await desk.agree(peer, message)

    desk.answers["update"] = take_little
    async with agent.running():
        await desk.assign("flood")
        await desk.heard("complete")
    assert [chunk["n"] for chunk in taken] == [*range(2000)]
    assert len(desk.said["update"]) < 60  # it learns


@pytest.mark.parametrize("chunk", [[1], "text", {"at": object()}, {"text": "x" * 50_000}])
async def test_a_chunk_that_cannot_be_sent_fails_the_task(
    agent: Agent, desk: Desk, chunk: Any
) -> None:
    @agent.skill("say")
    async def say(task: Task, data: Message) -> AsyncIterator[Message]:
        yield {"text": "first"}
        yield chunk

    async with agent.running():
        await desk.assign("say")
        assert (await desk.heard("fail"))["code"] == "internal"
    assert desk.chunks in ([{"text": "first"}], [])


async def test_chunks_that_an_earlier_attempt_delivered_are_not_sent_again(
    agent: Agent, desk: Desk
) -> None:
    @agent.skill("count", idempotent=True)
    async def count(task: Task, data: Message) -> AsyncIterator[Message]:
        for n in range(10):
            yield {"n": n}

    async with agent.running():
        await desk.assign("count", attempt=2, seq=7)
        await desk.heard("complete")
    sent = [(update["seq"], update["chunks"]) for update in desk.said["update"]]
    assert sent[0][0] == 7
    assert [chunk for _, chunks in sent for chunk in chunks] == [{"n": 7}, {"n": 8}, {"n": 9}]


async def test_what_the_server_does_not_take_fails_the_task_with_its_words(
    agent: Agent, desk: Desk
) -> None:
    @agent.skill("say")
    async def say(task: Task, data: Message) -> AsyncIterator[Message]:
        yield {"text": "one"}

    desk.refuse("update", "too_large")
    async with agent.running():
        await desk.assign("say")
        failed = await desk.heard("fail")
    assert (failed["code"], failed["message"]) == ("too_large", "No.")


@pytest.mark.parametrize("code", ["not_found", "conflict"])
async def test_a_task_that_is_its_own_no_more_is_left_in_silence(
    agent: Agent, desk: Desk, code: str
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

    desk.refuse("update", code, state="canceled")
    desk.refuse("complete", code, state="canceled")
    async with agent.running():
        await desk.assign("say")
        await ended.wait()
        await desk.assign(task="a.2")
        await desk.heard("complete")
    assert "fail" not in desk.said


async def test_what_is_refused_for_now_is_said_again(agent: Agent, desk: Desk) -> None:
    desk.refuse("complete", "unavailable", retryable=True, retry_after=0.01)
    async with agent.running():
        await desk.assign()
        await desk.heard("complete", 2)
        del desk.answers["complete"]
        await desk.heard("complete", 3)
    assert desk.said["complete"][0] == desk.said["complete"][-1]


# Cancelling


async def test_a_cancelled_task_stops_and_says_nothing(agent: Agent, desk: Desk) -> None:
    news = stuck(agent)
    async with agent.running():
        await desk.assign("stuck")
        assert await news.get() == "begun"
        await desk.tell("canceled", task="a.1", attempt=2, error={})  # another attempt
        await desk.tell("canceled", task="a.2", attempt=1, error={})  # another task
        await desk.assign(task="a.3")
        await desk.heard("complete")
        assert news.empty()
        await desk.tell("canceled", task="a.1", attempt=1, error={"code": "cancelled"})
        assert await news.get() == "cancelled: True"
    assert len(desk.said["complete"]) == 1
    assert "fail" not in desk.said


async def test_a_function_that_does_not_mind_being_cancelled_sends_nothing_more(
    agent: Agent, desk: Desk
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
        await desk.assign("stubborn")
        await going_on.wait()
        await desk.tell("canceled", task="a.1", attempt=1, error={})
        await ended.get()
        await desk.assign(task="a.2")
        assert (await desk.heard("complete"))["task"] == "a.2"
    assert "update" not in desk.said


async def test_a_later_attempt_takes_the_place_of_an_earlier_one(agent: Agent, desk: Desk) -> None:
    news = stuck(agent)
    async with agent.running():
        await desk.assign("stuck")
        assert await news.get() == "begun"
        await desk.assign("stuck")  # the same again
        await desk.assign(task="a.2")
        await desk.heard("complete")
        assert news.empty()
        await desk.assign("stuck", attempt=2)
        assert {await news.get(), await news.get()} == {"begun", "cancelled: True"}
        await desk.tell("canceled", task="a.1", attempt=2, error={})
        assert await news.get() == "cancelled: True"
        assert news.empty()


# Asking a person


async def test_a_question_waits_for_the_answer_and_loads_it(agent: Agent, desk: Desk) -> None:
    class Choice(Schema):
        colour = fields.String(required=True, validate=validate.OneOf(["red", "blue"]))

    @agent.skill("paint")
    async def paint(task: Task, data: Message) -> Message:
        await task.update({"text": "mixing"})
        choice = await task.ask("Which colour?", Choice, expires=60)
        again = await task.ask("Sure?", {"type": "object", "required": ["yes"]})
        return {**choice, **again}

    async with agent.running():
        await desk.assign("paint")
        asked = await desk.heard("update", 2)
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
        await desk.tell("answered", task="a.1", attempt=1, input={"colour": "red"})
        asked = await desk.heard("update", 3)
        assert asked["prompt"]["schema"] == {"type": "object", "required": ["yes"]}
        await desk.tell("answered", task="a.1", attempt=1, input={"yes": True})
        completed = await desk.heard("complete")
    assert completed["output"] == {"colour": "red", "yes": True}
    assert desk.said["update"][0]["chunks"] == [{"text": "mixing"}]


async def test_an_answer_that_nobody_waits_for_is_let_be(agent: Agent, desk: Desk) -> None:
    news = stuck(agent)
    async with agent.running():
        await desk.assign("stuck")
        await news.get()
        await desk.tell("answered", task="a.1", attempt=1, input={})
        await desk.tell("answered", task="a.2", attempt=1, input={})
        await desk.assign(task="a.3")
        await desk.heard("complete")
        await desk.tell("canceled", task="a.1", attempt=1, error={})
        assert await news.get() == "cancelled: True"


async def test_signing_in_is_a_question_too(agent: Agent, desk: Desk) -> None:
    @agent.skill("sign")
    async def sign(task: Task, data: Message) -> Any:
        return await task.ask("Your key?", state="auth_required")

    async with agent.running():
        await desk.assign("sign")
        assert await desk.heard("update") == {
            "task": "a.1",
            "attempt": 1,
            "state": "auth_required",
            "prompt": {"message": "Your key?"},
        }
        await desk.tell("answered", task="a.1", attempt=1, input={"key": "k"})
        assert (await desk.heard("complete"))["output"] == {"key": "k"}


async def test_a_question_that_nobody_can_answer_is_a_mistake_here(
    agent: Agent, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    @agent.skill("ask")
    async def ask(task: Task, data: Message) -> None:
        await task.ask("?", {"type": "array"})

    async with agent.running():
        await desk.assign("ask")
        assert (await desk.heard("fail"))["code"] == "internal"
    assert "The question has a schema that no server takes at /type" in caplog.text


# Losing the line


async def test_tasks_that_are_still_its_own_go_on_over_the_next_connection(
    agent: Agent, desk: Desk
) -> None:
    go_on = asyncio.Event()

    @agent.skill("slow")
    async def slow(task: Task, data: Message) -> AsyncIterator[Message]:
        yield {"n": 0}
        await go_on.wait()
        yield {"n": 1}
        task.output = {"done": True}

    async with agent.running():
        await desk.assign("slow")
        await desk.heard("update")
        desk.own = [{"task": "a.1", "attempt": 1, "seq": 1, "state": "working"}]
        desk.peers[-1].cut()
        assert (await desk.heard("register", 2))["instance"] == "i1"
        go_on.set()
        assert (await desk.heard("complete"))["output"] == {"done": True}
    assert desk.chunks == [{"n": 0}, {"n": 1}]
    assert "instance" not in desk.said["register"][0]


async def test_what_was_not_acknowledged_is_sent_again_as_it_was(agent: Agent, desk: Desk) -> None:
    @agent.skill("say")
    async def say(task: Task, data: Message) -> AsyncIterator[Message]:
        yield {"n": 0}
        task.output = {"n": 1}

    desk.hold("update")
    desk.own = [{"task": "a.1", "attempt": 1, "seq": 1, "state": "working"}]
    async with agent.running():
        await desk.assign("say")
        await desk.heard("update")
        del desk.answers["update"]
        desk.hold("complete")
        desk.peers[-1].cut()
        await desk.heard("complete")
        del desk.answers["complete"]
        desk.peers[-1].cut()
        await desk.heard("complete", 2)
    assert desk.said["update"][0] == desk.said["update"][1]
    assert desk.said["complete"][0] == desk.said["complete"][1]


async def test_a_question_that_the_server_has_already_is_not_asked_twice(
    agent: Agent, desk: Desk
) -> None:
    @agent.skill("ask")
    async def ask(task: Task, data: Message) -> Any:
        return await task.ask("?")

    desk.hold("update")
    desk.own = [{"task": "a.1", "attempt": 1, "seq": 0, "state": "input_required"}]
    async with agent.running():
        await desk.assign("ask")
        await desk.heard("update")
        desk.refuse("update", "conflict", state="input_required")
        desk.peers[-1].cut()
        await desk.heard("update", 2)
        await desk.tell("answered", task="a.1", attempt=1, input={"yes": 1})
        assert (await desk.heard("complete"))["output"] == {"yes": 1}


async def test_an_answer_that_comes_twice_answers_one_question(agent: Agent, desk: Desk) -> None:
    @agent.skill("ask")
    async def ask(task: Task, data: Message) -> Any:
        return {"first": await task.ask("?"), "second": await task.ask("?")}

    async with agent.running():
        await desk.assign("ask")
        await desk.heard("update")
        await desk.tell("answered", task="a.1", attempt=1, answer=1, input={"n": 1})
        await desk.heard("update", 2)
        await desk.tell("answered", task="a.1", attempt=1, answer=1, input={"n": 1})
        await desk.tell("answered", task="a.1", attempt=1, answer=2, input={"n": 2})
        output = (await desk.heard("complete"))["output"]
    assert output == {"first": {"n": 1}, "second": {"n": 2}}


async def test_who_asks_twice_at_once_is_answered_one_after_the_other(
    agent: Agent, desk: Desk
) -> None:
    @agent.skill("ask")
    async def ask(task: Task, data: Message) -> Any:
        first, second = await asyncio.gather(task.ask("one?"), task.ask("two?"))
        return {"first": first, "second": second}

    async with agent.running():
        await desk.assign("ask")
        for n, prompt in enumerate(("one?", "two?"), 1):
            assert (await desk.heard("update", n))["prompt"] == {"message": prompt}
            assert len(desk.said["update"]) == n
            await desk.tell("answered", task="a.1", attempt=1, answer=n, input={"n": n})
        output = (await desk.heard("complete"))["output"]
    assert output == {"first": {"n": 1}, "second": {"n": 2}}


async def test_tasks_that_were_taken_away_are_cancelled_here(agent: Agent, desk: Desk) -> None:
    news = stuck(agent)
    async with agent.running():
        await desk.assign("stuck")
        await desk.assign("stuck", task="a.2")
        assert [await news.get(), await news.get()] == ["begun", "begun"]
        desk.own = [{"task": "a.2", "attempt": 1, "seq": 0, "state": "working"}]
        desk.peers[-1].cut()
        assert await news.get() == "cancelled: True"
        assert news.empty()
        desk.own = []
        desk.peers[-1].cut()
        assert await news.get() == "cancelled: True"
    assert "fail" not in desk.said


async def test_an_instance_that_the_server_has_forgotten_begins_anew(
    agent: Agent, desk: Desk
) -> None:
    news = stuck(agent)

    async def forget(peer: Peer, message: Message) -> None:
        if "instance" in message["payload"]:
            error = {"code": "not_found", "message": "No.", "retryable": False}
            await peer.send("error", id=message["id"], error=error)
        else:
            await desk.agree(peer, message)

    desk.answers["register"] = forget
    async with agent.running():
        await desk.assign("stuck")
        assert await news.get() == "begun"
        desk.peers[-1].cut()
        await desk.heard("register", 3)
        assert await news.get() == "cancelled: True"
    assert ["instance" in each for each in desk.said["register"]] == [False, True, False]


@pytest.mark.parametrize(
    ("code", "comes_again"),
    [(4001, True), (4003, True), (4002, False), (4501, False), (4503, False)],
)
async def test_close_codes_say_whether_to_come_again(
    agent: Agent, desk: Desk, code: int, *, comes_again: bool
) -> None:
    serving = asyncio.create_task(agent.serve())
    await desk.heard("register")
    await wait_until(lambda: agent._registration.is_active)
    await desk.peers[-1].socket.close(code=code)
    if comes_again:
        await desk.heard("register", 2)
        agent.stop()
        await serving
    else:
        with pytest.raises(ConnectionClosed, match=str(code)):
            await serving


async def test_the_wait_is_drawn_from_a_bound_that_doubles(
    server: Server, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds: list[float] = []

    def draw(_low: float, high: float) -> float:
        bounds.append(high)
        return 0.0

    monkeypatch.setattr("jackfield.client.backoff.random.uniform", draw)
    server.refuse = lambda: web.Response(status=503)
    agent = Agent("a", server.url, backoff=1, max_backoff=6)
    stuck(agent)
    serving = asyncio.create_task(agent.serve())
    await wait_until(lambda: len(bounds) > 4)
    serving.cancel()
    await asyncio.wait({serving})
    assert bounds[:5] == [1, 2, 4, 6, 6]


async def test_a_server_that_says_when_is_obeyed_without_alarm(
    desk: Desk, agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "jackfield.agent")
    payload = {"code": 4001, "reason": "shutdown", "reconnect": True, "after": 3600}
    async with agent.running():
        await desk.peers[-1].send("goodbye", payload=payload)
        await desk.peers[-1].socket.close(code=4001)
        await wait_until(lambda: not agent._registration.is_active)
        assert len(desk.said["register"]) == 1  # and to stop does not wait for it
    (told,) = [each for each in caplog.records if "connects again" in each.getMessage()]
    assert told.levelno == logging.INFO


# Tokens


async def test_a_function_is_asked_for_a_token_before_each_connection(
    server: Server, desk: Desk
) -> None:
    tokens = iter(["one", "two"])

    async def next_token() -> str:
        return next(tokens)

    agent = Agent("a", server.url, next_token, headers={"X-From": "here"}, **HASTY)
    stuck(agent)
    async with agent.running():
        await desk.peers[-1].socket.close(code=4002, message=b"token expired")
        await desk.heard("register", 2)
    sent = [peer.headers["Authorization"] for peer in desk.peers]
    assert sent == ["Bearer one", "Bearer two"]
    assert [peer.headers["X-From"] for peer in desk.peers] == ["here", "here"]


async def test_a_token_may_be_plain(server: Server, desk: Desk) -> None:
    for token in ("t0k3n", lambda: "t0k3n"):
        agent = Agent("a", server.url, token)
        stuck(agent)
        async with agent.running():
            assert desk.peers[-1].headers["Authorization"] == "Bearer t0k3n"


async def test_no_token_ends_it_the_first_time_and_is_waited_for_later(
    server: Server, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    asked = 0

    def fails_once(at: int) -> str:
        nonlocal asked
        asked += 1
        if asked == at:
            raise OSError("the issuer is away")
        return "t0k3n"

    first = Agent("a", server.url, lambda: fails_once(1), **HASTY)
    stuck(first)
    with pytest.raises(ConnectionFailed, match="no token to connect with: OSError"):
        await first.serve()
    later = Agent("a", server.url, lambda: fails_once(3), **HASTY)
    stuck(later)
    async with later.running():
        desk.peers[-1].cut()
        await desk.heard("register", 2)
    assert asked == 4
    assert "the issuer is away" in caplog.text


# Being refused


@pytest.mark.parametrize("code", ["forbidden", "invalid_payload", "unknown_type", "conflict"])
async def test_a_refused_registration_ends_it_with_the_error(
    agent: Agent, desk: Desk, code: str
) -> None:
    desk.refuse("register", code)
    with pytest.raises(RequestError, match=f"{code}: No."):
        await agent.serve()
    with pytest.raises(RequestError, match=f"{code}: No."):
        async with agent.running():
            pytest.fail("it is not registered")
    assert len(desk.said["register"]) == 2


async def test_a_registration_that_is_refused_for_now_is_tried_again(
    agent: Agent, desk: Desk
) -> None:
    desk.refuse("register", "unavailable", retryable=True)
    serving = asyncio.create_task(agent.serve())
    await desk.heard("register", 2)
    del desk.answers["register"]
    await wait_until(lambda: agent._registration.is_active)
    agent.stop()
    await serving
    assert len(desk.said["register"]) >= 3


async def test_a_server_that_refuses_the_connection_ends_it(agent: Agent, server: Server) -> None:
    server.refuse = lambda: web.json_response({"message": "Not you."}, status=403)
    with pytest.raises(ConnectionFailed, match="Not you"):
        await agent.serve()


# Stopping


async def test_to_stop_unregisters_and_lets_tasks_end(agent: Agent, desk: Desk) -> None:
    go_on = asyncio.Event()

    @agent.skill("slow")
    async def slow(task: Task, data: Message) -> Message:
        await go_on.wait()
        return {"done": True}

    serving = asyncio.create_task(agent.serve())
    await desk.heard("register")
    await desk.assign("slow")
    await wait_until(lambda: len(agent._tasks))
    agent.stop()
    await desk.heard("unregister")
    assert not serving.done()
    go_on.set()
    await serving
    assert desk.said["complete"][0]["output"] == {"done": True}


async def test_tasks_that_do_not_end_in_time_are_failed_or_left_to_others(
    server: Server, desk: Desk
) -> None:
    agent = Agent("a", server.url, capacity=4, grace=0.05, **HASTY)
    once, many = stuck(agent, "once"), stuck(agent, "many", idempotent=True)
    async with agent.running():
        await desk.assign("once", task="a.1")
        await desk.assign("many", task="a.2")
        assert [await once.get(), await many.get()] == ["begun", "begun"]
    assert [await once.get(), await many.get()] == ["cancelled: True", "cancelled: True"]
    (failed,) = desk.said["fail"]
    assert (failed["task"], failed["message"]) == ("a.1", "The agent was stopped.")


async def test_a_line_that_is_lost_while_stopping_is_opened_for_what_is_left(
    agent: Agent, desk: Desk
) -> None:
    go_on = asyncio.Event()

    @agent.skill("slow")
    async def slow(task: Task, data: Message) -> None:
        await go_on.wait()

    desk.own = [{"task": "a.1", "attempt": 1, "seq": 0, "state": "working"}]
    serving = asyncio.create_task(agent.serve())
    await desk.heard("register")
    await desk.assign("slow")
    await wait_until(lambda: len(agent._tasks))
    agent.stop()
    await desk.heard("unregister")
    desk.peers[-1].cut()
    await desk.heard("unregister", 2)
    go_on.set()
    await serving
    assert (await desk.heard("complete"))["task"] == "a.1"


async def test_to_be_cancelled_stops_at_once(agent: Agent, desk: Desk) -> None:
    news = stuck(agent)
    serving = asyncio.create_task(agent.serve())
    await desk.heard("register")
    await desk.assign("stuck")
    assert await news.get() == "begun"
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert await news.get() == "cancelled: True"
    assert {"unregister", "fail"}.isdisjoint(desk.said)


_PROGRAM = """
import asyncio, sys
from jackfield.client import Agent

agent = Agent("a", sys.argv[1])

@agent.skill("wait")
async def wait(task, data):
    await asyncio.sleep(float(data["seconds"]))
    return {"done": True}

agent.run()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_tasks_end_and_a_second_does_not(
    server: Server, desk: Desk, number: signal.Signals
) -> None:
    for signals, code in ((1, 0), (2, 128 + number)):
        desk.said.clear()
        desk.own = []
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _PROGRAM, server.url, env=dict(os.environ)
        )
        try:
            await desk.heard("register")
            seconds = 0.3 if signals == 1 else 3600
            await desk.assign("wait", task="a.1", input={"seconds": 0})
            await desk.heard("complete")
            await desk.assign("wait", task="a.2", input={"seconds": seconds})
            await desk.assign("wait", task="a.3", input={"seconds": 0})
            await desk.heard("complete", 2)  # so the one before it has begun
            process.send_signal(number)
            await desk.heard("unregister")
            if signals == 2:
                process.send_signal(number)
            assert await process.wait() == code
            assert len(desk.said["complete"]) == (3 if signals == 1 else 2)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
