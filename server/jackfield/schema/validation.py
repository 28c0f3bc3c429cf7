"""Payloads: marshmallow schemas bound to loaders, and their verdicts turned into field errors.

marshmallow is the one authority on what a payload may be. Its errors are texts; a client needs a
place and a code as well. So a schema is *bound* once, at registration: every text it may answer
with is replaced by an equal text that also remembers its key (`required`, `length`, ...). What
`load` then raises carries its codes with it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from functools import cache, partial
from typing import Any, Final, Self

from marshmallow import INCLUDE, RAISE, Schema, ValidationError, fields, validate
from marshmallow.exceptions import SCHEMA

from jackfield.wire.errors import Error, with_faults

from .compiled import compile_schema

Loader = Callable[[dict[str, Any]], Any]

__all__ = ["AnyPayload", "Loader", "NoPayload", "bind", "field_errors", "resolve_nested"]

#: The code of a text that nobody gave one: a custom field, or a validation method's own words.
_UNNAMED: Final = "invalid"


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
    """The function that turns a decoded payload into what the handler gets.

    Args:
        schema: The handler's schema; its error texts are given their codes.
        message_type: For the words of the error.

    Returns:
        A function that returns what `schema.load` does and raises `Error` ``invalid_payload``
        with ``fields``, or ``invalid_json`` for nesting no schema can follow.
    """
    if type(schema) is AnyPayload:
        return _as_it_is  # marshmallow would lose the order of the keys

    def decide(payload: dict[str, Any]) -> Any:
        try:
            try:
                return schema.load(payload)
            except ValidationError as exc:
                faults = list(field_errors(schema, _with_codes(schema, payload, exc)))
        except RecursionError:
            raise Error("invalid_json", "The payload is nested too deeply.") from None
        raise with_faults("invalid_payload", faults, f"The payload of {message_type} is not valid.")

    load = compile_schema(schema, decide).load  # while the schema's texts are still its own
    _give_codes(schema)
    return load or decide


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


class _Coded(str):
    """A text of marshmallow's that remembers which error it belongs to."""

    __slots__ = ("code",)
    code: str

    def __new__(cls, text: str, code: str) -> Self:
        self = super().__new__(cls, text)
        self.code = code
        return self

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]  # a copy keeps its code
        return str(self), self.code

    def format(self, *args: object, **kwargs: object) -> "_Coded":
        """As `str.format`, and still coded: marshmallow formats every text before it raises."""
        return _Coded(super().format(*args, **kwargs), self.code)


def _with_codes(schema: Schema, payload: dict[str, Any], exc: ValidationError) -> Any:
    """The messages of a refusal, each with its code.

    A nested schema exists only once a payload has reached it (one that nests itself could not be
    made whole in advance). So the first refusal by a nested schema comes without codes: the
    schema gets them then, and the payload is loaded again.
    """
    if not _give_codes_along(schema, exc.messages):
        return exc.messages
    try:
        schema.load(payload)
    except ValidationError as again:
        return again.messages
    return exc.messages


def _give_codes_along(schema: Schema, messages: Any) -> bool:
    """Give codes to every schema that has a part in these messages; whether one had none yet."""
    new = _give_codes(schema)
    if isinstance(messages, dict):
        by_wire_name = _fields_by_wire_name(schema)
        for key, below in messages.items():
            if isinstance(key, int):
                new |= _give_codes_along(schema, below)
            else:
                new |= _give_codes_below(_find_field(by_wire_name, key)[1], below)
    return new


def _give_codes_below(field: fields.Field[Any] | None, messages: Any) -> bool:
    if field is None or not isinstance(messages, dict):
        return False
    if isinstance(field, fields.Nested):
        return _give_codes_along(field.schema, messages)
    new = False
    for key, below in messages.items():
        if isinstance(field, fields.Mapping) and isinstance(below, dict):
            new |= _give_codes_below(field.value_field, below.get("value"))
        else:
            new |= _give_codes_below(_item_field(field, key), below)
    return new


def _give_codes(schema: Schema) -> bool:
    """Replace a schema's error texts by coded ones; False if it has them already."""
    if isinstance(schema.error_messages["unknown"], _Coded):
        return False
    schema.error_messages = _coded_texts(schema.error_messages)
    for field in schema.fields.values():
        _give_codes_to_field(field)
    return True


def _give_codes_to_field(field: fields.Field[Any]) -> None:
    field.error_messages = _coded_texts(field.error_messages)
    field.validators = [_coded_validator(validator) for validator in field.validators]
    if isinstance(field, fields.Tuple):
        field.validate_length = _coded_validator(field.validate_length)  # type: ignore[assignment]
    if isinstance(field, fields.Enum):
        field.field = copy(field.field)  # marshmallow shares it among all instances
    for inner in _inner_fields(field):
        _give_codes_to_field(inner)


def _inner_fields(field: fields.Field[Any]) -> Iterator[fields.Field[Any]]:
    if isinstance(field, fields.List):
        yield field.inner
    elif isinstance(field, fields.Tuple):
        yield from field.tuple_fields
    elif isinstance(field, fields.Mapping):
        yield from (inner for inner in (field.key_field, field.value_field) if inner is not None)
    elif isinstance(field, fields.Enum):
        yield field.field


def _coded_texts(texts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _code_all(text, key) for key, text in texts.items()}


