"""Messages at random: as a schema has them, nearly so, and bytes that were damaged on the way."""

import random
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from marshmallow import Schema, fields, validate

from jackfield.wire.protocol import JSON, Codec
from tests.support.builtin import built_in

#: Values that a message may have in any place.
ODD: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**53, 2**53 - 1, 2**63 - 1, 2**64 - 1, -(2**63)),
    *(0.5, -0.0, 5e-324, 1.7e308, -1.7e308, 1e-9, 1e12),
    *(
        "",
        "a",
        "\0",
        "\x1b[2J",
        "\u202e",
        "é",
        "e\u0301",
        "😀",
        "a" * 300,
        "/~01",
        "{}",
        "__proto__",
    ),
    *([], {}, [[]], [{}], {"": None}, {"a": [0, {"b": []}]}, [0] * 100, {"$ref": "#"}),
)
#: What only JSON has.
LONG: Final[tuple[Any, ...]] = (2**64, -(10**30), 10**400)
#: What messages are about, beside what the servers have told of.
TOPICS: Final = (
    "room:a",
    "room:b",
    "feed:a",
    "brief:a",
    "broadcast",
    "user:alice",
    "task:a",
    "x:y",
)
KNOWN: Final[Mapping[str, tuple[Any, ...]]] = {
    "topic": TOPICS,
    "agent": ("echo", "other"),
    "name": ("echo", "other"),
    "skill": ("say", "count"),
    "id": ("say", "count"),
    "type": ("session.ping", "topic.publish", "nothing.here"),
    "payload": ({"by": "fuzz", "number": 1}, {"by": "fuzz", "number": 2}),
    "input": ({}, {"to": 3}, {"type": "object", "properties": {"to": {"type": "integer"}}}),
    "schema": ({"type": "object"}, {"type": "object", "required": ["a"]}),
    "attempt": (1,),
    "seq": (0, 1, 2),
}
#: Values that are remembered of a name, to be sent back.
_REMEMBERED: Final = 32
#: Bytes: what is larger closes the connection, which is known and takes long.
_LARGEST: Final = 60_000


class Memory:
    """What servers have told, by the keys that it stood under: ids of tasks, epochs, offsets."""

    def __init__(self) -> None:
        self._told: dict[str, deque[Any]] = defaultdict(lambda: deque(maxlen=_REMEMBERED))

    def learn(self, message: Any) -> None:
        """Remember what a message tells."""
        if isinstance(message, dict):
            for key, value in message.items():
                if key in {"task", "instance", "epoch", "offset", "attempt", "seq", "connection"}:
                    self._told[key].append(value)
                self.learn(value)
        elif isinstance(message, list):
            for each in message[:4]:
                self.learn(each)

    def values(self, key: str) -> list[Any]:
        """What may stand under a key."""
        return [*KNOWN.get(key, ()), *self._told.get(key, ())]


class Maker:
    """Makes messages.

    Args:
        chance: Where it takes its choices from.
        memory: What is known by now.
    """

    def __init__(self, chance: random.Random, memory: Memory) -> None:
        self._chance = chance
        self._memory = memory
        self._schemas = {handler.type: handler.schema for handler in built_in()}
        self._types = list(self._schemas)

    def message(self, message_id: int | str) -> dict[str, Any]:
        """Make a message of any type: most are right, or right but for something."""
        chance = self._chance
        message_type = chance.choice(self._types)
        message = {
            "type": message_type,
            "id": message_id,
            "payload": self._payload(self._schemas[message_type]),
        }
        if chance.random() < 0.1:
            del message["id"]
        if chance.random() < 0.4:
            payload = self._damage(message["payload"])
            message["payload"] = payload
        if chance.random() < 0.05:
            damaged = self._damage(message)
            return damaged if isinstance(damaged, dict) else message
        return message

    def encode(self, message: Mapping[str, Any], codec: Codec) -> bytes:
        """Encode a message, and damage the bytes of some."""
        module: Any = msgspec.json if codec is JSON else msgspec.msgpack
        try:
            data: bytes = module.encode(message)
        except OverflowError:  # MessagePack has integers of 64 bits
            data = module.encode({"type": "session.ping", "payload": {}})
        if len(data) > _LARGEST:
            data = data[:_LARGEST]
        if self._chance.random() < 0.1:
            data = self._chance.choice(_DAMAGES)(data, self._chance)
        return data

    def _payload(self, schema: Schema) -> dict[str, Any]:
        chance = self._chance
        payload = {}
        for name, field in schema.load_fields.items():
            if field.required or chance.random() < 0.5:
                payload[name] = self._value(name, field)
        if schema.unknown == "include" or chance.random() < 0.02:
            payload[chance.choice(("a", "payload", "x"))] = self._anything()
        return payload

    def _value(self, name: str, field: fields.Field[Any]) -> Any:
        chance = self._chance
        known = self._memory.values(name)
        if known and chance.random() < 0.9:
            return chance.choice(known)
        choices = [each for each in field.validators if isinstance(each, validate.OneOf)]
        if choices:
            return chance.choice(list(choices[0].choices))
        match field:
            case fields.Nested():
                value: Any = self._payload(field.schema)
            case fields.List():
                value = [self._value(name, field.inner) for _ in range(chance.randrange(4))]
            case fields.Dict():
                keys = (chance.choice("abcde") for _ in range(chance.randrange(3)))
                value = {key: self._anything() for key in keys}
            case fields.Boolean():
                value = chance.random() < 0.5
            case fields.Number():
                value = chance.choice((0, 1, 2, 3, 10, 1000))
            case _:
                value = chance.choice(("a", "b", "say", f"k{chance.randrange(100)}"))
        return value

    def _anything(self) -> Any:
        return self._chance.choice(LONG if self._chance.random() < 0.05 else ODD)

    def _damage(self, value: Any) -> Any:
        """Change something somewhere in a value."""
        chance = self._chance
        if isinstance(value, dict) and value and chance.random() < 0.8:
            changed = dict(value)
            key = chance.choice(list(changed))
            match chance.randrange(4):
                case 0:
                    del changed[key]
                case 1:
                    changed[chance.choice(("x", "", "type", "\0", key * 2))] = self._anything()
                case _:
                    changed[key] = self._damage(changed[key])
            return changed
        if isinstance(value, list) and value and chance.random() < 0.5:
            return value * chance.choice((0, 2, 50))
        if isinstance(value, str) and chance.random() < 0.3:
            return value + chance.choice(("\0", "x" * 500, "\n", "é", " ", "../"))
        return self._anything()


def _flip(data: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(data))
    # Mostly ASCII: what is not UTF-8 ends a connection that speaks JSON.
    byte = chance.randrange(128) if chance.random() < 0.9 else chance.randrange(256)
    return data[:place] + bytes([byte]) + data[place + 1 :]


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def _insert(data: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(data))
    return data[:place] + bytes(chance.choices(range(128), k=3)) + data[place:]


def _repeat(data: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(data))
    return data[:place] + data[place:] * 2


def _nothing_like_it(_: bytes, chance: random.Random) -> bytes:
    return chance.randbytes(chance.randrange(64))


_DAMAGES: Final[tuple[Callable[[bytes, random.Random], bytes], ...]] = (
    _flip,
    _flip,
    _cut,
    _insert,
    _repeat,
    _nothing_like_it,
)
