"""``request.*``: what a client can do about a request that is under way."""

from typing import Any

from marshmallow import Schema, ValidationError, fields

from jackfield import Context, Plugin

request = Plugin("request")


def _is_id(value: object) -> None:
    """Accept what the protocol takes as a message's id: an integer or a string."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValidationError("Must be an integer or a string.")


class Cancel(Schema):
    """The request to cancel."""

    id = fields.Raw(
        required=True,
        validate=_is_id,
        metadata={"description": "The id it was sent with.", "type": ["integer", "string"]},
    )


class Cancelled(Schema):
    """Whether there was anything to cancel."""

    cancelled = fields.Boolean(required=True)


# Concurrent: it must not wait in line behind the very request it cancels.
@request.handler("request.cancel", Cancel, reply=Cancelled, concurrent=True)
async def cancel(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Cancel a request of this connection that is under way; it is answered with ``cancelled``."""
    return {"cancelled": ctx.cancel(data["id"])}
