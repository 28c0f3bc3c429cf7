"""One user brings ever-new topics to life, on every path, and keeps almost nothing in each."""

from collections.abc import Iterable

from tests.attacks.siege import NEW_TOPICS, Siege

GROUP = "shares"


async def attack(siege: Siege) -> None:
    async with siege.attacker("namer") as client:
        for number in range(10**9):
            topic = f"whisper:t{number}"
            await siege.hammer("topics", client, "topic.history", {"topic": topic})
            await siege.hammer(
                "topics", client, "topic.publish", {"topic": f"{topic}-published", "payload": {}}
            )
            subscribed = {"topic": f"{topic}-subscribed"}
            if await siege.hammer("topics", client, "topic.subscribe", subscribed) is not None:
                await client.request("topic.unsubscribe", subscribed)


def verdict(siege: Siege) -> Iterable[str]:
    answers = siege.answers["topics"]
    most = NEW_TOPICS * (1 + siege.seconds / 60)
    if answers.accepted > most * 1.05:
        yield f"{answers.accepted} topics were brought to life, and not at most {most:.0f}"
    if not answers.refused["rate_limited", NEW_TOPICS]:
        yield f"nobody was refused by new_topics_per_minute: {answers.refused}"
