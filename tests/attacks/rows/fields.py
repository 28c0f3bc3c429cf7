"""One user fills the fields of many connections, and what others see of it."""

import asyncio
from collections.abc import Iterable

from tests.attacks.siege import KEPT, Siege

GROUP = "shares"

_CONNECTIONS = 20
_FIELD = "x" * 30_000


async def attack(siege: Siege) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(_CONNECTIONS):
            group.create_task(_fill(siege))


async def _fill(siege: Siege) -> None:
    async with siege.attacker("filler") as client:
        await siege.hammer("fields", client, "halls.set", {"look": _FIELD})
        for number in range(10**9):
            await siege.hammer("fields", client, "halls.set", {f"f{number}": _FIELD})
            topic = {"topic": f"hall:f{number % 50}"}
            await siege.hammer("presence", client, "topic.subscribe", topic)
            await asyncio.sleep(0.01)


def verdict(siege: Siege) -> Iterable[str]:
    fields = siege.answers["fields"]
    if fields.accepted * len(_FIELD) > KEPT * 1.1:
        yield f"{fields.accepted} fields were taken"
    if not fields.refused["rate_limited", KEPT]:
        yield f"nobody was refused by kept_bytes: {fields.refused}"
