"""Compiled schemas: they change nothing but the time.

The property test runs a few hundred examples. `JACKFIELD_EXAMPLES=10000` and `--timeout=0` make it
thorough, which takes some ten minutes; more at once would take much memory.
"""

import datetime as dt
import os
import re
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from marshmallow import (
    EXCLUDE,
    INCLUDE,
    RAISE,
    Schema,
    ValidationError,
    fields,
    missing,
    validate,
    validates_schema,
)

from jackfield.schema.compiled import compile_schema
from jackfield.schema.validation import bind
from jackfield.wire.errors import Error
from tests.support.paths import DOCS
from tests.support.schemas import (
    LEAVES,
    ODD_VALUES,
    Book,
    Colour,
    Kin,
    Kind,
    lookalikes,
    schemas_and_payloads,
)

EXAMPLES = int(os.environ.get("JACKFIELD_EXAMPLES", "300"))


def schema_of(unknown: Any = RAISE, /, **declared: Any) -> Schema:
    return Schema.from_dict(declared)(unknown=unknown)


def outcome(load: Callable[[Any], Any], payload: Any) -> tuple[Any, ...]:
    """What comes of a payload; an exception that is no verdict is an outcome like any other."""
    try:
        return "loaded", load(payload)
    except ValidationError as exc:
        return "refused", exc.messages
    except Exception as exc:  # noqa: BLE001 - validators of the wrong type raise what they like
        return "raised", type(exc), str(exc)


def containers(value: Any) -> set[int]:
    """The identities of all containers in a payload."""
    if isinstance(value, dict):
        return {id(value)}.union(*(containers(inner) for inner in value.values()))
    if isinstance(value, list | tuple):
        return {id(value)}.union(*(containers(inner) for inner in value))
    return set()


def assert_alike(compiled: Any, plain: Any, of_payload: set[int]) -> None:
    """Hold two results equal: types, values, the order of keys, and what is the payload's own."""
    assert type(compiled) is type(plain)
    if id(compiled) in of_payload or id(plain) in of_payload:
        assert compiled is plain
    if isinstance(plain, dict):
        assert_alike([*compiled.items()], [*plain.items()], of_payload)
    elif isinstance(plain, list | tuple):
        assert len(compiled) == len(plain)
        for ours, theirs in zip(compiled, plain, strict=True):
            assert_alike(ours, theirs, of_payload)
    elif compiled is not plain:
        assert repr(compiled) == repr(plain)


def assert_no_difference(schema: Schema, *payloads: Any) -> None:
    compilation = compile_schema(schema)
    assert compilation.load is not None, compilation.reason
    before = deepcopy(payloads)
    for payload in payloads:
        compiled = outcome(compilation.load, payload)
        assert_alike(compiled, outcome(schema.load, payload), containers(payload))
    assert payloads == before


def compiled_alone(schema: Schema) -> Callable[[Any], Any]:
    """The compiled loader of a schema that marshmallow does not get to see a payload of."""
    load = compile_schema(schema).load
    assert load is not None

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("it was left to marshmallow")

    schema._do_load = refuse  # type: ignore[method-assign]
    return load


@pytest.mark.timeout(600)  # hundreds of schemas are compiled: a busy machine takes its time
@given(schemas_and_payloads())
@settings(max_examples=EXAMPLES)
def test_a_compiled_schema_loads_and_refuses_as_marshmallow_does(
    example: tuple[Schema, list[Any]],
) -> None:
    schema, payloads = example
    assert_no_difference(schema, *payloads)


class Between(Schema):
    """What is validated as a whole, by one object's method and by one that knows of lists."""

    low = fields.Integer(required=True)
    high = fields.Integer(load_default=10)

    @validates_schema
    def is_ordered(self, data: dict[str, Any], **given: Any) -> None:
        assert given == {"partial": None, "many": False, "unknown": self.unknown}
        if data["low"] > data["high"]:
            raise ValidationError("They are the wrong way round.", "low")

    @validates_schema(pass_collection=True)
    def is_rounded(self, data: dict[str, Any], **given: Any) -> None:
        assert given == {"partial": None, "many": False, "unknown": self.unknown}
        data["low"] -= data["low"] % 2


@pytest.mark.parametrize("unknown", [RAISE, EXCLUDE, INCLUDE])
def test_a_payload_is_validated_as_a_whole_as_marshmallow_does(unknown: Any) -> None:
    payloads = [{"low": 5}, {"low": 11}, {"low": 5, "high": 4}, {}, {"low": 1, "else": 2}]
    assert_no_difference(Between(unknown=unknown), *payloads)
    assert compiled_alone(Between(unknown=unknown))({"low": 5}) == {"low": 4, "high": 10}


