"""A bound schema loads as marshmallow does, and refuses in the protocol's words."""

import datetime as dt
import enum
from typing import Any

import pytest
from marshmallow import (
    EXCLUDE,
    INCLUDE,
    Schema,
    ValidationError,
    fields,
    post_load,
    pre_load,
    validate,
)
from marshmallow.exceptions import RegistryError

from jackfield import AnyPayload, Error, NoPayload
from jackfield.schema.validation import bind, resolve_nested
from tests.support.refusals import Author, Tree, faults, refusal, schema_of


class Colour(enum.Enum):
    RED = "r"
    GREEN = "g"


def test_a_missing_key_and_an_unknown_one_are_told() -> None:
    make = schema_of(text=fields.String(required=True), room=fields.String(required=True))
    assert faults(make, {"txet": "x", "room": "lobby"}) == [
        ("/text", "required"),
        ("/txet", "unknown"),
    ]


def test_a_refusal_is_the_error_object_of_the_protocol() -> None:
    assert refusal(schema_of(text=fields.String(required=True)), {}).as_dict() == {
        "code": "invalid_payload",
        "message": "The payload of chat.send is not valid.",
        "retryable": False,
        "fields": [
            {
                "pointer": "/text",
                "code": "required",
                "message": "Missing data for required field.",
            }
        ],
    }


def test_the_first_refusal_of_a_nested_schema_is_as_good_as_any() -> None:
    load = bind(schema_of(f=fields.List(fields.Nested(Tree)))(), "chat.send")
    payload = {"f": [{"value": 1, "children": [{"value": "x"}]}]}
    told = []
    for _ in range(3):
        with pytest.raises(Error) as caught:
            load(payload)
        told.append(caught.value.as_dict())
    assert told[0] == told[1] == told[2]
    assert told[0]["fields"][0]["code"] == "invalid"


def test_hooks_run_and_may_refuse() -> None:
    class Hooked(Schema):
        text = fields.String(data_key="t", required=True)

        @pre_load
        def rename(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
            if "old" not in data:
                return data
            if data["old"] == "refused":
                raise ValidationError("Refused.", "text")
            return {"t": data["old"]}

        @post_load
        def wrap(self, data: dict[str, Any], **_: Any) -> list[Any]:
            if data["text"] == "refused":
                raise ValidationError("Refused.")
            return [data["text"]]

    load = bind(Hooked(), "chat.send")
    assert load({"t": "x"}) == load({"old": "x"}) == ["x"]
    assert faults(Hooked, {"old": "refused"}) == [("/t", "invalid")]
    assert faults(Hooked, {"t": "refused"}) == [("", "invalid")]
    assert faults(Hooked, {}) == [("/t", "required")]


@pytest.mark.parametrize("field", [
    fields.Raw(validate=lambda value: 1 / value),
    fields.Function(deserialize=lambda value: 1 / value),
    fields.Raw(post_load=lambda value: 1 / value),
])  # fmt: skip
def test_what_else_a_schemas_own_code_raises_is_passed_on(field: fields.Field[Any]) -> None:
    with pytest.raises(ZeroDivisionError):
        bind(schema_of(f=field)(), "chat.send")({"f": 0})


def test_of_more_than_64_faults_the_rest_are_counted() -> None:
    make = schema_of(f=fields.List(fields.Integer()))
    all_told = refusal(make, {"f": ["x"] * 64}).extra
    assert len(all_told["fields"]) == 64
    assert "fields_omitted" not in all_told
    some_told = refusal(make, {"f": ["x"] * 1_000}).extra
    assert some_told == {**all_told, "fields_omitted": 936}


def test_nesting_of_any_depth_is_loaded_or_refused_in_words() -> None:
    load = bind(Tree(), "chat.send")
    for value in (1, "x"):
        codes = []
        for depth in (*range(80, 160), *range(200, 1_500, 200)):
            payload: dict[str, Any] = {"value": value}
            for _ in range(depth):
                payload = {"value": 1, "next": payload}
            try:
                load(payload)
            except Error as exc:
                codes.append(exc.code)
        assert set(codes) <= {"invalid_payload", "invalid_json"}
        assert codes[-1] == "invalid_json"


def test_a_valid_payload_is_loaded_as_marshmallow_loads_it() -> None:
    class Everything(Schema):
        text = fields.String(data_key="t", required=True, validate=validate.Length(1, 5))
        at = fields.DateTime(load_default=None)
        kind = fields.Enum(Colour, load_default=Colour.RED)
        author = fields.Nested(Author)
        size = fields.Integer(attribute="length")

    payload = {"t": "x", "at": "2026-01-01", "author": {"name": "xx"}, "size": "7"}
    loaded = bind(Everything(), "chat.send")(payload)
    assert loaded == Everything().load(payload)
    assert loaded == {
        "text": "x",
        "at": dt.datetime.fromisoformat("2026-01-01"),
        "kind": Colour.RED,
        "author": {"name": "xx"},
        "length": 7,
    }
    assert payload["size"] == "7"


def test_a_schemas_own_options_hold() -> None:
    assert bind(Author(partial=True), "chat.send")({}) == {}
    assert bind(Author(unknown=EXCLUDE), "chat.send")({"name": "xx", "n": 1}) == {"name": "xx"}
    assert bind(Author(unknown=INCLUDE), "chat.send")({"name": "xx", "n": 1})["n"] == 1
    assert faults(lambda: Author(only=("age",)), {"name": "xx"}) == [("/name", "unknown")]


def test_no_payload_takes_none_and_any_payload_takes_any_as_it_is() -> None:
    assert bind(NoPayload(), "chat.send")({}) == {}
    assert faults(NoPayload, {"x": 1}) == [("/x", "unknown")]
    payload: dict[str, Any] = {"b": [1], "a": {}, "_schema": None}
    assert bind(AnyPayload(), "chat.send")(payload) is payload


def test_one_schema_may_serve_two_message_types() -> None:
    schema = Author()
    one, two = bind(schema, "chat.one"), bind(schema, "chat.two")
    for load, message_type in ((one, "chat.one"), (two, "chat.two"), (one, "chat.one")):
        with pytest.raises(Error) as caught:
            load({"name": "x"})
        assert caught.value.message == f"The payload of {message_type} is not valid."
        assert caught.value.extra["fields"][0]["code"] == "length"


def test_a_schema_that_is_nowhere_is_found_before_a_payload_comes() -> None:
    schema = schema_of(f=fields.Dict(values=fields.List(fields.Nested("NoSuchSchema"))))()
    with pytest.raises(RegistryError, match="NoSuchSchema"):
        resolve_nested(schema)
    resolve_nested(Tree())  # nests itself, and has an end all the same
