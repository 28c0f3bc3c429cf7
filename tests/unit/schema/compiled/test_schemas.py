"""The function for a schema makes the dictionary that marshmallow would, key by key."""

from typing import Any

import pytest
from marshmallow import EXCLUDE, INCLUDE, RAISE, Schema, fields

from jackfield.schema.compiled.module import Miss, Module
from jackfield.schema.compiled.schemas import function_lines
from jackfield.schema.compiled.understood import NotUnderstood


def loader(unknown: Any = RAISE, /, **declared: Any) -> Any:
    """The generated function of a schema, without what falls back on marshmallow."""
    module = Module()
    name = module.loader_of(Schema.from_dict(declared)(unknown=unknown))
    for order in module.orders():
        exec("\n".join(function_lines(order, module)), module.given)
    return module.given[name]


def test_keys_are_loaded_in_the_order_of_the_schema() -> None:
    load = loader(a=fields.Integer(), b=fields.Integer())
    assert list(load({"b": 1, "a": 2}).items()) == [("a", 2), ("b", 1)]


def test_a_required_key_that_is_missing_ends_it() -> None:
    with pytest.raises(KeyError):
        loader(a=fields.Integer(required=True))({})


def test_a_default_stands_for_a_key_that_is_missing_and_may_be_made_each_time() -> None:
    load = loader(a=fields.Integer(load_default=7), b=fields.List(fields.Raw, load_default=list))
    assert load({}) == {"a": 7, "b": []}
    assert load({})["b"] is not load({})["b"]
    assert loader(a=fields.Integer())({}) == {}


def test_a_key_has_its_name_on_the_wire_and_another_in_python() -> None:
    load = loader(a=fields.Integer(data_key="b'\n"), c=fields.Integer(attribute="d.e"))
    assert load({"b'\n": 1, "c": 2}) == {"a": 1, "d": {"e": 2}}


@pytest.mark.parametrize(
    ("unknown", "expected"), [(EXCLUDE, {"a": 1}), (INCLUDE, {"a": 1, "x": 2})]
)
def test_a_key_that_is_not_declared_is_left_out_or_kept(
    unknown: str, expected: dict[str, int]
) -> None:
    assert loader(unknown, a=fields.Integer())({"a": 1, "x": 2}) == expected


def test_a_key_that_is_not_declared_ends_it_unless_the_schema_says_otherwise() -> None:
    with pytest.raises(Miss):
        loader(a=fields.Integer())({"a": 1, "x": 2})
    with pytest.raises(Miss):
        loader(a=fields.Integer())({"x": 2})


@pytest.mark.parametrize("payload", [[], None, "x", 7])
def test_what_is_no_object_ends_it(payload: Any) -> None:
    with pytest.raises(Miss):
        loader(a=fields.Integer())(payload)


def test_two_fields_of_one_key_are_not_understood() -> None:
    with pytest.raises(NotUnderstood, match="two fields have one data_key"):
        loader(a=fields.Raw(load_only=True), b=fields.Raw(data_key="a", load_only=True))
