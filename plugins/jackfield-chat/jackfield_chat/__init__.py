"""Chat rooms for Jackfield: a plugin to try the server with, and to learn from."""

import re
from datetime import UTC, datetime
from typing import Any, Final

from marshmallow import Schema, fields, validate

from jackfield import Context, Plugin

__all__ = ["chat"]

#: What a room may be called: nothing that is hard to type, or to tell from another name. It stands
#: in the JSON Schema too, so it is what JavaScript understands; "$" alone lets a line end through.
_ROOM: Final = re.compile(r"^[a-z0-9_-]{1,64}$(?!\n)")
#: Messages that a room keeps: some screens full, for who comes in or comes back.
_HISTORY: Final = 200


class Nick(Schema):
    """A name."""

    nick = fields.String(required=True, validate=validate.Length(1, 32))


class Send(Schema):
    """Something to say."""

    room = fields.String(
        required=True,
        validate=validate.Regexp(_ROOM, error="Must be 1 to 64 of a-z, 0-9, '_' and '-'."),
    )
    text = fields.String(required=True, validate=validate.Length(1, 4096))
    key = fields.UUID(
        metadata={"description": "Sent again with the same key, it is not said again."}
    )


class Sent(Schema):
    """Where a message stands in its room."""

    epoch = fields.String(required=True)
    offset = fields.Integer(required=True)


class Message(Schema):
    """What somebody has said."""

    nick = fields.String(required=True)
    text = fields.String(required=True)
    at = fields.AwareDateTime(required=True)


chat = Plugin("chat")

room = chat.topic("room:{name}", Message, history=_HISTORY, ttl="1d", presence=True)


@room.authorize
async def is_room(ctx: Context, name: str) -> bool:
    """Let everybody into every room that may be called so."""
    return _ROOM.match(name) is not None


@room.info
async def name_tag(ctx: Context, name: str) -> dict[str, Any]:
    """Show who is in a room by their names."""
    return {"nick": _nick(ctx)}


@chat.handler("chat.nick", Nick, reply=Nick)
async def nick(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Choose the name this connection is known by."""
    await ctx.state.set(nick=data["nick"])
    return data


@chat.handler("chat.send", Send, reply=Sent)
async def send(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Say something in a room."""
    message = {"nick": _nick(ctx), "text": data["text"], "at": datetime.now(UTC)}
    key = str(data["key"]) if "key" in data else None
    position = await room.publish(ctx, message, key=key, name=data["room"])
    return position._asdict()


def _nick(ctx: Context) -> str:
    """What a connection is known by."""
    chosen: str | None = ctx.state.get("nick")
    return chosen or ctx.user or f"guest-{ctx.connection[:4]}"
