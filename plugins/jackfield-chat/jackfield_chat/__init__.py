"""Chat rooms for Jackfield: a plugin to try the server with, and to learn from."""

import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Final

from marshmallow import Schema, fields, validate

from jackfield import Context, Error, Plugin

__all__ = ["chat"]

#: What a room may be called: nothing that is hard to type, or to tell from another name. It stands
#: in the JSON Schema too, so it is what JavaScript understands; "$" alone lets a line end through.
_ROOM: Final = re.compile(r"^[a-z0-9_-]{1,64}$(?!\n)")
#: Messages that a room keeps: some screens full, for who comes in or comes back.
_HISTORY: Final = 200
#: The skill that an agent must have to be asked, and the name that its answers stand under.
_SKILL: Final = "chat"
_AGENT: Final = "agent"
#: Seconds that an agent has to answer: nobody watches an empty line for longer.
_PATIENCE: Final = 120


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
    kind = fields.String(
        validate=validate.OneOf(["question", "answer"]),
        metadata={"description": "Asked of the agent, or said by it."},
    )


class Part(Schema):
    """What comes of a question, one thing at a time."""

    question = fields.Nested(Sent, metadata={"description": "Where it stands in the room."})
    text = fields.String(metadata={"description": "The next words of the answer."})
    answer = fields.Nested(Sent, metadata={"description": "Where all of it stands in the room."})


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
    return await _say(ctx, data, {"nick": _nick(ctx), "text": data["text"]})


@chat.handler("chat.ask", Send, reply=Part, rate="30/m")
async def ask(ctx: Context, data: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Ask the agent something before everybody in a room, and see it answer word by word.

    Others see the question at once, and the answer when it is whole. Who leaves before that, or
    cancels, gets none, and neither do they.
    """
    agents = await ctx.agents.list(_SKILL)
    if not any(agent["instances"] for agent in agents):
        raise Error("chat.no_agent", "No agent is here to answer.", retryable=True)
    nick = _nick(ctx)
    asked = {"nick": nick, "text": data["text"], "kind": "question"}
    yield {"question": await _say(ctx, data, asked)}
    question = {"room": data["room"], "text": data["text"], "nick": nick}
    answer = ctx.stream_agent(None, question, skill=_SKILL, timeout=_PATIENCE)
    words = []
    async with aclosing(answer):  # who cancels this cancels the agent at once
        async for chunk in answer:
            words.append(str(chunk.get("text", "")))
            yield {"text": words[-1]}
    answered = {"nick": _AGENT, "text": "".join(words), "kind": "answer"}
    yield {"answer": await _say(ctx, data, answered, part=":answer")}


chat.page("/chat", files(__name__) / "static")


async def _say(
    ctx: Context, data: dict[str, Any], message: dict[str, Any], part: str = ""
) -> dict[str, Any]:
    """Publish to a room, once for each key and part of what comes of it."""
    key = f"{data['key']}{part}" if "key" in data else None
    message["at"] = datetime.now(UTC)
    position = await room.publish(ctx, message, key=key, name=data["room"])
    return position._asdict()


def _nick(ctx: Context) -> str:
    """What a connection is known by."""
    chosen: str | None = ctx.state.get("nick")
    return chosen or ctx.user or f"guest-{ctx.connection[:4]}"
