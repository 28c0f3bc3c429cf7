"""What a plugin answers or publishes: made a payload, and checked by its schema."""

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

import msgspec
from marshmallow import Schema, ValidationError


class PayloadError(Exception):
    """A plugin answered with, or published, what it may not: a fault of its own."""


def check_against(schema: Schema, payload: Any) -> None:
    """Check what a plugin sends by the schema that it declares.

    Raises:
        PayloadError: It does not fit.
    """
    try:
        # As the client will read it: it may have parts that are encoded already.
        schema.load(msgspec.json.decode(msgspec.json.encode(as_payload(payload))))
    except ValidationError as exc:
        raise PayloadError(f"this is not what the schema declares: {exc.messages}") from None


def as_payload(result: Any) -> Any:
    """Return what a plugin answers or publishes as a payload: None is the empty object.

    Raises:
        PayloadError: It is neither an object nor None.
    """
    if type(result) is dict:
        return result
    if result is None:
        return {}
    if isinstance(result, Mapping):
        return dict(result)
    if isinstance(result, msgspec.Struct | msgspec.Raw) or (
        is_dataclass(result) and not isinstance(result, type)
    ):
        return result
    raise PayloadError(f"a payload is a mapping or None, not {type(result).__name__}")
