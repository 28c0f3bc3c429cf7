"""A refused payload says where, which and why: marshmallow's texts, each with place and code."""

import copy
import datetime as dt
import enum
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
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
    validates,
    validates_schema,
)

from jackfield import AnyPayload, DurationField, Error, NoPayload
from jackfield.schema.validation import bind, field_errors

Fault = tuple[str, str]
Make = Callable[[], Schema]


def schema_of(**declared: fields.Field[Any]) -> type[Schema]:
    return Schema.from_dict(declared)


def texts(messages: Any) -> Iterator[str]:
    """Every text in marshmallow's messages."""
    if isinstance(messages, dict):
        messages = list(messages.values())
    if isinstance(messages, list):
        for below in messages:
            yield from texts(below)
    else:
        yield str(messages)


def refusal(make: Make, payload: Any) -> Error:
    with pytest.raises(Error) as caught:
        bind(make(), "chat.send")(payload)
    return caught.value


def faults(make: Make, payload: Any) -> list[Fault]:
    """Place and code of each fault, in order of place; the texts are those of a plain schema."""
    error = refusal(make, payload).as_dict()
    told = error.pop("fields")
    assert error == {
        "code": "invalid_payload",
        "message": "The payload of chat.send is not valid.",
        "retryable": False,
    }
    with pytest.raises(ValidationError) as plain:
        make().load(payload)
    assert sorted(fault["message"] for fault in told) == sorted(texts(plain.value.messages))
    assert all(type(fault["message"]) is str for fault in told)
    return sorted((fault["pointer"], fault["code"]) for fault in told)


class Colour(enum.Enum):
    RED = "r"
    GREEN = "g"


class Author(Schema):
    name = fields.String(required=True, validate=validate.Length(2))
    age = fields.Integer()


class Tree(Schema):
    value = fields.Integer(required=True)
    next = fields.Nested(lambda: Tree())  # noqa: PLW0108 - not a name yet
    children = fields.List(fields.Nested(lambda: Tree()))  # noqa: PLW0108


def refuse(_: Any) -> None:
    raise ValidationError("Refused.")


def refuse_more(_: Any, **__: Any) -> None:
    raise ValidationError(["One.", "Two."])


class Even(validate.Validator):
    def __call__(self, value: int) -> int:
        if value % 2:
            raise ValidationError("Not even.")
        return value


@dataclass(frozen=True)
class AtLeast(validate.Validator):
    limit: int

    def __call__(self, value: int) -> int:
        if value < self.limit:
            raise ValidationError("Too small.")
        return value


class HTTPOnly(validate.Validator):
    __slots__ = ("scheme",)

    def __init__(self) -> None:
        self.scheme = "http"

    def __call__(self, value: str) -> str:
        if not value.startswith(self.scheme):
            raise ValidationError("Not HTTP.")
        return value


class AllOf(validate.And):
    def __call__(self, value: Any) -> Any:
        try:
            return super().__call__(value)
        except ValidationError as exc:
            raise ValidationError("Not all of it.") from exc


class WithMethod(Schema):
    def read(self, value: Any) -> Any:
        return refuse(value)


class Caller:
    def __call__(self, value: Any) -> None:
        refuse(value)


class Room(fields.String):
    default_error_messages = {"closed": "The room {name} is closed."}  # noqa: RUF012

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        if text == "unsaid":
            raise ValidationError("Words of its own.")
        if text != "lobby":
            raise self.make_error("closed", name=text)
        return text