class _Function(validate.Validator):
    """A plain function as a validator."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, value: Any) -> Any:
        return self.function(value)


def _coded_validator(validator: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """An equal validator with coded texts; of the same class, for whoever reads its limits."""
    if hasattr(validator, "coded_as"):
        return validator
    named = validator.func if isinstance(validator, partial) else validator
    name = getattr(named, "__name__", type(named).__name__)
    coded = copy(validator) if isinstance(validator, validate.Validator) else _Function(validator)
    if isinstance(coded, validate.And):
        coded.validators = tuple(_coded_validator(inner) for inner in coded.validators)
    # Not by assignment: a frozen dataclass refuses that.
    object.__setattr__(coded, "__class__", _coded_class(type(coded), name))
    return coded


@cache
def _coded_class(plain: type[validate.Validator], name: str) -> type[validate.Validator]:
    """A validator's class, whose texts carry its name as their code."""
    code = _UNNAMED if name == "<lambda>" else _snake_case(name)

    class Coded(plain):  # type: ignore[valid-type,misc]  # a class made for a class
        def __call__(self, value: Any) -> Any:
            try:
                return super().__call__(value)
            except ValidationError as exc:
                exc.messages = _code_all(exc.messages, self.coded_as)
                raise

    Coded.__name__, Coded.__qualname__ = plain.__name__, plain.__qualname__
    Coded.coded_as = code
    Coded.coded_from = plain
    return Coded


def _code_all(messages: Any, code: str) -> Any:
    """Give every uncoded text in an error's messages the code."""
    if isinstance(messages, dict):
        return {key: _code_all(value, code) for key, value in messages.items()}
    if isinstance(messages, list):
        return [_code_all(value, code) for value in messages]
    if isinstance(messages, str) and not isinstance(messages, _Coded):
        return _Coded(messages, code)
    return messages


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).strip("_").lower()


def field_errors(
    schema: Schema | None, messages: Any, pointer: str = ""
) -> Iterator[dict[str, str]]:
    """Flatten marshmallow's nested messages into pointer, code and message.

    Args:
        schema: The schema that refused, None where there is none (inside a custom field): it
            tells a dictionary's own keys from marshmallow's, and wire names from Python's.
        messages: `ValidationError.messages`.
        pointer: JSON Pointer (RFC 6901) of the object the messages are about.
    """
    if not isinstance(messages, dict):
        yield from _texts(messages, pointer)
        return
    by_wire_name = {} if schema is None else _fields_by_wire_name(schema)
    for key, below in messages.items():
        if isinstance(key, int):  # an item of a schema with many=True
            yield from field_errors(schema, below, f"{pointer}/{key}")
            continue
        others = below
        if key not in by_wire_name and isinstance(below, list):
            # What the client sent may be called as Python calls a field, or as SCHEMA.
            yield from _texts(list(filter(_is_unknown, below)), f"{pointer}/{_escape(key)}")
            others = [text for text in below if not _is_unknown(text)]
        if key == SCHEMA:
            yield from _texts(others, pointer)
        else:
            name, field = _find_field(by_wire_name, key)
            yield from _errors_of_field(field, others, f"{pointer}/{_escape(name)}")


def _errors_of_field(
    field: fields.Field[Any] | None, messages: Any, pointer: str
) -> Iterator[dict[str, str]]:
    if not isinstance(messages, dict):
        yield from _texts(messages, pointer)
    elif isinstance(field, fields.Pluck):
        for key, below in messages.items():
            if isinstance(key, int):  # many=True
                yield from _errors_of_field(field, below, f"{pointer}/{key}")
            else:  # on the wire the one plucked field is the whole value
                plucked = None if key == SCHEMA else field.schema.fields[field.field_name]
                yield from _errors_of_field(plucked, below, pointer)
    elif isinstance(field, fields.Nested):
        yield from field_errors(field.schema, messages, pointer)
    else:
        for key, below in messages.items():
            inner = f"{pointer}/{_escape(key)}"
            if isinstance(field, fields.Mapping) and isinstance(below, dict):
                yield from _errors_of_entry(field, below, inner)
            elif key == SCHEMA:
                yield from _texts(below, pointer)
            else:
                yield from _errors_of_field(_item_field(field, key), below, inner)


def _errors_of_entry(
    field: fields.Mapping[Any], messages: dict[Any, Any], pointer: str
) -> Iterator[dict[str, str]]:
    """Errors of one entry of a dictionary: marshmallow files them under "key" and "value"."""
    for part, below in messages.items():
        inner = field.value_field if part == "value" else field.key_field
        yield from _errors_of_field(inner, below, pointer)


def _item_field(field: fields.Field[Any] | None, index: Any) -> fields.Field[Any] | None:
    if isinstance(field, fields.List):
        return field.inner
    if isinstance(field, fields.Tuple) and index in range(len(field.tuple_fields)):
        item: fields.Field[Any] = field.tuple_fields[index]
        return item
    return None


def _fields_by_wire_name(schema: Schema) -> dict[str, fields.Field[Any]]:
    return {
        name if field.data_key is None else field.data_key: field
        for name, field in schema.load_fields.items()
    }


def _find_field(
    by_wire_name: dict[str, fields.Field[Any]], key: Any
) -> tuple[Any, fields.Field[Any] | None]:
    """The field an error is about; a schema's own validation may name it as Python does."""
    if key in by_wire_name:
        return key, by_wire_name[key]
    for wire_name, field in by_wire_name.items():
        if key in (field.name, field.attribute):
            return wire_name, field
    return key, None


def _is_unknown(text: Any) -> bool:
    return isinstance(text, _Coded) and text.code == "unknown"


def _texts(messages: Any, pointer: str) -> Iterator[dict[str, str]]:
    for text in messages if isinstance(messages, list) else [messages]:
        if isinstance(text, dict):  # a validator's own nested messages
            yield from field_errors(None, text, pointer)
        else:
            code = text.code if isinstance(text, _Coded) else _UNNAMED
            yield {"pointer": pointer, "code": code, "message": str(text)}


def _escape(key: Any) -> str:
    """A key as a JSON Pointer's step (RFC 6901, section 3)."""
    return str(key).replace("~", "~0").replace("/", "~1")
