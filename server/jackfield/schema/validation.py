"""Payloads: marshmallow schemas bound to loaders, whose refusals are errors of the protocol.

marshmallow is the one authority on what a payload may be. A schema is *bound* once, at
registration: it is compiled, and what the compiled code leaves is decided by a copy of the schema
whose error texts carry codes.
"""

from collections.abc import Callable, Iterator
from typing import Any

from marshmallow import INCLUDE, RAISE, Schema, ValidationError, fields

from jackfield.wire.errors import Error, with_faults

from .coded import code_nested, coded_copy
from .compiled import compile_schema
from .field_errors import field_errors

Loader = Callable[[dict[str, Any]], Any]


class NoPayload(Schema):
    """The payload of a message that carries none: any key is refused."""

    class Meta:
        """Refuse what is not declared."""

        unknown = RAISE


class AnyPayload(Schema):
    """A payload that may be any JSON object, passed on as it is."""

    class Meta:
        """Keep what is not declared."""

        unknown = INCLUDE


def bind(schema: Schema, message_type: str) -> Loader:
    """Return the function that turns a decoded payload into what the handler gets.

    Args:
        schema: The handler's schema as it is now: later changes of it go unnoticed, and nothing of
            it is changed.
        message_type: For the words of the error.

    Returns:
        A function that returns what `schema.load` does and raises `Error` ``invalid_payload``
        with ``fields``, or ``invalid_json`` for nesting no schema can follow.
    """
    if type(schema) is AnyPayload:
        return _as_it_is  # marshmallow would lose the order of the keys
    coded = coded_copy(schema)

    def decide(payload: dict[str, Any]) -> Any:
        try:
            try:
                return coded.load(payload)
            except ValidationError as exc:
                faults = list(field_errors(coded, _with_codes(coded, payload, exc)))
        except RecursionError:
            raise Error("invalid_json", "The payload is nested too deeply.") from None
        raise with_faults("invalid_payload", faults, f"The payload of {message_type} is not valid.")

    return compile_schema(schema, decide).load or decide


def resolve_nested(schema: Schema) -> None:
    """Make sure that every schema named within another is there: marshmallow looks only when asked.

    Raises:
        RegistryError: One is not; the words name it. A function that is to make one may raise
            anything else.
    """
    seen = {type(schema)}  # a schema that nests itself is there

    def visit(field: fields.Field[Any]) -> None:
        for inner in _inner_fields(field):
            visit(inner)
        if isinstance(field, fields.Nested) and type(field.schema) not in seen:
            seen.add(type(field.schema))
            for nested in field.schema.fields.values():
                visit(nested)

    for field in schema.fields.values():
        visit(field)


def _as_it_is(payload: dict[str, Any]) -> dict[str, Any]:
    return payload


def _with_codes(coded: Schema, payload: dict[str, Any], exc: ValidationError) -> Any:
    """Return the messages of a refusal, each with its code.

    A nested schema exists only once a payload has reached it. So the first refusal by a nested
    schema comes without codes: the schema gets them then, and the payload is loaded again.
    """
    if not code_nested(coded, exc.messages):
        return exc.messages
    try:
        coded.load(payload)
    except ValidationError as again:
        return again.messages
    return exc.messages


def _inner_fields(field: fields.Field[Any]) -> Iterator[fields.Field[Any]]:
    if isinstance(field, fields.List):
        yield field.inner
    elif isinstance(field, fields.Tuple):
        yield from field.tuple_fields
    elif isinstance(field, fields.Mapping):
        yield from (inner for inner in (field.key_field, field.value_field) if inner is not None)
