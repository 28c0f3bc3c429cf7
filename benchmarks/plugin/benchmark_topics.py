"""The plugin whose topics are measured: it publishes what the schema made of a message."""

from typing import Any

from benchmarks.message import PUBLISH, TOPIC, Message
from jackfield import Context, Plugin

topics = Plugin("benchmark_topics")
room = topics.topic(TOPIC.format(room="{name}"), event=Message, history=100, ttl="1m")


@topics.handler(PUBLISH, Message, concurrent=True)
async def publish(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Publish the payload to its room."""
    position = await room.publish(ctx, data, name=data["room"])
    return {"offset": position.offset}
