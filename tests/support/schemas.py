"""Schemas, and payloads that are right, nearly right and wild, for property tests."""

import datetime as dt
import enum
import re
import uuid
from collections.abc import Callable, Container, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

from hypothesis import strategies as st
from marshmallow import EXCLUDE, INCLUDE, RAISE, Schema, ValidationError, fields, missing, validate

Values = st.SearchStrategy[Any]


class Colour(enum.Enum):
    RED = 1
    GREEN = "green"
    SCARLET = 1  # noqa: PIE796 - another name of RED


class Mood(enum.StrEnum):
    CALM = "calm"
    ANGRY = "angry"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Kin(Schema):
    """Nests itself, in every way it can."""

    name = fields.String(required=True, validate=validate.Length(max=8))
    parent = fields.Nested("Kin", only=("name", "parent.name"), allow_none=True)
    children = fields.List(fields.Nested(lambda: Kin(exclude=("parent",))))
    branches = fields.Nested(lambda: Kin(), many=True, unknown=INCLUDE)  # noqa: PLW0108 - not yet
    by_name = fields.Dict(fields.String(), fields.Nested(lambda: Kin(only=("name", "children"))))


class Author(Schema):
    """Nests, and is nested by, `Book`."""

    class Meta:
        unknown = EXCLUDE

    name = fields.String(load_default="anonymous")
    books = fields.List(fields.Nested(lambda: Book(exclude=("author",))), load_default=list)


class Book(Schema):
    title = fields.String(required=True)
    author = fields.Nested(Author, exclude=("books",))
    editor = fields.Nested(Author, unknown=RAISE)


def trees() -> Values:
    return st.recursive(
        st.fixed_dictionaries({"name": st.text(max_size=9)}),
        lambda inner: st.fixed_dictionaries(
            {"name": st.text(max_size=4)},
            optional={
                "parent": inner | st.none(),
                "children": st.lists(inner, max_size=2),
                "branches": st.lists(inner, max_size=2),
                "by_name": st.dictionaries(st.text(max_size=2), inner, max_size=2),
            },
        ),
        max_leaves=6,
    )


def books() -> Values:
    title = {"title": st.text(max_size=4)}
    written = st.lists(st.fixed_dictionaries(title), max_size=2)
    author = st.fixed_dictionaries({}, optional={"name": st.text(max_size=4), "books": written})
    return st.fixed_dictionaries(title, optional={"author": author, "editor": author})


@dataclass(frozen=True)
class Kind:
    """A kind of field.

    Attributes:
        make: Makes the field from the options that all fields have.
        example: What it takes in a payload for certain.
        values: What it may take.
        validators: What may be asked of it.
    """

    make: Callable[..., fields.Field[Any]]
    example: Any
    values: Values
    validators: tuple[Callable[[Any], Any], ...] = ()


def is_even(value: Any) -> None:
    """A validator as a plain function, for numbers."""
    if value % 2:
        raise ValidationError("Odd.")


def is_not_empty(value: Any) -> bool:
    """A validator that answers: marshmallow takes no notice."""
    return bool(value)


class ShortLength(validate.Length):
    """A validator that only looks like one of marshmallow's."""

    def __call__(self, value: Any) -> Any:
        return super().__call__(value[1:])


_SIZES = (
    validate.Length(max=3),
    validate.Length(1, 4),
    validate.Length(min=1),
    validate.Length(equal=2),
    ShortLength(max=3),
    is_not_empty,
)
_TEXTS = (
    *_SIZES,
    validate.OneOf(["a", "b", ""]),
    validate.OneOf("abc"),
    validate.NoneOf({"a", "b"}),
    validate.NoneOf([1, "c"]),
    validate.Equal("a"),
    validate.Regexp("[a-z]*$"),
    validate.Regexp(re.compile("A", re.IGNORECASE)),
    validate.Predicate("islower"),
    validate.ContainsOnly("abc"),
    validate.ContainsNoneOf("xyz"),
    validate.And(validate.Length(1), validate.And(validate.Regexp("a"), is_not_empty)),
    lambda value: value.encode(),
)
_NUMBERS = (
    validate.Range(0, 10),
    validate.Range(min=0, min_inclusive=False),
    validate.Range(max=1.5, max_inclusive=False),
    validate.Range(float("nan")),
    validate.OneOf([1, 2, 3.0, True]),
    validate.NoneOf((0, -1)),
    validate.Equal(1.0),
    validate.Equal("1"),
    is_even,
)
_MOMENTS = (
    validate.Range(dt.datetime(2000, 1, 1)),  # noqa: DTZ001 - a naive bound, that aware ones break on
    validate.Range(max=dt.datetime(2100, 1, 1, tzinfo=dt.UTC)),
)
_LISTS = (
    *_SIZES,
    validate.ContainsOnly(["a", "b", 1, 2, None]),
    validate.ContainsOnly({"a", 1}),
    validate.Equal([]),
    validate.OneOf([[], ["a"]]),
)

