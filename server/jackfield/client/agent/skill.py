"""A skill of an agent: its function, and what it is registered with."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jackfield.client.message import Message
from jackfield.wire.agent_limits import MAX_WORDS

from .payload_schema import PayloadSchema

#: A coroutine function that returns its output, or an async generator function of chunks.
SkillFunction = Callable[
    ..., Awaitable[Mapping[str, Any] | None] | AsyncIterator[Mapping[str, Any]]
]


@dataclass(frozen=True, slots=True)
class AgentSkill:
    """A function that an agent can be called for, and what it is registered with."""

    id: str
    description: str
    input: PayloadSchema
    idempotent: bool
    function: SkillFunction

    def as_dict(self) -> Message:
        """Return the skill as ``agent.register`` describes it."""
        described: Message = {"id": self.id, "idempotent": self.idempotent}
        if self.description:
            described["description"] = self.description
        if self.input.json_schema is not None:
            described["input"] = self.input.json_schema
        return described


def describe(function: SkillFunction, description: str | None) -> str:
    """Return a skill's description: as given, else the start of the function's docstring.

    Raises:
        ValueError: The given one is too long.
    """
    if description is None:
        return inspect.cleandoc(function.__doc__ or "")[:MAX_WORDS]
    if len(description) > MAX_WORDS:
        raise ValueError(f"A description has at most {MAX_WORDS} characters.")
    return description
