"""The plugin that is measured: it answers a message with what the schema made of it."""

from typing import Any

from benchmarks.message import TYPE, Message
from jackfield import Context, Plugin

benchmark = Plugin("benchmark")


@benchmark.handler(TYPE, Message)
async def send(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Answer with the payload."""
    return data