_small_text = st.text(st.sampled_from("abcxyzAé\ud800 "), max_size=4)
_datetimes = st.datetimes(timezones=st.none() | st.just(dt.UTC))
_numerals = st.integers() | st.floats(allow_nan=False) | st.decimals(allow_nan=False).map(str)


def wild() -> Values:
    """Anything a decoder makes, from JSON or MessagePack, and some that none does."""
    leaves = st.one_of(
        st.deferred(lambda: st.sampled_from(ODD_VALUES)).map(deepcopy),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
        st.binary(max_size=16),
        _datetimes,
    )
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["a", "b", "name", "x.y", 1]), inner, max_size=3)
        ),
        max_leaves=5,
    )


_iso = _datetimes.map(dt.datetime.isoformat)
_moment = "2024-12-24T12:30:00"
_two_hours = dt.timezone(dt.timedelta(hours=2))
_tags = st.dictionaries(st.text(max_size=2), st.integers(), max_size=3)

#: Every kind of field that holds no other, and two schemas.
LEAVES = [
    Kind(fields.String, "a", _small_text, _TEXTS),
    Kind(fields.Email, "a@b.de", st.emails() | st.just("a@[1.2.3.4]"), _SIZES),
    Kind(fields.URL, "http://a.bc/d?e", st.sampled_from(["ftp://a.bc", "a"]), _SIZES),
    Kind(partial(fields.URL, relative=True, schemes={"x"}), "/a", st.just("x://b.c")),
    Kind(fields.Integer, 5, st.integers(-20, 20) | st.integers(), _NUMBERS),
    Kind(partial(fields.Integer, strict=True), 5, st.integers(-20, 20), _NUMBERS),
    Kind(fields.Float, 1.5, st.floats() | st.integers(-20, 20), _NUMBERS),
    Kind(partial(fields.Float, allow_nan=True), float("inf"), st.floats(), _NUMBERS),
    Kind(fields.Boolean, True, st.booleans() | st.sampled_from(["yes", "off", 0.0]), _NUMBERS),
    Kind(partial(fields.Boolean, truthy={"a", 2}, falsy={2, True}), "a", st.just(2)),
    Kind(partial(fields.Boolean, truthy=()), [], st.booleans() | _small_text),
    Kind(fields.UUID, str(uuid.UUID(int=5)), st.uuids().map(lambda value: value.hex)),
    Kind(fields.Date, "2024-12-24", st.dates().map(dt.date.isoformat)),
    Kind(partial(fields.Date, format="%d.%m.%Y"), "24.12.2024", st.just("2024-12-24")),
    Kind(fields.DateTime, _moment, _iso, _MOMENTS),
    Kind(partial(fields.DateTime, format="rfc"), "Mon, 22 Dec 2014 03:12:58 +0100", _iso),
    Kind(partial(fields.DateTime, format="timestamp_ms"), 5, st.floats(0, 1e12) | st.just("5")),
    Kind(partial(fields.DateTime, format="%Y %z"), "2024 +0100", st.just("2024"), _MOMENTS),
    Kind(fields.AwareDateTime, _moment + "Z", _iso, _MOMENTS),
    Kind(partial(fields.AwareDateTime, default_timezone=_two_hours), _moment, _iso, _MOMENTS),
    Kind(fields.NaiveDateTime, _moment, _iso, _MOMENTS),
    Kind(partial(fields.NaiveDateTime, timezone=_two_hours), _moment + "Z", _iso, _MOMENTS),
    Kind(fields.Time, "12:30", st.times().map(dt.time.isoformat)),
    Kind(partial(fields.Time, format="%H.%M"), "12.30", st.just("12:30")),
    Kind(fields.TimeDelta, 1.5, st.integers(-99, 99) | st.floats(-1e6, 1e6) | st.just("2.5")),
    Kind(partial(fields.TimeDelta, precision="weeks"), 2, st.integers(-99, 99)),
    Kind(fields.Decimal, "1.50", _numerals, (validate.Range(-5, 5),)),
    Kind(partial(fields.Decimal, places=2, rounding="ROUND_DOWN"), 1.999, _numerals),
    Kind(partial(fields.Decimal, places=0, allow_nan=True), 5, _numerals | st.just("NaN")),
    Kind(partial(fields.Enum, Colour), "SCARLET", st.sampled_from(["RED", "green", "name"])),
    Kind(partial(fields.Enum, Colour, by_value=True), "green", st.sampled_from([1, 1.0])),
    Kind(partial(fields.Enum, Mood, by_value=fields.String), "calm", st.just("CALM")),
    Kind(partial(fields.Enum, Size, by_value=fields.Integer()), 2, st.sampled_from([1, "1", 3])),
    Kind(partial(fields.Constant, 5), 7, st.integers(4, 6), _NUMBERS),
    Kind(partial(fields.Constant, dict), "x", st.just({})),
    Kind(partial(fields.Constant, None), 1, st.none()),
    Kind(fields.Raw, {"a": [1]}, wild(), (*_SIZES, *_NUMBERS)),
    Kind(fields.Dict, {"a": [1]}, _tags, _SIZES),
    Kind(fields.IP, "::1", st.just("1.2.3.4")),
    Kind(fields.IPv4, "1.2.3.4", st.just("::1")),
    Kind(fields.IPv6, "::1", st.just("1.2.3.4")),
    Kind(fields.IPInterface, "1.2.3.4/8", st.just("::1/64")),
    Kind(fields.IPv4Interface, "1.2.3.4/8", st.just("::1/64")),
    Kind(fields.IPv6Interface, "::1/64", st.just("1.2.3.4/8")),
    Kind(partial(fields.Nested, Kin), {"name": "a"}, trees()),
    Kind(
        partial(fields.Nested, partial(Book, many=True)),
        [{"title": "a"}],
        st.lists(books(), max_size=2),
        _SIZES,
    ),
]


