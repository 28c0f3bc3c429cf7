"""Copies of marshmallow schemas whose error texts carry codes.

marshmallow's errors are texts; a client needs a code as well. In a *coded* copy of a schema every
text that it may answer with is replaced by an equal text that remembers its key (`required`,
`length`, ...), so what `load` raises carries its codes with it. The schema itself, its fields and
its validators stay as they are.
"""

from collections.abc import Callable, Mapping
from copy import copy
from functools import partial
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from .fault_code import UNNAMED, CodedText, snake_case, with_code
from .field_errors import fields_by_wire_name, find_field, item_field


def coded_copy(schema: Schema) -> Schema:
    """Return a copy of a schema that loads as the schema does and has codes in its error texts.

    Schemas nested within it get theirs from `code_nested`: one that nests itself has no end.
    """
    coded = copy(schema)
    coded.error_messages = _coded_texts(schema.error_messages)
    copies = {name: _coded_field(field) for name, field in schema.fields.items()}
    coded.fields = copies
    coded.load_fields = {name: copies[name] for name in schema.load_fields}
    return coded


def code_nested(coded: Schema, messages: Any) -> bool:
    """Give codes to the schemas nested in a coded one that have a part in these messages.

    Args:
        coded: As `coded_copy` returns it.
        messages: What it has raised.

    Returns:
        Whether one had none before: its texts in the messages have none either.
    """
    if not isinstance(messages, dict):
        return False
    new = False
    by_wire_name = fields_by_wire_name(coded)
    for key, below in messages.items():
        if isinstance(key, int):  # an item of a schema with many=True
            new |= code_nested(coded, below)
        else:
            new |= _code_nested_in(find_field(by_wire_name, key)[1], below)
    return new


def _code_nested_in(field: fields.Field[Any] | None, messages: Any) -> bool:
    if isinstance(field, fields.Nested):
        new = _code_schema_of(field)
        return code_nested(field.schema, messages) or new
    if field is None or not isinstance(messages, dict):
        return False
    new = False
    for key, below in messages.items():
        if isinstance(field, fields.Mapping) and isinstance(below, dict):
            new |= _code_nested_in(field.value_field, below.get("value"))
        else:
            new |= _code_nested_in(item_field(field, key), below)
    return new


def _code_schema_of(field: fields.Nested) -> bool:
    if isinstance(field.schema.error_messages["unknown"], CodedText):
        return False
    field._schema = coded_copy(field.schema)  # noqa: SLF001 - what `schema` returns from now on
    return True


def _coded_field(field: fields.Field[Any]) -> fields.Field[Any]:
    coded = copy(field)  # as marshmallow itself copies fields
    coded.error_messages = _coded_texts(field.error_messages)
    coded.validators = [_coded_validator(validator) for validator in field.validators]
    if isinstance(coded, fields.List):
        coded.inner = _coded_field(coded.inner)
    elif isinstance(coded, fields.Tuple):
        coded.tuple_fields = [_coded_field(inner) for inner in coded.tuple_fields]
        coded.validate_length = _coded_validator(coded.validate_length)  # type: ignore[assignment]
    elif isinstance(coded, fields.Mapping):
        coded.key_field = None if coded.key_field is None else _coded_field(coded.key_field)
        coded.value_field = None if coded.value_field is None else _coded_field(coded.value_field)
    elif isinstance(coded, fields.Enum):
        coded.field = _coded_field(coded.field)
    return coded


def _coded_texts(texts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: with_code(text, key) for key, text in texts.items()}


def _coded_validator(validator: Callable[[Any], Any]) -> "_CodedValidator":
    named = validator.func if isinstance(validator, partial) else validator
    name = getattr(named, "__name__", type(named).__name__)
    if isinstance(validator, validate.And):
        inner = tuple(map(_coded_validator, validator.validators))
        validator = copy(validator)
        validator.validators = inner
    return _CodedValidator(validator, UNNAMED if name == "<lambda>" else snake_case(name))


class _CodedValidator(validate.Validator):
    """A validator that does what another one does, and gives its code to what that one raises."""

    def __init__(self, validator: Callable[[Any], Any], code: str) -> None:
        self._validator = validator
        self._code = code

    def __call__(self, value: Any) -> Any:
        try:
            return self._validator(value)
        except ValidationError as exc:
            exc.messages = with_code(exc.messages, self._code)
            raise
