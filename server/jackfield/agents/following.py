"""What a caller wants done, and the task that it has become."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jackfield.errors import Error

from .call import Call
from .directory import KnownSkill
from .lines import Line

if TYPE_CHECKING:
    from .local import Agents


@dataclass(frozen=True, slots=True)
class Wanted:
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


class Following:
    """A task, and what follows it here if anything does."""

    __slots__ = ("_agents", "_line", "_timer", "call", "task")

    def __init__(self, agents: "Agents", line: Line, task: str, call: Call | None) -> None:
        self._agents = agents
        self._line = line
        self.task = task
        self.call = call
        self._timer: asyncio.TimerHandle | None = None

    def expire_in(self, seconds: float) -> None:
        """Look after its deadline, which is so many seconds from now."""
        if self.call is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(seconds, self._agents.expire_soon, self)

    def fail(self, error: Error) -> None:
        """Nothing more will come of it, as far as can be told here."""
        if self.call is not None:
            self.call.fail(error)

    def stop(self, error: Error | None = None) -> None:
        """Follow it no more.

        Args:
            error: Why it is to be canceled, if it has not ended; None to leave it running.
        """
        if self.call is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._line.remove(self.call)
        if self.call.ended:
            return
        if error is None:
            self.call.let_go()
        else:
            self._agents.cancel_soon(self._line.agent, self.task, error)
