"""`ConnectedInstance`: an instance of an agent at this node, its connection and its tasks."""

import asyncio
from collections.abc import Callable
from typing import Final

from jackfield.connection.connection import Connection
from jackfield.connection.slot import Slot
from jackfield.store.tasks import HeldTask
from jackfield.wire.errors import Error
from jackfield.wire.tasks import agent_canceled, agent_unregistered

from .ownership import not_owner


class AssignedTask:
    """A task that an instance has.

    Args:
        attempt: Which attempt.
        is_delivered: Whether the instance was sent the task on this connection.
    """

    __slots__ = ("answers", "attempt", "is_delivered", "resumed", "signals")

    def __init__(self, attempt: int, *, is_delivered: bool = True) -> None:
        self.attempt = attempt
        self.is_delivered = is_delivered
        #: The number of the last answer that the instance was sent.
        self.answers = 0
        #: How often the caller's node said to pause or to resume.
        self.signals = 0
        #: Set while the caller keeps up.
        self.resumed = asyncio.Event()
        self.resumed.set()


class ConnectedInstance:
    """An instance of an agent, for as long as its connection is here.

    Messages for it are kept until it has been told that it is registered: until `activate`.

    Args:
        instance_id: Its id.
        agent: The agent.
        connection: Its connection.
        on_active: Called by `activate`.
        needs: The scopes by which it was registered.
    """

    __slots__ = (
        "_has_lost_agent",
        "_on_active",
        "_pending",
        "agent",
        "connection",
        "id",
        "needs",
        "tasks",
    )

    def __init__(
        self,
        instance_id: str,
        agent: str,
        connection: Connection,
        on_active: Callable[["ConnectedInstance"], None],
        needs: frozenset[str] = frozenset(),
    ) -> None:
        self._on_active = on_active
        self.id = instance_id
        self.agent = agent
        self.connection = connection
        self.tasks: dict[str, AssignedTask] = {}
        self._pending: list[bytes] | None = []
        self.needs = needs
        self._has_lost_agent = False

    def activate(self) -> None:
        """Send what was kept, behind the reply to its registration."""
        pending, self._pending = self._pending or [], None
        for message in pending:
            self._send(message)
        self._on_active(self)

    def abandon(self) -> None:
        """Keep on keeping: the registration had no reply, as it failed or its connection ended."""

    def obey(self, task: str, attempt: int, verb: str, message: bytes, number: int = 0) -> None:
        """Carry out an order of the channel; one that was carried out already is dropped.

        Args:
            task: The task it is about.
            attempt: The attempt it is about.
            verb: ``assigned``, ``canceled``, ``answered``, ``hold`` or ``go``.
            message: What the instance is sent, in JSON.
            number: The number of the answer.
        """
        mine = self.tasks.get(task)
        if verb == "assigned":
            if mine is None or mine.attempt < attempt or not mine.is_delivered:
                self.tasks[task] = AssignedTask(attempt)
                self._send(message)
        elif mine is None or mine.attempt != attempt:
            return
        elif verb == "canceled":
            self.drop(task)
            self._send(message)
        elif verb == "answered":
            if number > mine.answers:
                mine.answers = number
                self._send(message)
        elif verb == "hold":
            mine.signals += 1
            mine.resumed.clear()
        elif verb == "go":
            mine.signals += 1
            mine.resumed.set()

    def lose_agent(self) -> None:
        """Tell it, once, that its agent is another owner's: it may end the tasks that it has."""
        if not self._has_lost_agent:
            self._has_lost_agent = True
            self._send(agent_unregistered(self.agent, not_owner(self.agent)))

    def take_tasks_of(self, former: "ConnectedInstance") -> None:
        """Take over what its connection knows, which was this instance before."""
        self.tasks = former.tasks | self.tasks

    def expect(self, held: HeldTask) -> None:
        """Note a task that it has, but was not sent on this connection; it may end it."""
        self.tasks.setdefault(held.task, AssignedTask(held.attempt, is_delivered=False))

    def has_missed(self, held: HeldTask) -> bool:
        """Tell whether it was not sent something about a task."""
        mine = self.tasks.get(held.task)
        return (
            mine is None
            or not mine.is_delivered
            or mine.attempt != held.attempt
            or mine.answers < held.answers
        )

    def cancel(self, task: str) -> None:
        """Send it the cancellation of a task that it has lost without an order."""
        mine = self.tasks.get(task)
        if mine is not None:
            self.obey(task, mine.attempt, "canceled", _canceled(task, mine.attempt))

    def drop(self, task: str) -> None:
        """Forget a task that it has no longer; a report of it that waits goes on."""
        mine = self.tasks.pop(task, None)
        if mine is not None:
            mine.resumed.set()

    def _send(self, message: bytes) -> None:
        if self._pending is not None:
            self._pending.append(message)
        else:
            self.connection.send(self.connection.codec.from_json(message))


class AgentRegistration:
    """Which instance of which agent a connection is, if it is one."""

    __slots__ = ("instance",)

    def __init__(self) -> None:
        self.instance: ConnectedInstance | None = None


REGISTRATION: Final = Slot("agent", AgentRegistration)


def _canceled(task: str, attempt: int) -> bytes:
    """Return the message that a task is canceled, for a reason that is unknown here."""
    error = Error("agent_gone", "The task is no longer this instance's.", task=task)
    return agent_canceled(task, attempt, error)
