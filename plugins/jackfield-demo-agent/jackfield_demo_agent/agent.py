"""The agent: its skills, and how it streams."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

from marshmallow import Schema, fields, validate

from jackfield.client import Agent, Rejected, RequestError, Task, connect

from .text import Line, reply, split_pieces, summarise

NAME: Final = "demo"
#: Seconds from one word to the next: about as fast as a model writes.
PACE: Final = 0.05
#: Tasks at once. Each of them mostly waits for the next word.
_CAPACITY: Final = 32
#: What is read of a room for an answer: as much as somebody looks back.
_LOOK_BACK: Final = 50
#: Seconds that somebody has to say yes or no.
_PATIENCE: Final = 120


class Text(Schema):
    """A text, and how much is to be left of it."""

    text = fields.String(required=True, validate=validate.Length(1, 20_000))
    sentences = fields.Integer(strict=True, load_default=2, validate=validate.Range(1, 20))


class Question(Schema):
    """A question, asked in a room of `jackfield-chat`."""

    room = fields.String(load_default="lobby", validate=validate.Length(1, 64))
    text = fields.String(required=True, validate=validate.Length(1, 4096))
    nick = fields.String(validate=validate.Length(1, 32))


class Plan(Schema):
    """Something that wants a yes."""

    text = fields.String(required=True, validate=validate.Length(1, 1000))


class Decision(Schema):
    """Yes or no."""

    yes = fields.Boolean(required=True)


def create_agent(url: str, token: str | None = None, *, pace: float = PACE) -> Agent:
    """Make the agent; `run`, `serve` or `running` has it work.

    Args:
        url: The address of the server's socket.
        token: What proves who it is; it needs the scope ``agent``.
        pace: Seconds from one word to the next.
    """
    agent = Agent(NAME, url, token, capacity=_CAPACITY)

    async def stream(task: Task, text: str) -> AsyncIterator[dict[str, Any]]:
        """Say a text word by word."""
        for piece in split_pieces(text):
            yield {"text": piece}
            await asyncio.sleep(pace)
        task.output = {"text": text}

    @agent.skill("summarise", Text, idempotent=True)
    async def shorten(task: Task, data: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Make a text short: the sentences that have its most frequent words."""
        async for chunk in stream(task, summarise(data["text"], data["sentences"])):
            yield chunk

    @agent.skill("chat", Question)
    async def chat(task: Task, data: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Answer from what was said in a chat room."""
        said = await _read_room(url, token, data["room"])
        async for chunk in stream(task, reply(data["text"], said, data.get("nick"))):
            yield chunk

    @agent.skill("confirm", Plan)
    async def confirm(task: Task, data: dict[str, Any]) -> dict[str, Any]:
        """Do something once its caller has said yes."""
        decision = await task.ask(f"Shall I? {data['text']}", Decision, expires=_PATIENCE)
        if not decision["yes"]:
            raise Rejected("You have said no.")
        return {"text": f"Done: {data['text']}"}

    return agent


async def _read_room(url: str, token: str | None, room: str) -> list[Line]:
    """What was said in a room; nothing, where there is none."""
    async with connect(url, token=token) as client:
        with suppress(RequestError):
            past = await client.history(f"room:{room}", limit=_LOOK_BACK)
            return [Line(event.payload["nick"], event.payload["text"]) for event in past.events]
    return []
