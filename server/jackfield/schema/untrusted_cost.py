"""How much work a JSON Schema can make of checking a value, told from the schema alone.

References multiply: twenty definitions, each of which refers twice to the one before, look at a
value a million times. So a schema is unfolded along its references, as a check would follow them,
up to a bound that no schema for people reaches. One that refers to itself may look at each level of
a value several times more often than at the level above; how many times is its `branching`.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from jackfield.wire.pointer import keys_along, pointer_to

#: Parts of an unfolded schema. Without references, one of 16 KiB has 8,000.
_MAX_PARTS: Final = 20_000
#: How many schemas may lie within each other that look at the same value. With `MAX_VALUE_NESTING`
#: it bounds the stack of a check, which no library catches the end of: 2,000 of some 250 bytes.
_MAX_DEPTH: Final = 16
#: How deep a value may be nested, as deep as a message unless that is configured otherwise.
MAX_VALUE_NESTING: Final = 128

#: The keywords whose schemas look at the same value: at each, at each of a list, of a mapping.
_HERE: Final = frozenset({"else", "if", "not", "then"})
_LISTED_HERE: Final = frozenset({"allOf", "anyOf", "oneOf"})
_MAPPED_HERE: Final = frozenset({"dependencies", "dependentSchemas"})
#: Those whose schemas look at what is in it, by the kind of what that is.
_BELOW: Final = {
    "additionalItems": "item",
    "additionalProperties": "property",
    "contains": "item",
    "items": "item",
    "patternProperties": "property",
    "prefixItems": "item",
    "properties": "property",
    "propertyNames": "name",
    "unevaluatedItems": "item",
    "unevaluatedProperties": "property",
}
#: The beginnings and ends of objects and lists, and strings, which may have those in them.
_STRUCTURE: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[{}\[\]]')
#: What would make references lead elsewhere than they say.
_REFUSED: Final = ("$dynamicRef", "$recursiveRef")


class BadSchema(Exception):  # noqa: N818 - it names what is wrong
    """A schema that is not taken.

    Attributes:
        pointer: JSON Pointer to what is wrong with it.
        code: What is wrong, for a program.
        message: The same for a person.
    """

    def __init__(self, pointer: str, code: str, message: str) -> None:
        super().__init__(pointer, code, message)
        self.pointer = pointer
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Cost:
    """What a schema costs.

    Attributes:
        parts: How many there are of it, unfolded: the steps that one value takes at the most.
        patterns: How many of them are regular expressions.
        branching: How many times as often each level of a value may be looked at as the one above.
        nests_choices: Whether ``anyOf`` or ``oneOf`` has schemas of what is in a value. The library
            lists the faults of all of them, all the way down, with the first.
    """

    parts: int
    patterns: int
    branching: int
    nests_choices: bool

    def steps(self, value: Any, size: int, limit: int) -> int:
        """Return how many steps a check of a value takes at the most.

        Args:
            value: Decoded JSON.
            size: Bytes of it as JSON, which has at most half as many values.
            limit: Where to stop counting: the result is then larger than this.
        """
        if self.branching <= 1:
            return (size // 2 + 1) * self.parts
        looks, level, visits = 0, [value], 1
        while level and looks <= limit:
            looks += len(level) * visits * self.parts
            level = [inner for outer in level for inner in _inside(outer)]
            visits *= self.branching
        return looks


def cost_of(schema: Mapping[str, Any]) -> Cost:
    """Return what a check by a schema costs, which is valid by its meta-schema.

    Raises:
        BadSchema: It unfolds to too much, or refers to what it may not.
    """
    return _Unfolding(schema).cost()


def is_nested_deeper(encoded: bytes, limit: int) -> bool:
    """Return whether more objects and lists than this lie within each other, in valid JSON."""
    if encoded.count(b"{") + encoded.count(b"[") <= limit:
        return False
    depth = 0
    for token in _STRUCTURE.finditer(encoded):
        depth += {b"{": 1, b"[": 1, b"}": -1, b"]": -1}.get(token[0], 0)
        if depth > limit:
            return True
    return False


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


#: Where in a value a schema looks: in a property or item by its name or index, or (None) in any.
_Key = tuple[str, str | int | None]
#: A schema that looks into a value: where it looks, itself, its own place, and the way to it.
_Below = tuple[_Key, Any, str, tuple[str, ...]]


class _Unfolding:
    """A walk through all that a check may walk through."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._root = schema
        self._parts = 0
        self._patterns = 0
        self._branching = 1
        self._nests_choices = False
        #: The way to here: where the references lead that were followed; and of each, whether a
        #: schema has looked into the value since.
        self._following = {"": False}

    def cost(self) -> Cost:
        try:
            self._look(self._root, "", ())
        except RecursionError:
            raise BadSchema("", "too_complex", "Its references lead too deep.") from None
        return Cost(self._parts, self._patterns, self._branching, self._nests_choices)

    def _look(self, schema: Any, at: str, way: tuple[str, ...]) -> bool:
        """Unfold the schemas of one value; whether they lead back to some on the way to here."""
        below: list[_Below] = []
        self._following = dict.fromkeys(way, True) or {"": False}
        repeats = self._gather(schema, at, below, 1)
        again = Counter(key for key, *inner in below if self._look(*inner))
        for (kind, key), times in again.items():
            anywhere = again[kind, None] if key is not None else 0
            self._branching = max(self._branching, times + anywhere)
        return repeats or bool(again)

    def _gather(self, schema: Any, at: str, below: list[_Below], depth: int) -> bool:
        """Count a schema and all that look at the same value, and gather those that look into it.

        Returns:
            Whether they lead back to some on the way to here.
        """
        self._count(1, at)
        if depth > _MAX_DEPTH:
            words = f"More than {_MAX_DEPTH} schemas within each other, for the same value."
            raise BadSchema(at, "too_complex", words)
        if not isinstance(schema, dict):  # true or false
            return False
        if "$id" in schema and at:
            raise BadSchema(f"{at}/$id", "reference", "Only the whole schema may have an id.")
        repeats = False
        for keyword, value in schema.items():
            place = at + pointer_to(keyword)
            if keyword in _REFUSED:
                raise BadSchema(place, "reference", f"{keyword} is not taken: use $ref.")
            if keyword == "$ref":
                repeats |= self._follow(value, place, below, depth)
            elif keyword in _BELOW:
                before = len(below)
                way = tuple(self._following)
                below += [(*each, way) for each in _schemas_below(keyword, value, place)]
                self._patterns += len(below) - before if keyword == "patternProperties" else 0
            elif inner := list(_schemas_here(keyword, value, place)):
                before = len(below)
                for one, where in inner:
                    repeats |= self._gather(one, where, below, depth + 1)
                self._nests_choices |= keyword in ("anyOf", "oneOf") and len(below) > before
            else:
                self._patterns += keyword == "pattern"
                self._count(len(value) if isinstance(value, list | dict) else 1, at)
        return repeats

    def _follow(self, reference: Any, at: str, below: list[_Below], depth: int) -> bool:
        target, place = self._resolve(reference, at)
        entered = self._following.get(place)
        if entered is False:
            raise BadSchema(at, "reference", "It refers to itself, for the same value.")
        if entered:
            return True
        self._following[place] = False
        repeats = self._gather(target, place, below, depth + 1)
        del self._following[place]
        return repeats

    def _resolve(self, reference: Any, at: str) -> tuple[Any, str]:
        if not isinstance(reference, str) or not (reference == "#" or reference[:2] == "#/"):
            words = "Must begin with #/: nothing outside of the schema is fetched."
            raise BadSchema(at, "reference", words)
        found: Any = self._root
        place = ""
        for key in keys_along(unquote(reference[1:])):
            place += pointer_to(key)
            try:
                found = found[int(key)] if isinstance(found, list) else found[key]
            except (LookupError, TypeError, ValueError):
                raise BadSchema(at, "reference", "It leads to nothing.") from None
        return found, place

    def _count(self, parts: int, at: str) -> None:
        self._parts += parts
        if self._parts > _MAX_PARTS:
            words = f"More than {_MAX_PARTS} parts, once its references are followed."
            raise BadSchema(at, "too_complex", words)


