"""What a caller wants done, and the task that it has become."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jackfield.wire.errors import Error

from .call import Call
from .channels import AgentChannel
from .directory import KnownSkill
from .task import Progress


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What a caller wants done.

    Attributes:
        known: The skill, from the directory.
        input: The input.
        caller: The caller's user; None for nobody.
        timeout: Seconds until it must have ended; None for the default.
        key: The idempotency key among all calls of the agent; "" for none.
        watchers: Users who may see the task beside the caller.
        follow: Whether what becomes of it is wanted here.
    """

    known: KnownSkill
    input: Any
    caller: str | None
    timeout: float | None = None
    key: str = ""
    watchers: Sequence[str] = ()
    follow: bool = True


class FollowedTask:
    """A task, and what follows it here if anything does.

    Args:
        task: The task.
        channel: Where what becomes of it comes from; None if it is not followed.
        call: What follows it; None likewise.
        on_expired: Called when its deadline has passed.
        cancel: Called with the task, and why it is to be canceled.
    """

    __slots__ = ("_call", "_cancel", "_channel", "_on_expired", "_timer", "task")

    def __init__(
        self,
        task: str,
        channel: AgentChannel | None,
        call: Call | None,
        *,
        on_expired: Callable[["FollowedTask"], None],
        cancel: Callable[[str, Error], None],
    ) -> None:
        self._on_expired = on_expired
        self._cancel = cancel
        self._channel = channel
        self._call = call
        self._timer: asyncio.TimerHandle | None = None
        self.task = task

    def progress(self) -> AsyncIterator[Progress]:
        """What becomes of the task, up to its end; only for one that is followed."""
        assert self._call is not None  # noqa: S101 - see above
        return self._call.progress()

    def look_again(self) -> None:
        """Read what has become of it so far."""
        if self._call is not None:
            self._call.look_again()

    def expire_in(self, seconds: float) -> None:
        """Look after its deadline, which is so many seconds from now."""
        if self._call is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(seconds, self._on_expired, self)

    def fail(self, error: Error) -> None:
        """Nothing more will come of it, as far as can be told here."""
        if self._call is not None:
            self._call.fail(error)

    def stop(self, error: Error | None = None) -> None:
        """Follow it no more.

        Args:
            error: Why it is to be canceled, if it has not ended; None to leave it running.
        """
        if self._call is None or self._channel is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._channel.remove(self._call)
        if self._call.ended:
            return
        if error is None:
            self._call.let_go()
        else:
            self._cancel(self.task, error)
