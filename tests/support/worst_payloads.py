"""Payloads made of a schema that are as dear to validate as a message can be."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from marshmallow import Schema, ValidationError, fields, validate

#: Bytes of the JSON of a payload: with its envelope it just fits into a message.
SIZE: Final = 65_000
#: What lists and objects are filled with: each is refused by some field, and is small.
_FILLINGS: Final[tuple[Any, ...]] = (0, None, "a", {}, [], {"a": 0})
#: What may be a valid text of some field.
_TEXTS: Final = ("a", "working", "a" * 22, "2000-01-01", "7f3f9d5c-4d0e-4c0b-9d5a-0b8f3c1f2a6e")


def worst_payloads(schema: Schema) -> Iterator[dict[str, Any]]:
    """Yield payloads for a schema: right but for one key each, which has far too much of something.

    Each comes alone, and with faults beside it, which have it looked at again.
    """
    right = sample_of(schema)
    unknown = {f"k{number}": 0 for number in range(SIZE // 9)}
    yield right
    yield unknown
    yield right | unknown
    for name, field in schema.load_fields.items():
        key = name if field.data_key is None else field.data_key
        for value in _too_much(field):
            yield right | {key: value}
            yield {"unknown": 0, key: value}


def sample_of(schema: Schema) -> dict[str, Any]:
    """Return a payload that a schema loads, with all its fields that have a value for it."""
    samples = {
        name if field.data_key is None else field.data_key: _sample(field)
        for name, field in schema.load_fields.items()
    }
    return {key: value for key, value in samples.items() if value is not None}


def _sample(field: fields.Field[Any]) -> Any:
    """A value that a field takes; None if none is known."""
    candidates: list[Any] = [*_TEXTS, 1, 1.5, True, {}]
    if isinstance(field, fields.List):
        candidates = [[_sample(field.inner)], []]
    elif isinstance(field, fields.Nested):
        inner = sample_of(field.schema)
        candidates = [[inner] if field.schema.many else inner]
    for candidate in candidates:
        try:
            field.deserialize(candidate)
        except (ValidationError, TypeError):
            continue
        return candidate
    return None


def _too_much(field: fields.Field[Any]) -> Iterator[Any]:
    """Values for a field that have far too much of something."""
    yield "a" * SIZE
    yield "\n" * (SIZE // 2)
    yield 10**4000
    yield 1.7e308
    for filling in _FILLINGS:
        count = SIZE // (len(msgspec.json.encode(filling)) + 1)
        yield [filling] * count
        yield {f"k{n}": filling for n in range(SIZE // (len(msgspec.json.encode(filling)) + 9))}
    if isinstance(field, fields.List):
        yield from _too_much_in_items(field)
    elif isinstance(field, fields.Nested):
        yield from worst_payloads(field.schema)


def _too_much_in_items(field: fields.List[Any]) -> Iterator[Any]:
    """Lists that are not too long, and have too much in their items."""
    most = next((each.max for each in field.validators if isinstance(each, validate.Length)), None)
    fillings = [*_FILLINGS, _sample(field.inner)]
    for filling in fillings:
        count = min(most or SIZE, SIZE // (len(msgspec.json.encode(filling)) + 1))
        yield [filling] * count
        yield [*[fillings[-1]] * (count - 1), filling]
    count = most or 100
    keys = SIZE // count // 9
    many = {f"k{number}": 0 for number in range(keys)}
    yield [many] * count
    if isinstance(field.inner, fields.Nested):
        yield [fillings[-1] | many] * count
        for value in worst_payloads(field.inner.schema):
            yield [value]


def values_in(payload: Any) -> int:
    """Return how many JSON values there are in a payload, at any depth."""
    if isinstance(payload, dict):
        payload = list(payload.values())
    if not isinstance(payload, list):
        return 0
    return len(payload) + sum(map(values_in, payload))
