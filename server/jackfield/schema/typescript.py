"""TypeScript types of messages and events, from their JSON Schemas: pure functions, no I/O.

The file they make adds to the interfaces ``Requests`` and ``Topics`` of the npm package
``jackfield``, so that a compiler knows every message type and every topic. A schema within
another becomes an interface, in a namespace of its plugin: names there can't meet the package's.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from .typescript_types import (
    ANYTHING,
    alternatives,
    block,
    comment,
    declaration,
    essence,
    member_name,
    reached,
    union,
)

HEADER: Final = """\
// Written by `jackfield types --typescript`, and not to be edited: what is changed here is lost.

import "jackfield";
"""

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
class TopicTypes:
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
    topics: Sequence[TopicTypes]


def typescript(plugins: Iterable[PluginTypes]) -> str:
    """Return the source of a TypeScript module: always the same for the same plugins.

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
        f"interface Requests {block(text for _, text in sorted(requests.items()))}",
        f"interface Topics {block(_topics(events))}",
    ]
    parts = [namespace.text for namespace in namespaces if namespace.interfaces]
    parts.append(f'declare module "jackfield" {block(declared, between=_EMPTY_LINE)}')
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
        declarations = block(self.interfaces.values(), between=_EMPTY_LINE)
        return f"export declare namespace {self.name} {declarations}"

    def sent(self, schema: Mapping[str, Any]) -> list[str]:
        """The type of what a client sends: what ``load`` takes."""
        return self._types(schema, "readOnly")

    def received(self, schema: Mapping[str, Any]) -> list[str]:
        """The type of what a client gets: what ``dump`` gives."""
        return self._types(schema, "writeOnly")

    def _types(self, schema: Mapping[str, Any], hidden: str) -> list[str]:
        root = essence(schema, hidden)
        definitions = {
            f"#/$defs/{name}": essence(definition, hidden)
            for name, definition in schema.get("$defs", {}).items()
        }
        names: dict[str, str] = {}
        new = []
        for reference in reached(root, definitions):
            below = {each: definitions[each] for each in reached(reference, definitions)}
            origin = json.dumps([below.pop(reference), below], sort_keys=True, default=str)
            name = self._name(reference.removeprefix("#/$defs/"), origin)
            names[reference] = f"{self.name}.{name}"
            if name not in self._origins:
                self._origins[name] = origin
                new.append((name, definitions[reference]))
        for name, definition in new:
            self.interfaces[name] = declaration(name, definition, names)
        return alternatives(root, names)

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


def _request(message: MessageType, namespace: _Namespace) -> str:
    reply = [ANYTHING] if message.reply is None else namespace.received(message.reply)
    parts = {"payload": namespace.sent(message.payload)}
    parts |= {"chunk": reply, "reply": [ANYTHING]} if message.streams else {"reply": reply}
    scopes = f"Scopes: {', '.join(message.scopes)}." if message.scopes else ""
    members = block(f"{name}: {' | '.join(types)};" for name, types in parts.items())
    return f"{comment(message.doc, scopes)}{member_name(message.name)}: {members};"


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
        text = " | ".join(union([types, *joined]))
        if None not in own:
            yield f"{member_name(pattern)}: {text};"
        else:
            name = ":".join("${string}" if word is None else word for word in own)
            yield f"{comment(f'`{pattern}`')}[topic: `{name}`]: {text};"


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