every_kind = pytest.mark.parametrize(
    "kind", LEAVES, ids=[type(kind.make()).__name__ for kind in LEAVES]
)


@every_kind
@pytest.mark.parametrize("allow_none", [False, True])
def test_every_kind_of_field_takes_and_refuses_what_it_ever_did(
    kind: Kind, *, allow_none: bool
) -> None:
    values = [kind.example, *lookalikes(kind.example), *ODD_VALUES]
    for validator in [None, *kind.validators]:
        field = kind.make(allow_none=allow_none, validate=validator)
        assert_no_difference(schema_of(a=field), *({"a": value} for value in values))


@every_kind
def test_a_field_within_another_takes_and_refuses_what_it_ever_did(kind: Kind) -> None:
    field = kind.make()
    schema = schema_of(
        a=fields.List(field),
        b=fields.Tuple([field, field]),
        c=fields.Dict(field, field),
        d=fields.Nested({"a": field}, many=True),
    )
    payloads: list[Any] = []
    for value in [kind.example, *lookalikes(kind.example), *ODD_VALUES]:
        payloads += [{"a": [value]}, {"b": [kind.example, value]}, {"c": {"a": value}}]
        payloads += [{"d": [{"a": value}, {}]}]
        if isinstance(value, str | int | None):
            payloads += [{"c": {value: kind.example}}]
    assert_no_difference(schema, *payloads)


@every_kind
def test_a_right_value_of_every_kind_needs_no_marshmallow(kind: Kind) -> None:
    schema = schema_of(value=kind.make())
    right = schema.load({"value": kind.example})
    assert_alike(compiled_alone(schema)({"value": kind.example}), right, set())


class Leaf(Schema):
    p = fields.Integer()
    q = fields.Integer()


class Branch(Schema):
    leaf = fields.Nested(Leaf)
    leaves = fields.List(fields.Nested(Leaf))


NOON = dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)

