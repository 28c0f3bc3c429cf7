"""A task that is assigned to this agent: run its skill's function, and report how it ended."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import aclosing
from typing import Any, Final, cast

import msgspec

from jackfield.client.errors import Rejected, RequestError
from jackfield.client.message import Message, encode
from jackfield.wire.agent_limits import MAX_WORDS
from jackfield.wire.errors import CONTAINED, Error

from .questions import Questions
from .registration import Registration
from .skill import AgentSkill
from .task import Task
from .updates import TaskGone, Updates, task_error

_log = logging.getLogger("jackfield.agent")

#: What a skill's function returns when it is called.
_Result = Awaitable[Mapping[str, Any] | None] | AsyncGenerator[Mapping[str, Any], None]
#: How a task ends: the type and the payload of the message that reports it.
_Outcome = tuple[str, Message]

#: What the caller is told of an exception whose details are for the agent's log alone.
_INTERNAL: Final = "The agent failed to handle this task."
#: Faults of an input that a failure's message names: more would not be read.
_MAX_FAULTS: Final = 5


class Assignment:
    """A task from its assignment to its end.

    Args:
        registration: What sends the requests.
        assigned: The payload of ``agent.assigned``.
        skill: The skill that is called, None if the agent does not have it.

    Attributes:
        task: What the function is given.
        skill: As above.
        job: The asyncio task that runs the function and reports how it ended.
    """

    def __init__(
        self, registration: Registration, assigned: Message, skill: AgentSkill | None
    ) -> None:
        task, attempt = assigned["task"], assigned["attempt"]
        self._updates = Updates(registration, task, attempt, assigned.get("seq", 0))
        self._questions = Questions(self._updates)
        self.task = Task(assigned, self._updates, self._questions)
        self.skill = skill
        self._input: Message = assigned.get("input") or {}
        self._registration = registration
        self._attempt: Message = {"task": task, "attempt": attempt}
        self.job = asyncio.create_task(self._run())

    def cancel(self) -> None:
        """Cancel the function, and send nothing more of the task."""
        self.task.cancelled = True
        self._updates.stop()
        self.job.cancel()

    def answer(self, number: int | None, given: Message) -> None:
        """Pass on the answer to a question, as `Questions.answer`."""
        self._questions.answer(number, given)

    async def fail(self, message: str) -> None:
        """Report that the task has failed, whatever its function does."""
        await self._report(self._failure(message))

    async def _run(self) -> None:
        try:
            outcome = await self._run_to_outcome()
            if not self.task.cancelled:  # else the server has ended it
                await self._report(outcome)
        finally:
            await self._updates.close()

    async def _run_to_outcome(self) -> _Outcome:
        """Run the function, and return how the task ends by that."""
        id_ = self.task.id
        try:
            output = await self._call()
        except asyncio.CancelledError:
            if self.task.cancelled:
                raise
            _log.warning("%s: the skill %s raised CancelledError", id_, self.task.skill)
            return self._failure(_INTERNAL, "internal")
        except TaskGone as gone:
            _log.info("%s: %s", id_, gone)
            self.task.cancelled = True
            return self._failure(str(gone))
        except Rejected as rejection:
            return self._failure(str(rejection) or "Rejected.", rejected=True)
        except Error as error:
            return self._failure(_describe(error), error.code)
        except CONTAINED:
            _log.exception("%s: the skill %s failed", id_, self.task.skill)
            return self._failure(_INTERNAL, "internal")
        return "agent.complete", {**self._attempt, "output": output}

    def _failure(
        self, message: str, code: str | None = None, *, rejected: bool = False
    ) -> _Outcome:
        payload: Message = {**self._attempt, "message": message[:MAX_WORDS]}
        if code is not None:
            payload["code"] = code
        if rejected:
            payload["rejected"] = True
        return "agent.fail", payload

    async def _call(self) -> msgspec.Raw:
        """Call the function, wait until its chunks are sent, and return its output as JSON."""
        task = self.task
        if self.skill is None:
            raise Rejected(f"This agent has no skill {task.skill!r}.")
        try:
            data = self.skill.input.load(self._input)
        except Error as error:
            raise Rejected(_describe(error)) from None
        # `Agent.skill` has checked that the function is of one of the two kinds.
        result = cast(_Result, self.skill.function(task, data))
        if isinstance(result, AsyncGenerator):
            async with aclosing(result) as chunks:
                async for chunk in chunks:
                    await task.update(chunk)
            output = task.output
        else:
            output = await result
        encoded = _encode_output(output)
        limit = self._updates.max_bytes
        if len(encoded) > limit:
            raise Error("too_large", f"The output is past {limit} bytes: send it as chunks.")
        await self._updates.drain()
        return encoded

    async def _report(self, outcome: _Outcome) -> None:
        message_type, payload = outcome
        try:
            await self._registration.request(message_type, payload)
        except RequestError as error:
            level = logging.INFO if isinstance(task_error(error), TaskGone) else logging.ERROR
            _log.log(level, "%s: %s was refused: %s", self.task.id, message_type, error)


def _encode_output(output: Mapping[str, Any] | None) -> msgspec.Raw:
    if output is not None and not isinstance(output, Mapping):
        raise TypeError(f"An output is a mapping or None, and not {type(output).__name__}.")
    return msgspec.Raw(encode(output or {}))


def _describe(error: Error) -> str:
    """Return an error's message and its first faults: a failure has no fields for them."""
    faults = error.extra.get("fields") or ()
    described = [f"{fault['pointer']}: {fault['message']}" for fault in faults[:_MAX_FAULTS]]
    return " ".join([error.message, *described])
