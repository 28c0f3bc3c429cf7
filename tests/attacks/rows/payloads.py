"""One user sends messages that are as dear to refuse as can be, of every built-in type."""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from marshmallow import RAISE

from tests.attacks.siege import Siege
from tests.support.builtin import built_in
from tests.support.worst_payloads import values_in, worst_payloads

GROUP = "payloads"

#: Values in a payload, as `limits.values` allows.
_VALUES = 10_000
#: Bytes of a payload that with its envelope is no larger than a message may be, in any encoding.
_BYTES = 65_300


async def attack(siege: Siege) -> None:
    while True:
        async with siege.attacker("dear", "agent") as client:
            for message_type, payload in _refused():
                await siege.hammer("payloads", client, message_type, payload)
                await asyncio.sleep(0.001)


def _refused() -> Iterator[tuple[str, dict[str, Any]]]:
    """The worst payloads that are refused for a key that is unknown: nothing comes of them."""
    for handler in built_in():
        if handler.schema.unknown != RAISE:
            continue
        for payload in worst_payloads(handler.schema):
            unknown = payload.keys() - handler.schema.load_fields.keys()
            if unknown and values_in(payload) <= _VALUES and _size(payload) <= _BYTES:
                yield handler.type, payload


def _size(payload: dict[str, Any]) -> int:
    return len(msgspec.json.encode(payload))


def verdict(siege: Siege) -> Iterable[str]:
    answers = siege.answers["payloads"]
    if answers.accepted:
        yield f"{answers.accepted} were taken"
    if answers.of_code("internal"):
        yield f"the server failed: {answers.refused}"
    if not answers.of_code("invalid_payload"):
        yield f"none was validated: {answers.refused}"
