"""What an agent's skills are made of: a function, and the schema of what it takes."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from marshmallow import Schema

from jackfield.client.socket import Message
from jackfield.schema.json_schema import json_schema
from jackfield.schema.untrusted import compile_untrusted
from jackfield.schema.validation import bind, resolve_nested
from jackfield.wire.agent_limits import MAX_WORDS
from jackfield.wire.errors import Error

#: What a payload may be described by: marshmallow's schema, or a JSON Schema as it is.
AnySchema = type[Schema] | Schema | Mapping[str, Any]
#: A coroutine function that returns its output, or an async generator function of chunks.
Function = Callable[..., Awaitable[Mapping[str, Any] | None] | AsyncIterator[Mapping[str, Any]]]


class Rejected(Exception):  # noqa: N818 - it names what happened
    """Raised by a skill: this task is not for it. The caller is told why, as with a failure."""


@dataclass(frozen=True, slots=True)
class Form:
    """A schema as both sides need it.

    Attributes:
        schema: The JSON Schema that is sent, None for anything.
        load: Makes of what came what the function gets; raises `Error` ``invalid_payload``.
    """

    schema: dict[str, Any] | None
    load: Callable[[Message], Any]


@dataclass(frozen=True, slots=True)
class AgentSkill:
    """A function that an agent can be called for, and what it is registered with."""

    id: str
    description: str
    form: Form
    idempotent: bool
    function: Function

    def as_dict(self) -> Message:
        """What the server is told."""
        told: Message = {"id": self.id, "idempotent": self.idempotent}
        if self.description:
            told["description"] = self.description
        if self.form.schema is not None:
            told["input"] = self.form.schema
        return told


def read_form(schema: AnySchema | None, what: str) -> Form:
    """Make a form of a schema.

    Args:
        schema: The schema, None for any object.
        what: What it is the schema of, for the words of an error.

    Raises:
        TypeError: It is no schema.
        ValueError: It is one that no server takes.
    """
    if schema is None:
        return Form(None, dict)
    load: Callable[[Message], Any] = dict
    if isinstance(schema, Mapping):
        described = dict(schema)
    else:
        made = schema() if isinstance(schema, type) else schema
        if not isinstance(made, Schema):
            raise TypeError(f"{what} must have a marshmallow Schema, or a JSON Schema as a dict.")
        resolve_nested(made)
        # What a schema has as a default may be no JSON: it is only shown.
        described = msgspec.json.decode(msgspec.json.encode(json_schema(made), enc_hook=str))
        load = bind(made, what)
    try:
        compile_untrusted(described, at="")
    except Error as error:
        (fault,) = error.extra["fields"]
        place = f" at {fault['pointer']}" if fault["pointer"] else ""
        words = f"{what} has a schema that no server takes{place}: {fault['message']}"
        raise ValueError(words) from None
    return Form(described, load)


def describe(function: Function, description: str | None) -> str:
    """What a skill does: as given, else the function's docstring as far as it fits.

    Raises:
        ValueError: It is too long.
    """
    if description is None:
        return inspect.cleandoc(function.__doc__ or "")[:MAX_WORDS]
    if len(description) > MAX_WORDS:
        raise ValueError(f"A description has at most {MAX_WORDS} characters.")
    return description
