"""A JSON Schema as a TypeScript type, and the comments and names around it: text from data."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from textwrap import indent
from typing import Any, Final

_IDENTIFIER: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
#: What no line of source should have: it ends a line, steers a terminal, or can't be UTF-8.
_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_PRIMITIVES: Final = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "null": "null",
}
#: What of a schema its type is made of; beside "properties" and "enum", which are more than kept.
_KEPT: Final = ("$ref", "type", "description", "format", "deprecated")
_WITH_SCHEMA: Final = ("items", "additionalProperties")
_WITH_SCHEMAS: Final = ("anyOf", "oneOf", "allOf")
#: Integers past this are not exact in JavaScript, so no literal means what it says.
_MAX_EXACT: Final = 2**53 - 1
ANYTHING: Final = "{ [key: string]: unknown }"
_NOTHING: Final = "{ [key: string]: never }"


def essence(schema: Any, hidden: str) -> Any:
    """Return what of a schema its type is made of.

    Args:
        schema: A JSON Schema: a mapping or a boolean.
        hidden: How properties are marked that this side never sees.
    """
    if not isinstance(schema, Mapping):
        return schema
    kept = {key: schema[key] for key in _KEPT if schema.get(key)}
    if "properties" in schema:
        shown = {
            name: essence(inner, hidden)
            for name, inner in schema["properties"].items()
            if not (isinstance(inner, Mapping) and inner.get(hidden))
        }
        kept["properties"] = shown
        kept["required"] = [name for name in shown if name in schema.get("required", ())]
    for key in _WITH_SCHEMA:
        if key in schema:
            kept[key] = essence(schema[key], hidden)
    for key in _WITH_SCHEMAS:
        if key in schema:
            kept[key] = [essence(inner, hidden) for inner in schema[key]]
    if "enum" in schema or "const" in schema:
        values = schema["enum"] if "enum" in schema else [schema["const"]]
        # A validator may have them in a set, which has another order in each process.
        kept["enum"] = sorted(map(_literal, values), key=_place)
    return kept


def reached(node: Any, definitions: Mapping[str, Any]) -> list[str]:
    """Return the definitions that a schema, or a reference, leads to, one by another."""
    found: dict[str, None] = {}

    def visit(node: Any) -> None:
        if isinstance(node, list):
            for inner in node:
                visit(inner)
        elif isinstance(node, Mapping):
            refer(node.get("$ref"))  # a mapping if it is a property's name
            for inner in node.values():
                visit(inner)

    def refer(reference: Any) -> None:
        if isinstance(reference, str) and reference in definitions and reference not in found:
            found[reference] = None
            visit(definitions[reference])

    if isinstance(node, str):
        refer(node)
    visit(node)
    return list(found)


def declaration(name: str, definition: Any, names: Mapping[str, str]) -> str:
    """Return the declaration of a type: an interface where it can be one.

    Args:
        name: What it is called.
        definition: The essence of its schema.
        names: As for `alternatives`.
    """
    types = alternatives(definition, names)
    doc = comment(*_described(definition))
    if len(types) == 1 and types[0].startswith("{"):
        return f"{doc}interface {name} {types[0]}"
    return f"{doc}type {name} = {' | '.join(types)};"


def alternatives(node: Any, names: Mapping[str, str]) -> list[str]:
    """Return the types that a value may be of; each can stand in any other as it is.

    Args:
        node: The essence of a schema.
        names: What is referred to, and the names of its types.
    """
    if node is False:
        return ["never"]
    if not isinstance(node, Mapping):
        return ["unknown"]
    restrictions = [_own(node, names)]
    if "$ref" in node:
        restrictions.append([names.get(node["$ref"], "unknown")])
    restrictions += [
        union(alternatives(inner, names) for inner in node[key])
        for key in ("anyOf", "oneOf")
        if key in node
    ]
    restrictions += [alternatives(inner, names) for inner in node.get("allOf", ())]
    return _intersection(restrictions)


def _own(node: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """What a schema says itself, without what it refers to."""
    given = node.get("type", ["object"] if "properties" in node else [])
    types = [given] if isinstance(given, str) else list(given)
    literals = node.get("enum")
    if not types:
        return ["unknown"] if literals is None else union([[text] for _, text in literals])
    if literals is not None:
        kinds = {"number" if kind == "integer" else kind for kind in types}
        fitting = [[text] for kind, text in literals if kind in kinds]
        # apispec puts what a list's items may be beside the list as well: there it tells nothing.
        fitting += [_of_kind(node, kind, names) for kind in types if kind in ("array", "object")]
        if fitting:
            return union(fitting)
    return union(_of_kind(node, kind, names) for kind in types)


def _of_kind(node: Mapping[str, Any], kind: str, names: Mapping[str, str]) -> list[str]:
    if kind == "object":
        return [_object(node, names)]
    if kind == "array":
        return [f"{_grouped(alternatives(node.get('items', True), names))}[]"]
    return [_PRIMITIVES.get(kind, "unknown")]


def _object(node: Mapping[str, Any], names: Mapping[str, str]) -> str:
    properties = node.get("properties", {})
    others = node.get("additionalProperties", not properties)
    if not properties:
        if others is False:
            return _NOTHING
        return f"{{ [key: string]: {' | '.join(alternatives(others, names))} }}"
    required = node["required"]
    members = [
        _member(f"{member_name(name)}{'' if name in required else '?'}", inner, names)
        for name, inner in properties.items()
    ]
    if others is not False:  # of a type that has to hold for the properties as well
        members.append("[key: string]: unknown;")
    return block(members)


def _member(name: str, node: Any, names: Mapping[str, str]) -> str:
    return f"{comment(*_described(node))}{name}: {' | '.join(alternatives(node, names))};"


def union(types: Iterable[Iterable[str]]) -> list[str]:
    """Return the types of what is of any of these."""
    distinct = list(dict.fromkeys(each for inner in types for each in inner))
    if "unknown" in distinct:
        return ["unknown"]
    return [each for each in distinct if each != "never"] or ["never"]


def _intersection(restrictions: list[list[str]]) -> list[str]:
    """What is of one type of each; the ones that say the least give way to others."""
    for least in (["unknown"], [ANYTHING]):
        restrictions = [types for types in restrictions if types != least] or [least]
    distinct = list(dict.fromkeys(map(_grouped, restrictions)))
    return restrictions[0] if len(distinct) == 1 else [f"({' & '.join(distinct)})"]


def _grouped(types: list[str]) -> str:
    return types[0] if len(types) == 1 else f"({' | '.join(types)})"


def _literal(value: Any) -> tuple[str, str]:
    """The JSON type of a value, and the narrowest type it is of."""
    if value is None:
        return "null", "null"
    if isinstance(value, bool):
        return "boolean", "true" if value else "false"
    if isinstance(value, str):
        return "string", _quoted(value)
    if isinstance(value, int | float):
        if not -_MAX_EXACT <= value <= _MAX_EXACT:
            return "number", "number"
        return "number", str(int(value)) if value == int(value) else repr(float(value))
    return "other", "unknown"


def _place(literal: tuple[str, str]) -> tuple[bool, str, float, str]:
    """What to sort literals by: null last, numbers by their size."""
    kind, text = literal
    size = math.inf if text == "number" else float(text) if kind == "number" else 0
    return kind == "null", kind, size, text


def _described(node: Any) -> Iterator[str]:
    """What a comment says of a schema, paragraph by paragraph."""
    if isinstance(node, Mapping):
        yield str(node.get("description", ""))
        tags = [f"@format {node['format']}"] if "format" in node else []
        yield "\n".join([*tags, *(["@deprecated"] if "deprecated" in node else [])])


def comment(*paragraphs: str) -> str:
    """Return a TSDoc comment and the end of its line; nothing if there is nothing to say."""
    text = "\n\n".join(filter(None, (paragraph.strip() for paragraph in paragraphs)))
    lines = [
        _UNFIT.sub("\N{REPLACEMENT CHARACTER}", line.expandtabs().rstrip()).replace("*/", "*\\/")
        for line in text.splitlines()
    ]
    if not lines:
        return ""
    if len(lines) == 1:
        return f"/** {lines[0]} */\n"
    return "\n".join(["/**", *(f" * {line}".rstrip() for line in lines), " */", ""])


def member_name(name: str) -> str:
    """Return the name of an interface's member: in quotes unless it is an identifier."""
    return name if _IDENTIFIER.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    """A string literal."""
    escaped = json.dumps(text, ensure_ascii=False)
    return _UNFIT.sub(lambda found: f"\\u{ord(found[0]):04x}", escaped)


def block(members: Iterable[str], between: str = "\n") -> str:
    """Return members, or declarations, in braces."""
    lines = between.join(members)
    return f"{{\n{indent(lines, '  ')}\n}}" if lines else "{}"
