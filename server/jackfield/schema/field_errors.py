"""marshmallow's nested error messages as a flat list of faults, each with pointer and code."""

from collections.abc import Iterator
from typing import Any

from marshmallow import Schema, fields
from marshmallow.exceptions import SCHEMA

from jackfield.wire.errors import field_fault
from jackfield.wire.pointer import pointer_to

from .fault_code import CodedText, code_of


def field_errors(
    schema: Schema | None, messages: Any, pointer: str = ""
) -> Iterator[dict[str, str]]:
    """Flatten marshmallow's nested messages into faults, as an error's ``fields`` has them.

    Args:
        schema: The schema that refused, None where there is none (inside a custom field): it
            tells a dictionary's own keys from marshmallow's, and wire names from Python's.
        messages: `ValidationError.messages`.
        pointer: JSON Pointer of the object the messages are about.
    """
    if not isinstance(messages, dict):
        yield from _texts(messages, pointer)
        return
    by_wire_name = {} if schema is None else fields_by_wire_name(schema)
    for key, below in messages.items():
        if isinstance(key, int):  # an item of a schema with many=True
            yield from field_errors(schema, below, pointer + pointer_to(key))
            continue
        others = below
        if key not in by_wire_name and isinstance(below, list):
            # What the client sent may be called as Python calls a field, or as SCHEMA.
            yield from _texts(list(filter(_is_unknown, below)), pointer + pointer_to(key))
            others = [text for text in below if not _is_unknown(text)]
        if key == SCHEMA:
            yield from _texts(others, pointer)
        else:
            name, field = find_field(by_wire_name, key)
            yield from _errors_of_field(field, others, pointer + pointer_to(name))


def fields_by_wire_name(schema: Schema) -> dict[str, fields.Field[Any]]:
    """Return the fields that a schema loads by the keys that a client sends."""
    return {
        name if field.data_key is None else field.data_key: field
        for name, field in schema.load_fields.items()
    }


def find_field(
    by_wire_name: dict[str, fields.Field[Any]], key: Any
) -> tuple[Any, fields.Field[Any] | None]:
    """Return the field an error is about, and its key on the wire.

    Args:
        by_wire_name: As `fields_by_wire_name` returns it.
        key: What marshmallow files the error under; a schema's own validation may name a field as
            Python does.

    Returns:
        The key on the wire, and the field; the key itself and None if there is no such field.
    """
    if key in by_wire_name:
        return key, by_wire_name[key]
    for wire_name, field in by_wire_name.items():
        if key in (field.name, field.attribute):
            return wire_name, field
    return key, None


def item_field(field: fields.Field[Any] | None, index: Any) -> fields.Field[Any] | None:
    """Return the field of an item of a list or a tuple; None of anything else."""
    if isinstance(field, fields.List):
        return field.inner
    if isinstance(field, fields.Tuple) and index in range(len(field.tuple_fields)):
        item: fields.Field[Any] = field.tuple_fields[index]
        return item
    return None


def _errors_of_field(
    field: fields.Field[Any] | None, messages: Any, pointer: str
) -> Iterator[dict[str, str]]:
    if not isinstance(messages, dict):
        yield from _texts(messages, pointer)
    elif isinstance(field, fields.Pluck):
        for key, below in messages.items():
            if isinstance(key, int):  # many=True
                yield from _errors_of_field(field, below, pointer + pointer_to(key))
            else:  # on the wire the one plucked field is the whole value
                plucked = None if key == SCHEMA else field.schema.fields[field.field_name]
                yield from _errors_of_field(plucked, below, pointer)
    elif isinstance(field, fields.Nested):
        yield from field_errors(field.schema, messages, pointer)
    else:
        for key, below in messages.items():
            inner = pointer + pointer_to(key)
            if isinstance(field, fields.Mapping) and isinstance(below, dict):
                yield from _errors_of_entry(field, below, inner)
            elif key == SCHEMA:
                yield from _texts(below, pointer)
            else:
                yield from _errors_of_field(item_field(field, key), below, inner)


def _errors_of_entry(
    field: fields.Mapping[Any], messages: dict[Any, Any], pointer: str
) -> Iterator[dict[str, str]]:
    """Flatten the errors of a dictionary's entry: marshmallow files them by "key" and "value"."""
    for part, below in messages.items():
        inner = field.value_field if part == "value" else field.key_field
        yield from _errors_of_field(inner, below, pointer)


def _texts(messages: Any, pointer: str) -> Iterator[dict[str, str]]:
    for text in messages if isinstance(messages, list) else [messages]:
        if isinstance(text, dict):  # a validator's own nested messages
            yield from field_errors(None, text, pointer)
        else:
            yield field_fault(pointer, code_of(text), str(text))


def _is_unknown(text: Any) -> bool:
    return isinstance(text, CodedText) and text.code == "unknown"
