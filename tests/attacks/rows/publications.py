"""One user publishes large events to many topics, over several connections."""

import asyncio
from collections.abc import Iterable

from tests.attacks.siege import KEPT, NEW_TOPICS, Siege

GROUP = "shares"

_EVENT = {"text": "x" * 30_000}
_CONNECTIONS = 4
#: Of each connection: all are less than one may bring to life, and have room for more than a share.
_TOPICS = 10


async def attack(siege: Siege) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(_CONNECTIONS):
            group.create_task(_publish(siege, number))


async def _publish(siege: Siege, number: int) -> None:
    async with siege.attacker("publisher") as client:
        for event in range(10**9):
            payload = {"topic": f"hall:p{number}-{event % _TOPICS}", "payload": _EVENT}
            await siege.hammer("publications", client, "topic.publish", payload)


def verdict(siege: Siege) -> Iterable[str]:
    answers = siege.answers["publications"]
    # A full share at once, and what has drained meanwhile: the class of 10 s is 16.
    most = KEPT * (1 + siege.seconds / 16 + 0.2) / 30_000
    if answers.accepted > most:
        yield f"{answers.accepted} large events were taken, and not at most {most:.0f}"
    if not answers.refused["rate_limited", KEPT]:
        yield f"nobody was refused by kept_bytes: {answers.refused}"
    if answers.refused.keys() - {
        ("rate_limited", KEPT),
        ("rate_limited", NEW_TOPICS),
        ("unavailable", None),
    }:
        yield f"it was refused otherwise: {answers.refused}"
