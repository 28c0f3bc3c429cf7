"""TypeScript types of messages and events, from their JSON Schemas: pure functions, no I/O.

The file they make adds to the interfaces ``Requests`` and ``Topics`` of the npm package
``jackfield``, so that a compiler knows every message type and every topic. A schema within
another becomes an interface, in a namespace of its plugin: names there can't meet the package's.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from textwrap import indent
from typing import Any, Final

HEADER: Final = """\
// Written by `jackfield types --typescript`, and not to be edited: what is changed here is lost.

import "jackfield";
"""

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
_ANYTHING: Final = "{ [key: string]: unknown }"
_NOTHING: Final = "{ [key: string]: never }"
_EMPTY_LINE: Final = "\n\n"


@dataclass(frozen=True, slots=True)
class MessageType:
    """A message type.

    Attributes:
        name: Its name.
        payload: The JSON Schema of what a client sends.
        reply: That of what it gets; of each chunk, if it streams. None if it is not declared.
        streams: Whether it is answered by chunks, and then by a reply that no schema tells of.
        doc: What it does.
        scopes: What it needs.
    """

    name: str
    payload: Mapping[str, Any]
    reply: Mapping[str, Any] | None = None
    streams: bool = False
    doc: str = ""
    scopes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one pattern.

    Attributes:
        pattern: What their names are, such as ``room:{name}``.
        event: The JSON Schema of an event's payload.
    """

    pattern: str
    event: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PluginTypes:
    """What one plugin declares.

    Attributes:
        name: The plugin's name.
        messages: Its message types.
        topics: Its topics.
    """

    name: str
    messages: Sequence[MessageType]
    topics: Sequence[Topics]


def typescript(plugins: Iterable[PluginTypes]) -> str:
    """The source of a TypeScript module: always the same for the same plugins.

    Args:
        plugins: What to write the types of, in any order.

    Returns:
        A module that augments the npm package ``jackfield``, for a ``.ts`` or a ``.d.ts`` file.
    """
    namespaces = []
    requests: dict[str, str] = {}
    events: dict[str, list[str]] = {}
    for plugin in sorted(plugins, key=lambda plugin: plugin.name):
        namespace = _Namespace(plugin.name)
        for message in sorted(plugin.messages, key=lambda message: message.name):
            requests[message.name] = _request(message, namespace)
        for topics in sorted(plugin.topics, key=lambda topics: topics.pattern):
            events[topics.pattern] = namespace.received(topics.event)
        namespaces.append(namespace)
    declared = [
        f"interface Requests {_block(text for _, text in sorted(requests.items()))}",
        f"interface Topics {_block(_topics(events))}",
    ]
    parts = [namespace.text for namespace in namespaces if namespace.interfaces]
    parts.append(f'declare module "jackfield" {_block(declared, between=_EMPTY_LINE)}')
    return HEADER + "".join(f"\n{part}\n" for part in parts)


class _Namespace:
    """Where the schemas within one plugin's schemas get their names.

    Args:
        plugin: The plugin's name, of which that of the namespace is made. Two plugins never share
            one: an underscore is left out only where a capital tells of it.
    """

    def __init__(self, plugin: str) -> None:
        self.name = re.sub(r"(?:^|_)([a-z])", lambda found: found[1].upper(), plugin)
        #: What stands there, by name.
        self.interfaces: dict[str, str] = {}
        #: What each is made of: the same thing from another schema is not declared again.
        self._origins: dict[str, str] = {}

    @property
    def text(self) -> str:
        """Its declaration."""
        declarations = _block(self.interfaces.values(), between=_EMPTY_LINE)
        return f"export declare namespace {self.name} {declarations}"

    def sent(self, schema: Mapping[str, Any]) -> list[str]:
        """The type of what a client sends: what ``load`` takes."""
        return self._alternatives(schema, "readOnly")

    def received(self, schema: Mapping[str, Any]) -> list[str]:
        """The type of what a client gets: what ``dump`` gives."""
        return self._alternatives(schema, "writeOnly")

    def _alternatives(self, schema: Mapping[str, Any], hidden: str) -> list[str]:
        root = _essence(schema, hidden)
        definitions = {
            f"#/$defs/{name}": _essence(definition, hidden)
            for name, definition in schema.get("$defs", {}).items()
        }
        names: dict[str, str] = {}
        new = []
        for reference in _reached(root, definitions):
            below = {each: definitions[each] for each in _reached(reference, definitions)}
            origin = json.dumps([below.pop(reference), below], sort_keys=True, default=str)
            name = self._name(reference.removeprefix("#/$defs/"), origin)
            names[reference] = f"{self.name}.{name}"
            if name not in self._origins:
                self._origins[name] = origin
                new.append((name, definitions[reference]))
        for name, definition in new:
            self.interfaces[name] = _declaration(name, definition, names)
        return _alternatives(root, names)

    def _name(self, wanted: str, origin: str) -> str:
        """A name that is free, or that the same thing has."""
        name = re.sub(r"[^A-Za-z0-9_]", "_", wanted) or "Schema"
        if name[0].isdigit():
            name = f"_{name}"
        name = name[0].upper() + name[1:]  # no word that TypeScript keeps to itself starts so
        number, candidate = 1, name
        while self._origins.get(candidate, origin) != origin:
            number += 1
            candidate = f"{name}{number}"
        return candidate


