"""``request.*``: what a client can do about a request that is under way."""

from typing import Any

from marshmallow import Schema, ValidationError, fields

from jackfield import Context, Plugin
from jackfield.wire import envelope
from jackfield.wire.envelope import MAX_ID, MAX_ID_LENGTH

request = Plugin("request")


def _is_id(value: object) -> None:
    """Accept what the protocol takes as a message's id; its name is the code of the fault."""
    if not envelope.is_id(value):
        raise ValidationError(
            f"Must be an integer from 0 to {MAX_ID} or a string of 1 to {MAX_ID_LENGTH} characters."
        )


class RequestId(Schema):
    """A request of this connection, by its id."""

    id = fields.Raw(
        required=True,
        validate=_is_id,
        metadata={"description": "The id it was sent with.", "type": ["integer", "string"]},
    )


class Cancelled(Schema):
    """Whether there was anything to cancel."""

    cancelled = fields.Boolean(required=True)


# Concurrent: it must not wait in line behind the very request it cancels.
@request.handler("request.cancel", RequestId, reply=Cancelled, concurrent=True)
async def cancel(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Cancel a request of this connection that is under way; it is answered with ``cancelled``."""
    return {"cancelled": ctx.cancel(data["id"])}


class Found(Schema):
    """Whether there is such a stream."""

    found = fields.Boolean(required=True)


# Concurrent, as above; what pauses and what resumes keep their order all the same.
@request.handler("request.pause", RequestId, reply=Found, concurrent=True)
async def pause(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Have a stream of this connection wait; chunks that were under way may still come."""
    return {"found": ctx.pause(data["id"])}


@request.handler("request.resume", RequestId, reply=Found, concurrent=True)
async def resume(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Have a stream that was paused go on."""
    return {"found": ctx.pause(data["id"], wait=False)}
