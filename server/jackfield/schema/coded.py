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

from .bounded import bound_field, bound_schema
from .fault_code import UNNAMED, snake_case, with_code


def coded_copy(schema: Schema) -> Schema:
    """Return a copy of a schema that refuses what the schema does, with codes in its error texts.

    It says of too many faults only as many as an error tells; see `bounded`. The schemas nested
    within it are copied once a payload has reached them: one that nests itself has no end.
    """
    coded = copy(schema)
    coded.error_messages = _coded_texts(schema.error_messages)
    copies = {name: _coded_field(field) for name, field in schema.fields.items()}
    coded.fields = copies
    coded.load_fields = {name: copies[name] for name in schema.load_fields}
    bound_schema(coded, schema)
    return coded


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
    bound_field(coded, field, coded_copy)
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