CORPUS: list[tuple[str, Schema, list[Any]]] = [
    (
        "a missing key is no null",
        schema_of(a=fields.String(allow_none=True), b=fields.String(load_default=None)),
        [{}, {"a": None}, {"b": None}, {"a": "", "b": ""}],
    ),
    (
        "true is no integer, and one is true",
        schema_of(a=fields.Integer(), b=fields.Boolean(), c=fields.Float()),
        [{"a": True}, {"b": 1}, {"b": 1.0}, {"c": True}, {"c": 1}, {"a": 1.0}, {"a": "1"}],
    ),
    (
        "an integer too large for a float",
        schema_of(a=fields.Float(), b=fields.Decimal(), c=fields.TimeDelta()),
        [{"a": 10**400}, {"b": 10**5000}, {"c": 10**400}],
    ),
    (
        "a callable default that is missing after all",
        schema_of(a=fields.String(load_default=lambda: missing), b=fields.Raw(load_default=dict)),
        [{}, {"a": "x"}],
    ),
    (
        "a constant that is called where it is missing, and not where it is there",
        schema_of(a=fields.Constant(list), b=fields.Constant(None), c=fields.Constant(1)),
        [{}, {"a": 1, "b": None, "c": None}, {"b": 2, "c": 2}],
    ),
    (
        "a constant that is required",
        schema_of(a=fields.Constant(1, required=True)),
        [{}, {"a": 2}, {"a": None}],
    ),
    (
        "an attribute with dots that another is in the way of",
        schema_of(a=fields.Integer(attribute="x"), b=fields.Integer(attribute="x.y")),
        [{"a": 1, "b": 2}, {"b": 2}, {"a": 1}],
    ),
    (
        "an unknown key that takes the place of an attribute",
        schema_of(INCLUDE, a=fields.Integer(data_key="b"), c=fields.Integer(load_default=3)),
        [{"a": 1, "b": 2}, {"a": 1}, {"a": 1, "z": 1, "y": 1, "x": 1, "b": 1}],
    ),
    (
        "fields that are read from each other's name",
        schema_of(a=fields.Integer(data_key="b"), b=fields.String(data_key="a")),
        [{"a": "x", "b": 1}, {"a": 1, "b": "x"}],
    ),
    (
        "a key that is only for the way out",
        schema_of(EXCLUDE, a=fields.Integer(dump_only=True), b=fields.Integer(load_only=True)),
        [{"a": 1, "b": 2}, {"a": 1}],
    ),
    (
        "a name that is no Python",
        schema_of(**{"a b": fields.Integer(), "'\"\\\n": fields.Integer(), "": fields.Integer()}),
        [{"a b": 1, "'\"\\\n": 2, "": 3}, {"a b": 1, "c": 2}],
    ),
    (
        "a surrogate, which no source file may have",
        schema_of(**{"\ud800": fields.String(validate=validate.Equal("\udfff"))}),
        [{"\ud800": "\udfff"}, {"\ud800": "x"}],
    ),
    (
        "a NaN is neither below nor above a bound",
        schema_of(a=fields.Float(allow_nan=True, validate=validate.Range(0, 1))),
        [{"a": float("nan")}, {"a": 2.0}, {"a": 1}],
    ),
    (
        "a bound that is a NaN",
        schema_of(a=fields.Float(validate=validate.Range(min=float("nan")))),
        [{"a": 1.0}],
    ),
    (
        "an infinity is no number, also not to a decimal that takes NaN",
        schema_of(a=fields.Decimal(allow_nan=True), b=fields.Decimal(places=2)),
        [{"a": "sNaN"}, {"a": "-Infinity"}, {"b": "Infinity"}, {"b": "1e30"}],
    ),
    (
        "a value that can't be hashed, where it must be looked up",
        schema_of(
            a=fields.Raw(validate=validate.OneOf({"x", 1})),
            b=fields.Raw(validate=validate.NoneOf({"x", 1})),
            c=fields.Boolean(),
        ),
        [{"a": []}, {"b": []}, {"c": []}, {"c": {}}, {"b": [], "a": 1}],
    ),
    (
        "a validator for another type",
        schema_of(a=fields.Raw(validate=validate.Length(1)), b=fields.Raw(validate=[abs])),
        [{"a": 1}, {"a": []}, {"b": "x"}, {"b": -1}],
    ),
    (
        "a name of an enum's that is no member of it",
        schema_of(a=fields.Enum(Colour), b=fields.Enum(Colour, by_value=True)),
        [{"a": "mro"}, {"a": "name"}, {"a": "SCARLET"}, {"b": 1.0}, {"b": True}, {"b": []}],
    ),
    (
        "two keys of a dictionary that load as one",
        schema_of(a=fields.Dict(fields.Integer(), fields.Raw(allow_none=True))),
        [{"a": {"1": 1, "01": 2}}, {"a": {1: None}}, {"a": {"x": 1}}],
    ),
    (
        "a tuple of none, and one of another length",
        schema_of(a=fields.Tuple(()), b=fields.Tuple((fields.Raw(), fields.Raw(allow_none=True)))),
        [{"a": []}, {"a": [1]}, {"b": [1, None]}, {"b": [None, 1]}, {"b": [1]}, {"b": "ab"}],
    ),
    (
        "what MessagePack has and JSON has not",
        schema_of(a=fields.String(), b=fields.DateTime(), c=fields.Date(), d=fields.UUID()),
        [{"a": b"x"}, {"b": NOON}, {"c": NOON}, {"d": b"0123456789abcdef"}, {1: 2}],
    ),
    (
        "a payload that is no object",
        schema_of(a=fields.Integer()),
        [None, [], "a", 1, [("a", 1)], {"a": 1}],
    ),
    (
        "a nested schema's own way with unknown keys",
        schema_of(
            a=fields.Nested(Leaf, unknown=INCLUDE),
            b=fields.Nested(Leaf, unknown=EXCLUDE),
            c=fields.Nested(Leaf, many=True),
            d=fields.Nested(Leaf(unknown=INCLUDE), unknown=RAISE),
            e=fields.Nested(Leaf(unknown=EXCLUDE), many=True),
        ),
        [{name: value} for name in "abcde" for value in [{"x": 1, "p": 2}, [{"x": 1}], [None], {}]],
    ),
    (
        "a schema that is nested twice, with other fields at the second depth",
        schema_of(
            a=fields.Nested(Branch, only=("leaf.p",)),
            b=fields.Nested(Branch, only=("leaf.q",)),
            c=fields.Nested(Branch, exclude=("leaf.q", "leaves.p")),
            d=fields.Nested(Branch),
        ),
        [{name: {"leaf": {key: 1}}} for name in "abcd" for key in "pq"]
        + [{name: {"leaves": [{key: 1}]}} for name in "abcd" for key in "pq"],
    ),
    (
        "a schema within itself, with other fields at each depth",
        Kin(dump_only=["children.name", "by_name.children.name"]),
        [
            {"name": "a", "children": [{"children": []}], "by_name": {"b": {"name": "b"}}},
            {"name": "a", "by_name": {"b": {"name": "b", "children": [{"name": "c"}]}}},
            {"name": "a", "parent": {"name": "b", "parent": {"name": "c", "parent": None}}},
        ],
    ),
]


@pytest.mark.parametrize(
    ("schema", "payloads"),
    [pytest.param(schema, payloads, id=words) for words, schema, payloads in CORPUS],
)
def test_no_difference_is_left_where_one_was_feared(schema: Schema, payloads: list[Any]) -> None:
    assert_no_difference(schema, *payloads)


