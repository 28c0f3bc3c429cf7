"""The plugin that the JavaScript client is tested with: what counts, and what waits for its end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from marshmallow import Schema, fields

from jackfield import Context, Plugin

counting = Plugin("counting")


class To(Schema):
    """How far to count."""

    to = fields.Integer(required=True)
    wait = fields.Boolean(load_default=False)


class Number(Schema):
    """One of those that are counted."""

    number = fields.Integer(required=True)


cancelled = 0


async def _wait() -> None:
    global cancelled  # noqa: PLW0603 - a server's process has one of it, for tests to ask for
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        cancelled += 1
        raise


@counting.handler("counting.count", To, reply=Number)
async def count(ctx: Context, data: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Count, and then wait to be cancelled if asked to."""
    for number in range(data["to"]):
        yield {"number": number}
    if data["wait"]:
        await _wait()


@counting.handler("counting.wait", timeout="1h", concurrent=True)
async def wait(ctx: Context, data: dict[str, Any]) -> None:
    """Wait to be cancelled."""
    await _wait()


@counting.handler("counting.cancelled", reply=Number)
async def count_cancelled(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Tell how often that was."""
    return {"number": cancelled}
