"""`Call`: a call made from this node: its task, its deadline, and its cancel when it is left."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jackfield.wire.errors import Error

from .channels import AgentChannel
from .directory import KnownSkill
from .task import Progress
from .task_events import TaskEvents


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What a caller asks for.

    Attributes:
        skill: The skill, from the directory.
        input: The input.
        caller: The caller's user; None if anonymous.
        timeout: Seconds until the task must have ended; None for the default.
        key: The idempotency key among all calls of the agent; "" for none.
        watchers: Users who may see the task beside the caller.
        follow: Whether the caller wants to know here what becomes of it.
    """

    skill: KnownSkill
    input: Any
    caller: str | None
    timeout: float | None = None
    key: str = ""
    watchers: Sequence[str] = ()
    follow: bool = True


class Call:
    """A call that was made, or is being made, and the task it has become.

    Args:
        task: The task's id.
        channel: The agent's channel, by which events come; None if the call is not followed.
        events: The task's events; None likewise.
        on_expired: Called when its deadline has passed.
        cancel: Called with the task's id, and why it is to be canceled.
    """

    __slots__ = ("_cancel", "_channel", "_events", "_on_expired", "_timer", "task")

    def __init__(
        self,
        task: str,
        channel: AgentChannel | None,
        events: TaskEvents | None,
        *,
        on_expired: Callable[["Call"], None],
        cancel: Callable[[str, Error], None],
    ) -> None:
        self._on_expired = on_expired
        self._cancel = cancel
        self._channel = channel
        self._events = events
        self._timer: asyncio.TimerHandle | None = None
        self.task = task

    def progress(self) -> AsyncIterator[Progress]:
        """Iterate over the task's events up to its end; the call must be followed."""
        assert self._events is not None  # noqa: S101 - see above
        return self._events.progress()

    def catch_up(self) -> None:
        """Read the events that there are already."""
        if self._events is not None:
            self._events.catch_up()

    def expire_in(self, seconds: float) -> None:
        """Set a timer for its deadline, if it is followed."""
        if self._events is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(seconds, self._on_expired, self)

    def fail(self, error: Error) -> None:
        """End its progress with an error: what becomes of the task can't be told here."""
        if self._events is not None:
            self._events.fail(error)

    def stop(self, error: Error | None = None) -> None:
        """Stop following the task.

        Args:
            error: Why the task is to be canceled, if it has not ended; None to leave it running.
        """
        if self._events is None or self._channel is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._channel.unfollow(self._events)
        if self._events.ended:
            return
        if error is None:
            self._events.resume_agent()
        else:
            self._cancel(self.task, error)
