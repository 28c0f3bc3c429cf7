"""Every text of a coded copy tells its code, and the schema that was copied stays as it was."""

import enum
from functools import partial
from typing import Any

import pytest
from marshmallow import Schema, ValidationError, fields, validate

from jackfield import DurationField, Error
from jackfield.schema.coded import code_nested, coded_copy
from jackfield.schema.fault_code import CodedText
from jackfield.schema.validation import bind, resolve_nested
from tests.support.refusals import AtLeast, Author, Even, Tree, faults, refuse, schema_of


class Colour(enum.Enum):
    RED = "r"
    GREEN = "g"


def refuse_more(_: Any, **__: Any) -> None:
    raise ValidationError(["One.", "Two."])


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


def parts(node: Any) -> Any:
    """All that a schema is made of, down to its validators: each part itself, and what it says."""
    if isinstance(node, Schema):
        own = (node.fields, node.load_fields, node.dump_fields, node._declared_fields)
        return id(node), node.error_messages, [parts(list(each.values())) for each in own]
    if isinstance(node, fields.Field):
        inner = {name: value for name, value in vars(node).items() if name != "parent"}
        below = [value for value in inner.values() if isinstance(value, fields.Field | list)]
        nested = [each for each in (vars(node).get("nested"), vars(node).get("_schema")) if each]
        return id(node), type(node), dict(node.error_messages), parts(below), parts(nested)
    if isinstance(node, list):
        return [parts(each) for each in node]
    return id(node), type(node), repr(node), dict(getattr(node, "__dict__", {}))


def test_binding_changes_no_part_of_a_schema() -> None:
    author = Author()
    schema = Shared.from_dict({"lead": fields.Nested(author)})()
    resolve_nested(schema)  # or marshmallow does, where it needs one
    before = parts(schema), parts(author)
    load = bind(schema, "chat.send")
    for _ in range(2):
        with pytest.raises(Error):
            load({**WRONG, "lead": {"name": "x"}})
    assert (parts(schema), parts(author)) == before


def test_a_bound_schema_and_all_others_of_its_class_raise_plain_texts() -> None:
    bound, other = Shared(), Shared()
    told = other.validate(WRONG)
    with pytest.raises(Error):
        bind(bound, "chat.send")(WRONG)
    for schema in (bound, other, Shared()):
        assert schema.validate(WRONG) == told
        assert text_types(schema.validate({**WRONG, "author": {"name": "xx"}})) == {str}


def test_a_coded_copy_says_what_the_schema_says() -> None:
    coded = coded_copy(Shared())
    assert coded.validate(WRONG) == Shared().validate(WRONG)
    assert text_types({**coded.validate(WRONG), "author": [], "authors": []}) == {CodedText}


def test_a_nested_schema_gets_its_codes_once_it_has_refused() -> None:
    coded = coded_copy(Tree())
    payload = {"value": 1, "next": {"value": 2, "children": [{"value": "x"}]}}
    assert text_types(coded.validate(payload)) == {str}
    assert code_nested(coded, coded.validate(payload))
    assert text_types(coded.validate(payload)) == {CodedText}
    assert not code_nested(coded, coded.validate(payload))
