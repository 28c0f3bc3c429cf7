"""JSON Schemas of strangers: what they refuse is told, and nothing in them harms a server."""

import sys
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import Schema, fields, validate

from jackfield.schema import untrusted
from jackfield.schema.json_schema import json_schema
from jackfield.schema.untrusted import MAX_FAULTS, compile_untrusted
from jackfield.schema.untrusted_cost import MAX_VALUE_NESTING
from jackfield.wire.errors import Error

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3)
    ),
    max_leaves=12,
)
KEYWORDS = [
    "$anchor",
    "$defs",
    "$dynamicRef",
    "$id",
    "$ref",
    "$schema",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "contains",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "enum",
    "if",
    "items",
    "maxItems",
    "maximum",
    "minLength",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "patternProperties",
    "prefixItems",
    "properties",
    "propertyNames",
    "required",
    "then",
    "type",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
]
SCHEMAS = st.recursive(
    st.booleans()
    | st.integers(-2, 3)
    | st.sampled_from(["#", "#/$defs/a", "#/a", "object", "a", "(a+)+$", "string", "http://a/b"])
    | st.lists(st.sampled_from(["a", "b", "string", "object"]), max_size=3),
    lambda inner: (
        st.dictionaries(st.sampled_from([*KEYWORDS, "a", "b"]), inner, max_size=4)
        | st.lists(inner, max_size=3)
    ),
    max_leaves=25,
)


def nested(depth: int, key: str = "a") -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {key: value}
    return value


def refused(error: Error) -> list[tuple[str, str]]:
    """Where an error found what."""
    assert error.code == "invalid_payload"
    return [(fault["pointer"], fault["code"]) for fault in error.extra["fields"]]


def fault_of(schema: Any) -> tuple[str, str]:
    """What is wrong with a schema."""
    with pytest.raises(Error) as raised:
        compile_untrusted(schema, "/skills/0/input")
    (fault,) = refused(raised.value)
    return fault


def faults_of(schema: dict[str, Any], value: Any) -> list[tuple[str, str]]:
    """What is wrong with a value."""
    with pytest.raises(Error) as raised:
        compile_untrusted(schema).check(value)
    return refused(raised.value)


def outcome(schema: Any, value: Any) -> Error | None:
    """Why a schema, or a value by it, is refused."""
    try:
        compile_untrusted(schema).check(value)
    except Error as error:
        return error
    return None


# What a value may be


def test_a_value_that_fits_passes() -> None:
    checker = compile_untrusted({"properties": {"text": {"type": "string"}}, "required": ["text"]})
    checker.check({"text": "hi", "more": [1, None]})


@pytest.mark.parametrize(
    ("schema", "value", "faults"),
    [
        ({"required": ["text", "a/~b"]}, {}, [("/text", "required"), ("/a~1~0b", "required")]),
        (
            {"properties": {"a": {}}, "additionalProperties": False},
            {"a": 1, "b": 2, "c/d": 3},
            [("/b", "unknown"), ("/c~1d", "unknown")],
        ),
        ({"properties": {"a": {}}, "unevaluatedProperties": False}, {"b": 2}, [("/b", "unknown")]),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, [("/b", "required")]),
        ({"properties": {"a": {"type": "string"}}}, {"a": 1}, [("/a", "type")]),
        ({"properties": {"a": {"minLength": 2}}}, {"a": "x"}, [("/a", "min_length")]),
        ({"properties": {"a": {"items": {"maximum": 2}}}}, {"a": [1, 3]}, [("/a/1", "maximum")]),
        (
            {"properties": {"a": {"anyOf": [{"type": "null"}, {"minimum": 3}]}}},
            {"a": 1},
            [("/a", "any_of")],
        ),
        ({"properties": {"a": {"enum": [1, 2]}}}, {"a": 3}, [("/a", "enum")]),
        ({"properties": {"a": {"pattern": "^x$"}}}, {"a": "y"}, [("/a", "pattern")]),
        ({"properties": {"a": False}}, {"a": 1}, [("/a", "false_schema")]),
        ({"propertyNames": {"maxLength": 1}}, {"long": 1}, [("", "property_names")]),
    ],
)
def test_a_fault_has_its_place_and_the_keyword_in_snake_case(
    schema: dict[str, Any], value: dict[str, Any], faults: list[tuple[str, str]]
) -> None:
    assert faults_of(schema, value) == [(f"/input{place}", code) for place, code in faults]


