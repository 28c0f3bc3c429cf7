"""A generated module: every name in it is free, every value reachable, alike schemas are one."""

from typing import Any

import pytest
from marshmallow import EXCLUDE, RAISE, Schema, fields

from jackfield.schema.compiled.module import Miss, Module, indent, miss_if
from jackfield.schema.compiled.understood import NotUnderstood
from tests.support.schemas import Kin


class Plain(Schema):
    n = fields.Integer()


def test_a_name_is_given_once_and_is_an_identifier() -> None:
    module = Module()
    names = [module.new(name) for name in ("item", "item", "a b", "data", "result")]
    assert names == ["item", "item_2", "a_b", "data_2", "result_2"]


def test_a_value_is_reached_by_one_name() -> None:
    module = Module()
    one: list[int] = []
    other: list[int] = []
    assert module.give("keys", one) == module.give("keys", one) == "keys"
    assert module.give("keys", other) == "keys_2"
    assert module.given["keys"] is one
    assert module.given["keys_2"] is other


@pytest.mark.parametrize("value", [None, True, 7, -(2**63) + 1, "a'b\n"], ids=repr)
def test_a_plain_value_is_a_literal(value: Any) -> None:
    module = Module()
    assert module.constant("x", value) == repr(value)
    assert "x" not in module.given


@pytest.mark.parametrize("value", [2**64, 1.5, (1,), pytest.param(object(), id="object")], ids=repr)
def test_any_other_value_has_a_name(value: Any) -> None:
    module = Module()
    assert module.given[module.constant("x", value)] is value


def test_schemas_that_load_alike_share_a_function() -> None:
    module = Module()
    name = module.loader_of(Plain())
    assert module.loader_of(Plain()) == name
    assert module.loader_of(Plain(), EXCLUDE) != name
    assert module.loader_of(Plain(only=("n",))) == name
    assert module.loader_of(Plain(exclude=("n",))) != name
    assert [order.unknown for order in module.orders()] == [RAISE, EXCLUDE, RAISE]


def test_functions_that_come_to_be_needed_on_the_way_are_among_the_orders() -> None:
    module = Module()
    module.loader_of(Plain())
    seen = []
    for order in module.orders():
        seen.append(type(order.schema))
        if len(seen) == 1:
            module.loader_of(Kin())
    assert seen == [Plain, Kin]


def test_a_schema_with_a_way_of_its_own_has_no_function() -> None:
    with pytest.raises(NotUnderstood):
        Module().loader_of(Kin(partial=True))


def test_a_miss_leaves_the_function() -> None:
    lines = ["def run(data):", *indent([*miss_if("data"), "", "return 1"])]
    given: dict[str, Any] = {"Miss": Miss}
    exec("\n".join(lines), given)
    assert given["run"](0) == 1
    with pytest.raises(Miss):
        given["run"](1)
