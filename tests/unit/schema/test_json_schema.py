"""What a client is told of a payload is JSON Schema that stands by itself."""

from typing import Any

import msgspec
import pytest
from marshmallow import EXCLUDE, INCLUDE, Schema, fields, validate

from jackfield import AnyPayload, NoPayload
from jackfield.schema.json_schema import json_schema
from jackfield.schema.validation import bind


class Author(Schema):
    name = fields.String(required=True, validate=validate.Length(1, 64))
    age = fields.Integer(validate=validate.Range(min=0))


class Tree(Schema):
    value = fields.Integer(required=True)
    children = fields.List(fields.Nested(lambda: Tree()))  # noqa: PLW0108 - not a name yet


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*map(references, node.values()))
    return set().union(*map(references, node)) if isinstance(node, list) else set()


def test_fields_are_properties_with_their_limits() -> None:
    class Send(Schema):
        room = fields.String(
            required=True, data_key="room-name", metadata={"description": "Where."}
        )
        text = fields.String(validate=validate.Length(1, 4096), load_default="")
        kind = fields.String(validate=validate.OneOf(["a", "b"]))
        code = fields.String(validate=validate.Regexp("^[a-z]+$"))
        count = fields.Integer(validate=validate.Range(0, 9), allow_none=True)
        tags = fields.List(fields.String(), validate=validate.Length(max=3))

    assert json_schema(Send()) == {
        "type": "object",
        "properties": {
            "room-name": {"type": "string", "description": "Where."},
            "text": {"type": "string", "minLength": 1, "maxLength": 4096, "default": ""},
            "kind": {"type": "string", "enum": ["a", "b"]},
            "code": {"type": "string", "pattern": "^[a-z]+$"},
            "count": {"type": ["integer", "null"], "minimum": 0, "maximum": 9},
            "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
        },
        "required": ["room-name"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("schema", "refused"),
    [
        (NoPayload(), True),
        (Author(), True),
        (AnyPayload(), False),
        (Author(unknown=INCLUDE), False),
        (Author(unknown=EXCLUDE), False),
    ],
    ids=["none", "default", "any", "include", "exclude"],
)
def test_unknown_keys_are_forbidden_just_where_they_are_refused(
    schema: Schema,
    refused: bool,  # noqa: FBT001
) -> None:
    assert (json_schema(schema).get("additionalProperties") is False) is refused


def test_schemas_within_stand_in_the_same_document() -> None:
    class Post(Schema):
        author = fields.Nested(Author, required=True)
        readers = fields.List(fields.Nested(Author))
        by_name = fields.Dict(keys=fields.String(), values=fields.Nested(Author))

    document = json_schema(Post())
    assert document["properties"]["author"] == {"$ref": "#/$defs/Author"}
    assert document["properties"]["readers"]["items"] == {"$ref": "#/$defs/Author"}
    assert document["properties"]["by_name"]["additionalProperties"] == {"$ref": "#/$defs/Author"}
    assert document["$defs"] == {"Author": json_schema(Author())}


def test_one_class_with_other_fields_gets_a_name_of_its_own() -> None:
    class Post(Schema):
        author = fields.Nested(Author)
        editor = fields.Nested(Author, only=("name",))

    document = json_schema(Post())
    assert document["properties"]["editor"] == {"$ref": "#/$defs/Author2"}
    assert set(document["$defs"]["Author"]["properties"]) == {"name", "age"}
    assert set(document["$defs"]["Author2"]["properties"]) == {"name"}


def test_two_classes_of_one_name_stay_two() -> None:
    other = Schema.from_dict({"title": fields.String()}, name="Author")

    class Post(Schema):
        author = fields.Nested(Author)
        titled = fields.Nested(other)

    document = json_schema(Post())
    assert [set(each["properties"]) for each in document["$defs"].values()] == [
        {"name", "age"},
        {"title"},
    ]


def test_a_schema_that_holds_itself_comes_to_an_end() -> None:
    document = json_schema(Tree())
    assert document["properties"]["children"]["items"] == {"$ref": "#/$defs/Tree"}
    assert document["$defs"]["Tree"] == {
        key: value for key, value in document.items() if key != "$defs"
    }


def test_a_plucked_field_is_the_field_itself() -> None:
    class Post(Schema):
        author = fields.Pluck(Author, "name")

    author = json_schema(Post())["properties"]["author"]
    assert author == {"type": "string", "minLength": 1, "maxLength": 64}


def test_a_field_may_be_called_as_json_schema_calls_a_reference() -> None:
    class Odd(Schema):
        ref = fields.String(data_key="$ref")
        author = fields.Nested(Author)

    document = json_schema(Odd())
    assert document["properties"]["$ref"] == {"type": "string"}
    assert document["properties"]["author"] == {"$ref": "#/$defs/Author"}


def test_every_reference_leads_somewhere_in_plain_json() -> None:
    class Everything(Schema):
        tree = fields.Nested(Tree)
        pair = fields.Tuple((fields.Integer(), fields.Nested(Author)))
        authors = fields.Nested(Author, many=True)
        deep = fields.Dict(values=fields.List(fields.Nested(Author, only=("age",))))

    document = json_schema(Everything())
    assert msgspec.json.decode(msgspec.json.encode(document)) == document
    assert references(document)
    assert references(document) <= {f"#/$defs/{name}" for name in document["$defs"]}


def test_it_is_the_same_once_the_schema_is_bound() -> None:
    class Everything(Schema):
        name = fields.String(validate=validate.Length(1, 5))
        count = fields.Integer(validate=[validate.Range(0, 9), validate.NoneOf([3])])
        kind = fields.List(fields.String(validate=validate.OneOf(["a", "b"])))
        both = fields.String(validate=validate.And(validate.Length(2), validate.Regexp("^a")))
        author = fields.Nested(Author)
        link = fields.Url()
        mail = fields.Email()

    bound = Everything()
    bind(bound, "chat.send")
    assert json_schema(bound) == json_schema(Everything())