def test_a_fault_is_told_in_words_that_do_not_repeat_the_value() -> None:
    properties = {"a": {"type": "string"}, "b": {"enum": ["x" * 3000]}, "c": {"minimum": 3}}
    with pytest.raises(Error) as raised:
        compile_untrusted({"properties": properties}).check(
            {"a": {"secret": "s3cr3t"}, "b": "s3cr3t", "c": 1},
            "/payload/input",
        )
    words = {fault["pointer"]: fault["message"] for fault in raised.value.extra["fields"]}
    assert words["/payload/input/a"] == 'The value is not of type "string".'
    assert words["/payload/input/c"] == "The value is less than the minimum of 3."
    assert "s3cr3t" not in str(words)
    assert len(str(words)) < 1000


def test_of_many_faults_twenty_are_told_and_the_others_counted() -> None:
    checker = compile_untrusted({"properties": {"a": {"items": {"type": "string"}}}})
    with pytest.raises(Error) as raised:
        checker.check({"a": [1] * 50})
    assert len(raised.value.extra["fields"]) == MAX_FAULTS
    assert raised.value.extra["fields_omitted"] == 50 - MAX_FAULTS


def test_of_a_large_value_the_first_fault_is_told() -> None:
    schema = {"properties": {"a": {"items": {"type": "string"}}}}
    value = {"a": ["x"] * 20_000 + [1, 2]}
    assert faults_of(schema, value) == [("/input/a/20000", "type")]


def test_of_a_large_value_of_nested_choices_no_fault_is_told() -> None:
    choice = {"anyOf": [{"properties": {"b": {"type": "string"}}, "required": ["b"]}]}
    schema = {"properties": {"a": {"items": choice}}}
    assert faults_of(schema, {"a": [{"b": 1}] * 9000}) == []


@pytest.mark.parametrize("dialect", [{}, {"$schema": "http://json-schema.org/draft-07/schema#"}])
def test_a_format_is_not_checked(dialect: dict[str, Any]) -> None:
    checker = compile_untrusted({**dialect, "properties": {"at": {"format": "date-time"}}})
    checker.check({"at": "soon"})


def test_what_is_no_json_is_refused() -> None:
    assert faults_of({}, {"a": object()}) == [("/input", "invalid")]


def test_the_schema_of_a_marshmallow_schema_refuses_what_it_does() -> None:
    class Point(Schema):
        x = fields.Integer(required=True)

    class Input(Schema):
        text = fields.String(required=True, validate=validate.Length(1, 5))
        points = fields.List(fields.Nested(Point))

    checker = compile_untrusted(json_schema(Input()))
    checker.check({"text": "hi", "points": [{"x": 1}]})
    with pytest.raises(Error) as raised:
        checker.check({"text": "", "points": [{}], "other": 1})
    assert sorted(refused(raised.value)) == [
        ("/input/other", "unknown"),
        ("/input/points/0/x", "required"),
        ("/input/text", "min_length"),
    ]


def test_a_schema_that_refers_to_itself_checks_all_levels() -> None:
    tree = {
        "$defs": {
            "tree": {
                "type": "object",
                "properties": {
                    "left": {"$ref": "#/$defs/tree"},
                    "right": {"$ref": "#/$defs/tree"},
                },
                "additionalProperties": False,
            }
        },
        "$ref": "#/$defs/tree",
    }
    compile_untrusted(tree).check(nested(100, "left"))
    assert faults_of(tree, {"left": {"right": {"up": 1}}}) == [("/input/left/right/up", "unknown")]


