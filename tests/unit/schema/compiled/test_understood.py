"""What loads in a way of its own is left to marshmallow whole, and the reason is told."""

import enum
from typing import Any

import pytest
from marshmallow import (
    RAISE,
    Schema,
    ValidationError,
    fields,
    post_load,
    pre_load,
    validates,
    validates_schema,
)

from jackfield.schema.compiled import compile_schema
from jackfield.schema.compiled.understood import (
    NotUnderstood,
    check_field,
    check_schema,
    whole_validators,
)
from tests.support.schemas import Kin


def schema_of(unknown: Any = RAISE, /, **declared: Any) -> Schema:
    return Schema.from_dict(declared)(unknown=unknown)


class Lowercase(fields.String):
    def _deserialize(self, value: Any, *arguments: Any, **options: Any) -> str:
        return super()._deserialize(value, *arguments, **options).lower()


class Hooked(Schema):
    name = fields.String()

    @post_load
    def make(self, data: Any, **_: Any) -> Any:
        return tuple(data.items())


class Prepared(Schema):
    @pre_load
    def prepare(self, data: Any, **_: Any) -> Any:
        return data


class Checked(Schema):
    name = fields.String()

    @validates("name")
    def check_name(self, value: str, data_key: str) -> None:
        raise ValidationError([value, data_key])


class WhollyChecked(Schema):
    @validates_schema
    def check_all(self, data: Any, **_: Any) -> None:
        raise ValidationError(repr(data))


class CheckedAsSent(Schema):
    @validates_schema(pass_original=True)
    def compare(self, data: Any, sent: Any, **_: Any) -> None:
        raise ValidationError(repr((data, sent)))


class OwnDictionary(Schema):
    class Result(dict[str, Any]):
        pass

    dict_class = Result


class OwnLoad(Schema):
    def load(self, *_: Any, **__: Any) -> Any:
        return "loaded"


class Single(Schema):
    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "many": False})


class Lookup(enum.EnumType):
    def __getitem__(cls, name: str) -> Any:
        return super().__getitem__(name.upper())


class Tolerant(enum.Enum, metaclass=Lookup):
    A = 1


def endless() -> type[Schema]:
    """A schema that holds another of the same kind, not the same, at each depth."""
    return Schema.from_dict({"inner": fields.Nested(endless)}, name="Endless")


def within(depth: int) -> fields.Field[Any]:
    """Lists within lists."""
    return fields.List(within(depth - 1)) if depth else fields.Integer()


def with_patched_field() -> Schema:
    schema = schema_of(a=fields.Integer())
    schema.fields["a"].deserialize = lambda *_, **__: 7  # type: ignore[method-assign]
    return schema


LEFT_TO_MARSHMALLOW: list[tuple[Schema, str]] = [
    (schema_of(a=Lowercase()), "a: Lowercase has its own _deserialize"),
    (schema_of(a=fields.List(Lowercase)), "a: Lowercase has its own _deserialize"),
    (schema_of(a=fields.Pluck(Hooked, "name")), "a: Pluck has its own _deserialize"),
    (schema_of(a=fields.Function(deserialize=str)), "a: there is no code for a Function"),
    (schema_of(a=fields.Enum(Tolerant)), "a: the enum Tolerant has a metaclass of its own"),
    (schema_of(a=fields.Nested("Nowhere")), "a: its schema can't be made yet: Class with name"),
    (Hooked(), "Hooked has the @post_load method 'make'"),
    (Prepared(), "Prepared has the @pre_load method 'prepare'"),
    (Checked(), "Checked has the @validates method 'check_name'"),
    (
        schema_of(a=fields.Nested(WhollyChecked)),
        "a: WhollyChecked has the @validates_schema method 'check_all'",
    ),
    (CheckedAsSent(), "CheckedAsSent has pass_original=True at 'compare'"),
    (schema_of(a=fields.Nested({"b": fields.Nested(Hooked)})), "a.b: Hooked has the @post_load"),
    (OwnDictionary(), "OwnDictionary has its own dict_class"),
    (OwnLoad(), "OwnLoad has its own load"),
    (Kin(partial=True), "Kin has partial=True"),
    (
        schema_of(a=fields.Nested(Kin(partial=("name",)))),
        "a: Kin has partial=('name',)",
    ),
    (Kin(many=True), "it has many=True"),
    (Kin(unknown="else"), "it has unknown='else'"),  # type: ignore[arg-type]
    (
        schema_of(a=fields.Raw(load_only=True), b=fields.Raw(data_key="a")),
        "two fields have one data_key",
    ),
    (endless()(), ".".join(["inner"] * 64) + ": more than 64 schemas are within it"),
    (schema_of(a=within(30)), "its fields are nested too deeply"),
    (with_patched_field(), "a: Integer has its own deserialize"),
    (schema_of(a=fields.Integer(pre_load=abs)), "a: Integer has pre_load= or post_load="),
    (schema_of(a=fields.Integer(post_load=abs)), "a: Integer has pre_load= or post_load="),
    (
        schema_of(a=fields.Nested(Single, many=True)),
        "a: it has many=True, and its schema has not",
    ),
]


@pytest.mark.parametrize(
    ("schema", "reason"),
    LEFT_TO_MARSHMALLOW,
    ids=[reason.rpartition(": ")[2] for _, reason in LEFT_TO_MARSHMALLOW],
)
def test_what_is_not_understood_is_left_to_marshmallow_and_the_reason_told(
    schema: Schema, reason: str
) -> None:
    compilation = compile_schema(schema)
    assert compilation.load is None
    assert compilation.reason is not None
    assert compilation.reason.startswith(reason)


def test_marshmallows_own_schemas_and_fields_are_understood() -> None:
    check_schema(Kin(), is_entry=False)
    check_field(fields.Integer(), fields.Integer)


@pytest.mark.parametrize("schema", [Hooked(), OwnLoad(), Kin(partial=True)])
def test_a_schema_with_a_way_of_its_own_is_not(schema: Schema) -> None:
    with pytest.raises(NotUnderstood, match=type(schema).__name__):
        check_schema(schema, is_entry=True)


def test_what_validates_a_payload_as_a_whole_is_understood_in_the_order_of_marshmallow() -> None:
    class Twice(WhollyChecked):
        @validates_schema(pass_collection=True)
        def check_first(self, data: Any, **_: Any) -> None:
            raise ValidationError(repr(data))

    check_schema(Twice(), is_entry=True)
    assert whole_validators(Twice()) == ["check_first", "check_all"]


def test_a_field_with_a_way_of_its_own_is_not() -> None:
    with pytest.raises(NotUnderstood, match="Lowercase has its own _deserialize"):
        check_field(Lowercase(), fields.String)
