"""A schema is checked where it is declared; the server is sent it as JSON Schema."""

from datetime import date
from typing import Any

import pytest
from marshmallow import Schema, fields

from jackfield import Error
from jackfield.client.agent.payload_schema import AnySchema, read_schema


class Trip(Schema):
    day = fields.Date(required=True)


class Trips(Schema):
    trips = fields.List(fields.Nested(Trip), required=True)
    since = fields.Date(load_default=date(2026, 1, 31))


def test_no_schema_takes_any_object() -> None:
    schema = read_schema(None, "The input")
    assert schema.json_schema is None
    assert schema.load({"a": 1}) == {"a": 1}


def test_a_json_schema_is_sent_as_it_is_and_loads_nothing() -> None:
    given = {"type": "object", "properties": {"day": {"type": "string", "format": "date"}}}
    schema = read_schema(given, "The input")
    assert schema.json_schema == given
    assert schema.load({"day": "2026-11-30"}) == {"day": "2026-11-30"}


@pytest.mark.parametrize("given", [Trip, Trip()])
def test_a_marshmallow_schema_is_described_and_loads(given: AnySchema) -> None:
    schema = read_schema(given, "The input")
    assert schema.json_schema is not None
    assert schema.json_schema["required"] == ["day"]
    assert schema.load({"day": "2026-11-30"}) == {"day": date(2026, 11, 30)}
    with pytest.raises(Error) as error:
        schema.load({"day": "soon"})
    assert error.value.code == "invalid_payload"


def test_a_default_that_is_no_json_is_described_by_its_text() -> None:
    schema = read_schema(Trips, "The input")
    assert schema.json_schema is not None
    assert schema.json_schema["properties"]["since"]["default"] == "2026-01-31"
    assert schema.load({"trips": [{"day": "2026-11-30"}]}) == {
        "trips": [{"day": date(2026, 11, 30)}],
        "since": date(2026, 1, 31),
    }


@pytest.mark.parametrize("given", [str, "object", 1])
def test_what_is_no_schema_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="The input must have a marshmallow Schema, or a JSON Sch"):
        read_schema(given, "The input")


@pytest.mark.parametrize(
    ("given", "place"),
    [({"type": "array"}, "at /type: "), ({"properties": {"a": {"pattern": "("}}}, "/a/pattern: ")],
)
def test_a_schema_that_no_server_takes_is_refused_with_the_place(
    given: dict[str, Any], place: str
) -> None:
    with pytest.raises(ValueError, match="The input has a schema that no server takes") as error:
        read_schema(given, "The input")
    assert place in str(error.value)
