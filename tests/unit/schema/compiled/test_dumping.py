"""A compiled dump makes of every object what marshmallow's own does."""

import datetime as dt
import enum
import itertools
import uuid
from collections.abc import Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from marshmallow import Schema, fields, missing, post_dump

from jackfield.schema.compiled.dumping import compile_dump


class Colour(enum.Enum):
    RED = "r"


class Point(Schema):
    x = fields.Integer(data_key="X")
    label = fields.String(dump_default="none")


class Hooked(Schema):
    x = fields.Integer()

    @post_dump
    def double(self, data: Any, **_: Any) -> Any:
        return {"x": data["x"] * 2}


class Link(Schema):
    name = fields.String()
    to = fields.Nested(lambda: Link())  # noqa: PLW0108 - not yet there


class OwnSerialize(fields.String):
    def serialize(self, attr: str, *_: Any, **__: Any) -> Any:
        return f"own {attr}"


FIELDS: dict[str, Callable[[], fields.Field[Any]]] = {
    "String": fields.String,
    "Integer": fields.Integer,
    "Integer as string": lambda: fields.Integer(as_string=True),
    "Float": fields.Float,
    "Float as string": lambda: fields.Float(as_string=True),
    "Boolean": fields.Boolean,
    "Boolean of its own": lambda: fields.Boolean(truthy={"yes"}, falsy={"no"}),
    "UUID": fields.UUID,
    "Decimal": lambda: fields.Decimal(as_string=True),
    "DateTime": fields.DateTime,
    "DateTime by format": lambda: fields.DateTime("%d.%m.%Y"),
    "Date": fields.Date,
    "Enum": lambda: fields.Enum(Colour),
    "Enum by value": lambda: fields.Enum(Colour, by_value=True),
    "List": lambda: fields.List(fields.Integer()),
    "List of lists": lambda: fields.List(fields.List(fields.String())),
    "List of nested": lambda: fields.List(fields.Nested(Point)),
    "Tuple": lambda: fields.Tuple((fields.Integer(), fields.String())),
    "Dict": lambda: fields.Dict(fields.String(), fields.Integer()),
    "Raw": fields.Raw,
    "Constant": lambda: fields.Constant(7),
    "Function": lambda: fields.Function(len),
    "Nested": lambda: fields.Nested(Point),
    "Nested only": lambda: fields.Nested(Point, only=("x",)),
    "Nested many": lambda: fields.Nested(Point, many=True),
    "Nested hooked": lambda: fields.Nested(Hooked),
    "Nested hooked many": lambda: fields.Nested(Hooked, many=True),
    "Nested in itself": lambda: fields.Nested(Link),
    "Pluck": lambda: fields.Pluck(Point, "x"),
    "Email": fields.Email,
    "its own": OwnSerialize,
}
VALUES: list[Any] = [
    *("text", "", b"bytes", 1, True, False, 1.5, "yes", float("nan"), None),
    *([], [1, "2", None], [[1], ["a"]], (1, "a"), {}, {"a": 1}),
    *({"x": 1}, {"x": "2", "label": "p"}, [{"x": 1}, {"label": 3}], [SimpleNamespace(x=4)]),
    {"name": "a", "to": {"name": "b", "to": {"name": "c"}}},
    SimpleNamespace(x=3, label="o"),
    uuid.UUID(int=1),
    Decimal("1.50"),
    dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC),
    dt.date(2026, 1, 2),
    Colour.RED,
]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"dump_default": 5},
    {"dump_default": lambda: "made"},
    {"attribute": "other"},
    {"attribute": "deep.er"},
    {"data_key": "Wire'Name"},
]


def outcome(dump: Callable[[Any], Any], value: Any) -> Any:
    """What comes of a dump, to the letter and in order, or what kind of exception."""
    try:
        return repr(dump(value))
    except Exception as exc:  # noqa: BLE001 - whatever marshmallow raises, so must the other
        return type(exc)


@pytest.mark.parametrize("kind", FIELDS)
def test_every_field_makes_of_every_value_what_it_ever_did(kind: str) -> None:
    schema = Schema.from_dict({"field": FIELDS[kind](), "after": fields.String()})()
    dump = compile_dump(schema)
    for value in VALUES:
        for data in ({"field": value, "after": "a"}, {"field": value}):
            assert outcome(dump, data) == outcome(schema.dump, data), value
    others: list[Any] = [{}, {"after": "a"}, SimpleNamespace(field="x"), None, [], "text"]
    for other in others:
        assert outcome(dump, other) == outcome(schema.dump, other)


@pytest.mark.parametrize("options", OPTIONS, ids="-".join)
@pytest.mark.parametrize("name", ["field", "items", "keys"])
def test_names_and_defaults_are_marshmallows(name: str, options: dict[str, Any]) -> None:
    schema = Schema.from_dict({name: fields.Raw(**options)})()
    dump = compile_dump(schema)
    for key, value in itertools.product(
        (name, "other", "deep", "nothing"), ("v", None, {"er": 1}, missing)
    ):
        data = {key: value}
        # A bound method of the dictionary itself, which marshmallow takes for the value, has no
        # representation that two dictionaries share; so both are asked of one.
        assert outcome(dump, data) == outcome(schema.dump, data)


@pytest.mark.parametrize("schema", [Hooked(), Point(many=True), Link(), Point(only=("label",))])
def test_schemas_with_ways_of_their_own_keep_them(schema: Schema) -> None:
    dump = compile_dump(schema)
    data = {"x": 2, "name": "n", "to": {"name": "m", "to": {"name": "o"}}}
    assert outcome(dump, data) == outcome(lambda each: schema.dump(each, many=False), data)
