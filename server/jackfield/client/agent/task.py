"""The task that a skill's function is given."""

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal

from jackfield.client.message import Message

from .payload_schema import AnySchema, read_schema
from .questions import Questions
from .updates import Updates

_log = logging.getLogger("jackfield.agent")


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
        return answer_schema.load(await self._questions.ask(state, prompt))


class _TaskLog(logging.LoggerAdapter[logging.Logger]):
    """A logger whose lines begin with the id of the task."""

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        msg, kwargs = super().process(msg, kwargs)
        return f"{self.extra['task'] if self.extra else ''}: {msg}", kwargs
