"""One table of the configuration: gathered from every source, validated, its faults put in words.

A later source is stronger: file, environment, overrides.
"""

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from marshmallow import Schema, ValidationError, fields
from marshmallow.exceptions import SCHEMA

from .fields import SecretField
from .sources import OVERRIDE, ConfigError, KeyPath, Layer, Problem

__all__ = [
    "EMPTY_SECTION",
    "Loaded",
    "Section",
    "describe",
    "split_environ",
    "suggest",
    "variable",
]

#: With two underscores, because Kubernetes sets JACKFIELD_PORT and its like by itself wherever a
#: service is named jackfield.
_VARIABLE_PREFIX: Final = "JACKFIELD__"

#: The sections that have others within them, each of an entry point's.
NESTING: Final = ("plugins", "auth")

Described = Schema | fields.Field[Any] | None

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_COMPOSITE: Final = (Schema, fields.List, fields.Tuple, fields.Nested, fields.Mapping)
#: Stands for a value that was not given.
_ABSENT: Final = object()
#: Characters of a value that a message quotes: a path whole, a file pasted by mistake in part.
_QUOTED: Final = 200


def variable(*path: str) -> str:
    """The environment variable of a key: ``JACKFIELD__SERVER__PORT`` for ``server.port``."""
    return _VARIABLE_PREFIX + "__".join(path).upper().replace("-", "_")


def split_environ(environ: Mapping[str, str]) -> dict[tuple[str, ...], dict[str, str]]:
    """The variables that are ours, by the path of the section they name.

    Whether there is such a section, and such a key in it, is for others to say.
    """
    sections: dict[tuple[str, ...], dict[str, str]] = {}
    for name, text in environ.items():
        if name.startswith(_VARIABLE_PREFIX):
            section, _, rest = name.removeprefix(_VARIABLE_PREFIX).lower().partition("__")
            plugin, separator, _ = rest.partition("__")
            path = (section, plugin) if section in NESTING and separator else (section,)
            sections.setdefault(path, {})[name] = text
    return sections


def _read_environ(
    environ: Mapping[str, str], schema: Schema, path: tuple[str, ...]
) -> tuple[Layer, list[Problem]]:
    known = {variable(*path, key): (key, field_) for key, field_ in _keys(schema).items()}
    values: dict[str, Any] = {}
    places: dict[KeyPath, str] = {}
    problems: list[Problem] = []
    for name, text in environ.items():
        if name in known:
            key, described = known[name]
            values[key] = _read_text(described, text)
            places[*path, key] = name
        else:
            hint = suggest(name.upper(), known, prefix=f"{variable(*path)}__")
            problems.append(Problem(name, f"Unknown variable{hint}"))
    return Layer(values, places), problems


def _read_text(described: fields.Field[Any], text: str) -> Any:
    """A variable's text as the kind of value its field wants; text, where it isn't that kind.

    The field then refuses it, in the words it has for any wrong value.
    """
    try:
        match described:
            case fields.Integer():
                return int(text)
            case fields.Float():
                return float(text)
            case fields.Boolean():
                return {"true": True, "false": False}.get(text.lower(), text)
            case fields.List() | fields.Tuple() | fields.Nested() | fields.Mapping():
                return _read_literal(text)
            case _:
                return text
    except ValueError:
        return text


