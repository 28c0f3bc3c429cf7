"""The lines for one validator: written out for most of marshmallow's own, a call for all others."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from marshmallow import validate

from .module import Emitter, Lines, Module, indent, miss_if


def check_value(validator: Callable[[Any], Any], value: str, module: Module) -> Lines:
    """Return lines that check a value by a validator.

    Args:
        validator: Of a field of the schema.
        value: The name of the variable that has the loaded value.
        module: What the lines stand in.
    """
    emit: Emitter = _WRITTEN_OUT.get(type(validator), _called)
    yield from emit(validator, value, module)


def _called(validator: Callable[[Any], Any], value: str, module: Module) -> Lines:
    name = getattr(validator, "__name__", type(validator).__name__)
    yield f"{module.give(f'check_{name}', validator)}({value})"


def _all_of(validator: validate.And, value: str, module: Module) -> Lines:
    for inner in validator.validators:
        yield from check_value(inner, value, module)


def _length(validator: validate.Length, value: str, module: Module) -> Lines:
    least, most, equal = validator.min, validator.max, validator.equal
    if any(type(bound) is not int for bound in (least, most, equal) if bound is not None):
        yield from _called(validator, value, module)
    elif equal is not None:
        yield from miss_if(f"len({value}) != {equal}")
    elif least is not None and most is not None:
        yield from miss_if(f"not {least} <= len({value}) <= {most}")
    elif least is not None:
        yield from miss_if(f"len({value}) < {least}")
    elif most is not None:
        yield from miss_if(f"len({value}) > {most}")


def _range(validator: validate.Range, value: str, module: Module) -> Lines:
    # Written as what is refused: a NaN is neither below nor above a bound.
    if validator.min is not None:
        below = "<" if validator.min_inclusive else "<="
        yield from miss_if(f"{value} {below} {module.constant('least', validator.min)}")
    if validator.max is not None:
        above = ">" if validator.max_inclusive else ">="
        yield from miss_if(f"{value} {above} {module.constant('most', validator.max)}")


def _one_of(validator: validate.OneOf, value: str, module: Module) -> Lines:
    yield from miss_if(f"{value} not in {module.give('choices', validator.choices)}")


def _none_of(validator: validate.NoneOf, value: str, module: Module) -> Lines:
    yield from miss_if(f"{value} in {module.give('refused', validator.iterable)}")


def _equal(validator: validate.Equal, value: str, module: Module) -> Lines:
    yield from miss_if(f"{value} != {module.constant('wanted', validator.comparable)}")


def _regexp(validator: validate.Regexp, value: str, module: Module) -> Lines:
    yield from miss_if(f"{module.give('matches', validator.regex.match)}({value}) is None")


def _contains_only(validator: validate.ContainsOnly, value: str, module: Module) -> Lines:
    part = module.new("part")
    yield f"for {part} in {value}:"
    choices = module.give("choices", validator.choices)
    yield from indent(miss_if(f"{part} not in {choices}"))


_WRITTEN_OUT: Final[Mapping[type, Emitter]] = {
    validate.And: _all_of,
    validate.Length: _length,
    validate.Range: _range,
    validate.OneOf: _one_of,
    validate.NoneOf: _none_of,
    validate.Equal: _equal,
    validate.Regexp: _regexp,
    validate.ContainsOnly: _contains_only,
}
