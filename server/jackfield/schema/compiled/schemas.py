"""The function for one schema: what marshmallow's `Schema._deserialize` does when all is well."""

from typing import Any

from marshmallow import EXCLUDE, INCLUDE, RAISE, fields, missing
from marshmallow.utils import set_value

from .fields import load_value
from .module import Lines, Module, Order, indent, miss_if
from .understood import NotUnderstood


def function_lines(order: Order, module: Module) -> Lines:
    """Return the lines of a function that loads an object by a schema.

    Raises:
        NotUnderstood: The schema, or a field of it, is more than there is code for.
    """
    module.place = order.place
    yield f"def {order.name}(data):"
    yield from indent(_body(order, module))


def _body(order: Order, module: Module) -> Lines:
    load_fields = order.schema.load_fields
    keys = {_key(name, field) for name, field in load_fields.items()}
    if len(keys) != len(load_fields):
        raise NotUnderstood("two fields have one data_key")
    yield from miss_if("type(data) is not dict")
    yield "result = {}"
    if order.unknown != EXCLUDE:
        yield f"known = {len(keys)}"
    for name, field in load_fields.items():
        module.place = f"{order.place}.{name}" if order.place else name
        yield ""
        yield from _load_field(name, field, order, module)
    module.place = order.place
    yield ""
    if order.unknown == RAISE:
        yield from miss_if("len(data) != known")
    elif order.unknown == INCLUDE:
        yield "if len(data) != known:"
        yield f"    for key in set(data) - {module.give('keys', keys)}:"
        yield "        result[key] = data[key]"
    elif order.unknown != EXCLUDE:
        raise NotUnderstood(f"it has unknown={order.unknown!r}")
    for name in order.validators:
        validator = module.give(name, getattr(order.schema, name))
        yield f"{validator}(result, partial=None, many=False, unknown={order.unknown!r})"
    yield "return result"


def _key(name: str, field: fields.Field[Any]) -> str:
    return name if field.data_key is None else field.data_key


def _load_field(name: str, field: fields.Field[Any], order: Order, module: Module) -> Lines:
    key = module.constant("key", _key(name, field))
    attribute = field.attribute or name
    if field.required:  # one that is missing ends in a KeyError
        yield f"value = data[{key}]"
        yield from load_value(field, "value", module)
        yield _store(attribute, "value", module)
        return
    yield f"if {key} in data:"
    yield f"    value = data[{key}]"
    yield from indent(load_value(field, "value", module))
    yield f"    {_store(attribute, 'value', module)}"
    absent = [] if order.unknown == EXCLUDE else ["known -= 1"]
    absent += _load_default(field.load_default, attribute, module)
    if absent:
        yield "else:"
        yield from indent(absent)


def _store(attribute: str, value: str, module: Module) -> str:
    target = module.constant("attribute", attribute)
    if type(attribute) is not str or "." in attribute:
        return f"{module.give('set_value', set_value)}(result, {target}, {value})"
    return f"result[{target}] = {value}"


def _load_default(default: Any, attribute: str, module: Module) -> Lines:
    if callable(default):
        yield f"value = {module.give('default', default)}()"
        yield "if value is not missing:"
        yield f"    {_store(attribute, 'value', module)}"
    elif default is not missing:
        yield _store(attribute, module.constant("default", default), module)