def _read_literal(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        document = tomllib.loads(f"value = {text}")
        return document["value"] if len(document) == 1 else text


class Loaded(NamedTuple):
    """What validating a section came to.

    Attributes:
        values: What its schema made of it; where there are problems, of the rest.
        layer: What was validated.
        problems: What is wrong with it.
    """

    values: Mapping[str, Any]
    layer: Layer
    problems: list[Problem]


@dataclass(frozen=True, slots=True, repr=False)
class Section:
    """A table of the configuration as its sources give it, not yet validated.

    Attributes:
        path: ``("plugins", "chat")`` for ``[plugins.chat]``.
        file: What the file says within that table.
        environ: The environment variables that name it.
        overrides: What is stronger than both.
    """

    path: tuple[str, ...]
    file: Layer = field(default_factory=Layer)
    environ: Mapping[str, str] = field(default_factory=dict)
    overrides: Layer = field(default_factory=Layer)

    @classmethod
    def empty(cls, plugin: str) -> "Section":
        """The section of a plugin that the configuration does not mention."""
        return cls(("plugins", plugin))

    @property
    def place(self) -> str:
        """Where it stands, or where the first thing that makes it stands."""
        if self.path in self.file.places or not (self.environ or self.overrides.values):
            return self.file.place(self.path)
        return next(iter(self.environ), OVERRIDE)

    def load(self, schema: Schema | None) -> Mapping[str, Any]:
        """Validate it.

        Args:
            schema: What it must be; None if it must be empty.

        Returns:
            What the schema loads.

        Raises:
            ConfigError: It is not valid: all the problems, each with its place.
        """
        loaded = self.check(schema)
        if loaded.problems:
            raise ConfigError(loaded.problems)
        return loaded.values

    def check(self, schema: Schema | None) -> Loaded:
        """Validate it, and tell the problems instead of raising them.

        Args:
            schema: What it must be; None if it must be empty.
        """
        schema = Schema() if schema is None else schema
        environ, problems = _read_environ(self.environ, schema, self.path)
        layer = self.file.under(environ).under(self.overrides)
        try:
            return Loaded(schema.load(layer.values), layer, problems)
        except ValidationError as exc:
            faults = _faults(exc.messages, schema, self.path, layer.values, layer)
            valid = exc.valid_data if isinstance(exc.valid_data, dict) else {}
            return Loaded(valid, layer, [*problems, *faults])

    def __repr__(self) -> str:
        # Without the values: which of them are secret only the schema knows.
        return f"<Section {describe(self.path)}>"


#: A section that nothing is said about, of no plugin in particular.
EMPTY_SECTION: Final = Section(("plugins",))


def _faults(
    errors: Any, described: Described, path: KeyPath, value: Any, layer: Layer
) -> Iterator[Problem]:
    """Put marshmallow's tree of errors into problems.

    Args:
        errors: A text, a list of them, or more of these by key or index.
        described: What validated the value at this path; None where that isn't known.
        path: From the root of the configuration.
        value: What was given there.
        layer: Knows the places.
    """
    if isinstance(described, fields.Nested):
        described = described.schema
    if not isinstance(errors, Mapping):
        for message in errors if isinstance(errors, list) else [errors]:
            words = f"{str(message).rstrip('.')}{_given(described, value)}"
            yield Problem(layer.place(path), f"{describe(path)}: {words}")
        return
    for key, below in errors.items():
        inner = (*path, key)
        if key == SCHEMA:
            yield from _faults(below, described, path, value, layer)
        elif isinstance(described, Schema) and below == [described.error_messages["unknown"]]:
            hint = suggest(key, _keys(described))
            yield Problem(layer.place(inner), f"{describe(inner)}: Unknown key{hint}")
        else:
            yield from _faults(below, _part(described, key), inner, _item(value, key), layer)


def describe(path: KeyPath) -> str:
    """A path as TOML spells it: ``plugins.chat.rooms[2]."full name"``."""
    words = ""
    for key in path:
        if isinstance(key, int):
            words += f"[{key}]"
        else:
            bare = _BARE_KEY.fullmatch(key)
            words += ("." if words else "") + (key if bare else json.dumps(key))
    return words


def suggest(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """The end of a sentence about an unknown name: what was meant, or else all that there are.

    Args:
        name: The unknown one.
        known: The names there are.
        prefix: What all of them start with, left out of the comparison: it would make any two
            names look alike.
    """
    names = [each.removeprefix(prefix) for each in known]
    close = difflib.get_close_matches(name.removeprefix(prefix), names, n=1)
    if close:
        return f"; did you mean '{prefix}{close[0]}'?"
    if names:
        return f"; there are: {', '.join(prefix + each for each in names)}"
    return "; there are none"


def _keys(schema: Schema) -> dict[str, fields.Field[Any]]:
    """The fields of a schema by the key that the configuration has for them."""
    return {described.data_key or name: described for name, described in schema.load_fields.items()}


def _part(described: Described, key: str | int) -> Described:
    """What validated an item of a value; None where that isn't known."""
    if isinstance(described, Schema):
        # By index where it has many=True.
        return described if isinstance(key, int) else _keys(described).get(key)
    return described.inner if isinstance(described, fields.List) else None


def _item(value: Any, key: str | int) -> Any:
    try:
        return value[key]
    except (LookupError, TypeError):
        return _ABSENT


def _given(described: Described, value: Any) -> str:
    """What was given, as the end of a sentence: the value if it may be shown, else its kind."""
    if value is _ABSENT:
        return ""
    if isinstance(described, SecretField) or _metadata(described).get("secret"):
        return "" if isinstance(value, str) else f"; got {_kind(value)}"
    if described is None or isinstance(described, _COMPOSITE):
        # What was meant to go inside a list or a table may be a secret.
        return "" if isinstance(value, list | Mapping) else f"; got {_kind(value)}"
    return f"; got {_kind(value) if isinstance(value, list | Mapping) else _quoted(value)}"


def _metadata(described: Described) -> Mapping[str, Any]:
    return described.metadata if isinstance(described, fields.Field) else {}


def _kind(value: Any) -> str:
    kinds = {
        bool: "a boolean",
        int: "an integer",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "a table",
        type(None): "nothing",
    }
    return kinds.get(type(value), "a date or time")


def _quoted(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}..."
