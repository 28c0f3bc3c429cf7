"""The task that a skill's function is given."""

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal

from jackfield.client.message import Message

from jackfield.client.errors import RequestError
from jackfield.client.socket import Message, encode
from jackfield.wire.agent_limits import MAX_WORDS
from jackfield.wire.errors import CONTAINED, Error

from .line import Line
from .outbox import Outbox, Question, TaskGone, refusal
from .skill import AgentSkill, AnySchema, Rejected, read_form

_log = logging.getLogger("jackfield.agent")

_Called = Awaitable[Mapping[str, Any] | None] | AsyncGenerator[Mapping[str, Any], None]
#: How a task ends: the type of the message that says so, and its payload.
_End = tuple[str, Message]

#: What a caller is told of an exception that is none of its business.
_INTERNAL: Final = "The agent failed to handle this task."
#: Faults of an input that the caller is told in the words of the failure.
_MAX_FAULTS: Final = 5


class Task:
    """One call of a skill, as its function is given it.

    Attributes:
        id: Its id, which the caller knows too; its chunks are the topic ``task:<id>``.
        skill: The skill that was called.
        caller: The user who called, None for an anonymous one.
        deadline: When the server ends it, in seconds since 1970 by the server's clock.
        attempt: 1, and one more each time that it was handed to another instance.
        cancelled: Whether it was cancelled, or has run out of time. The function is cancelled by
            asyncio as well.
        output: What a generator completes the task with; a coroutine function returns it.
        log: A logger whose lines begin with the id of the task.
    """

    def __init__(self, assigned: Message, updates: Updates, questions: Questions) -> None:
        self.id: str = assigned["task"]
        self.skill: str = assigned["skill"]
        self.caller: str | None = assigned.get("caller")
        self.deadline: float = assigned["deadline"]
        self.attempt: int = assigned["attempt"]
        self.cancelled = False
        self.output: Mapping[str, Any] | None = None
        self.log: logging.LoggerAdapter[logging.Logger] = _TaskLog(
            _log, {"task": self.id, "skill": self.skill, "attempt": self.attempt}
        )
        self._updates = updates
        self._questions = questions

    async def update(self, chunk: Mapping[str, Any]) -> None:
        """Send the caller a chunk, as a generator does by yielding it.

        Wait while the caller does not keep up.

        Args:
            chunk: Its payload, anything that msgspec writes as JSON.

        Raises:
            TypeError: It is not a mapping, or cannot be written as JSON.
            ValueError: It is too large.
        """
        await self._updates.add_chunk(chunk)

    async def ask(
        self,
        message: str,
        schema: AnySchema | None = None,
        *,
        expires: float | None = None,
        state: Literal["input_required", "auth_required"] = "input_required",
    ) -> Any:
        """Ask a person a question, after those asked before it, and wait for the answer.

        Args:
            message: The question.
            schema: The schema of the answer, a marshmallow schema or a JSON Schema; None for any
                object.
            expires: Seconds until the server ends the task if there is no answer.
            state: The state of the task while it waits.

        Returns:
            The answer as the marshmallow schema loads it, else as it is.

        Raises:
            Error: ``invalid_payload``: the marshmallow schema does not load the answer.
        """
        answer_schema = read_schema(schema, "The question")
        prompt: Message = {"message": message}
        if answer_schema.json_schema is not None:
            prompt["schema"] = answer_schema.json_schema
        if expires is not None:
            prompt["expires"] = expires
        return form.load(await self._question.ask(state, prompt))