def test_a_subclass_that_loads_like_its_class_is_compiled() -> None:
    class Room(fields.String):
        """Options of its own, words of its own, a way out of its own; the way in is the old one."""

        default_error_messages = {"invalid": "Not a room."}  # noqa: RUF012 - as marshmallow has it

        def __init__(self, **options: Any) -> None:
            super().__init__(validate=validate.Length(max=3), **options)

        def _serialize(self, value: Any, *_: Any, **__: Any) -> str:
            return str(value)

    class Entry(Schema):
        room = Room(required=True)

        def handle_error(self, error: ValidationError, *_: Any, **__: Any) -> None:
            error.messages = ["No."]

    assert compiled_alone(Entry())({"room": "abc"}) == {"room": "abc"}
    assert_no_difference(Entry(), {"room": "abcd"}, {"room": 1}, {})


def test_a_schema_within_itself_is_compiled_once() -> None:
    source = compile_schema(Kin()).source
    assert source.count("\ndef ") < 12
    load = compiled_alone(Kin())
    payload: dict[str, Any] = {"name": "leaf"}
    for _ in range(50):
        payload = {"name": "branch", "children": [payload]}
    assert load(payload) == payload


def test_a_schema_within_itself_may_cut_itself_down_at_each_depth() -> None:
    class Chain(Schema):
        name = fields.String()
        secret = fields.String()
        next = fields.Nested(lambda: Chain(only=("name", "next.name", "next.next")))

    schema = Chain()
    whole = {"name": "a", "secret": "b", "next": {"name": "c", "next": {"next": {"name": "d"}}}}
    assert compiled_alone(Chain())(whole) == whole
    assert_no_difference(schema, whole, {"next": whole}, {"next": {"next": whole}})


def test_schemas_that_nest_each_other_are_compiled() -> None:
    payload = {"title": "A", "author": {"name": "B"}, "editor": {"books": [{"title": "C"}]}}
    loaded = compiled_alone(Book())(payload)
    assert loaded == {**payload, "editor": {"name": "anonymous", "books": [{"title": "C"}]}}


def test_a_callable_default_is_made_afresh_and_any_other_is_shared() -> None:
    shared: list[int] = []
    schema = schema_of(a=fields.Raw(load_default=list), b=fields.Raw(load_default=shared))
    load = compiled_alone(schema)
    first, second = load({}), load({})
    assert first == second == {"a": [], "b": []}
    assert first["a"] is not second["a"]
    assert first["b"] is second["b"] is shared


def test_a_list_that_a_validator_chooses_from_may_grow() -> None:
    rooms = ["lobby"]
    load = compile_schema(schema_of(room=fields.String(validate=validate.OneOf(rooms)))).load
    assert load is not None
    with pytest.raises(ValidationError):
        load({"room": "attic"})
    rooms.append("attic")
    assert load({"room": "attic"}) == {"room": "attic"}


def test_nesting_beyond_the_stack_is_refused_as_ever() -> None:
    payload: dict[str, Any] = {"name": "leaf"}
    for _ in range(5000):
        payload = {"name": "branch", "children": [payload]}
    with pytest.raises(Error) as caught:
        bind(Kin(), "a.b")(payload)
    assert caught.value.code == "invalid_json"


def test_a_refusal_of_a_compiled_schema_has_its_codes() -> None:
    load = bind(schema_of(a=fields.String(validate=validate.Length(max=1))), "a.b")
    assert load({"a": "x"}) == {"a": "x"}
    with pytest.raises(Error) as caught:
        load({"a": "xy"})
    (fault,) = caught.value.extra["fields"]
    assert (fault["pointer"], fault["code"]) == ("/a", "length")


def test_a_schema_that_is_bound_already_is_compiled_as_at_first() -> None:
    schema = schema_of(a=fields.String(validate=validate.Length(max=1)))
    before = compile_schema(schema).source
    bind(schema, "a.b")
    assert compile_schema(schema).source == before


def test_the_page_on_validation_shows_the_code_that_is_generated() -> None:
    page = DOCS / "design/validation.md"
    declared, generated = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {"Schema": Schema, "fields": fields, "validate": validate}
    exec(declared, names)
    assert compile_schema(names["Send"]()).source + "\n" == generated


def test_values_of_a_schema_get_into_the_code_as_values() -> None:
    """Never as text: what a plugin's author writes in a string is no Python."""
    nasty = "'); raise SystemExit #"
    field = fields.String(data_key=nasty + "\n", validate=[validate.Equal(nasty), partial(str)])
    kind = Schema.from_dict({nasty: field}, name=nasty)
    assert_no_difference(kind(), {nasty + "\n": nasty}, {nasty: 1}, {})
