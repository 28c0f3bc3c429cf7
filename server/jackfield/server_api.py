"""The server API: what other servers ask of this one over HTTP, with a key.

An endpoint is a function of the node and the request's body, declared with the scope that a key
must have for it and the schema of the body. All else is the same for each of them.
"""

import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import hdrs, web
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from .auth import MAX_USER_LENGTH, Identity, is_user
from .auth.revocations import Kind
from .auth.ticket import grant, new_ticket
from .errors import Error
from .http_api import NODE, problem
from .malformed import UNDECODABLE
from .node import Node
from .validation import bind

#: Bytes of a body: no endpoint needs more than an id or two.
_MAX_BODY: Final = 16_384
#: Seconds: a year. What is revoked for longer is better forgotten by whoever gave it out.
_LONGEST_LIFETIME: Final = 366 * 86_400
#: The HTTP status of each error code that an endpoint may answer with; 500 for any other.
_STATUS: Final = {
    "invalid_json": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "too_large": 413,
    "invalid_payload": 422,
    "rate_limited": 429,
    "unavailable": 503,
}

Endpoint = Callable[[Node, Any], Awaitable[dict[str, Any]]]

#: The endpoints, for `aiohttp.web.Application.add_routes`.
ROUTES: Final = web.RouteTableDef()

_decode: Final = msgspec.json.Decoder().decode


def _post(path: str, schema: Schema, *, status: int = 200) -> Callable[[Endpoint], Endpoint]:
    """Declare an endpoint, ``POST /api/v1/<path>``; its key's scope has the same name."""
    load = bind(schema, path)

    def declare(function: Endpoint) -> Endpoint:
        async def endpoint(request: web.Request) -> web.Response:
            node = request.app[NODE]
            try:
                _check_key(node, request, path)
                answer = await function(node, load(await _body(request)))
            except Error as error:
                return _refusal(error)
            except Exception as exc:  # noqa: BLE001 - the caller learns the incident, and no more
                return _refusal(node.dispatcher.report(exc, endpoint=path))
            return web.Response(
                body=msgspec.json.encode(answer),
                status=status,
                content_type="application/json",
                headers={"Cache-Control": "no-store"},
            )

        ROUTES.post(f"/api/v1/{path}")(endpoint)
        return function

    return declare


def _check_key(node: Node, request: web.Request, scope: str) -> None:
    """Refuse a request whose key is missing, wrong, or not for this.

    Raises:
        Error: ``unauthenticated`` or ``forbidden``.
    """
    scheme, _, key = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() != "bearer":
        raise Error("unauthenticated", "This needs an API key: Authorization: Bearer <key>.")
    digest = hashlib.sha256(key.strip().encode("utf-8", "surrogateescape")).digest()
    # All of them, so that the time it takes does not tell which.
    fitting = [each for each in node.settings.api.keys if each.fits(digest)]
    if not fitting:
        raise Error("unauthenticated", "There is no such API key.")
    if scope not in fitting[0].scopes:
        raise Error("forbidden", "This API key is not for that.", scopes=[scope])


async def _body(request: web.Request) -> dict[str, Any]:
    """The object in a request's body.

    Raises:
        Error: ``too_large`` or ``invalid_json``.
    """
    body = b""
    async for part in request.content.iter_any():
        body += part
        if len(body) > _MAX_BODY:
            raise Error("too_large", f"The body is larger than {_MAX_BODY} bytes.", limit=_MAX_BODY)
    try:
        value = _decode(body)
    except UNDECODABLE:
        raise Error("invalid_json", "The body is not valid JSON.") from None
    if not isinstance(value, dict):
        raise Error("invalid_json", "The body is not an object.")
    return value


def _refusal(error: Error) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    status = _STATUS.get(error.code, 500)
    if error.code == "unauthenticated":
        headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    if "retry_after" in error.extra:
        headers[hdrs.RETRY_AFTER] = str(max(1, round(error.extra["retry_after"])))
    return problem(error, status, headers)


def _check_user(text: str) -> None:
    if not is_user(text):
        raise ValidationError(f"Must be 1 to {MAX_USER_LENGTH} printable characters.")


def _id(longest: int) -> fields.String:
    return fields.String(validate=[validate.Length(1, longest), _check_printable])


def _check_printable(text: str) -> None:
    if not text.isprintable():
        raise ValidationError("Must have printable characters only.")


class Ticket(Schema):
    """Whom a ticket lets in, and for how long."""

    user = fields.String(load_default=None, allow_none=True, validate=_check_user)
    scopes = fields.List(
        fields.String(validate=validate.Regexp(r"\S+\Z", error="Must be without spaces.")),
        load_default=list,
    )
    expires_in = fields.Float(
        load_default=None, allow_none=True, validate=validate.Range(1, _LONGEST_LIFETIME)
    )
    token_id = _id(256)


class Subject(Schema):
    """Exactly one of the things that can be told apart."""

    token_id = _id(256)
    user = fields.String(validate=_check_user)
    connection = _id(64)

    @validates_schema(skip_on_field_errors=True)
    def exactly_one(self, data: dict[str, Any], **_: Any) -> None:
        """Nobody means two, and nobody means none."""
        names = [name for name in ("token_id", "user", "connection") if name in self.fields]
        if len([name for name in names if name in data]) != 1:
            raise ValidationError(f"Exactly one of {', '.join(names)} is needed.")


class Revoke(Subject):
    """What to revoke, and for how long it would be valid otherwise."""

    expires_in = fields.Float(validate=validate.Range(1, _LONGEST_LIFETIME))


class Disconnect(Subject):
    """What to close."""

    class Meta:
        """A token is revoked, or not."""

        exclude = ("token_id",)


@_post("tickets", Ticket(), status=201)
async def give_ticket(node: Node, data: dict[str, Any]) -> dict[str, Any]:
    """Make a ticket, for one connection within seconds."""
    lifetime = data["expires_in"]
    identity = Identity(
        user=data["user"],
        scopes=frozenset(data["scopes"]),
        expires_at=None if lifetime is None else time.time() + lifetime,
        token_id=data.get("token_id"),
    )
    ticket, ttl = new_ticket(), node.settings.api.ticket_ttl
    await node.tickets.write(ticket, grant(identity), ttl)
    return {"ticket": ticket, "expires_in": ttl}


@_post("revoke", Revoke())
async def revoke(node: Node, data: dict[str, Any]) -> dict[str, Any]:
    """Revoke a token, a user's tokens or a connection, on all nodes."""
    lifetime = data.get("expires_in", node.settings.auth.revocation_ttl)
    for key, kind in (
        ("token_id", Kind.TOKEN),
        ("user", Kind.USER),
        ("connection", Kind.CONNECTION),
    ):
        if key in data:
            await node.revocations.revoke(kind, data[key], lifetime)
    return {}


@_post("disconnect", Disconnect())
async def disconnect(node: Node, data: dict[str, Any]) -> dict[str, Any]:
    """Close a connection, or all of a user's, on all nodes; the clients come back."""
    for key, kind in (
        ("user", Kind.DISCONNECT_USER),
        ("connection", Kind.DISCONNECT_CONNECTION),
    ):
        if key in data:
            await node.revocations.disconnect(kind, data[key])
    return {}