class Assignment:
    """A task from the moment it comes to its end.

    Args:
        line: The way to the server.
        assigned: The payload of ``agent.assigned``.
        skill: What is asked for, None if the agent has no such skill.
    """

    def __init__(self, line: Line, assigned: Message, skill: AgentSkill | None) -> None:
        self._outbox = Outbox(line, assigned["task"], assigned["attempt"], assigned.get("seq", 0))
        self._question = Question(self._outbox)
        self.task = Task(assigned, self._outbox, self._question)
        self.skill = skill
        self._input: Message = assigned.get("input") or {}
        self._line = line
        self._named: Message = {"task": self.task.id, "attempt": self.task.attempt}
        self.job = asyncio.create_task(self._run())

    def cancel(self) -> None:
        """Stop the function; nothing of the task counts any more."""
        self.task.cancelled = True
        self._outbox.shut()
        self.job.cancel()

    def answer(self, number: int | None, given: Message) -> None:
        """Take what a person has answered."""
        self._question.answer(number, given)

    async def fail(self, message: str) -> None:
        """End the task from outside of the function."""
        await self._tell(self._failure(message))

    async def _run(self) -> None:
        try:
            end = await self._end()
            if not self.task.cancelled:  # else it has one
                await self._tell(end)
        finally:
            await self._outbox.close()

    async def _end(self) -> _End:
        """Run the function, and say how the task ends by that."""
        id_ = self.task.id
        try:
            output = await self._work()
        except asyncio.CancelledError:
            if self.task.cancelled:
                raise
            _log.warning("%s: cancelled from within", id_)
            return self._failure(_INTERNAL, "internal")
        except TaskGone as gone:
            _log.info("%s: %s", id_, gone)
            self.task.cancelled = True
            return self._failure(str(gone))
        except Rejected as why:
            return self._failure(str(why) or "Rejected.", rejected=True)
        except Error as error:
            return self._failure(_words(error), error.code)
        except CONTAINED:
            _log.exception("%s: the skill %s failed", id_, self.task.skill)
            return self._failure(_INTERNAL, "internal")
        return "agent.complete", {**self._named, "output": output}

    def _failure(self, message: str, code: str | None = None, *, rejected: bool = False) -> _End:
        told: Message = {**self._named, "message": message[:MAX_WORDS]}
        if code is not None:
            told["code"] = code
        if rejected:
            told["rejected"] = True
        return "agent.fail", told

    async def _work(self) -> msgspec.Raw:
        """Run the function to its end, and have all its chunks sent; returns the output."""
        task = self.task
        if self.skill is None:
            raise Rejected(f"This agent has no skill {task.skill!r}.")
        try:
            data = self.skill.form.load(self._input)
        except Error as error:
            raise Rejected(_words(error)) from None
        # Which of the two it is, was looked at when it was declared.
        result = cast(_Called, self.skill.function(task, data))
        if isinstance(result, AsyncGenerator):
            async with aclosing(result) as chunks:
                async for chunk in chunks:
                    await task.update(chunk)
            output = task.output
        else:
            output = await result
        encoded = _encode_output(output)
        limit = self._outbox.max_bytes
        if len(encoded) > limit:
            raise Error("too_large", f"The output is past {limit} bytes: send it as chunks.")
        await self._outbox.drain()
        return encoded

    async def _tell(self, end: _End) -> None:
        try:
            await self._line.request(*end)
        except RequestError as error:
            level = logging.INFO if isinstance(refusal(error), TaskGone) else logging.ERROR
            _log.log(level, "%s: %s was refused: %s", self.task.id, end[0], error)


def _encode_output(output: Mapping[str, Any] | None) -> msgspec.Raw:
    if output is not None and not isinstance(output, Mapping):
        raise TypeError(f"An output is a mapping or None, and not {type(output).__name__}.")
    return msgspec.Raw(encode(output or {}))


def _words(error: Error) -> str:
    """What is wrong, with its places: that is all that a failure can tell."""
    faults = error.extra.get("fields") or ()
    told = [f"{fault['pointer']}: {fault['message']}" for fault in faults[:_MAX_FAULTS]]
    return " ".join([error.message, *told])


class _TaskLog(logging.LoggerAdapter[logging.Logger]):
    """A logger whose lines begin with the id of the task."""

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        msg, kwargs = super().process(msg, kwargs)
        return f"{self.extra['task'] if self.extra else ''}: {msg}", kwargs
