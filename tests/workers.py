"""Raw clients of agents for tests: one that serves, and what is asked of a call."""

from typing import Any

from jackfield.testing import RunningServer
from tests.topics import Member, Message

#: The answers that end a call.
_ENDS = ("reply", "error")


class Worker(Member):
    """A raw agent: it is told what to do by its test.

    Args:
        server: Whom to connect to.
        user: Whose it is.
        **options: As of `Member`.
    """

    def __init__(self, server: RunningServer, user: str = "worker", **options: Any) -> None:
        super().__init__(server, user, "agent", **options)

    async def register(self, name: str = "echo", **options: Any) -> Message:
        """Be an instance of an agent, with a skill `say` unless others are given."""
        options.setdefault("skills", [{"id": "say"}])
        return await self.reply("agent.register", name=name, **options)

    async def order(self, verb: str) -> Message:
        """The payload of the next message from the server, which is such an order."""
        message = await self.next()
        assert message["type"] == f"agent.{verb}", message
        return dict(message["payload"])

    async def assigned(self) -> Message:
        """The next task."""
        return await self.order("assigned")

    async def update(self, task: Message, *chunks: Message, seq: int = 0, **more: Any) -> Message:
        """Stream chunks, or change the state; the payload of the reply."""
        if chunks:
            more |= {"chunks": list(chunks), "seq": seq}
        return await self.reply("agent.update", **of(task), **more)

    async def complete(self, task: Message, **output: Any) -> Message:
        """End a task; the payload of the reply."""
        return await self.reply("agent.complete", **of(task), output=output)


def of(task: Message) -> Message:
    """What names an attempt of a task."""
    return {"task": task["task"], "attempt": task["attempt"]}


class Call:
    """A call under way.

    Args:
        caller: Who makes it.
        message_id: By which message.
        first: The first chunk.
    """

    def __init__(self, caller: Member, message_id: int, first: Message) -> None:
        self.caller = caller
        self.id = message_id
        self.task: str = first["payload"]["task"]
        #: The states that were told, and the agent's chunks.
        self.states: list[str] = [first["state"]]
        self.chunks: list[Message] = []
        self._next = 1

    async def step(self) -> Message:
        """The next answer, noted."""
        answer = await self.caller.answer(self.id)
        if answer["type"] == "chunk":
            assert answer["seq"] == self._next, answer
            self._next += 1
            if "state" in answer:
                self.states.append(answer["state"])
            else:
                self.chunks.append(answer["payload"])
        return answer

    async def until(self, state: str) -> Message:
        """The task as it is told once it is in a state."""
        while True:
            answer = await self.step()
            assert answer["type"] == "chunk", answer
            if answer.get("state") == state:
                return dict(answer["payload"])

    async def end(self) -> Message:
        """The answer that ends it."""
        while True:
            answer = await self.step()
            if answer["type"] in _ENDS:
                return answer

    async def output(self) -> Any:
        """The output of a task that completes."""
        answer = await self.end()
        assert answer["type"] == "reply", answer
        assert answer["payload"]["task"] == self.task
        assert answer["payload"]["state"] == "completed"
        return answer["payload"]["output"]

    async def error(self) -> Message:
        """Why the task comes to nothing."""
        answer = await self.end()
        assert answer["type"] == "error", answer
        assert answer["error"]["task"] == self.task
        return dict(answer["error"])


async def call(caller: Member, agent: str | None = "echo", **options: Any) -> Call:
    """Call an agent; what comes first is the task."""
    named = {} if agent is None else {"agent": agent}
    message_id = await caller.post("agent.call", **named, **options)
    first = await caller.answer(message_id)
    assert first["type"] == "chunk", first
    assert (first["seq"], first["state"]) == (0, "submitted")
    return Call(caller, message_id, first)


async def story(reader: Member, task: str) -> list[Message]:
    """All that a task's topic has, as payloads, in their order."""
    reply = await reader.reply("topic.history", topic=f"task:{task}", after=0)
    assert [event["offset"] for event in reply["events"]] == [*range(1, len(reply["events"]) + 1)]
    return [event["payload"] for event in reply["events"]]
