"""The schema of an input or an answer: as JSON Schema for the server, and to load with here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from marshmallow import Schema

from jackfield.client.message import Message
from jackfield.schema.json_schema import json_schema
from jackfield.schema.untrusted import compile_untrusted
from jackfield.schema.validation import bind, resolve_nested
from jackfield.wire.errors import Error

#: What a payload may be described by: a marshmallow schema, or a JSON Schema.
AnySchema = type[Schema] | Schema | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PayloadSchema:
    """A schema in the two forms that an agent needs.

    Attributes:
        json_schema: The JSON Schema that the server is sent, None for any object.
        load: Turns a payload into what the function is given; raises `Error` ``invalid_payload``.
    """

    json_schema: dict[str, Any] | None
    load: Callable[[Message], Any]


def read_schema(schema: AnySchema | None, what: str) -> PayloadSchema:
    """Check a schema and return it in both forms.

    Args:
        schema: The schema, None for any object.
        what: What it is the schema of, as an error message names it.

    Raises:
        TypeError: It is not a schema.
        ValueError: It is a schema that no server accepts.
    """
    if schema is None:
        return PayloadSchema(None, dict)
    load: Callable[[Message], Any] = dict
    if isinstance(schema, Mapping):
        described = dict(schema)
    else:
        instance = schema() if isinstance(schema, type) else schema
        if not isinstance(instance, Schema):
            raise TypeError(f"{what} must have a marshmallow Schema, or a JSON Schema as a dict.")
        resolve_nested(instance)
        # A default may not be a JSON value; it is only shown, so its text will do.
        described = msgspec.json.decode(msgspec.json.encode(json_schema(instance), enc_hook=str))
        load = bind(instance, what)
    try:
        compile_untrusted(described, at="")
    except Error as error:
        (fault,) = error.extra["fields"]
        place = f" at {fault['pointer']}" if fault["pointer"] else ""
        message = f"{what} has a schema that no server takes{place}: {fault['message']}"
        raise ValueError(message) from None
    return PayloadSchema(described, load)
