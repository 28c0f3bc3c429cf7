"""The lines for a field make of a value what the field does, or leave it to marshmallow."""

import datetime as dt
import decimal
import enum
import uuid
from typing import Any

import pytest
from marshmallow import fields, validate

from jackfield.schema.compiled.fields import load_value
from jackfield.schema.compiled.module import Miss, Module, indent
from jackfield.schema.compiled.understood import NotUnderstood


class Colour(enum.Enum):
    RED = "r"


def loader(field: fields.Field[Any]) -> Any:
    """The generated function that loads one value by a field."""
    module = Module()
    lines = ["def run(value):", *indent([*load_value(field, "value", module), "return value"])]
    exec("\n".join(lines), module.given)
    return module.given["run"]


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        (fields.String(), "x", "x"),
        (fields.Integer(), 7, 7),
        (fields.Float(), 7, 7.0),
        (fields.Boolean(), "yes", True),
        (fields.Decimal(places=1), "1.25", decimal.Decimal("1.2")),
        (fields.UUID(), "0" * 32, uuid.UUID(int=0)),
        (fields.Date(), "2026-01-02", dt.date(2026, 1, 2)),
        (fields.DateTime(format="%Y"), "2026", dt.datetime(2026, 1, 1)),  # noqa: DTZ001
        (fields.TimeDelta(), 90, dt.timedelta(seconds=90)),
        (fields.Enum(Colour), "RED", Colour.RED),
        (fields.Enum(Colour, by_value=True), "r", Colour.RED),
        (fields.Constant(5), "x", 5),
        (fields.List(fields.Integer()), [1, 2], [1, 2]),
        (fields.Tuple((fields.Integer(), fields.String())), [1, "x"], (1, "x")),
        (fields.Dict(fields.String(), fields.Float()), {"a": 1}, {"a": 1.0}),
        (fields.Raw(), {"any": [1]}, {"any": [1]}),
    ],
    ids=repr,
)
def test_a_value_that_is_as_it_should_be_is_loaded(
    field: fields.Field[Any], value: Any, expected: Any
) -> None:
    loaded = loader(field)(value)
    assert loaded == expected == field.deserialize(value)
    assert type(loaded) is type(expected)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (fields.String(), 7),
        (fields.Integer(), "7"),
        (fields.Integer(), True),
        (fields.Integer(), 7.0),
        (fields.Float(), float("nan")),
        (fields.Boolean(), "maybe"),
        (fields.Decimal(), "NaN"),
        (fields.NaiveDateTime(), "2026-01-01T00:00:00Z"),
        (fields.AwareDateTime(), "2026-01-01T00:00:00"),
        (fields.List(fields.Integer()), [1, None]),
        (fields.Dict(), []),
        (fields.String(validate=validate.Length(2)), "x"),
    ],
    ids=repr,
)
def test_any_other_value_is_left_to_marshmallow(field: fields.Field[Any], value: Any) -> None:
    with pytest.raises(Miss):
        loader(field)(value)


def test_none_passes_where_the_field_allows_it_and_no_validator_sees_it() -> None:
    allowed = fields.String(allow_none=True, validate=validate.Length(2))
    assert loader(allowed)(None) is None
    with pytest.raises(Miss):
        loader(allowed)("x")
    with pytest.raises(Miss):
        loader(fields.String())(None)


def test_a_field_without_code_is_not_understood() -> None:
    with pytest.raises(NotUnderstood, match="there is no code for a Function"):
        list(load_value(fields.Function(deserialize=str), "value", Module()))