def test_older_dialects_are_taken_by_their_name() -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "properties": {"a": {"items": [{"type": "string"}], "additionalItems": False}},
        "dependencies": {"b": ["a"], "c": {"required": ["d"]}},
    }
    assert faults_of(schema, {"a": [1]}) == [("/input/a/0", "type")]
    assert faults_of(schema, {"b": 1, "c": 1}) == [
        ("/input/a", "required"),
        ("/input/d", "required"),
    ]


# What a schema may be


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        (None, ("", "type")),
        (True, ("", "type")),
        ([], ("", "type")),
        ({"type": "objekt"}, ("/type", "type")),
        ({"type": "string"}, ("/type", "type")),
        ({"properties": []}, ("/properties", "type")),
        ({"properties": {"a/b": {"minLength": "x"}}}, ("/properties/a~1b/minLength", "type")),
        ({"properties": {"a": {"type": "strin"}}}, ("/properties/a/type", "any_of")),
        ({"$schema": "http://127.0.0.1/schema"}, ("/$schema", "one_of")),
        ({"$schema": 7}, ("/$schema", "one_of")),
        ({"properties": {"a": {"pattern": "(a"}}}, ("/properties/a/pattern", "regexp")),
        ({"properties": {"a": {"$ref": "#/$defs/b"}}}, ("/properties/a/$ref", "reference")),
    ],
)
def test_an_invalid_schema_is_refused_where_it_is_wrong(
    schema: Any, fault: tuple[str, str]
) -> None:
    place, code = fault
    assert fault_of(schema) == (f"/skills/0/input{place}", code)


@pytest.mark.parametrize(
    "reference",
    [
        "http://127.0.0.1:9/x",
        "file:///etc/passwd",
        "//host/x",
        "other.json",
        "#name",
        "json-schema:///x",
    ],
)
def test_nothing_outside_of_a_schema_is_fetched(reference: str) -> None:
    schema = {"properties": {"a": {"anyOf": [{"$ref": reference}]}}}
    assert fault_of(schema) == ("/skills/0/input/properties/a/anyOf/0/$ref", "reference")


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"$id": "http://a/b", "$ref": "#"}}},
        {"$dynamicAnchor": "n", "properties": {"a": {"$dynamicRef": "#n"}}},
    ],
)
def test_references_that_lead_elsewhere_than_they_say_are_refused(schema: dict[str, Any]) -> None:
    assert fault_of(schema)[1] == "reference"


@pytest.mark.parametrize(
    "pattern", [r"^(?=a)b", r"(a)\1", r"(?<!a)b", "((((a{1,99}){1,99}){1,99}){1,99})"]
)
def test_a_regular_expression_that_may_take_long_is_refused(pattern: str) -> None:
    place, code = fault_of({"properties": {"a": {"pattern": pattern}}})
    assert (place, code) == ("/skills/0/input/properties/a/pattern", "regexp")


def test_a_pattern_made_to_backtrack_does_not() -> None:
    schema = {"properties": {"a": {"pattern": "^(a+)+$"}}}
    assert faults_of(schema, {"a": "a" * 50_000 + "b"}) == [("/input/a", "pattern")]


def test_many_patterns_are_not_matched_with_a_large_value() -> None:
    patterns = [{"pattern": f"[01]*1[01]{{99}}{n}$"} for n in range(200)]
    schema = {"properties": {"a": {"anyOf": patterns}}}
    assert faults_of(schema, {"a": "01" * 30_000}) == [("/input", "too_complex")]


def test_a_schema_is_bounded_in_bytes_and_in_nesting() -> None:
    assert fault_of({"description": "x" * untrusted.MAX_SCHEMA_BYTES}) == (
        "/skills/0/input",
        "length",
    )
    assert fault_of({"default": nested(32)}) == ("/skills/0/input", "nesting")
    compile_untrusted({"default": nested(31), "description": "[{" * 20})


