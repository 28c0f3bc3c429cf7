"""``topic.*``: what a client can do with topics, and the two that every client is in."""

from typing import Any

from marshmallow import Schema, fields, validate

from jackfield import AnyPayload, Context, Plugin, Position
from jackfield.wire.topic_limits import MAX_KEY_LENGTH, MAX_TOPIC_LENGTH

topic = Plugin("topic")

user = topic.topic("user:{id*}", AnyPayload, history=100, ttl="1d")
topic.topic("broadcast", AnyPayload, history=100, ttl="1d")


@user.authorize
async def is_their_own(ctx: Context, id: str) -> bool:  # noqa: A002 - the name of the part
    """Let nobody but the user see what is sent to a user."""
    return ctx.user == id


class InTopic(Schema):
    """A payload about a topic."""

    topic = fields.String(required=True, validate=validate.Length(1, MAX_TOPIC_LENGTH))


class Since(Schema):
    """A position in a topic."""

    epoch = fields.String(required=True, validate=validate.Length(1, 64))
    offset = fields.Integer(required=True, strict=True, validate=validate.Range(0, 2**53 - 1))


class Subscribe(InTopic):
    """The topic to join."""

    since = fields.Nested(
        Since, metadata={"description": "Up to where the client knows the topic already."}
    )


class Standing(Schema):
    """Where a topic stands."""

    epoch = fields.String(required=True)
    offset = fields.Integer(required=True)


class Subscribed(Standing):
    """Where a topic stands, and what was missed."""

    recovered = fields.Boolean(
        metadata={"description": "With since: whether events has all that came behind it."}
    )
    events = fields.List(
        fields.Raw(), metadata={"description": "Whole events, in order, up to the offset."}
    )


class Publish(InTopic):
    """An event to publish."""

    payload = fields.Dict(required=True, keys=fields.String())
    key = fields.String(
        validate=validate.Length(1, MAX_KEY_LENGTH),
        metadata={"description": "Sent again with the same key, it is not published again."},
    )


class History(InTopic):
    """Which part of a topic's past is wanted."""

    after = fields.Integer(strict=True, validate=validate.Range(0, 2**53 - 1))
    before = fields.Integer(strict=True, validate=validate.Range(1, 2**53 - 1))
    limit = fields.Integer(strict=True, validate=validate.Range(1, 100_000))


class Past(Standing):
    """A part of a topic's past."""

    events = fields.List(
        fields.Raw(), required=True, metadata={"description": "Whole events, in order."}
    )


class Present(Schema):
    """Who is in a topic."""

    members = fields.List(fields.Dict(), required=True)
    count = fields.Integer(required=True)


@topic.handler("topic.subscribe", Subscribe, reply=Subscribed)
async def subscribe(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Join a topic: its events come behind the reply, from the offset that the reply tells."""
    since = data.get("since")
    return await ctx.subscribe(data["topic"], None if since is None else Position(**since))


@topic.handler("topic.unsubscribe", InTopic)
async def unsubscribe(ctx: Context, data: dict[str, Any]) -> None:
    """Leave a topic; to leave one that the connection isn't in is no error."""
    ctx.unsubscribe(data["topic"])


# Concurrent, so that what a client sends without waiting goes to Redis in one call; in its order.
@topic.handler("topic.publish", Publish, reply=Standing, concurrent=True)
async def publish(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Publish an event, where the topic lets clients."""
    position = await ctx.publish_as_client(data["topic"], data["payload"], data.get("key"))
    return position._asdict()


@topic.handler("topic.history", History, reply=Past)
async def history(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Read a part of a topic's past: the newest, or what is behind ``after``."""
    wanted = {name: data.get(name) for name in ("after", "before", "limit")}
    return await ctx.history(data["topic"], **wanted)


@topic.handler("topic.presence", InTopic, reply=Present)
async def presence(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """List who is in a topic."""
    return await ctx.presence(data["topic"])
