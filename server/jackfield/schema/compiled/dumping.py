"""What `Schema.dump` does with a dictionary, generated: a look-up, a look at the type, a key.

Dumping refuses nothing, so there is no way back to marshmallow as there is in loading. A value that
already is what its field would make of it stays; any other is given to the field's own
`_serialize`, one by one. Only a schema with hooks, or with dumping of its own, is left to
marshmallow whole.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from marshmallow import Schema, fields, missing
from marshmallow.decorators import POST_DUMP, PRE_DUMP
from marshmallow.utils import get_value

from .module import Lines, Module, indent

Dump = Callable[[Any], Any]

#: Fields that leave a value of one type as it is.
_KEPT: Final[dict[type[fields.Field[Any]], str]] = {
    fields.String: "str",
    fields.Email: "str",
    fields.URL: "str",
    fields.Integer: "int",
    fields.Float: "float",
    fields.Boolean: "bool",
}
_OWN_WAYS: Final = ("dump", "_serialize", "_invoke_dump_processors", "get_attribute")


def compile_dump(schema: Schema, within: frozenset[type[Schema]] = frozenset()) -> Dump:
    """Return a function that does what `schema.dump` of one object does.

    Args:
        schema: The schema as it is now: later changes of its fields go unnoticed.
        within: The schemas around it; one that nests itself is left to marshmallow from there on.
    """
    plain = partial(schema.dump, many=False)
    if _has_own_ways(schema):
        return plain
    module = Module()
    module.give("dump", plain)
    lines = ["def dump_compiled(data):", *indent(_body(schema, module, within | {type(schema)}))]
    code = compile("\n".join(lines), f"<dumper of {type(schema).__name__}>", "exec")
    exec(code, module.given)  # noqa: S102 - our own lines; all that is the schema's is a value
    compiled: Dump = module.given["dump_compiled"]
    return compiled


def _has_own_ways(schema: Schema) -> bool:
    hooks = schema._hooks[PRE_DUMP] or schema._hooks[POST_DUMP]  # noqa: SLF001 - no other list
    overridden = any(getattr(type(schema), name) is not getattr(Schema, name) for name in _OWN_WAYS)
    return bool(hooks) or overridden or schema.dict_class is not dict


def _body(schema: Schema, module: Module, within: frozenset[type[Schema]]) -> Lines:
    yield "if type(data) is not dict:"
    yield "    return dump(data)"
    yield "result = {}"
    for name, field in schema.dump_fields.items():
        key = module.constant("key", name if field.data_key is None else field.data_key)
        yield f"value = {_value(name, field, schema, module)}"
        yield "if value is not missing:"
        if _is_whole(field):
            yield f"    result[{key}] = value"
        else:
            yield f"    result[{key}] = {_serialized(name, field, 'value', module, within)}"
    yield "return result"


def _value(name: str, field: fields.Field[Any], schema: Schema, module: Module) -> str:
    """An expression for what a field is about, or what it stands in for that."""
    attribute = field.attribute or name
    if _is_whole(field):
        serialize = module.give(
            "serialize", partial(field.serialize, accessor=schema.get_attribute)
        )
        return f"{serialize}({name!r}, data)"
    if "." in attribute or hasattr(dict, attribute):  # marshmallow looks for attributes as well
        look_up = f"{module.give('get_value', get_value)}(data, {attribute!r}, missing)"
    else:
        look_up = f"data.get({attribute!r}, missing)"
    if field.dump_default is missing:
        return look_up
    default = module.give("default", field.dump_default)
    call = "()" if callable(field.dump_default) else ""
    return f"value if (value := {look_up}) is not missing else {default}{call}"


def _is_whole(field: fields.Field[Any]) -> bool:
    """Whether a field makes its value of the whole object, or looks it up in a way of its own."""
    kind, plain = type(field), fields.Field
    own_way = kind.serialize is not plain.serialize or kind.get_value is not plain.get_value
    return own_way or not field._CHECK_ATTRIBUTE  # noqa: SLF001 - marshmallow's name for it


def _serialized(
    name: str, field: fields.Field[Any], value: str, module: Module, within: frozenset[type[Schema]]
) -> str:
    """An expression for what a field makes of a value."""
    if type(field) is fields.Raw:
        return value
    serialize = module.give("serialize", field._serialize)  # noqa: SLF001 - the one step, exactly
    otherwise = f"{serialize}({value}, {name!r}, data)"
    if type(field) in _KEPT and _keeps(field):
        return f"({value} if type({value}) is {_KEPT[type(field)]} else {otherwise})"
    if isinstance(field, fields.List) and type(field) is fields.List:
        item = module.new("item")
        inner = _serialized(name, field.inner, item, module, within)
        return f"([{inner} for {item} in {value}] if type({value}) is list else {otherwise})"
    if isinstance(field, fields.Nested) and type(field) is fields.Nested:
        return _nested(field, value, otherwise, module, within)
    return otherwise


def _nested(
    field: fields.Nested,
    value: str,
    otherwise: str,
    module: Module,
    within: frozenset[type[Schema]],
) -> str:
    schema = field.schema
    if type(schema) in within or _has_own_ways(schema):
        return otherwise
    nested = module.give("dump_nested", compile_dump(schema, within))
    if not (field.many or schema.many):
        return f"({nested}({value}) if type({value}) is dict else {otherwise})"
    item = module.new("item")
    each = f"[{nested}({item}) for {item} in {value}]"
    return f"({each} if type({value}) is list else {otherwise})"


def _keeps(field: fields.Field[Any]) -> bool:
    """Whether a value of the field's own type would stay as it is."""
    if isinstance(field, fields.Boolean):
        return True in field.truthy and False in field.falsy
    return not getattr(field, "as_string", False)
