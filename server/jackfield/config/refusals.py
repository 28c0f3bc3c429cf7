"""What marshmallow refuses in a section, as problems: each with its place and what was given."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from marshmallow import Schema, fields
from marshmallow.exceptions import SCHEMA

from .environ import keys_of
from .fields import SecretField
from .problems import KeyPath, Problem, dotted_key, suggest
from .sources import Layer

Described = Schema | fields.Field[Any] | None

_COMPOSITE: Final = (Schema, fields.List, fields.Tuple, fields.Nested, fields.Mapping)
#: Stands for a value that was not given.
_ABSENT: Final = object()
#: Characters of a value that a message quotes: a path whole, a file pasted by mistake in part.
_QUOTED: Final = 200


def problems_in(
    errors: Any, described: Described, path: KeyPath, value: Any, layer: Layer
) -> Iterator[Problem]:
    """Return the problems of marshmallow's tree of errors.

    Args:
        errors: A text, a list of them, or more of these by key or index.
        described: What validated the value at this path; None where that isn't known.
        path: From the root of the configuration.
        value: What was given there.
        layer: Knows the places.
    """
    if isinstance(described, fields.Nested):
        described = described.schema
    if not isinstance(errors, Mapping):
        for message in errors if isinstance(errors, list) else [errors]:
            words = f"{str(message).rstrip('.')}{_given(described, value)}"
            yield Problem(layer.place(path), f"{dotted_key(path)}: {words}")
        return
    for key, below in errors.items():
        inner = (*path, key)
        if key == SCHEMA:
            yield from problems_in(below, described, path, value, layer)
        elif isinstance(described, Schema) and below == [described.error_messages["unknown"]]:
            hint = suggest(key, keys_of(described))
            yield Problem(layer.place(inner), f"{dotted_key(inner)}: Unknown key{hint}")
        else:
            yield from problems_in(below, _part(described, key), inner, _item(value, key), layer)


def _part(described: Described, key: str | int) -> Described:
    """What validated an item of a value; None where that isn't known."""
    if isinstance(described, Schema):
        # By index where it has many=True.
        return described if isinstance(key, int) else keys_of(described).get(key)
    return described.inner if isinstance(described, fields.List) else None


def _item(value: Any, key: str | int) -> Any:
    try:
        return value[key]
    except (LookupError, TypeError):
        return _ABSENT


def _given(described: Described, value: Any) -> str:
    """What was given, as the end of a sentence: the value if it may be shown, else its kind."""
    if value is _ABSENT:
        return ""
    if isinstance(described, SecretField) or _metadata(described).get("secret"):
        return "" if isinstance(value, str) else f"; got {_kind(value)}"
    if described is None or isinstance(described, _COMPOSITE):
        # What was meant to go inside a list or a table may be a secret.
        return "" if isinstance(value, list | Mapping) else f"; got {_kind(value)}"
    return f"; got {_kind(value) if isinstance(value, list | Mapping) else _quoted(value)}"


def _metadata(described: Described) -> Mapping[str, Any]:
    return described.metadata if isinstance(described, fields.Field) else {}


def _kind(value: Any) -> str:
    kinds = {
        bool: "a boolean",
        int: "an integer",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "a table",
        type(None): "nothing",
    }
    return kinds.get(type(value), "a date or time")


def _quoted(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}..."
