"""What a check may cost is known from the schema, before it is begun."""

from typing import Any

import pytest

from jackfield.schema.untrusted_cost import BadSchema, Cost, cost_of, is_nested_deeper

TREE = {"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}}
#: Looks at each item twice: as one of the tree, and as any.
TWICE = {"allOf": [{"items": {"$ref": "#"}}, {"items": {"$ref": "#"}}]}


def refusal(schema: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(BadSchema) as caught:
        cost_of(schema)
    return caught.value.pointer, caught.value.code


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def test_an_empty_schema_costs_one_step_for_each_value() -> None:
    assert cost_of({}) == Cost(parts=1, patterns=0, branching=1, nests_choices=False)


def test_what_is_referred_to_twice_is_counted_twice() -> None:
    once = cost_of({"$defs": {"a": {"maxLength": 5}}, "allOf": [{"$ref": "#/$defs/a"}]})
    twice = cost_of({"$defs": {"a": {"maxLength": 5}}, "allOf": [{"$ref": "#/$defs/a"}] * 2})
    assert twice.parts > once.parts


def test_regular_expressions_are_counted() -> None:
    schema = {"pattern": "a", "patternProperties": {"b": {"pattern": "c"}, "d": True}}
    assert cost_of(schema).patterns == 4


@pytest.mark.parametrize(("schema", "branching"), [({}, 1), (TREE, 1), (TWICE, 2)])
def test_branching_is_how_often_a_level_is_looked_at_more(
    schema: dict[str, Any], branching: int
) -> None:
    assert cost_of(schema).branching == branching


def test_choices_of_what_is_in_a_value_are_told() -> None:
    assert not cost_of({"anyOf": [{"type": "object"}, {"type": "array"}]}).nests_choices
    assert cost_of({"anyOf": [{"items": {"type": "object"}}]}).nests_choices


def test_without_branching_the_steps_follow_from_the_size() -> None:
    assert cost_of({}).steps({}, 2, 1000) == 2
    assert cost_of(TREE).steps({}, 2000, 10**6) == 1001 * cost_of(TREE).parts


def test_with_branching_the_steps_double_at_each_level_until_the_limit() -> None:
    cost = cost_of(TWICE)
    assert cost.steps(nested(3), 8, 10**6) == cost.parts * (1 + 2 + 4 + 8)
    assert cost.steps(nested(100), 200, 10**6) > 10**6


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"$ref": "#"}, ("/$ref", "reference")),
        ({"$ref": "#/$defs/none"}, ("/$ref", "reference")),
        ({"not": {"$ref": "http://example.org"}}, ("/not/$ref", "reference")),
        ({"properties": {"a/b": {"$id": "x"}}}, ("/properties/a~1b/$id", "reference")),
        ({"$dynamicRef": "#a"}, ("/$dynamicRef", "reference")),
    ],
)
def test_a_reference_that_is_not_taken_is_told_in_its_place(
    schema: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert refusal(schema) == expected


def test_a_reference_may_have_escapes_of_a_pointer_and_of_a_url() -> None:
    schema = {"$defs": {"a/b~c d": {"type": "string"}}, "$ref": "#/$defs/a~1b~0c%20d"}
    assert cost_of(schema).parts > 1


def test_schemas_within_each_other_are_bounded() -> None:
    schema: dict[str, Any] = {}
    for _ in range(20):
        schema = {"not": schema}
    assert refusal(schema)[1] == "too_complex"


@pytest.mark.parametrize(
    ("encoded", "depth"),
    [
        (b"1", 0),
        (b"[]", 1),
        (b"[[],[],{}]", 2),
        (b'{"a":{"b":[1]}}', 3),
        (b'["[[[{{{"]', 1),
        (b'["\\"[[", {}]', 2),
    ],
)
def test_nesting_is_counted_outside_of_strings(encoded: bytes, depth: int) -> None:
    assert not is_nested_deeper(encoded, depth)
    assert depth == 0 or is_nested_deeper(encoded, depth - 1)
