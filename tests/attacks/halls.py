"""The plugin of the server under siege: places to publish to, and fields to fill."""

from typing import Any

from jackfield import AnyPayload, Context, Plugin

halls = Plugin("halls")
#: What is kept of these is soon gone, so that a run can see it go.
hall = halls.topic("hall:{name}", AnyPayload, history=100, ttl="10s", publish=True, presence=True)
whisper = halls.topic("whisper:{name}", AnyPayload, history=0, ttl="10s", publish=True)


@halls.handler("halls.set", AnyPayload)
async def set_fields(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Keep fields with the connection."""
    await ctx.state.set(**data)
    return {}


@hall.info
async def look(ctx: Context, name: str) -> dict[str, Any]:
    """Show others a field of the member's choice."""
    return {"look": ctx.state.get("look", "")}
