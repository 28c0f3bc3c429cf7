"""What a plugin may answer or publish: an object, however it is written, or nothing."""

from collections import UserDict
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from marshmallow import RAISE, Schema, fields

from jackfield.schema.payload import PayloadError, as_payload, check_against


class Told(Schema):
    class Meta:
        unknown = RAISE

    n = fields.Integer(required=True, strict=True)


@dataclass
class Data:
    n: int


class Struct(msgspec.Struct):
    n: int


def test_a_dictionary_is_a_payload_as_it_is() -> None:
    result = {"n": 1}
    assert as_payload(result) is result


def test_nothing_is_the_empty_object() -> None:
    assert as_payload(None) == {}


@pytest.mark.parametrize("result", [UserDict(n=1), MappingProxyType({"n": 1})], ids=repr)
def test_any_mapping_becomes_a_dictionary(result: Any) -> None:
    assert as_payload(result) == {"n": 1}
    assert type(as_payload(result)) is dict


@pytest.mark.parametrize(
    "result", [Data(1), Struct(1), pytest.param(msgspec.Raw(b'{"n":1}'), id="Raw")], ids=repr
)
def test_what_is_encoded_as_an_object_is_passed_on(result: Any) -> None:
    assert as_payload(result) is result
    assert msgspec.json.encode(result) == b'{"n":1}'
    check_against(Told(), result)


@pytest.mark.parametrize(
    "result", [1, "text", [1], ("a", 1), True, Data, pytest.param(object(), id="object")], ids=repr
)
def test_anything_else_is_a_fault_of_the_plugin(result: Any) -> None:
    with pytest.raises(PayloadError, match=f"not {type(result).__name__}$"):
        as_payload(result)


@pytest.mark.parametrize("result", [{}, {"n": "1"}, {"n": 1, "m": 2}, None], ids=repr)
def test_what_the_schema_does_not_declare_is_a_fault_of_the_plugin(result: Any) -> None:
    with pytest.raises(PayloadError, match="not what the schema declares"):
        check_against(Told(), result)


def test_what_is_checked_is_what_the_client_will_read() -> None:
    check_against(Schema.from_dict({"inner": fields.Nested(Told)})(), {"inner": Data(1)})
    with pytest.raises(PayloadError):
        check_against(Schema.from_dict({"inner": fields.Nested(Told)})(), {"inner": {1: 1}})
