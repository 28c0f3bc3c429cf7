"""``session.*``: what a connection can ask about itself."""

from typing import Any

from marshmallow import Schema, fields

from jackfield import AnyPayload, Context, Plugin

session = Plugin("session")


class WhoAmI(Schema):
    """Whose the connection is."""

    user = fields.String(required=True, allow_none=True)
    scopes = fields.List(fields.String(), required=True)
    connection = fields.String(required=True)
    expires_at = fields.Float(required=True, allow_none=True)


class Describe(Schema):
    """Which message types to describe."""

    type = fields.String(metadata={"description": "Only this one; all if left out."})


class MessageType(Schema):
    """What a client may know of a message type."""

    type = fields.String(required=True)
    plugin = fields.String(required=True)
    doc = fields.String(required=True)
    streams = fields.Boolean(required=True)
    scopes = fields.List(fields.String(), required=True)
    payload = fields.Dict(required=True)
    reply = fields.Dict(required=True, allow_none=True)


class TopicFamily(Schema):
    """What a client may know of the topics of one pattern."""

    pattern = fields.String(required=True)
    plugin = fields.String(required=True)
    history = fields.Integer(required=True)
    presence = fields.Boolean(required=True)
    publish = fields.Boolean(required=True)
    scopes = fields.List(fields.String(), required=True)
    event = fields.Dict(required=True)


class Described(Schema):
    """The message types this connection may use, and where none is named, the kinds of topics."""

    types = fields.List(fields.Nested(MessageType), required=True)
    topics = fields.List(fields.Nested(TopicFamily))


@session.handler("session.whoami", reply=WhoAmI)
async def whoami(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Tell whose this connection is and what it may do."""
    return {
        "user": ctx.user,
        "scopes": sorted(ctx.scopes),
        "connection": ctx.connection,
        "expires_at": ctx.expires_at,
    }


@session.handler("session.ping", AnyPayload, reply=AnyPayload)
async def ping(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Answer with the payload as it came."""
    return data


@session.handler("session.describe", Describe, reply=Described)
async def describe(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """List the message types and kinds of topics this connection may use, with JSON Schemas."""
    return ctx.describe(data.get("type"))
