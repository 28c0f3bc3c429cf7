"""The lines for one field: what it makes of a value in a payload, where that is as it should be.

Every emitter writes code that takes a value from a variable and leaves the loaded one in it. What
raises is left to marshmallow like everything else, so the code tests only what would not: that a
value has the type JSON has for it.
"""

import datetime as dt
import decimal
import enum
import ipaddress
import math
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from marshmallow import fields

from .module import Emitter, Lines, Module, indent, miss_if
from .understood import NotUnderstood, check_field
from .validators import check_value


def load_value(field: fields.Field[Any], value: str, module: Module) -> Lines:
    """Return lines that do what `field.deserialize` does with a value that is there.

    Args:
        field: A field of the schema, or within one.
        value: The name of the variable that has the value, and gets the loaded one.
        module: What the lines stand in.

    Raises:
        NotUnderstood: There is no code for this field.
    """
    steps = list(_convert(field, value, module))
    for validator in field.validators:
        steps += check_value(validator, value, module)
    if not field.allow_none:
        yield from miss_if(f"{value} is None")
        yield from steps
    elif steps:
        yield f"if {value} is not None:"
        yield from indent(steps)


def _convert(field: fields.Field[Any], value: str, module: Module) -> Lines:
    own = next((kind for kind in type(field).__mro__ if kind in _EMITTERS), None)
    if own is None:
        raise NotUnderstood(f"there is no code for a {type(field).__name__}")
    check_field(field, own)
    return _EMITTERS[own](field, value, module)


def _exactly(name: str) -> Emitter:
    """Of values that are of one type, and stay as they are."""

    def emit(_: fields.Field[Any], value: str, __: Module) -> Lines:
        yield from miss_if(f"type({value}) is not {name}")

    return emit


def _parsed(name: str, parse: Callable[[str], Any]) -> Emitter:
    """Of strings that a function makes something of."""

    def emit(_: fields.Field[Any], value: str, module: Module) -> Lines:
        yield from miss_if(f"type({value}) is not str")
        yield f"{value} = {module.give(name, parse)}({value})"

    return emit


def _anything(_: fields.Raw, __: str, ___: Module) -> Lines:
    yield from ()


def _constant(field: fields.Constant[Any], value: str, module: Module) -> Lines:
    yield f"{value} = {module.constant('constant', field.constant)}"


def _boolean(field: fields.Boolean, value: str, module: Module) -> Lines:
    if not field.truthy:
        yield f"{value} = bool({value})"
        return
    yield f"if {value} in {module.give('truthy', field.truthy)}:"
    yield f"    {value} = True"
    yield f"elif {value} in {module.give('falsy', field.falsy)}:"
    yield f"    {value} = False"
    yield "else:"
    yield "    raise Miss"


def _float(field: fields.Float, value: str, module: Module) -> Lines:
    yield f"if type({value}) is not float:"
    yield from indent(miss_if(f"type({value}) is not int"))
    yield f"    {value} = float({value})"
    if field.allow_nan is False:
        yield from miss_if(f"not {module.give('isfinite', math.isfinite)}({value})")


def _decimal(field: fields.Decimal, value: str, module: Module) -> Lines:
    number = module.give("Decimal", decimal.Decimal)
    yield f"{value} = {number}(str({value}))"
    if field.places is not None:
        places = module.give("places", field.places)
        rounding = module.constant("rounding", field.rounding)
        yield f"{value} = {value}.quantize({places}, rounding={rounding})"
    yield from miss_if(f"not {value}.is_finite()")


def _temporal(
    field: fields.DateTime | fields.Date | fields.Time, value: str, module: Module
) -> Lines:
    pattern = field.format or field.DEFAULT_FORMAT
    parse = field.DESERIALIZATION_FUNCS.get(pattern)
    if parse is not None:
        yield f"{value} = {module.give(f'{field.OBJ_TYPE}_from', parse)}({value})"
    else:
        strptime = module.give("strptime", dt.datetime.strptime)
        part = "" if field.OBJ_TYPE == "datetime" else f".{field.OBJ_TYPE}()"
        yield f"{value} = {strptime}({value}, {pattern!r}){part}"


def _naive(field: fields.NaiveDateTime, value: str, module: Module) -> Lines:
    yield from _temporal(field, value, module)
    if field.timezone is None:
        yield from miss_if(f"{value}.tzinfo is not None")
    else:
        timezone = module.give("timezone", field.timezone)
        yield f"if {value}.tzinfo is not None:"
        yield f"    {value} = {value}.astimezone({timezone}).replace(tzinfo=None)"


