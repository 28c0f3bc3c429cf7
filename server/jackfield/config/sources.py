"""What a configuration says and where: values from TOML, each with its place.

Every value keeps its place (`jackfield.toml:12`, `JACKFIELD__SERVER__PORT`), so that whatever is
wrong with it is reported where the operator will mend it.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from .problems import ConfigError, KeyPath, Problem

#: The place of what neither the file nor the environment says.
OVERRIDE: Final = "override"

_TOML_FAULT: Final = re.compile(
    r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL
)
_TOML_TOKEN: Final = re.compile(
    r'"""(?:\\.|[^\\])*?""""{0,2}'  # a multi-line string may end in two quotes of its own
    r"|'''.*?''''{0,2}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*"
    r"|[\[\]{}\n]"
    r"|[^\"'#\[\]{}\n]+",
    re.DOTALL,
)
#: The start of a statement: the brackets of a table's header, if any, and a dotted key.
_TOML_KEY: Final = re.compile(r"""(\[{0,2})((?:"(?:\\.|[^"\\])*"|'[^']*'|[^"'=\[\]])+)""")


@dataclass(frozen=True, slots=True, repr=False)
class Layer:
    """What one source says, or several merged.

    Attributes:
        values: Nested as in TOML.
        places: Where each key stands, by its path from the root of the configuration.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[KeyPath, str] = field(default_factory=dict)

    def place(self, path: KeyPath) -> str:
        """Return where a key stands; one that stands nowhere is placed with its table."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return "configuration"

    def table(self, *path: str) -> "Layer":
        """Return one of its tables as a layer: an empty one, if it has no such table."""
        values: Any = self.values
        for name in path:
            values = values.get(name) if isinstance(values, Mapping) else None
        return Layer(values if isinstance(values, Mapping) else {}, self.places)

    def under(self, stronger: "Layer") -> "Layer":
        """Return both merged, key by key: the other one's values replace this one's."""
        replaced = stronger.places.keys()
        kept = {
            path: place
            for path, place in self.places.items()
            if not any(path[:length] in replaced for length in range(1, len(path) + 1))
        }
        return Layer(_merged(self.values, stronger.values), {**kept, **stronger.places})


def _merged(weaker: Mapping[str, Any], stronger: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(weaker)
    for key, value in stronger.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = _merged(below, value)
        else:
            merged[key] = value
    return merged


def override(values: Mapping[str, Any]) -> Layer:
    """Return a layer of values that come from neither the file nor the environment."""
    return Layer(values, dict.fromkeys(_leaves(values), OVERRIDE))


def _leaves(values: Mapping[str, Any], path: KeyPath = ()) -> Iterator[KeyPath]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key)


def read_toml(path: Path) -> Layer:
    """Read a TOML file (TOML 1.0).

    Raises:
        ConfigError: It cannot be read, is not UTF-8, or is not TOML.
    """
    try:
        content = path.read_bytes()
        text = content.decode()
        values = tomllib.loads(text)
    except OSError as exc:
        fault = Problem(str(path), f"The file cannot be read: {exc.strerror}")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        fault = Problem(f"{path}:{line}", "The file is not UTF-8 text")
    except ValueError as exc:  # TOMLDecodeError, or int() about a number of thousands of digits
        fault = _syntax_problem(path, text, str(exc))
    else:
        return Layer(values, {(): str(path), **_lines(text, path)})
    raise ConfigError([fault])


def _syntax_problem(path: Path, text: str, fault: str) -> Problem:
    match = _TOML_FAULT.fullmatch(fault)
    if match is None:
        return Problem(str(path), f"Not valid TOML: {fault}")
    reason, line, column = match.groups()
    if line is None:
        last = text.rstrip("\n").count("\n") + 1
        return Problem(f"{path}:{last}", f"Not valid TOML: {reason} (at the end of the file)")
    return Problem(f"{path}:{line}", f"Not valid TOML: {reason} (column {column})")


def _lines(text: str, path: Path) -> dict[KeyPath, str]:
    """Where each table and key of a valid TOML text stands; inline tables count as one value."""
    places: dict[KeyPath, str] = {}
    lengths: dict[KeyPath, int] = {}  # of the arrays of tables, so far
    table: KeyPath = ()
    for line, statement in _statements(text):
        match = _TOML_KEY.match(statement)
        if match is None:
            continue
        brackets, key = match.groups()
        if brackets == "":
            stands = (*table, *_key_path(key))
        else:
            stands = table = _table_path(_key_path(key), lengths, opens_another=brackets == "[[")
        for length in range(1, len(stands) + 1):
            places.setdefault(stands[:length], f"{path}:{line}")
    return places


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each statement of a valid TOML text without its comments, and the line it starts on."""
    line = start = 1
    depth = 0
    statement = ""
    for piece in _TOML_TOKEN.findall(text):
        if piece == "\n" and depth == 0:
            yield start, statement
            statement = ""
        elif not piece.startswith("#"):
            start = start if statement else line
            statement = (statement + piece).lstrip()
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(piece, 0)
        line += piece.count("\n")
    yield start, statement


def _key_path(dotted_key: str) -> KeyPath:
    """Split a dotted key, quotes and escapes resolved: by the parser that read the file."""
    path: KeyPath = ()
    node: Any = tomllib.loads(f"{dotted_key} = 0")
    while isinstance(node, dict):
        ((key, node),) = node.items()
        path = (*path, key)
    return path


def _table_path(header: KeyPath, lengths: dict[KeyPath, int], *, opens_another: bool) -> KeyPath:
    """The path of a table by its header, which leaves out the indices of arrays of tables."""
    path: KeyPath = ()
    for depth, key in enumerate(header, start=1):
        path = (*path, key)
        if opens_another and depth == len(header):
            lengths[path] = lengths.get(path, 0) + 1
        if path in lengths:
            path = (*path, lengths[path] - 1)
    return path