def test_a_schema_that_contains_itself_is_refused() -> None:
    circular: dict[str, Any] = {}
    circular["properties"] = {"a": circular}
    assert fault_of(circular) == ("/skills/0/input", "invalid")


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"not": {"$ref": "#"}},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"properties": {"a": {"anyOf": [{"$ref": "#/properties/a"}]}}},
    ],
)
def test_a_schema_that_is_only_itself_is_refused(schema: dict[str, Any]) -> None:
    assert fault_of(schema)[1] == "reference"


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
def test_references_that_double_each_time_are_refused(keyword: str) -> None:
    doubled = {
        str(n): {keyword: [{"$ref": f"#/$defs/{n - 1}"}, {"$ref": f"#/$defs/{n - 1}"}]}
        for n in range(1, 40)
    }
    top = {"$defs": {"0": {"type": "object"}, **doubled}}
    assert fault_of({**top, "$ref": "#/$defs/39"})[1] == "too_complex"
    compile_untrusted({**top, "$ref": "#/$defs/5"})


def test_a_schema_that_would_exhaust_the_stack_is_refused() -> None:
    chain = {str(n): {"allOf": [{"allOf": [{"$ref": f"#/$defs/{n + 1}"}]}]} for n in range(60)}
    chain["60"] = {"properties": {"a": {"$ref": "#"}}}  # type: ignore[dict-item]
    assert fault_of({"$defs": chain, "allOf": [{"$ref": "#/$defs/0"}]})[1] == "too_complex"


def test_a_value_that_would_exhaust_the_stack_is_refused() -> None:
    schema = {"properties": {"a": {"$ref": "#"}}}
    compile_untrusted(schema).check(nested(MAX_VALUE_NESTING))
    assert faults_of(schema, nested(MAX_VALUE_NESTING + 1)) == [("/input", "too_complex")]
    deepest = nested(10 * sys.getrecursionlimit())
    assert faults_of(schema, deepest)[0][0] == "/input"


def test_a_value_is_not_looked_at_a_million_times() -> None:
    """Each level doubles what is to do for the one below: a little of that passes."""
    node = {"properties": {"a": {"$ref": "#/$defs/node"}}, "required": ["a"]}
    schema = {"$defs": {"node": {"anyOf": [node, node]}}, "$ref": "#/$defs/node"}
    assert faults_of(schema, nested(10)) == [("/input", "any_of")]
    assert faults_of(schema, nested(40)) == [("/input", "too_complex")]


def test_a_value_that_is_looked_at_by_its_name_and_by_a_pattern_is_looked_at_twice() -> None:
    again = {"a": {"$ref": "#"}}
    checker = compile_untrusted({"properties": again, "patternProperties": again})
    checker.check(nested(10))
    with pytest.raises(Error) as raised:
        checker.check(nested(40))
    assert refused(raised.value) == [("/input", "too_complex")]


@given(schema=SCHEMAS, value=st.dictionaries(st.sampled_from(["a", "b"]), JSON))
def test_whatever_comes_is_checked_or_refused(schema: Any, value: dict[str, Any]) -> None:
    error = outcome(schema, value)
    if error is not None:
        assert 1 <= len(refused(error)) <= MAX_FAULTS
        assert len(msgspec.json.encode(error.as_dict())) < 20_000


@given(value=st.dictionaries(st.sampled_from(["a", "b", "c"]), JSON))
def test_a_check_agrees_with_the_library_by_itself(value: dict[str, Any]) -> None:
    schema = {
        "properties": {"a": {"type": ["string", "array"], "items": {"type": "integer"}}},
        "required": ["b"],
        "anyOf": [{"required": ["c"]}, {"properties": {"b": {"type": "object"}}}],
    }
    assert (outcome(schema, value) is None) is jsonschema_rs.is_valid(schema, value)
