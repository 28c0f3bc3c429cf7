"""The environment variables of the configuration: which key each names, and what its text means."""

import json
import tomllib
from collections.abc import Mapping
from typing import Any, Final

from marshmallow import Schema, fields

from .problems import KeyPath, Problem, suggest
from .sources import Layer

#: With two underscores, because Kubernetes sets JACKFIELD_PORT and its like by itself wherever a
#: service is named jackfield.
_VARIABLE_PREFIX: Final = "JACKFIELD__"

#: The sections that have others within them, each of an entry point's.
NESTING: Final = ("plugins", "auth")


def variable(*path: str) -> str:
    """Return the environment variable of a key: ``JACKFIELD__SERVER__PORT`` for ``server.port``."""
    return _VARIABLE_PREFIX + "__".join(path).upper().replace("-", "_")


def split_environ(environ: Mapping[str, str]) -> dict[tuple[str, ...], dict[str, str]]:
    """Return the variables of the configuration, by the path of the section they name.

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


def read_environ(
    environ: Mapping[str, str], schema: Schema, path: tuple[str, ...]
) -> tuple[Layer, list[Problem]]:
    """Read the variables of one section.

    Args:
        environ: Its variables, as `split_environ` returns them.
        schema: The section's.
        path: The section's.

    Returns:
        What they say, and what is wrong with their names.
    """
    known = {variable(*path, key): (key, field_) for key, field_ in keys_of(schema).items()}
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


def keys_of(schema: Schema) -> dict[str, fields.Field[Any]]:
    """Return the fields of a schema by the key that the configuration has for them."""
    return {described.data_key or name: described for name, described in schema.load_fields.items()}