def _essence(schema: Any, hidden: str) -> Any:
    """What of a schema its type is made of.

    Args:
        schema: A JSON Schema: a mapping or a boolean.
        hidden: How properties are marked that this side never sees.
    """
    if not isinstance(schema, Mapping):
        return schema
    essence = {key: schema[key] for key in _KEPT if schema.get(key)}
    if "properties" in schema:
        shown = {
            name: _essence(inner, hidden)
            for name, inner in schema["properties"].items()
            if not (isinstance(inner, Mapping) and inner.get(hidden))
        }
        essence["properties"] = shown
        essence["required"] = [name for name in shown if name in schema.get("required", ())]
    for key in _WITH_SCHEMA:
        if key in schema:
            essence[key] = _essence(schema[key], hidden)
    for key in _WITH_SCHEMAS:
        if key in schema:
            essence[key] = [_essence(inner, hidden) for inner in schema[key]]
    if "enum" in schema or "const" in schema:
        values = schema["enum"] if "enum" in schema else [schema["const"]]
        # A validator may have them in a set, which has another order in each process.
        essence["enum"] = sorted(map(_literal, values), key=_place)
    return essence


def _reached(node: Any, definitions: Mapping[str, Any]) -> list[str]:
    """The definitions that a schema refers to, or the one that a reference names, and theirs."""
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


def _declaration(name: str, definition: Any, names: Mapping[str, str]) -> str:
    types = _alternatives(definition, names)
    doc = _comment(*_described(definition))
    if len(types) == 1 and types[0].startswith("{"):
        return f"{doc}interface {name} {types[0]}"
    return f"{doc}type {name} = {' | '.join(types)};"


