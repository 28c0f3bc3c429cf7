"""Each fault is told in its place, by a pointer into what the client sent."""

from typing import Any

import pytest
from marshmallow import (
    EXCLUDE,
    INCLUDE,
    Schema,
    ValidationError,
    fields,
    validate,
    validates,
    validates_schema,
)

from jackfield import NoPayload
from jackfield.schema.field_errors import field_errors
from tests.support.refusals import Author, Fault, Tree, faults, schema_of


def name_of(value: Any) -> str:
    return type(value).__name__ if not isinstance(value, str | list) else repr(value)[:30]


@pytest.mark.parametrize(
    ("key", "pointer"),
    [
        ("a/b", "/a~1b"),
        ("a~b", "/a~0b"),
        ("~1", "/~01"),
        ("", "/"),
        ("0", "/0"),
        ('f\x00"é', '/f\x00"é'),
    ],
)
def test_a_pointer_leads_to_the_key_whatever_it_is(key: str, pointer: str) -> None:
    assert faults(NoPayload, {key: 1}) == [(pointer, "unknown")]
    declared = schema_of(f=fields.Integer(data_key=key))
    assert faults(declared, {key: "x"}) == [(pointer, "invalid")]
    nested = schema_of(f=fields.Nested(declared))
    assert faults(nested, {"f": {key: "x"}}) == [(f"/f{pointer}", "invalid")]
    in_dict = schema_of(f=fields.Dict(values=fields.Integer()))
    assert faults(in_dict, {"f": {key: "x"}}) == [(f"/f{pointer}", "invalid")]


def test_marshmallows_own_name_for_no_field_is_a_key_like_any_other() -> None:
    assert faults(NoPayload, {"_schema": 1}) == [("/_schema", "unknown")]
    in_dict = schema_of(f=fields.Dict(values=fields.Integer()))
    assert faults(in_dict, {"f": {"_schema": "x"}}) == [("/f/_schema", "invalid")]


def test_a_field_is_called_as_on_the_wire_and_its_python_name_is_unknown() -> None:
    make = schema_of(text=fields.String(required=True, data_key="t"))
    assert faults(make, {"text": "x"}) == [("/t", "required"), ("/text", "unknown")]


def test_a_field_that_is_only_sent_by_the_server_is_unknown() -> None:
    make = schema_of(
        made=fields.Integer(dump_only=True, data_key="n"),
        numbers=fields.List(fields.Integer(), load_only=True, data_key="n"),
        at=fields.DateTime(dump_only=True),
    )
    assert faults(make, {"n": [1, "x"], "at": 5}) == [("/at", "unknown"), ("/n/1", "invalid")]


