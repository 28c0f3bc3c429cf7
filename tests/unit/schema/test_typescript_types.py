"""A JSON Schema becomes the narrowest TypeScript type that takes all of its values."""

from typing import Any

import pytest

from jackfield.schema.typescript_types import (
    ANYTHING,
    alternatives,
    block,
    comment,
    declaration,
    essence,
    member_name,
    reached,
    union,
)


def types(schema: Any) -> list[str]:
    return alternatives(essence(schema, "readOnly"), {"#/$defs/A": "Chat.A"})


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (True, ["unknown"]),
        (False, ["never"]),
        ({"type": "integer"}, ["number"]),
        ({"type": ["string", "null"]}, ["string", "null"]),
        ({"enum": ["b", "a", None, 2, 10]}, ["2", "10", '"a"', '"b"', "null"]),
        ({"const": 2**53}, ["number"]),
        ({"type": "array", "items": {"type": ["string", "null"]}}, ["(string | null)[]"]),
        ({"type": "object"}, [ANYTHING]),
        ({"type": "object", "additionalProperties": False}, ["{ [key: string]: never }"]),
        ({"$ref": "#/$defs/A"}, ["Chat.A"]),
        ({"$ref": "#/$defs/gone"}, ["unknown"]),
        ({"allOf": [{"$ref": "#/$defs/A"}, {"type": "string"}]}, ["(Chat.A & string)"]),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, ["string", "null"]),
    ],
)
def test_a_schema_has_these_types(schema: Any, expected: list[str]) -> None:
    assert types(schema) == expected


def test_only_what_a_side_sees_is_essential() -> None:
    schema = {
        "type": "object",
        "title": "left out",
        "properties": {"a": {"type": "string", "readOnly": True}, "b": {"minimum": 1}},
        "required": ["a", "b"],
    }
    assert essence(schema, "readOnly") == {
        "type": "object",
        "properties": {"b": {}},
        "required": ["b"],
    }
    assert set(essence(schema, "writeOnly")["properties"]) == {"a", "b"}


def test_definitions_are_reached_one_by_another_and_once() -> None:
    definitions = {"#a": {"items": {"$ref": "#b"}}, "#b": {"items": {"$ref": "#a"}}, "#c": {}}
    assert reached({"anyOf": [{"$ref": "#a"}, {"$ref": "#a"}]}, definitions) == ["#a", "#b"]
    assert reached("#c", definitions) == ["#c"]
    assert reached({"properties": {"$ref": {"type": "string"}}}, definitions) == []


def test_what_can_be_an_interface_is_one() -> None:
    definition = essence({"type": "object", "properties": {"a": {"type": "string"}}}, "readOnly")
    text = declaration("A", definition, {})
    assert text == "interface A {\n  a?: string;\n}"
    assert declaration("B", essence({"type": "string"}, "readOnly"), {}) == "type B = string;"


def test_a_union_has_each_type_once_and_no_never() -> None:
    assert union([["string"], ["null", "string"], ["never"]]) == ["string", "null"]
    assert union([["string"], ["unknown"]]) == ["unknown"]
    assert union([["never"]]) == ["never"]


def test_a_comment_has_its_paragraphs_and_can_not_end_early() -> None:
    assert comment("", " ") == ""
    assert comment("One.") == "/** One. */\n"
    assert comment("One.", "Two.") == "/**\n * One.\n *\n * Two.\n */\n"
    assert comment("a */ b\x00") == "/** a *\\/ b\N{REPLACEMENT CHARACTER} */\n"


@pytest.mark.parametrize(
    ("name", "member"),
    [("text", "text"), ("$a_1", "$a_1"), ("a.b", '"a.b"'), ("", '""'), ("é\u2028", '"é\\u2028"')],
)
def test_a_member_is_quoted_unless_it_is_an_identifier(name: str, member: str) -> None:
    assert member_name(name) == member


def test_a_block_is_indented_or_empty() -> None:
    assert block(["a: 1;", "b: {\n  c: 2;\n};"]) == "{\n  a: 1;\n  b: {\n    c: 2;\n  };\n}"
    assert block([]) == "{}"