def _aware(field: fields.AwareDateTime, value: str, module: Module) -> Lines:
    yield from _temporal(field, value, module)
    if field.default_timezone is None:
        yield from miss_if(f"{value}.tzinfo is None")
    else:
        timezone = module.give("timezone", field.default_timezone)
        yield f"if {value}.tzinfo is None:"
        yield f"    {value} = {value}.replace(tzinfo={timezone})"


def _timedelta(field: fields.TimeDelta, value: str, module: Module) -> Lines:
    timedelta = module.give("timedelta", dt.timedelta)
    yield f"{value} = {timedelta}({field.precision}=float({value}))"


def _enum(field: fields.Enum[Any], value: str, module: Module) -> Lines:
    if field.by_value:
        yield from _convert(field.field, value, module)
        yield f"{value} = {module.give('member_of', field.enum)}({value})"
    elif type(field.enum) is enum.EnumType:
        yield from miss_if(f"type({value}) is not str")
        yield f"{value} = {module.give('members', field.enum.__members__)}[{value}]"
    else:
        raise NotUnderstood(f"the enum {field.enum.__name__} has a metaclass of its own")


def _list(field: fields.List[Any], value: str, module: Module) -> Lines:
    loaded, item = module.new("loaded"), module.new("item")
    yield from miss_if(f"type({value}) is not list")
    yield f"{loaded} = []"
    yield f"for {item} in {value}:"
    yield from indent(load_value(field.inner, item, module))
    yield f"    {loaded}.append({item})"
    yield f"{value} = {loaded}"


def _tuple(field: fields.Tuple, value: str, module: Module) -> Lines:
    items = [module.new("item") for _ in field.tuple_fields]
    yield from miss_if(f"type({value}) is not list")
    yield f"[{', '.join(items)}] = {value}"  # a ValueError, if it has more or fewer
    for inner, item in zip(field.tuple_fields, items, strict=True):
        yield from load_value(inner, item, module)
    yield f"{value} = ({''.join(f'{item}, ' for item in items)})"


def _dict(field: fields.Dict, value: str, module: Module) -> Lines:
    yield from miss_if(f"type({value}) is not dict")
    if field.key_field is None and field.value_field is None:
        yield f"{value} = dict({value})"
        return
    loaded, key, item = module.new("loaded"), module.new("key"), module.new("item")
    yield f"{loaded} = {{}}"
    yield f"for {key}, {item} in {value}.items():"
    if field.key_field is not None:
        yield from indent(load_value(field.key_field, key, module))
    if field.value_field is not None:
        yield from indent(load_value(field.value_field, item, module))
    yield f"    {loaded}[{key}] = {item}"
    yield f"{value} = {loaded}"


def _nested(field: fields.Nested, value: str, module: Module) -> Lines:
    try:
        schema = field.schema
    except Exception as exc:  # the code of whoever made the schema, which marshmallow will run too
        raise NotUnderstood(f"its schema can't be made yet: {exc}") from exc
    load = module.loader_of(schema, field.unknown)
    if schema.many:
        yield from miss_if(f"type({value}) is not list")
        yield f"{value} = [{load}(each) for each in {value}]"
    elif field.many:  # of a schema that isn't; marshmallow loads nothing by this
        raise NotUnderstood("it has many=True, and its schema has not")
    else:
        yield f"{value} = {load}({value})"


_EMITTERS: Final[Mapping[type[fields.Field[Any]], Emitter]] = {
    fields.AwareDateTime: _aware,
    fields.Boolean: _boolean,
    fields.Constant: _constant,
    fields.Date: _temporal,
    fields.DateTime: _temporal,
    fields.Decimal: _decimal,
    fields.Dict: _dict,
    fields.Email: _exactly("str"),
    fields.Enum: _enum,
    fields.Float: _float,
    fields.IP: _parsed("ip_address", ipaddress.ip_address),
    fields.IPInterface: _parsed("ip_interface", ipaddress.ip_interface),
    fields.IPv4: _parsed("IPv4Address", ipaddress.IPv4Address),
    fields.IPv4Interface: _parsed("IPv4Interface", ipaddress.IPv4Interface),
    fields.IPv6: _parsed("IPv6Address", ipaddress.IPv6Address),
    fields.IPv6Interface: _parsed("IPv6Interface", ipaddress.IPv6Interface),
    fields.Integer: _exactly("int"),
    fields.List: _list,
    fields.NaiveDateTime: _naive,
    fields.Nested: _nested,
    fields.Raw: _anything,
    fields.String: _exactly("str"),
    fields.Time: _temporal,
    fields.TimeDelta: _timedelta,
    fields.Tuple: _tuple,
    fields.URL: _exactly("str"),
    fields.UUID: _parsed("UUID", uuid.UUID),
}
