"""Many accounts at once: each keeps within its share, and all together fill Redis."""

import asyncio
from collections.abc import Iterable

from tests.attacks.siege import Siege

GROUP = "shares"

_ACCOUNTS = 40
_EVENT = {"text": "x" * 30_000}


async def attack(siege: Siege) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(_ACCOUNTS):
            group.create_task(_publish(siege, number))


async def _publish(siege: Siege, number: int) -> None:
    async with siege.attacker(f"account{number}") as client:
        for event in range(10**9):
            payload = {"topic": f"hall:a{number}-{event % 3}", "payload": _EVENT}
            await siege.hammer("accounts", client, "topic.publish", payload)
            await asyncio.sleep(0.02)


def verdict(siege: Siege) -> Iterable[str]:
    answers = siege.answers["accounts"]
    if not answers.of_code("unavailable"):
        yield f"nobody was refused as Redis was nearly full: {answers.refused}"
