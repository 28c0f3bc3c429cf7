"""What generated code is put together from: lines, names, and one function for each schema."""

import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from marshmallow import Schema, fields, missing, types

from .understood import NotUnderstood, check_schema, whole_validators

#: Lines of Python, indented relative to where they will stand.
Lines = Iterator[str]
#: Makes the lines for a field or a validator, of the variable that has the value.
Emitter = Callable[[Any, str, "Module"], Lines]

#: A field that makes another schema each time it is asked would keep the generator going for ever;
#: no schema of a payload has so many within it.
_MAX_SCHEMAS: Final = 64

#: Attributes of a field that differ between its copies, and mean nothing to what it loads.
_OF_THE_COPY: Final = frozenset({"parent", "root", "_schema", "error_messages"})


class Miss(Exception):  # noqa: N818 - a way out, not an error
    """A payload is not what the generated code is for; only that code raises it."""


def miss_if(condition: str) -> list[str]:
    """Return lines that leave the payload to marshmallow where a condition holds."""
    return [f"if {condition}:", "    raise Miss"]


def indent(lines: Iterable[str]) -> Lines:
    """Indent lines: they are the body of a block then."""
    for line in lines:
        yield f"    {line}" if line else line


@dataclass(frozen=True, slots=True)
class Order:
    """A function that is to be generated.

    Attributes:
        name: What other generated code calls it by.
        schema: What it loads.
        unknown: What it does with keys that are not declared.
        place: The field it was first met in, as a path from the outermost schema.
        validators: The methods of the schema that validate the object as a whole, by their names.
    """

    name: str
    schema: Schema
    unknown: types.UnknownOption
    place: str
    validators: tuple[str, ...] = ()


class Module:
    """The names of one generated module, and the functions it needs.

    Attributes:
        given: The values that its code refers to by name.
        place: The field that code is being generated for, as a path from the outermost schema.
    """

    def __init__(self) -> None:
        self.given: dict[str, Any] = {"Miss": Miss, "missing": missing}
        self.place = ""
        self._taken = {"data", "each", "key", "known", "result", "value", *self.given}
        self._orders: list[Order] = []
        self._loaders: dict[Hashable, str] = {}

    def new(self, name: str) -> str:
        """Return a name that nothing has yet, made from this one, which begins with a letter."""
        name = re.sub(r"\W", "_", name, flags=re.ASCII)
        numbered = (name if number == 1 else f"{name}_{number}" for number in count(1))
        free = next(candidate for candidate in numbered if candidate not in self._taken)
        self._taken.add(free)
        return free

    def give(self, name: str, value: Any) -> str:
        """Return the name by which the code reaches a value: this one, or one made from it."""
        if name in self.given and self.given[name] is value:
            return name
        name = self.new(name)
        self.given[name] = value
        return name

    def constant(self, name: str, value: Any) -> str:
        """Return an expression for a value: a literal where that reads well, else a name."""
        small = type(value) is int and value.bit_length() < 64  # noqa: PLR2004 - a machine's word
        if small or value is None or type(value) in {bool, str}:
            return repr(value)
        return self.give(name, value)

    def entry_of(self, schema: Schema) -> str:
        """Return the name of the function that loads a payload by a schema.

        Raises:
            NotUnderstood: The schema loads in a way of its own.
        """
        check_schema(schema, is_entry=True)
        validators = tuple(whole_validators(schema))
        if not validators:
            return self.loader_of(schema)
        name = self.new(f"load_{type(schema).__name__}")
        self._orders.append(Order(name, schema, schema.unknown, self.place, validators))
        return name

    def loader_of(self, schema: Schema, unknown: types.UnknownOption | None = None) -> str:
        """Return the name of the function that loads one object by a schema.

        Schemas that load alike share it, or one that nests itself would have no end.

        Raises:
            NotUnderstood: The schema loads in a way of its own.
        """
        check_schema(schema, is_entry=False)
        unknown = schema.unknown if unknown is None else unknown
        signature = _signature(schema, unknown)
        if signature not in self._loaders:
            if len(self._orders) == _MAX_SCHEMAS:
                raise NotUnderstood(f"more than {_MAX_SCHEMAS} schemas are within it")
            name = self.new(f"load_{type(schema).__name__}")
            self._loaders[signature] = name
            self._orders.append(Order(name, schema, unknown, self.place))
        return self._loaders[signature]

    def orders(self) -> Iterator[Order]:
        """Return the functions to generate, also those that come to be needed on the way."""
        yield from self._orders  # a list's iterator goes on to what is appended meanwhile


def _signature(schema: Schema, unknown: types.UnknownOption) -> Hashable:
    """Equal for two schemas that load every object alike.

    marshmallow makes each instance of a schema its own copies of the fields declared in the class;
    what they hold is the same.
    """
    options = frozenset(schema.load_only), frozenset(schema.dump_only)  # for the schemas within it
    names_and_fields = tuple((name, _alike(field)) for name, field in schema.load_fields.items())
    return type(schema), unknown, options, names_and_fields


def _alike(field: fields.Field[Any]) -> Hashable:
    """Equal for two copies of a field."""
    return type(field), frozenset(
        (name, _identity(name, value))
        for name, value in vars(field).items()
        if name not in _OF_THE_COPY
    )


def _identity(name: str, value: Any) -> Hashable:
    if isinstance(value, fields.Field):
        return _alike(value)
    if name == "tuple_fields":
        return tuple(_alike(field) for field in value)
    if name in {"only", "exclude"} and value is not None:
        return frozenset(value)
    return value if type(value) is str else id(value)  # names are cut out of only= afresh
