"""An instance of an agent at this node: its connection, and the tasks it has."""

import asyncio
from collections.abc import Callable
from typing import Final

from jackfield.connection.connection import Connection
from jackfield.connection.slot import Slot
from jackfield.store.tasks import HeldTask
from jackfield.wire.errors import Error
from jackfield.wire.tasks import agent_canceled

#: The scope that an identity must have to be an agent.
SCOPE: Final = "agent"


class AssignedTask:
    """A task that an instance has.

    Args:
        attempt: Which attempt.
        told: Whether the instance was told on this connection that it has it.
    """

    __slots__ = ("answers", "attempt", "go", "signs", "told")

    def __init__(self, attempt: int, *, told: bool = True) -> None:
        self.attempt = attempt
        self.told = told
        #: The number of the last answer that the instance was told.
        self.answers = 0
        #: How often it was said to wait or to go on.
        self.signs = 0
        #: Set while the caller keeps up.
        self.go = asyncio.Event()
        self.go.set()


class ConnectedInstance:
    """An instance of an agent, for as long as its connection is here.

    What it is told before the reply to its registration is kept until `activate`.

    Args:
        instance_id: Its id.
        agent: The agent.
        connection: Its connection.
        on_active: Called once it has been told that it is registered.
    """

    __slots__ = ("_kept", "_on_active", "agent", "connection", "id", "tasks")

    def __init__(
        self,
        instance_id: str,
        agent: str,
        connection: Connection,
        on_active: Callable[["ConnectedInstance"], None],
    ) -> None:
        self._on_active = on_active
        self.id = instance_id
        self.agent = agent
        self.connection = connection
        self.tasks: dict[str, AssignedTask] = {}
        self._kept: list[bytes] | None = []

    def activate(self) -> None:
        """It has been told that it is registered."""
        kept, self._kept = self._kept or [], None
        for message in kept:
            self._send(message)
        self._on_active(self)

    def abandon(self) -> None:
        """It was not told so: its request has failed, or its connection has ended."""

    def obey(self, task: str, attempt: int, verb: str, message: bytes, number: int = 0) -> None:
        """Do what came for it over the channel; what it was told already is dropped."""
        held = self.tasks.get(task)
        if verb == "assigned":
            if held is None or held.attempt < attempt or not held.told:
                self.tasks[task] = AssignedTask(attempt)
                self._send(message)
        elif held is None or held.attempt != attempt:
            return
        elif verb == "canceled":
            self.drop(task)
            self._send(message)
        elif verb == "answered":
            if number > held.answers:
                held.answers = number
                self._send(message)
        elif verb == "hold":
            held.signs += 1
            held.go.clear()
        elif verb == "go":
            held.signs += 1
            held.go.set()

    def go_on_from(self, former: "ConnectedInstance") -> None:
        """Its connection was this instance before, and knows the tasks that it had."""
        self.tasks = former.tasks | self.tasks

    def expect(self, held: HeldTask) -> None:
        """It has a task that it was not told of on this connection; until then it may end it."""
        self.tasks.setdefault(held.task, AssignedTask(held.attempt, told=False))

    def has_missed(self, held: HeldTask) -> bool:
        """Whether it was not told something of a task."""
        mine = self.tasks.get(held.task)
        return (
            mine is None
            or not mine.told
            or mine.attempt != held.attempt
            or mine.answers < held.answers
        )

    def cancel(self, task: str) -> None:
        """It has lost a task without a word: tell it so."""
        held = self.tasks.get(task)
        if held is not None:
            self.obey(task, held.attempt, "canceled", _canceled(task, held.attempt))

    def drop(self, task: str) -> None:
        """It has a task no longer; whoever waits in its name goes on."""
        held = self.tasks.pop(task, None)
        if held is not None:
            held.go.set()

    def _send(self, message: bytes) -> None:
        if self._kept is not None:
            self._kept.append(message)
        else:
            self.connection.send(self.connection.codec.from_json(message))


class AgentRegistration:
    """Which instance of which agent a connection is, if it is one."""

    __slots__ = ("instance",)

    def __init__(self) -> None:
        self.instance: ConnectedInstance | None = None


REGISTRATION: Final = Slot("agent", AgentRegistration)


def _canceled(task: str, attempt: int) -> bytes:
    """What an instance is told which has a task no longer, and does not know why."""
    error = Error("agent_gone", "The task is no longer this instance's.", task=task)
    return agent_canceled(task, attempt, error)
