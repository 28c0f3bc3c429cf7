"""What a payload is refused for costs no more than what is told of it."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from marshmallow import EXCLUDE, INCLUDE, Schema, ValidationError, fields, pre_load, validate

from jackfield import Error
from jackfield.http import api
from jackfield.schema import coded as coded_module
from jackfield.schema.coded import coded_copy
from jackfield.schema.fault_code import code_of
from jackfield.schema.validation import bind
from tests.support.builtin import built_in
from tests.support.refusals import refusal, schema_of
from tests.support.schemas import schemas_and_payloads
from tests.support.worst_payloads import values_in, worst_payloads

#: Fields and validators that one message may have marshmallow look at: each of 65 faults within
#: a field or two, and what is right of a schema once or twice.
MOST_VISITED = 500


class Item(Schema):
    name = fields.String(required=True)


#: How often marshmallow has looked at what.
Visits = Counter[str]


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> Visits:
    """Count what marshmallow looks at."""
    counted: Visits = Counter()

    def count(owner: Any, method: str, name: str) -> None:
        original = getattr(owner, method)

        def counting(*args: Any, **kwargs: Any) -> Any:
            counted[name] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, method, counting)

    count(fields.Field, "deserialize", "fields")
    count(coded_module._CodedValidator, "__call__", "validators")
    return counted


SCHEMAS = {handler.type: handler.schema for handler in built_in()} | {
    "POST tickets": api.Ticket(),
    "POST revoke": api.Revoke(),
    "POST disconnect": api.Disconnect(),
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_no_payload_has_marshmallow_look_at_more_than_is_told(name: str, visits: Visits) -> None:
    load = bind(SCHEMAS[name], name)
    tried = 0
    for payload in worst_payloads(SCHEMAS[name]):
        if values_in(payload) > 10_000:  # as no message's is
            continue
        tried += 1
        visits.clear()
        with suppress(Error):
            load(payload)
        assert max(visits.values(), default=0) <= MOST_VISITED, str(payload)[:200]
    assert tried >= 3


def told(make: type[Schema], payload: Any) -> list[tuple[str, str]]:
    return [(each["pointer"], each["code"]) for each in refusal(make, payload).extra["fields"]]


def too_long(inner: fields.Field[Any], bounds: Any) -> type[Schema]:
    return schema_of(f=fields.List(inner, validate=validate.Length(**bounds)))


@pytest.mark.parametrize("bounds", [{"max": 2}, {"min": 1, "max": 2}, {"equal": 2}])
@pytest.mark.parametrize("hooked", [False, True])
def test_a_list_that_is_too_long_is_refused_by_its_length_alone(
    bounds: dict[str, Any],
    hooked: bool,  # noqa: FBT001
    visits: Visits,
) -> None:
    made = too_long(fields.Integer(), bounds)

    class Hooked(made):  # type: ignore[misc, valid-type]
        @pre_load
        def keep(self, data: Any, **_: Any) -> Any:
            return data

    make = Hooked if hooked else made
    assert told(make, {"f": ["x"] * 3}) == [("/f", "length")]
    assert visits["fields"] == 1
    assert told(make, {"f": ["x"] * 2}) == [("/f/0", "invalid"), ("/f/1", "invalid")]


def test_so_are_many_objects_and_a_dictionary() -> None:
    two = validate.Length(max=2)
    make = schema_of(
        a=fields.Nested(Item, many=True, validate=two),
        b=fields.Dict(fields.String(), fields.Integer(), validate=two),
        c=fields.Dict(fields.Integer(), fields.Integer(), validate=two),
    )
    assert told(make, {"a": [0, 0, 0]}) == [("/a", "length")]
    assert told(make, {"b": {"a": "x", "b": "x", "c": "x"}}) == [("/b", "length")]
    # Three keys that become two are not too many.
    assert bind(make(), "chat.send")({"c": {"1": 1, "01": 2, "2": 3}}) == {"c": {1: 2, 2: 3}}


def test_unknown_keys_are_looked_for_until_there_are_more_than_are_told() -> None:
    payload = {f"k{number}": 0 for number in range(9_000)} | {"name": 5}
    error = refusal(Item, payload)
    codes = Counter(fault["code"] for fault in error.extra["fields"])
    assert codes == {"invalid": 1, "unknown": 63}
    assert error.extra["fields_omitted"] == 2
    nested = refusal(schema_of(a=fields.Nested(Item), b=fields.List(fields.Nested(Item))), {
        "a": payload, "b": [payload] * 10,
    })  # fmt: skip
    assert len(nested.extra["fields"]) == 64
    assert nested.extra["fields_omitted"] == 2 * 66 - 64


def test_unknown_keys_that_are_kept_or_left_out_are_all_of_them() -> None:
    payload = {f"k{number}": 0 for number in range(200)} | {"name": "a", "number": "7"}
    cases: list[tuple[Any, int]] = [(INCLUDE, 202), (EXCLUDE, 2)]
    for unknown, kept in cases:
        make = schema_of(name=fields.String(), number=fields.Integer())
        assert len(bind(make(unknown=unknown), "chat.send")(payload)) == kept


def test_a_schema_that_renames_keys_first_gets_to_see_them_all() -> None:
    class Renaming(Item):
        @pre_load
        def rename(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
            return {"name": data["k150"]}

    payload = {f"k{number}": str(number) for number in range(200)}
    assert bind(Renaming(), "chat.send")(payload) == {"name": "150"}


def test_what_is_right_among_many_is_loaded_as_well(visits: Visits) -> None:
    make = schema_of(
        f=fields.List(fields.Nested(Item)), g=fields.Dict(fields.String(), fields.Integer())
    )
    items: list[Any] = [{"name": "a"} for _ in range(3_000)]
    assert told(make, {"f": [*items, {}]}) == [("/f/3000/name", "required")]
    numbers: dict[str, Any] = {str(number): number for number in range(3_000)}
    assert bind(make(), "chat.send")({"g": numbers | {"x": "7"}})["g"] == numbers | {"x": 7}
    assert visits["fields"] < 20


@pytest.mark.timeout(600)  # as many schemas are made: a busy machine takes its time
@given(schemas_and_payloads())
def test_what_decides_decides_as_marshmallow_does(example: tuple[Schema, list[Any]]) -> None:
    schema, payloads = example
    coded = coded_copy(schema)
    for payload in payloads:
        plain, bounded = outcome(schema, payload), outcome(coded, payload)
        if isinstance(plain, ValidationError):
            assert isinstance(bounded, ValidationError)
            if "length" not in {code_of(text) for text in leaves(bounded.messages)}:
                assert bounded.messages == plain.messages
                assert repr(bounded.valid_data) == repr(plain.valid_data)
        else:
            assert repr(bounded) == repr(plain)


def leaves(messages: Any) -> Iterator[Any]:
    if isinstance(messages, dict):
        messages = list(messages.values())
    if isinstance(messages, list):
        for each in messages:
            yield from leaves(each)
    else:
        yield messages


def outcome(schema: Schema, payload: Any) -> Any:
    try:
        return schema.load(payload)
    except ValidationError as error:
        return error
    except Exception as exc:  # noqa: BLE001 - a schema's own code may raise anything
        return type(exc)