FIELDS: list[tuple[fields.Field[Any], Any, list[str]]] = [
    (fields.Raw(), None, ["null"]),
    (fields.String(), 5, ["invalid"]),
    (fields.String(), b"\xff", ["invalid_utf8"]),
    (fields.String(), None, ["null"]),
    (fields.UUID(), "x", ["invalid_uuid"]),
    (fields.Integer(), "x", ["invalid"]),
    (fields.Integer(), True, ["invalid"]),
    (fields.Integer(), "1" * 5_000, ["invalid"]),
    (fields.Integer(strict=True), 1.5, ["invalid"]),
    (fields.Integer(), float("inf"), ["too_large"]),
    (fields.Float(), "x", ["invalid"]),
    (fields.Float(), 10**400, ["too_large"]),
    (fields.Float(), float("nan"), ["special"]),
    (fields.Decimal(), "x", ["invalid"]),
    (fields.Decimal(), "NaN", ["special"]),
    (fields.Boolean(), "maybe", ["invalid"]),
    (fields.Boolean(), [], ["invalid"]),
    (fields.DateTime(), "x", ["invalid"]),
    (fields.DateTime("%Y"), "x", ["invalid"]),
    (fields.NaiveDateTime(), "2026-01-01T00:00:00+00:00", ["invalid_awareness"]),
    (fields.AwareDateTime(), "2026-01-01T00:00:00", ["invalid_awareness"]),
    (fields.Time(), "x", ["invalid"]),
    (fields.Date(), "2026-13-01", ["invalid"]),
    (fields.TimeDelta(), "x", ["invalid"]),
    (fields.Url(), 5, ["invalid"]),
    (fields.Url(), "x", ["url"]),
    (fields.Email(), 5, ["invalid"]),
    (fields.Email(validate=validate.Length(5)), "x", ["email", "length"]),
    (fields.IP(), "x", ["invalid_ip"]),
    (fields.IPv4(), "::1", ["invalid_ip"]),
    (fields.IPv6(), "127.0.0.1", ["invalid_ip"]),
    (fields.IPInterface(), "x", ["invalid_ip_interface"]),
    (fields.IPv4Interface(), "::1", ["invalid_ip_interface"]),
    (fields.IPv6Interface(), "127.0.0.1", ["invalid_ip_interface"]),
    (fields.Enum(Colour), "BLUE", ["unknown"]),
    (fields.Enum(Colour), 5, ["invalid"]),
    (fields.Enum(Colour, by_value=True), "b", ["unknown"]),
    (fields.Enum(Colour, by_value=fields.UUID), "b", ["invalid_uuid"]),
    (fields.Method(deserialize="read"), 5, ["invalid"]),
    (fields.Function(deserialize=refuse), 5, ["invalid"]),
    (fields.Constant(5), None, ["null"]),
    (fields.Dict(), [], ["invalid"]),
    (fields.List(fields.Integer()), 5, ["invalid"]),
    (fields.List(fields.Integer(), validate=validate.Length(2)), [1], ["length"]),
    (fields.Tuple((fields.Integer(),)), "x", ["invalid"]),
    (fields.Tuple((fields.Integer(),)), [1, 2], ["length"]),
    (fields.Nested(Author), 5, ["type"]),
    (fields.Nested(Author, many=True), 5, ["type"]),
    (fields.Nested(Author), None, ["null"]),
    (fields.Pluck(Author, "name"), 5, ["invalid"]),
    (fields.Pluck(Author, "name"), "x", ["length"]),
    (fields.Pluck(Author, "name", many=True), 5, ["type"]),
    (fields.Integer(pre_load=refuse), 5, ["invalid"]),
    (fields.Integer(post_load=refuse_more), 5, ["invalid", "invalid"]),
    (fields.String(error_messages={"invalid": "Words, please."}), 5, ["invalid"]),
    (fields.String(error_messages={"null": ["One.", "Two."]}), None, ["null", "null"]),
    (Room(), 5, ["invalid"]),
    (Room(), "attic", ["closed"]),
    (Room(), "unsaid", ["invalid"]),
    (DurationField(), "5 parsecs", ["invalid"]),
]

VALIDATORS: list[tuple[Any, Any, list[str]]] = [
    (validate.Length(2), "x", ["length"]),
    (validate.Length(max=2), "xxx", ["length"]),
    (validate.Length(2, 3), "x", ["length"]),
    (validate.Length(equal=2), "x", ["length"]),
    (validate.Range(2), 1, ["range"]),
    (validate.Range(max=2, max_inclusive=False), 2, ["range"]),
    (validate.Range(2, 3), 4, ["range"]),
    (validate.Equal(5), 6, ["equal"]),
    (validate.Regexp("a+"), "b", ["regexp"]),
    (validate.Predicate("isdigit"), "b", ["predicate"]),
    (validate.NoneOf([1]), 1, ["none_of"]),
    (validate.OneOf([1], labels=["one"]), 2, ["one_of"]),
    (validate.OneOf([1], error="{input} is not {choices} nor {labels}."), 2, ["one_of"]),
    (validate.ContainsOnly([1]), [2], ["contains_only"]),
    (validate.ContainsNoneOf([1]), [1], ["contains_none_of"]),
    (validate.URL(schemes={"wss"}), "https://example.org", ["url"]),
    (validate.Email(), "x", ["email"]),
    (validate.And(validate.Range(3), Even()), 1, ["even", "range"]),
    (validate.And(validate.And(validate.Range(3), refuse)), 1, ["range", "refuse"]),
    ([validate.Range(3), validate.OneOf([5])], 1, ["one_of", "range"]),
    (Even(), 1, ["even"]),
    (AtLeast(5), 1, ["at_least"]),
    (HTTPOnly(), "ftp://", ["http_only"]),
    (AllOf(validate.Range(5)), 1, ["all_of"]),
    (Caller(), 1, ["caller"]),
    (refuse, 1, ["refuse"]),
    (refuse_more, 1, ["refuse_more", "refuse_more"]),
    (partial(refuse_more, more=1), 1, ["refuse_more", "refuse_more"]),
    (lambda value: refuse(value), 1, ["invalid"]),  # noqa: PLW0108 - it has no name
]


