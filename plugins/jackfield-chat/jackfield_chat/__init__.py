"""Chat rooms for Jackfield: a plugin to try the server with, and to learn from."""

from collections.abc import AsyncIterator
from typing import Any

from marshmallow import Schema, fields, validate

from jackfield import Context, Error, Plugin, Runtime

from .rooms import Room

__all__ = ["chat"]


class Config(Schema):
    """The section ``[plugins.chat]``."""

    history = fields.Integer(load_default=50, strict=True, validate=validate.Range(1, 10_000))
    rooms = fields.Integer(load_default=1000, strict=True, validate=validate.Range(min=1))
    backlog = fields.Integer(load_default=100, strict=True, validate=validate.Range(min=1))


class InRoom(Schema):
    """A payload about a room."""

    room = fields.String(required=True, validate=validate.Length(1, 64))


class Nick(Schema):
    """A name."""

    nick = fields.String(required=True, validate=validate.Length(1, 32))


class Send(InRoom):
    """A message to a room."""

    text = fields.String(required=True, validate=validate.Length(1, 4096))


class Sent(Schema):
    """Where a message stands in its room."""

    number = fields.Integer(required=True)


class History(InRoom):
    """How much of a room's past is wanted."""

    limit = fields.Integer(load_default=50, strict=True, validate=validate.Range(1, 10_000))


class Message(Schema):
    """A message of a room."""

    number = fields.Integer(required=True)
    nick = fields.String(required=True)
    text = fields.String(required=True)


class Messages(Schema):
    """Messages of a room, the newest last."""

    messages = fields.List(fields.Nested(Message), required=True)


class RoomSummary(Schema):
    """A room from outside."""

    room = fields.String(required=True)
    listeners = fields.Integer(required=True)
    messages = fields.Integer(required=True)


class Rooms(Schema):
    """All rooms."""

    rooms = fields.List(fields.Nested(RoomSummary), required=True)


chat = Plugin("chat", config=Config)


@chat.lifespan
async def rooms(runtime: Runtime) -> AsyncIterator[dict[str, Room]]:
    """Keep the rooms while the server runs."""
    all_rooms: dict[str, Room] = {}
    yield all_rooms
    runtime.log.info("chat is over", rooms=len(all_rooms))


@chat.on_connect
async def name_newcomer(ctx: Context) -> None:
    """Give every connection a name to begin with."""
    await ctx.state.set(nick=ctx.user or f"guest-{ctx.connection[:4]}")


@chat.handler("chat.nick", Nick, reply=Nick)
async def nick(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Choose the name this connection is known by."""
    await ctx.state.set(nick=data["nick"])
    return data


@chat.handler("chat.send", Send, reply=Sent)
async def send(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Say something in a room."""
    return {"number": _room(ctx, data["room"]).say(ctx.state["nick"], data["text"])}


@chat.handler("chat.history", History, reply=Messages)
async def history(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Read what was said in a room."""
    room = ctx.resource.get(data["room"])
    return {"messages": [] if room is None else list(room.messages)[-data["limit"] :]}


@chat.handler("chat.rooms", reply=Rooms)
async def list_rooms(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """List the rooms."""
    return {
        "rooms": [
            {"room": name, "listeners": len(room.listeners), "messages": room.count}
            for name, room in sorted(ctx.resource.items())
        ]
    }


@chat.handler("chat.listen", InRoom, reply=Message)
async def listen(ctx: Context, data: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Hear every message of a room, from now on until this request is cancelled."""
    with _room(ctx, data["room"]).listening(ctx.config["backlog"]) as listener:
        while (message := await listener.next()) is not None:
            yield message
    raise Error("chat.too_slow", "You were too far behind; listen again.", retryable=True)


def _room(ctx: Context, name: str) -> Room:
    """The room of that name; the first to speak of it opens it."""
    all_rooms: dict[str, Room] = ctx.resource
    if name not in all_rooms:
        if len(all_rooms) >= ctx.config["rooms"]:
            raise Error("chat.too_many_rooms", "There are too many rooms; use one there is.")
        all_rooms[name] = Room(ctx.config["history"])
    return all_rooms[name]
