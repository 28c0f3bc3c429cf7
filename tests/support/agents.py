"""Agents and their callers for tests: raw clients, which say what the protocol says and no more."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from jackfield import Plugin
from jackfield.testing import RunningServer
from tests.support.topics import Member, Message, serve_topics

#: A skill that takes any input.
SAY: Message = {"id": "say"}
#: Its twin, which another instance may do again.
AGAIN: Message = {"id": "say", "idempotent": True}
#: One that checks its input.
COUNT: Message = {
    "id": "count",
    "description": "Count up to a number.",
    "input": {
        "type": "object",
        "properties": {"to": {"type": "integer", "minimum": 1}},
        "required": ["to"],
        "additionalProperties": False,
    },
}


class Bot(Member):
    """A raw agent.

    Args:
        server: Whom to connect to.
        user: Who it is.
        **options: As of `Wire`.
    """

    def __init__(self, server: RunningServer, user: str | None = "bot", **options: Any) -> None:
        super().__init__(server, user, "agent", **options)

    async def register(self, name: str = "echo", *skills: Message, **more: Any) -> Message:
        """Be an instance of an agent, by default with the skill ``say``."""
        return await self.reply("agent.register", name=name, skills=skills or (SAY,), **more)

    async def told(self, verb: str = "assigned") -> Message:
        """What it is told next, which is of this kind; by default a task that it is to do."""
        message = await self.next()
        assert message["type"] == f"agent.{verb}", message
        assert "id" not in message
        return dict(message["payload"])

    async def update(self, job: Message, *chunks: Message, **more: Any) -> Message:
        """Stream chunks of a task, or say what state it is in; the answer."""
        if chunks:
            more["chunks"] = chunks
        return await self.request("agent.update", **attempt_of(job), **more)

    async def complete(self, job: Message, **output: Any) -> Message:
        """End a task with its output; the answer."""
        return await self.request("agent.complete", **attempt_of(job), output=output)

    async def fail(self, job: Message, message: str, **more: Any) -> Message:
        """End a task without; the answer."""
        return await self.request("agent.fail", **attempt_of(job), message=message, **more)

    async def ask_for(self, job: Message, **prompt: Any) -> Message:
        """Ask the caller of a task for something; the answer."""
        return await self.update(job, state="input_required", prompt=prompt)


class Caller(Member):
    """A raw client that calls agents."""

    async def call(self, agent: str | None = "echo", **payload: Any) -> "Called":
        """Call an agent."""
        if agent is not None:
            payload["agent"] = agent
        return Called(self, await self.post("agent.call", **payload))

    async def begin(self, agent: str | None = "echo", **payload: Any) -> "Called":
        """Call an agent, and take the news that it was."""
        called = await self.call(agent, **payload)
        await called.news("submitted")
        return called

    async def task(self, task: str) -> Message:
        """Read a task."""
        return await self.reply("agent.task", task=task)

    async def sees_state(self, task: str, state: str) -> bool:
        """Whether a task is in a state."""
        return bool((await self.task(task))["state"] == state)


class Called:
    """A call that is under way.

    Args:
        caller: Who calls.
        message_id: What the call goes by on the wire.
    """

    def __init__(self, caller: Caller, message_id: int) -> None:
        self._caller = caller
        self._frames = 0
        self.id = message_id
        #: The task, once there was news of it.
        self.task = ""

    async def frame(self) -> Message:
        """The next message of the call; others are kept for their turn."""
        inbox = self._caller.inbox
        place = next((n for n, each in enumerate(inbox) if each.get("id") == self.id), None)
        message = await self._caller.answer(self.id) if place is None else inbox.pop(place)
        if message["type"] == "chunk":
            assert message["seq"] == self._frames, message
            self._frames += 1
        return message

    async def news(self, state: str) -> Message:
        """The next message, which tells this state; the task that it tells."""
        message = await self.frame()
        assert message.get("state") == state, message
        told: Message = message["payload"]
        assert told["state"] == state
        assert "input" not in told
        self.task = told["task"]
        return told

    async def chunk(self) -> Message:
        """The next message, which is a chunk from the agent; its payload."""
        message = await self.frame()
        assert message.keys() == {"type", "id", "seq", "payload"}, message
        return dict(message["payload"])

    async def output(self) -> Message:
        """The output, which comes next."""
        message = await self.frame()
        assert message["type"] == "reply", message
        assert message["payload"].keys() == {"task", "state", "output"}
        assert message["payload"]["state"] == "completed"
        return dict(message["payload"]["output"])

    async def error(self) -> Message:
        """The error that the call ends with, whatever comes before it."""
        while (message := await self.frame())["type"] == "chunk":
            pass
        assert message["type"] == "error", message
        return dict(message["error"])


def attempt_of(job: Message) -> Message:
    """What a report of a task names it by."""
    return {"task": job["task"], "attempt": job["attempt"]}


def event_kinds(events: list[Message]) -> list[str]:
    """What the events of a task's topic are, each in a word: its kind, or its state."""
    payloads = [event["payload"] for event in events]
    return [each.get("state", each["kind"]) for each in payloads]


def refused(answer: Message) -> str:
    """The code of the error that an answer is."""
    assert answer["type"] == "error", answer
    return str(answer["error"]["code"])


@asynccontextmanager
async def agent_nodes(
    config: Mapping[str, Any], count: int = 1, *plugins: Plugin, **settings: Any
) -> AsyncIterator[list[RunningServer]]:
    """Several servers on one Redis.

    Args:
        config: Of each.
        count: How many.
        *plugins: Of each, beside the topics of tests.
        **settings: What the section ``[agents]`` says.
    """
    config = {**config, "agents": settings}
    async with AsyncExitStack() as stack:
        begin = stack.enter_async_context
        yield [await begin(serve_topics(*plugins, config=config)) for _ in range(count)]


async def sweep(server: RunningServer, agent: str = "echo") -> None:
    """Do what is due for an agent, as every node does it each second."""
    await server.node.agents.store.sweep([agent])


async def beat(server: RunningServer, agent: str = "echo") -> None:
    """Renew leases and look for what was missed, as every node does it three times a lease."""
    agents = server.node.agents
    await agents._upkeep.renew(agents.channels.by_agent[agent])