def name_of(value: Any) -> str:
    return type(value).__name__ if not isinstance(value, str | list) else repr(value)[:30]


@pytest.mark.parametrize(("field", "value", "codes"), FIELDS, ids=name_of)
def test_every_kind_of_field_tells_its_own_error_key(
    field: fields.Field[Any], value: Any, codes: list[str]
) -> None:
    make = WithMethod.from_dict({"f": field})
    assert faults(make, {"f": value}) == [("/f", code) for code in codes]


def test_every_kind_of_field_is_among_them() -> None:
    tested = {type(field).__name__ for field, _, _ in FIELDS}
    # Field, Mapping and Number are abstract; the rest are other names of what is tested.
    assert set(fields.__all__) - tested == {
        *("Field", "Mapping", "Number", "Bool", "Int", "Str", "URL"),
    }


@pytest.mark.parametrize(("validator", "value", "codes"), VALIDATORS, ids=name_of)
def test_every_validator_tells_its_own_name(validator: Any, value: Any, codes: list[str]) -> None:
    make = schema_of(f=fields.Raw(validate=validator))
    assert faults(make, {"f": value}) == [("/f", code) for code in codes]
    within = schema_of(f=fields.List(fields.Raw(validate=validator)))
    assert faults(within, {"f": [value]}) == [("/f/0", code) for code in codes]


def test_every_validator_is_among_them() -> None:
    tested = {type(validator) for validator, _, _ in VALIDATORS}
    public = {each for each in vars(validate).values() if isinstance(each, type)}
    assert {each for each in public if issubclass(each, validate.Validator)} - tested == {
        validate.Validator
    }


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


class Shared(Schema):
    """Every kind of part that instances of a class might share."""

    text = fields.String(required=True, validate=[validate.Length(2), Even(), AtLeast(5)])
    kind = fields.Enum(Colour, by_value=fields.String(validate=validate.Length(2)))
    pair = fields.Tuple((fields.Integer(validate=AtLeast(5)), fields.String()))
    items = fields.List(fields.Integer(validate=AtLeast(5)))
    by_name = fields.Dict(fields.String(validate=validate.Length(2)), fields.Integer())
    author = fields.Nested(Author(only=("name",)))
    authors = fields.Nested(Author, many=True)


WRONG: dict[str, Any] = {
    "kind": 5,
    "pair": ["x"],
    "items": ["x", 1],
    "by_name": {"x": "x"},
    "author": {"name": 5},
    "authors": [{"name": "x"}],
    "extra": 1,
}


def text_types(messages: Any) -> set[type]:
    if isinstance(messages, dict):
        messages = list(messages.values())
    return (
        set().union(*map(text_types, messages)) if isinstance(messages, list) else {type(messages)}
    )


def parts(schema: Schema) -> list[Any]:
    """What binding replaces, of a schema's own and of its class."""
    return [
        (field.error_messages, list(field.validators))
        for declared in (schema.fields, schema._declared_fields)
        for field in declared.values()
    ]


def test_binding_leaves_the_class_and_its_other_instances_alone() -> None:
    before = Shared()
    untouched = parts(before)
    with pytest.raises(ValidationError) as expected:
        before.load(WRONG)
    refusal(Shared, WRONG)
    refusal(Shared, WRONG)
    assert parts(before) == untouched
    for other in (before, Shared()):
        with pytest.raises(ValidationError) as caught:
            other.load(WRONG)
        assert caught.value.messages == expected.value.messages
        assert text_types(other.validate({**WRONG, "author": {"name": "xx"}})) == {str}


def test_a_bound_schema_still_says_what_it_said() -> None:
    bound = Shared()
    bind(bound, "chat.send")
    assert bound.validate(WRONG) == Shared().validate(WRONG)
    assert bound.fields.keys() == Shared().fields.keys()


def test_a_bound_validator_is_still_what_it_was() -> None:
    bound = Shared()
    bind(bound, "chat.send")
    length, even, at_least = bound.fields["text"].validators
    assert isinstance(length, validate.Length)
    assert isinstance(even, Even)
    assert isinstance(at_least, AtLeast)
    assert (length.min, at_least.limit) == (2, 5)
    assert [repr(each) for each in (length, even, at_least)] == [
        repr(each) for each in Shared().fields["text"].validators
    ]


def test_the_texts_of_a_bound_schema_can_be_copied() -> None:
    bound = Author()
    bind(bound, "chat.send")
    messages = bound.validate({"name": "x", "age": "x"})
    for copied in (copy.deepcopy(messages), pickle.loads(pickle.dumps(messages))):
        assert copied == messages
        assert {fault["code"] for fault in field_errors(bound, copied)} == {"length", "invalid"}


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