def _schemas_here(keyword: str, value: Any, at: str) -> Iterator[tuple[Any, str]]:
    """The schemas of a keyword that look at the same value, each with its place."""
    if keyword in _HERE:
        yield value, at
    elif keyword in _LISTED_HERE and isinstance(value, list):
        yield from _listed(value, at)
    elif keyword in _MAPPED_HERE and isinstance(value, dict):
        for name, schema in value.items():
            if not isinstance(schema, list):  # names of properties, and no schema
                yield schema, at + pointer_to(name)


def _schemas_below(keyword: str, value: Any, at: str) -> Iterator[tuple[_Key, Any, str]]:
    """The schemas of a keyword that look into the value: at what, and each with its place."""
    kind = _BELOW[keyword]
    if keyword in ("properties", "patternProperties") and isinstance(value, dict):
        named = keyword == "properties"
        for name, schema in value.items():
            yield (kind, name if named else None), schema, at + pointer_to(name)
    elif isinstance(value, list):
        for index, (schema, place) in enumerate(_listed(value, at)):
            yield (kind, index), schema, place
    else:
        yield (kind, None), value, at


def _listed(schemas: list[Any], at: str) -> Iterator[tuple[Any, str]]:
    for index, schema in enumerate(schemas):
        yield schema, at + pointer_to(index)