PLACES: list[tuple[fields.Field[Any], Any, list[Fault]]] = [
    (fields.List(fields.Integer()), [1, "x", None], [("/f/1", "invalid"), ("/f/2", "null")]),
    (fields.List(fields.List(fields.Integer())), [[1], ["x"]], [("/f/1/0", "invalid")]),
    (
        fields.Tuple((fields.Integer(), fields.String(validate=validate.Length(2)))),
        ["x", "y"],
        [("/f/0", "invalid"), ("/f/1", "length")],
    ),
    (
        fields.Dict(fields.String(validate=validate.Length(2)), fields.Integer()),
        {"a": 1, "bb": "x", "c": None},
        [("/f/a", "length"), ("/f/bb", "invalid"), ("/f/c", "length"), ("/f/c", "null")],
    ),
    (fields.Dict(keys=fields.Integer()), {"1": "x", "y": "x"}, [("/f/y", "invalid")]),
    (
        fields.Dict(values=fields.List(fields.Nested(Author))),
        {"key": [{"name": "x"}], "value": [5], "_schema": [{}]},
        [
            ("/f/_schema/0/name", "required"),
            ("/f/key/0/name", "length"),
            ("/f/value/0", "type"),
        ],
    ),
    (fields.Dict(values=fields.Integer()), {1: "x", b"k": 1}, [("/f/1", "invalid")]),
    (
        fields.Nested(Author),
        {"name": "x", "extra": 1},
        [("/f/extra", "unknown"), ("/f/name", "length")],
    ),
    (fields.Nested(Author), {5: 1, "name": "xx"}, [("/f/5", "unknown")]),
    (fields.Nested({"n": fields.Integer()}), {"n": "x"}, [("/f/n", "invalid")]),
    (fields.Nested(Author(only=("age",))), {"age": "x", "name": "xx"},
     [("/f/age", "invalid"), ("/f/name", "unknown")]),
    (fields.Nested(Author, unknown=EXCLUDE), {"extra": 1}, [("/f/name", "required")]),
    (
        fields.Nested(Author, many=True),
        [{"name": "xx"}, {"name": "x", "age": "x"}, 5, {}],
        [
            ("/f/1/age", "invalid"),
            ("/f/1/name", "length"),
            ("/f/2", "type"),
            ("/f/3/name", "required"),
        ],
    ),
    (fields.List(fields.Nested(Author)), [{}, 5], [("/f/0/name", "required"), ("/f/1", "type")]),
    (
        fields.Pluck(Author, "name", many=True),
        ["xx", 5, "x"],
        [("/f/1", "invalid"), ("/f/2", "length")],
    ),
    (fields.List(fields.Pluck(Author, "name")), ["xx", 5], [("/f/1", "invalid")]),
    (
        fields.Pluck(schema_of(names=fields.List(fields.String(), data_key="n")), "names"),
        ["x", 5],
        [("/f/1", "invalid")],
    ),
    (
        fields.Nested(Tree),
        {"value": 1, "next": {"value": 2, "next": {"next": 5}, "children": [{"value": "x"}]}},
        [
            ("/f/next/children/0/value", "invalid"),
            ("/f/next/next/next", "type"),
            ("/f/next/next/value", "required"),
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value", "expected"), PLACES, ids=name_of)
def test_a_fault_within_is_told_in_its_place(
    field: fields.Field[Any], value: Any, expected: list[Fault]
) -> None:
    assert faults(schema_of(f=field), {"f": value}) == expected


class Own(Schema):
    """Refuses by its own methods whatever the payload asks for."""

    class Meta:
        unknown = INCLUDE

    text = fields.String(data_key="t")
    size = fields.Integer(attribute="length", data_key="s")
    pair = fields.Tuple((fields.Integer(), fields.Integer()))
    by_name = fields.Dict(values=fields.Integer())

    @validates("text")
    def check_text(self, value: str, **_: Any) -> None:
        if value == "refused":
            raise ValidationError("Refused.")

    @validates("pair")
    def check_pair(self, value: Any, **_: Any) -> None:
        if value == (7, 7):
            raise ValidationError({1: ["One."], 9: ["Nine."], "_schema": ["All."]})

    @validates("by_name")
    def check_by_name(self, value: dict[str, int], **_: Any) -> None:
        if "refused" in value:
            raise ValidationError({"refused": ["Key."], "_schema": ["All."]})

    @validates_schema
    def check_all(self, data: Any, **_: Any) -> None:
        if "raise" in data:
            raise ValidationError(*data["raise"])


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"t": "refused"}, ["/t"]),
        ({"pair": [7, 7]}, ["/pair", "/pair/1", "/pair/9"]),
        ({"by_name": {"refused": 7}}, ["/by_name", "/by_name/refused"]),
        ({"raise": ["Refused."]}, [""]),
        ({"raise": [["One.", "Two."]]}, ["", ""]),
        ({"raise": ["Refused.", "text"]}, ["/t"]),
        ({"raise": ["Refused.", "t"]}, ["/t"]),
        ({"raise": ["Refused.", "size"]}, ["/s"]),
        ({"raise": ["Refused.", "length"]}, ["/s"]),
        ({"raise": ["Refused.", "elsewhere"]}, ["/elsewhere"]),
        ({"raise": [{"text": ["One."], "s": "Two.", "_schema": ["All."]}]}, ["", "/s", "/t"]),
        ({"raise": [{"by_name": {"k": {"value": ["Refused."]}}}]}, ["/by_name/k"]),
        ({"raise": [{"pair": {0: {"deep": {1: ["Refused."]}}}}]}, ["/pair/0/deep/1"]),
        ({"raise": [[{"text": ["Refused."]}]]}, ["/text"]),
    ],
    ids=repr,
)
def test_what_a_schema_says_itself_is_told_in_its_place(
    payload: dict[str, Any], expected: list[str]
) -> None:
    assert faults(Own, payload) == [(pointer, "invalid") for pointer in expected]
    nested = schema_of(f=fields.Nested(Own))
    assert faults(nested, {"f": payload}) == [(f"/f{place}", "invalid") for place in expected]


def test_both_a_fields_and_its_schemas_faults_are_told() -> None:
    class Both(Schema):
        text = fields.String(data_key="t", required=True)

        @validates_schema(skip_on_field_errors=False)
        def check(self, _: Any, **__: Any) -> None:
            raise ValidationError("Refused.", "text")

    assert faults(Both, {"text": 5}) == [
        ("/t", "invalid"),
        ("/t", "required"),
        ("/text", "unknown"),
    ]


def test_messages_of_no_schema_are_flattened_as_they_stand() -> None:
    messages = {"a": {0: ["One."], "_schema": ["Two."]}, "_schema": "Three.", "b/c": {"d": "Four."}}
    assert [(fault["pointer"], fault["message"]) for fault in field_errors(None, messages)] == [
        ("/a/0", "One."),
        ("/a", "Two."),
        ("", "Three."),
        ("/b~1c/d", "Four."),
    ]
    assert list(field_errors(None, ["One."], "/f")) == [
        {"pointer": "/f", "code": "invalid", "message": "One."}
    ]
