"""Chat rooms for Jackfield: a plugin to try the server with, and to learn from."""

import hashlib
import json
import re
import unicodedata
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Final

from marshmallow import Schema, ValidationError, fields, validate

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
#: The beginning of what those are called who have no name.
_GUEST: Final = "guest-"
#: Characters of a name, and of one that is yet to be normalised: no letter has so many parts.
_LONGEST_NAME: Final = 32
_LONGEST_RAW: Final = 8 * _LONGEST_NAME
#: What joins letters or emoji, or keeps them from joining. It can't be seen.
_JOINERS: Final = "\u200c\u200d"
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
#: Seconds that an agent has to answer: nobody watches an empty line for longer.
_PATIENCE: Final = 120


class _Name(fields.String):
    """A name as it is shown: one line in Unicode's normal form C, without spaces around it."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if len(text) > _LONGEST_RAW:  # to normalise a long text may take very long
            raise ValidationError(f"Longer than maximum length {_LONGEST_NAME}.")
        return unicodedata.normalize("NFC", text).strip()


def _printable(text: str) -> None:
    """Refuse what can't be seen, or changes how what stands beside it is shown."""
    if not all(letter.isprintable() or letter in _JOINERS for letter in text):
        raise ValidationError("Must have no control characters.")
    if not any(letter.isprintable() and not letter.isspace() for letter in text):
        raise ValidationError("Must have something to see.")


def _reserved(text: str) -> None:
    """Refuse the names that the chat itself gives."""
    plain = _plain(text)
    if plain == _AGENT or plain.startswith(_GUEST):
        raise ValidationError("This name is not to be had.")


def _plain_text(text: str) -> None:
    """Refuse control characters other than tabs and the ends of lines."""
    if _CONTROL.search(text) is not None:
        raise ValidationError("Must have no control characters.")


class Nick(Schema):
    """A name."""

    nick = _Name(required=True, validate=[validate.Length(1, _LONGEST_NAME), _printable, _reserved])


class Send(Schema):
    """Something to say."""

    room = fields.String(
        required=True,
        validate=validate.Regexp(_ROOM, error="Must be 1 to 64 of a-z, 0-9, '_' and '-'."),
    )
    text = fields.String(required=True, validate=[validate.Length(1, 4096), _plain_text])
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
    name = data["nick"]
    for user in {name, _plain(name)} - {ctx.user}:
        if await ctx.is_online(user):
            raise Error("chat.name_taken", "A user is called so.")
    await ctx.state.set(nick=name)
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
    key = _own_key(ctx, data, part) if "key" in data else None
    message["at"] = datetime.now(UTC)
    position = await room.publish(ctx, message, key=key, name=data["room"])
    return position._asdict()


def _nick(ctx: Context) -> str:
    """What a connection is known by."""
    chosen: str | None = ctx.state.get("nick")
    return chosen or ctx.user or f"{_GUEST}{ctx.connection[:4]}"


def _plain(name: str) -> str:
    """A name without what makes it look different from one that reads the same."""
    plain = "".join(letter for letter in name if letter not in _JOINERS)
    return unicodedata.normalize("NFKC", plain).casefold()


def _own_key(ctx: Context, data: dict[str, Any], part: str) -> str:
    """Return a key that is the sender's own: nobody else's message counts as this one.

    Somebody anonymous is not known again when they come back and send again what may have been
    lost. So what they say is a part of their key.
    """
    owner = ["user", ctx.user] if ctx.user is not None else ["text", data["text"]]
    mine = json.dumps([*owner, str(data["key"]), part])
    return hashlib.sha256(mine.encode()).hexdigest()
