"""The server's side of agents as a test scripts it, and skills to call."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from jackfield.client import Agent, Task
from tests.support.peer import Peer
from tests.support.waiting import wait_until

#: Options of an agent that waits next to nothing before each connection.
FAST_RETRY: dict[str, Any] = {"backoff": 0.01, "max_backoff": 0.01}

Message = dict[str, Any]


class AgentRegistry:
    """The server's side of agents: it registers them, and records what they send.

    Attributes:
        received: The payloads of the messages received, by type.
        instance: What an agent is registered as.
        tasks: The tasks that the reply to a registration lists.
        answers: What is done with a message instead of accepting it, by type.
        peers: The connections over which agents are registered, the last one last.
    """

    def __init__(self) -> None:
        self.received: dict[str, list[Message]] = defaultdict(list)
        self.instance = "i1"
        self.tasks: list[Message] = []
        self.answers: dict[str, Callable[[Peer, Message], Any]] = {}
        self.peers: list[Peer] = []

    async def answer(self, peer: Peer, message: Message) -> None:
        kind = message["type"].removeprefix("agent.")
        self.received[kind].append(message["payload"])
        if kind in self.answers:
            await self.answers[kind](peer, message)
        else:
            await self.accept(peer, message)

    async def accept(self, peer: Peer, message: Message) -> None:
        reply: Message = {}
        if message["type"] == "agent.register":
            self.peers.append(peer)
            reply = {"instance": self.instance, "lease": 30, "tasks": self.tasks}
        if "id" in message:
            await peer.send("reply", id=message["id"], payload=reply)

    def refuse(self, kind: str, code: str, **extra: Any) -> None:
        """Answer with an error from now on."""
        error = {"code": code, "message": "No.", "retryable": False, **extra}

        async def answer(peer: Peer, message: Message) -> None:
            await peer.send("error", id=message["id"], error=error)

        self.answers[kind] = answer

    def hold(self, kind: str) -> list[Message]:
        """Answer no more messages of a type; return the list that collects them."""
        held: list[Message] = []

        async def answer(_peer: Peer, message: Message) -> None:
            held.append(message)

        self.answers[kind] = answer
        return held

    async def release(self, kind: str, held: list[Message]) -> None:
        """Answer messages of a type again, and those that were held."""
        del self.answers[kind]
        for message in held:
            await self.accept(self.peers[-1], message)

    async def send(self, type_: str, **payload: Any) -> None:
        await self.peers[-1].send(f"agent.{type_}", payload=payload)

    async def assign(self, skill: str = "echo", **payload: Any) -> None:
        known = {"task": "a.1", "agent": "a", "input": {}, "caller": "alice"}
        more = {"deadline": 2e9, "attempt": 1, "seq": 0}
        await self.send("assigned", **{**known, **more, "skill": skill, **payload})

    async def wait_for(self, kind: str, count: int = 1) -> Message:
        """Wait until so many messages of a type were received; return the payload of the last."""
        await wait_until(lambda: len(self.received[kind]) >= count)
        return self.received[kind][count - 1]

    @property
    def chunks(self) -> list[Message]:
        """All chunks received, which must be in order and complete."""
        all_: list[Message] = []
        for update in self.received["update"]:
            if "chunks" in update:
                assert update["seq"] == len(all_)
                all_ += update["chunks"]
        return all_


def stuck(agent: Agent, name: str = "stuck", **options: Any) -> asyncio.Queue[str]:
    """Add a skill that never ends by itself; its queue tells when it begins and is cancelled."""
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
