"""What pages are tried out on: a plugin with every kind of field, and an agent that obeys."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from marshmallow import Schema, fields, validate

from jackfield import AnyPayload, Context, Plugin
from jackfield.client import Agent, Task
from jackfield.testing import RunningServer, run_server
from tests.support.counting import counting
from tests.support.topics import topics
from tests.support.valkeys import free_port

Message = dict[str, Any]

lab = Plugin("lab")


class Address(Schema):
    """An object within another."""

    street = fields.String(required=True, validate=validate.Length(1, 80))
    zip = fields.String(validate=validate.Regexp(r"^\d{5}$"))


class Order(Schema):
    """One of each kind that a form has a control for."""

    name = fields.String(
        required=True,
        validate=validate.Length(1, 64),
        metadata={"description": "Who orders."},
    )
    kind = fields.String(required=True, validate=validate.OneOf(["tea", "coffee", "water"]))
    amount = fields.Integer(load_default=1, validate=validate.Range(1, 20))
    price = fields.Float(allow_none=True)
    urgent = fields.Boolean()
    notes = fields.String(validate=validate.Length(0, 2000))
    tags = fields.List(fields.String(validate=validate.Length(1, 10)))
    address = fields.Nested(Address, required=True)
    extra = fields.Dict()
    key = fields.UUID()


class Burst(Schema):
    """How much is published at once."""

    name = fields.String(required=True)
    count = fields.Integer(required=True)


@lab.handler("lab.order", Order, reply=AnyPayload)
async def order(ctx: Context, data: Message) -> Message:
    """Take an order, and say what it was."""
    return {**data, **({"key": str(data["key"])} if "key" in data else {})}


@lab.handler("lab.fail")
async def fail(ctx: Context, data: Message) -> None:
    """Fail."""
    raise RuntimeError("the page must not be told this")


flood = lab.topic("flood:{name}", AnyPayload, history=100, ttl="1h")


@lab.handler("lab.burst", Burst)
async def burst(ctx: Context, data: Message) -> None:
    """Publish many events, each with its number."""
    await asyncio.gather(
        *(flood.publish(ctx, {"n": n}, name=data["name"]) for n in range(data["count"]))
    )


@asynccontextmanager
async def serve_lab(config: Mapping[str, Any], *plugins: Plugin) -> AsyncIterator[RunningServer]:
    """A server with all that is tried out, whose pages may connect to it.

    Args:
        config: What a configuration file would say.
        *plugins: More of them.
    """
    # The origins of pages are those of the port that the configuration names.
    server = {"port": free_port(), "debug": True, **config.get("server", {})}
    async with run_server(
        lab, counting, topics, *plugins, config={**config, "server": server}
    ) as running:
        yield running


class Words(Schema):
    """What the agent is given."""

    text = fields.String(
        required=True,
        validate=validate.Length(1, 400),
        metadata={"description": "What to repeat."},
    )


class Choice(Schema):
    """What the agent asks for."""

    count = fields.Integer(required=True, validate=validate.Range(1, 3))


class Parrot:
    """An agent that repeats what it is told, and may be held still.

    Args:
        url: The socket of the server that it serves at.
    """

    def __init__(self, url: str) -> None:
        #: Clear, and ``hold`` goes no further than its first word.
        self.may_go_on = asyncio.Event()
        #: Set when the server has taken a task away from it.
        self.was_cancelled = asyncio.Event()
        self.agent = Agent("parrot", url, capacity=4, grace=1.0, backoff=0.01)
        self.agent.skill("repeat", Words, idempotent=True)(self._repeat)
        self.agent.skill("hold", Words)(self.hold)
        self.agent.skill("ask", Words)(self._ask)
        self.agent.skill("fail", Words)(self._fail)

    async def _repeat(self, task: Task, data: Message) -> AsyncIterator[Message]:
        """Repeat a text word by word."""
        for word in data["text"].split():
            yield {"text": f"{word} "}
        task.output = {"words": len(data["text"].split())}

    async def hold(self, task: Task, data: Message) -> AsyncIterator[Message]:
        """Stop behind the first word, until told otherwise."""
        first, *rest = data["text"].split()
        yield {"text": f"{first} "}
        try:
            await self.may_go_on.wait()
        except asyncio.CancelledError:
            self.was_cancelled.set()
            raise
        for word in rest:
            yield {"text": f"{word} "}
        task.output = {"words": 1 + len(rest)}

    async def _ask(self, task: Task, data: Message) -> Message:
        """Ask how often to repeat it."""
        answer = await task.ask("How often?", Choice)
        return {"text": " ".join([data["text"]] * answer["count"])}

    async def _fail(self, _task: Task, _data: Message) -> Message:
        """Fail."""
        raise RuntimeError("the page must not be told this")
