"""One user sends messages that are as dear to refuse as can be, of every built-in type."""

from collections.abc import Iterable, Iterator
from typing import Any

from jackfield import Error
from jackfield.plugin.handler import Handler
from jackfield.schema.validation import bind
from tests.attacks.siege import Siege
from tests.support.builtin import built_in
from tests.support.worst_payloads import values_in, worst_payloads

GROUP = "payloads"

#: Values in a payload, as `limits.values` allows.
_VALUES = 10_000


async def attack(siege: Siege) -> None:
    refused = [(each.type, payload) for each in built_in() for payload in _refused(each)]
    while True:
        async with siege.attacker("dear") as client:
            for message_type, payload in refused:
                await siege.hammer("payloads", client, message_type, payload)


def _refused(handler: Handler) -> Iterator[dict[str, Any]]:
    """The worst payloads of a type that its schema refuses: nothing comes of them."""
    load = bind(handler.schema, handler.type)
    for payload in worst_payloads(handler.schema):
        if values_in(payload) > _VALUES:
            continue
        try:
            load(payload)
        except Error:
            yield payload


def verdict(siege: Siege) -> Iterable[str]:
    answers = siege.answers["payloads"]
    if answers.accepted:
        yield f"{answers.accepted} were taken"
    if answers.of_code("internal"):
        yield f"the server failed: {answers.refused}"
    if not answers.of_code("invalid_payload"):
        yield f"none was validated: {answers.refused}"
