"""``auth.*``: what a connection can do about who it belongs to."""

from typing import Any

from marshmallow import Schema, fields, validate

from jackfield import Context, Plugin
from jackfield.auth import MAX_TOKEN_LENGTH

auth = Plugin("auth")


class Refresh(Schema):
    """A newer token of the same user."""

    token = fields.String(required=True, validate=validate.Length(1, MAX_TOKEN_LENGTH))


class Refreshed(Schema):
    """Until when it is good."""

    expires_at = fields.Float(required=True, allow_none=True)


@auth.handler("auth.refresh", Refresh, reply=Refreshed)
async def refresh(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Swap the token of this connection for a newer one of the same user, before it runs out."""
    return {"expires_at": await ctx.refresh_identity(data["token"])}
