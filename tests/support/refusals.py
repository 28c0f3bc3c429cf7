"""What a bound schema refuses: place, code and text of each fault, held against marshmallow's."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from marshmallow import Schema, ValidationError, fields, validate

from jackfield import Error
from jackfield.schema.validation import bind

Fault = tuple[str, str]
Make = Callable[[], Schema]


def schema_of(**declared: fields.Field[Any]) -> type[Schema]:
    return Schema.from_dict(declared)


def texts(messages: Any) -> Iterator[str]:
    """Every text in marshmallow's messages."""
    if isinstance(messages, dict):
        messages = list(messages.values())
    if isinstance(messages, list):
        for below in messages:
            yield from texts(below)
    else:
        yield str(messages)


def refusal(make: Make, payload: Any) -> Error:
    with pytest.raises(Error) as caught:
        bind(make(), "chat.send")(payload)
    return caught.value


def faults(make: Make, payload: Any) -> list[Fault]:
    """Place and code of each fault, in order of place; the texts are those of a plain schema."""
    error = refusal(make, payload).as_dict()
    told = error.pop("fields")
    assert error == {
        "code": "invalid_payload",
        "message": "The payload of chat.send is not valid.",
        "retryable": False,
    }
    with pytest.raises(ValidationError) as plain:
        make().load(payload)
    assert sorted(fault["message"] for fault in told) == sorted(texts(plain.value.messages))
    assert all(type(fault["message"]) is str for fault in told)
    return sorted((fault["pointer"], fault["code"]) for fault in told)


class Author(Schema):
    name = fields.String(required=True, validate=validate.Length(2))
    age = fields.Integer()


class Tree(Schema):
    value = fields.Integer(required=True)
    next = fields.Nested(lambda: Tree())  # noqa: PLW0108 - not a name yet
    children = fields.List(fields.Nested(lambda: Tree()))  # noqa: PLW0108


def refuse(_: Any) -> None:
    raise ValidationError("Refused.")


class Even(validate.Validator):
    def __call__(self, value: int) -> int:
        if value % 2:
            raise ValidationError("Not even.")
        return value


@dataclass(frozen=True)
class AtLeast(validate.Validator):
    limit: int

    def __call__(self, value: int) -> int:
        if value < self.limit:
            raise ValidationError("Too small.")
        return value