@st.composite
def kinds(draw: st.DrawFn, depth: int) -> Kind:
    """Kinds of field that hold others as deep as this: a third of them do."""
    holders = [_lists, _tuples, _dicts, _nested] if depth else []
    number = draw(st.integers(0, 2**16 - 1))  # spread more evenly than by `sampled_from`
    if holders and number % 3 == 1:
        return draw(holders[number // 3 % len(holders)](depth - 1))
    return LEAVES[number // 3 % len(LEAVES)]


@st.composite
def _inner(draw: st.DrawFn, depth: int) -> tuple[fields.Field[Any], Values]:
    """A field to stand in another one, and what it may take there."""
    kind = draw(kinds(depth))
    options = draw(_options(kind))
    return kind.make(**options), _taken(kind, options)


@st.composite
def _lists(draw: st.DrawFn, depth: int) -> Kind:
    inner, values = draw(_inner(depth))
    return Kind(partial(fields.List, inner), [], st.lists(values, max_size=3), _LISTS)


@st.composite
def _tuples(draw: st.DrawFn, depth: int) -> Kind:
    inner = draw(st.lists(_inner(depth), min_size=1, max_size=3))
    values = st.tuples(*(values for _, values in inner)).map(list)
    return Kind(partial(fields.Tuple, [field for field, _ in inner]), [1], values, _SIZES)


@st.composite
def _dicts(draw: st.DrawFn, depth: int) -> Kind:
    keys = draw(st.sampled_from([None, fields.String(), fields.UUID()]))
    inner, values = draw(st.just((None, st.integers())) | _inner(depth))
    names = st.uuids().map(str) if isinstance(keys, fields.UUID) else _small_text
    pairs = st.dictionaries(names, values, max_size=3)
    return Kind(partial(fields.Dict, keys, inner), {}, pairs, _SIZES)


@st.composite
def _nested(draw: st.DrawFn, depth: int) -> Kind:
    made = draw(schemas(depth))
    options: dict[str, Any] = {"unknown": draw(st.sampled_from([None, RAISE, EXCLUDE, INCLUDE]))}
    kept = set(made.entries)
    which = draw(st.sampled_from(["all", "only", "exclude"]))
    if which != "all":
        chosen = set(draw(st.lists(st.sampled_from(sorted(kept))))) if kept else set()
        options[which] = sorted(chosen)
        kept = chosen if which == "only" else kept - chosen
    many = draw(st.booleans())
    nested: Any = made.schema
    if draw(st.booleans()):
        options["many"] = many
    else:
        nested = partial(made.schema, many=many)
        nested = nested() if draw(st.booleans()) else nested
    values = made.payloads(kept)
    if many:
        values = st.lists(values, max_size=2)
    return Kind(partial(fields.Nested, nested, **options), None, values, _SIZES)


@st.composite
def _options(draw: st.DrawFn, kind: Kind) -> dict[str, Any]:
    """What any field may be told, wherever it stands."""
    options: dict[str, Any] = {}
    if draw(st.booleans()):
        options["allow_none"] = draw(st.booleans())
    if draw(st.booleans()) and kind.validators:
        options["validate"] = draw(st.lists(st.sampled_from(kind.validators), max_size=2))
    return options


@st.composite
def _options_in_schema(draw: st.DrawFn, kind: Kind) -> dict[str, Any]:
    """What a field of a schema may be told besides."""
    options = draw(_options(kind))
    presence = draw(st.sampled_from(["required", "optional", "default"]))
    is_constant = isinstance(kind.make, partial) and kind.make.func is fields.Constant
    if presence == "required":
        options["required"] = True
    elif presence == "default" and not is_constant:
        options["load_default"] = draw(st.sampled_from(_DEFAULTS))
    direction = draw(st.sampled_from([None, None, None, "load_only", "dump_only"]))
    if direction is not None:
        options[direction] = True
    return options


def _taken(kind: Kind, options: dict[str, Any]) -> Values:
    values = st.just(kind.example) | kind.values
    return values | st.none() if options.get("allow_none") else values


@dataclass(frozen=True)
class Made:
    """A schema's class, and what it takes.

    Attributes:
        schema: The class.
        entries: For each field that is loaded its key, whether it is required, and what it takes.
    """

    schema: type[Schema]
    entries: Mapping[str, tuple[str, bool, Values]]

    def payloads(self, kept: Container[str]) -> Values:
        """Objects that are right, as far as validators allow, for these of the fields."""
        required: dict[str, Values] = {}
        optional: dict[str, Values] = {}
        for name, (key, is_required, values) in self.entries.items():
            if name in kept:
                (required if is_required else optional)[key] = values
        return st.fixed_dictionaries(required, optional=optional)


_NAMES = ["a", "b", "c", "name", "e", "f"]
_KEYS = ["a", "b", "c", "name", "d", "", "x.y", "é'\"\\\n"]
_ATTRIBUTES = ["a", "b", "c", "name", "x.y", "x.z", "z", "é'\"\\\n"]
_DEFAULTS: list[Any] = [
    None,
    0,
    "x",
    1.5,
    [],
    {"a": 1},
    list,
    dict,
    lambda: missing,
    lambda: 5,
    Colour.RED,
]


@st.composite
def schemas(draw: st.DrawFn, depth: int = 2) -> Made:
    """Schemas of every kind of field, with every option."""
    declared: dict[str, Any] = {}
    entries = {}
    keys = draw(st.just(_NAMES) | st.permutations(_KEYS))
    attributes = draw(st.just(_NAMES) | st.permutations(_ATTRIBUTES))
    size = draw(st.integers(1, len(_NAMES)) if depth else st.integers(0, 2))
    for name, key, attribute in list(zip(_NAMES, keys, attributes, strict=False))[:size]:
        kind = draw(kinds(depth))
        options = draw(_options_in_schema(kind))
        if key != name:
            options["data_key"] = key
        if attribute != name:
            options["attribute"] = attribute
        declared[name] = kind.make(**options)
        if not options.get("dump_only"):
            entries[name] = key, bool(options.get("required")), _taken(kind, options)
    unknown = draw(st.sampled_from([RAISE, EXCLUDE, INCLUDE]))
    meta = type("Meta", (), {"unknown": unknown, "register": False})
    return Made(type("Generated", (Schema,), {"Meta": meta, **declared}), entries)


@st.composite
def schemas_and_payloads(draw: st.DrawFn) -> tuple[Schema, list[Any]]:
    """A schema, with payloads for it: right, nearly right, wild."""
    fixed = {Kin: trees(), Book: books()}
    schema = draw(st.sampled_from([None] * 8 + [*fixed]))
    if schema is None:
        made = draw(schemas())
        schema, right = made.schema, made.payloads(made.entries)
    else:
        right = fixed[schema]
    payloads = [draw(right), draw(right)]
    payloads += [draw(_nearly(payload)) for payload in payloads * 4]
    payloads.append(draw(wild()))
    return schema(), payloads


@st.composite
def _nearly(draw: st.DrawFn, payload: Any) -> Any:
    """The payload with one thing in it changed: replaced, removed or added."""
    payload = deepcopy(payload)
    places = list(_places(payload))
    container, key = draw(st.sampled_from(places))
    change = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
    if change == "replace" and key is not None:
        container[key] = draw(st.sampled_from(lookalikes(container[key])) | wild())
    elif change == "remove" and key is not None:
        del container[key]
    elif isinstance(container, list):
        container.append(draw(wild()))
    else:
        container[draw(st.sampled_from([*_KEYS, "other", 1, None]))] = draw(wild())
    return payload


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a payload that can be changed; the key is None where only to add."""
    if isinstance(value, dict | list):
        yield value, None
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield value, key
            yield from _places(inner)


#: Values of every type, also of those that only MessagePack has, and some at a limit.
ODD_VALUES: list[Any] = [
    *(None, True, False, 0, 1, 2, -1, 0.0, 1.5, float("nan"), float("inf"), 10**400, 2**64),
    *("", "a", "ab", "abcd", "A", "1", " 5 ", "1.5", "NaN", "sNaN", "1e999", "yes", "off", "é"),
    *("RED", "green", "mro", "calm", "2024-01-01", "2024-01-01T10:00:00Z", "24:00", "1.2.3.4"),
    *("::1", "a@b.de", "http://a.bc", "/a", "\ud800", "\x00", "9" * 5000, b"", b"a", b"\xff"),
    *([], ["a"], ["a", 1], [None], [[]], {}, {"name": "a"}, {"a": 1}, {1: 2}, (), ("a", 1)),
    *(dt.datetime(2024, 1, 1, tzinfo=dt.UTC), dt.date(2024, 1, 1), dt.time(1), dt.timedelta(1)),
    *(uuid.UUID(int=1), uuid.UUID(int=1).bytes, Colour.RED, Mood.CALM, Size.LARGE),
]


def lookalikes(value: Any) -> list[Any]:
    """What is easily taken for a value."""
    alike: list[Any] = [None, True, False, 0, 1, "", [], {}]
    if isinstance(value, int | float):
        alike += [
            str(value),
            f"{value}",
            value + 1,
            value / 3,
            float("nan"),
            float("inf"),
            10**400,
        ]
    elif isinstance(value, str):
        alike += [
            value.encode("utf-8", "replace"),
            [value],
            value + "x",
            value[1:],
            value.upper(),
        ]
    elif isinstance(value, list):
        alike += [tuple(value), value[1:], [*value, None], [*value, *value], dict.fromkeys("ab")]
    elif isinstance(value, dict):
        alike += [[value], list(value), {**value, "other": 1}, {**value, 1: 2}]
    return alike