def _alternatives(node: Any, names: Mapping[str, str]) -> list[str]:
    """The types that a value may be of; each can stand in any other as it is.

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
        _union(_alternatives(inner, names) for inner in node[key])
        for key in ("anyOf", "oneOf")
        if key in node
    ]
    restrictions += [_alternatives(inner, names) for inner in node.get("allOf", ())]
    return _intersection(restrictions)


def _own(node: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """What a schema says itself, without what it refers to."""
    given = node.get("type", ["object"] if "properties" in node else [])
    types = [given] if isinstance(given, str) else list(given)
    literals = node.get("enum")
    if not types:
        return ["unknown"] if literals is None else _union([[text] for _, text in literals])
    if literals is not None:
        kinds = {"number" if kind == "integer" else kind for kind in types}
        fitting = [[text] for kind, text in literals if kind in kinds]
        # apispec puts what a list's items may be beside the list as well: there it tells nothing.
        fitting += [_of_kind(node, kind, names) for kind in types if kind in ("array", "object")]
        if fitting:
            return _union(fitting)
    return _union(_of_kind(node, kind, names) for kind in types)


def _of_kind(node: Mapping[str, Any], kind: str, names: Mapping[str, str]) -> list[str]:
    if kind == "object":
        return [_object(node, names)]
    if kind == "array":
        return [f"{_grouped(_alternatives(node.get('items', True), names))}[]"]
    return [_PRIMITIVES.get(kind, "unknown")]


def _object(node: Mapping[str, Any], names: Mapping[str, str]) -> str:
    properties = node.get("properties", {})
    others = node.get("additionalProperties", not properties)
    if not properties:
        if others is False:
            return _NOTHING
        return f"{{ [key: string]: {' | '.join(_alternatives(others, names))} }}"
    members = [
        f"{_comment(*_described(inner))}{_key(name)}{'' if name in node['required'] else '?'}: "
        f"{' | '.join(_alternatives(inner, names))};"
        for name, inner in properties.items()
    ]
    if others is not False:  # of a type that has to hold for the properties as well
        members.append("[key: string]: unknown;")
    return _block(members)


def _union(types: Iterable[Iterable[str]]) -> list[str]:
    alternatives = list(dict.fromkeys(each for inner in types for each in inner))
    if "unknown" in alternatives:
        return ["unknown"]
    return [each for each in alternatives if each != "never"] or ["never"]


def _intersection(restrictions: list[list[str]]) -> list[str]:
    """What is of one type of each; the ones that say the least give way to others."""
    for least in (["unknown"], [_ANYTHING]):
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
        return "string", _quoted(str(value))
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


def _request(message: MessageType, namespace: _Namespace) -> str:
    reply = [_ANYTHING] if message.reply is None else namespace.received(message.reply)
    parts = {"payload": namespace.sent(message.payload)}
    parts |= {"chunk": reply, "reply": [_ANYTHING]} if message.streams else {"reply": reply}
    scopes = f"Scopes: {', '.join(message.scopes)}." if message.scopes else ""
    members = _block(f"{name}: {' | '.join(types)};" for name, types in parts.items())
    return f"{_comment(message.doc, scopes)}{_key(message.name)}: {members};"


def _topics(events: Mapping[str, list[str]]) -> Iterator[str]:
    """The members of an interface that has the payload of each topic's events.

    Where a name may be of several patterns, as far as TypeScript can tell, it has to be of a type
    that all of them allow: the wider pattern's is joined by the narrower ones'.
    """
    segments = {pattern: tuple(map(_segment, pattern.split(":"))) for pattern in events}
    for pattern, types in sorted(events.items()):
        own = segments[pattern]
        joined = [
            events[other]
            for other, theirs in sorted(segments.items())
            if other != pattern and _meet(own, theirs) and not _covers(theirs, own)
        ]
        text = " | ".join(_union([types, *joined]))
        if None not in own:
            yield f"{_key(pattern)}: {text};"
        else:
            name = ":".join("${string}" if word is None else word for word in own)
            yield f"{_comment(f'`{pattern}`')}[topic: `{name}`]: {text};"


def _segment(segment: str) -> str | None:
    """A word of a pattern, or None for a part of it: to TypeScript that is any text, with ``:``."""
    return None if segment.startswith("{") else segment


@cache
def _meet(one: tuple[str | None, ...], other: tuple[str | None, ...]) -> bool:
    """Whether a name can be of both patterns: a part takes one segment of it, or more."""
    if not one or not other:
        return not one and not other
    if None not in (one[0], other[0]):
        return one[0] == other[0] and _meet(one[1:], other[1:])
    return (
        _meet(one[1:], other[1:])
        or (one[0] is None and _meet(one, other[1:]))
        or (other[0] is None and _meet(one[1:], other))
    )


@cache
def _covers(wide: tuple[str | None, ...], narrow: tuple[str | None, ...]) -> bool:
    """Whether every name of one pattern is of the other as well."""
    if not wide or not narrow:
        return not wide and not narrow
    if wide[0] is None:
        return _covers(wide[1:], narrow[1:]) or _covers(wide, narrow[1:])
    return wide[0] == narrow[0] and _covers(wide[1:], narrow[1:])


def _described(node: Any) -> Iterator[str]:
    """What a comment says of a schema, paragraph by paragraph."""
    if isinstance(node, Mapping):
        yield str(node.get("description", ""))
        tags = [f"@format {node['format']}"] if "format" in node else []
        yield "\n".join([*tags, *(["@deprecated"] if "deprecated" in node else [])])


def _comment(*paragraphs: str) -> str:
    """A TSDoc comment and the end of its line; nothing if there is nothing to say."""
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


def _key(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    """A string literal."""
    escaped = json.dumps(text, ensure_ascii=False)
    return _UNFIT.sub(lambda found: f"\\u{ord(found[0]):04x}", escaped)


def _block(members: Iterable[str], between: str = "\n") -> str:
    lines = between.join(members)
    return f"{{\n{indent(lines, '  ')}\n}}" if lines else "{}"
