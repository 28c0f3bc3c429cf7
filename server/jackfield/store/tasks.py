"""Tasks of agents as scripts are given them, and what scripts say of them."""

from typing import NamedTuple

from jackfield.redis.client import Argument

from .arguments import flag, milliseconds


class NewTask(NamedTuple):
    """A call on its way to Redis.

    Attributes:
        id: Of the task.
        skill: The skill that is called.
        digest: Of the skill by which the input was checked.
        brief: The start of the task object in JSON, without its brace.
        input: In JSON.
        timeout: Seconds.
        node: The node that follows it; "" for none.
        caller: The caller's user, in JSON.
        watchers: Who else may see it, in JSON.
        key: The idempotency key among all calls of the agent; "" for none.
        idempotent: Whether another instance may do it again.
        kept: Seconds that it is kept after its end.
        payer: Whose share of the queue it takes; "" for nobody's.
    """

    id: str
    skill: str
    digest: str
    brief: bytes
    input: bytes
    timeout: float
    node: str
    caller: bytes
    watchers: bytes
    key: str
    idempotent: bool
    kept: float
    payer: str = ""

    @property
    def size(self) -> int:
        """Bytes of a call to Redis that it takes, about."""
        return len(self.brief) + len(self.input)

    def arguments(self) -> tuple[Argument, ...]:
        """The row of ``call_agents.lua``."""
        return (
            self.id,
            self.skill,
            self.digest,
            self.brief,
            self.input,
            milliseconds(self.timeout),
            self.node,
            self.caller,
            self.watchers,
            self.key,
            flag(self.idempotent),
            milliseconds(self.kept),
            self.payer,
        )


class TaskUpdate(NamedTuple):
    """What an instance says of a task that goes on.

    Attributes:
        task: The task.
        instance: Who says it.
        attempt: Which attempt it is of.
        seq: The number of the first chunk.
        chunk_count: How many chunks there are.
        chunks: The chunks in JSON, joined by commas.
        state: The new state, "" for the same.
        prompt: What it asks for, in JSON.
        expires: Seconds until nobody needs to answer any more.
    """

    task: str
    instance: str
    attempt: int
    seq: int
    chunk_count: int
    chunks: bytes
    state: str
    prompt: bytes
    expires: float

    @property
    def size(self) -> int:
        """Bytes of a call to Redis that it takes, about."""
        return len(self.chunks)

    def arguments(self) -> tuple[Argument, ...]:
        """The row of ``work_on_tasks.lua``."""
        return (
            "update",
            self.task,
            self.instance,
            self.attempt,
            self.seq,
            self.chunk_count,
            self.chunks,
            self.state,
            self.prompt,
            milliseconds(self.expires),
        )


class TaskEnd(NamedTuple):
    """How an instance ends a task.

    Attributes:
        task: The task.
        instance: Who ends it.
        attempt: Which attempt it is of.
        state: The state that it ends in.
        field: ``output`` or ``error``.
        value: The output, or the error object; in JSON.
    """

    task: str
    instance: str
    attempt: int
    state: str
    field: str
    value: bytes

    @property
    def size(self) -> int:
        """Bytes of a call to Redis that it takes, about."""
        return len(self.value)

    def arguments(self) -> tuple[Argument, ...]:
        """The row of ``work_on_tasks.lua``."""
        return (
            "end",
            self.task,
            self.instance,
            self.attempt,
            self.state,
            self.field,
            self.value,
        )


class TaskRelease(NamedTuple):
    """An instance hands a task on to another, which begins it again.

    Attributes:
        task: The task.
        instance: Who hands it on.
        attempt: Which attempt it is of.
    """

    task: str
    instance: str
    attempt: int

    @property
    def size(self) -> int:
        """Bytes of a call to Redis that it takes, about."""
        return 0

    def arguments(self) -> tuple[Argument, ...]:
        """The row of ``work_on_tasks.lua``."""
        return ("release", self.task, self.instance, self.attempt)


#: What an instance says of a task of its.
TaskReport = TaskUpdate | TaskEnd | TaskRelease


class Outcome(NamedTuple):
    """What a script says of one task: its word, the state, and what else there is."""

    word: str
    rest: tuple[bytes, ...]

    @property
    def state(self) -> str:
        """The task's state, where it is told."""
        return str(self.rest[0], "ascii") if self.rest else ""


class HeldTask(NamedTuple):
    """A task that an instance has; ``answers`` counts how often it was answered."""

    task: str
    attempt: int
    answers: int
    seq: int = 0
    state: str = ""
