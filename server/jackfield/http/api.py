"""The server API: other servers make tickets, revoke and disconnect over HTTP, with an API key.

An endpoint is a function of a `ServerApi` and the request's body. It is declared with the scope
that a key needs for it, which is also its path, and with the schema of the body.
"""

import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec
from aiohttp import hdrs, web
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from jackfield.auth.revocations import RevocationKind, Revocations
from jackfield.auth.ticket import grant, new_ticket
from jackfield.config import ApiSettings
from jackfield.config.api_keys import ApiKey
from jackfield.schema.validation import bind
from jackfield.store.tickets import TicketStore
from jackfield.telemetry.incidents import error_of
from jackfield.wire.errors import Error
from jackfield.wire.identity import (
    MAX_TOKEN_ID_LENGTH,
    MAX_USER_LENGTH,
    Identity,
    is_token_id,
    is_user,
)
from jackfield.wire.malformed import UNDECODABLE
from jackfield.wire.problem import problem

from .body import CODINGS, UnknownCodingError, read_body

#: Bytes of a body: enough for an id and a list of scopes.
_MAX_BODY: Final = 16_384
#: Seconds: a year. Redis keeps what is revoked as long as this, and no token should live longer.
_LONGEST_LIFETIME: Final = 366 * 86_400
#: The HTTP status of each error code that an endpoint may answer with; 500 for any other.
_STATUS: Final = {
    "invalid_json": 400,
    "invalid_message": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "too_large": 413,
    "invalid_payload": 422,
    "rate_limited": 429,
    "unavailable": 503,
}


class ServerApi:
    """What the endpoints work with.

    Args:
        settings: The API keys, and how long a ticket can be used.
        tickets: The tickets in Redis.
        revocations: The revocations.
        revocation_ttl: Seconds that a revocation is kept, unless the request says otherwise.
    """

    def __init__(
        self,
        settings: ApiSettings,
        tickets: TicketStore,
        revocations: Revocations,
        *,
        revocation_ttl: float,
    ) -> None:
        self.keys = settings.keys
        self.ticket_ttl = settings.ticket_ttl
        self.tickets = tickets
        self.revocations = revocations
        self.revocation_ttl = revocation_ttl


#: The key of an application's server API.
API: Final = web.AppKey("jackfield.api", ServerApi)

Endpoint = Callable[[ServerApi, Any], Awaitable[dict[str, Any]]]

#: The endpoints, for `aiohttp.web.Application.add_routes`.
ROUTES: Final = web.RouteTableDef()

_decode: Final = msgspec.json.Decoder().decode


def _post(path: str, schema: Schema, *, status: int = 200) -> Callable[[Endpoint], Endpoint]:
    """Declare an endpoint, ``POST /api/v1/<path>``; the scope for it has the name of the path."""
    load = bind(schema, path)

    def declare(function: Endpoint) -> Endpoint:
        async def endpoint(request: web.Request) -> web.Response:
            api = request.app[API]
            try:
                _check_key(api.keys, request, path)
                answer = await function(api, load(await _body(request)))
            except UnknownCodingError:
                error = Error("invalid_message", f"A body may be compressed as {CODINGS}.")
                return problem(error, 415, {hdrs.ACCEPT_ENCODING: CODINGS})
            except Exception as exc:  # noqa: BLE001 - a fault is answered with its incident
                return _refusal(error_of(exc, endpoint=path))
            return web.Response(
                body=msgspec.json.encode(answer),
                status=status,
                content_type="application/json",
                headers={"Cache-Control": "no-store"},
            )

        ROUTES.post(f"/api/v1/{path}")(endpoint)
        return function

    return declare


def _check_key(keys: Sequence[ApiKey], request: web.Request, scope: str) -> None:
    """Check the API key of a request.

    Raises:
        Error: ``unauthenticated`` without a valid key; ``forbidden`` for one without the scope.
    """
    scheme, _, key = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() != "bearer":
        raise Error("unauthenticated", "This needs an API key: Authorization: Bearer <key>.")
    digest = hashlib.sha256(key.strip().encode("utf-8", "surrogateescape")).digest()
    # All are compared, so that the time it takes does not tell which one fits.
    fitting = [each for each in keys if each.fits(digest)]
    if not fitting:
        raise Error("unauthenticated", "There is no such API key.")
    if scope not in fitting[0].scopes:
        raise Error("forbidden", "This API key is not for that.", scopes=[scope])


async def _body(request: web.Request) -> dict[str, Any]:
    """Read the JSON object in a request's body.

    Raises:
        Error: ``too_large``, ``invalid_message`` or ``invalid_json``.
        UnknownCodingError: It is compressed in a way that is not known.
    """
    body = await read_body(request, _MAX_BODY)
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
    return problem(error, status, headers)


def _check_user(text: str) -> None:
    if not is_user(text):
        raise ValidationError(
            f"Must be 1 to {MAX_USER_LENGTH} printable characters, in Unicode's normal form C."
        )


def _check_token_id(text: str) -> None:
    if not is_token_id(text):
        raise ValidationError("Must be printable characters, in Unicode's normal form C.")


def _token_id() -> fields.String:
    return fields.String(
        validate=[validate.Length(1, MAX_TOKEN_ID_LENGTH), _check_printable, _check_token_id]
    )


def _check_printable(text: str) -> None:
    if not text.isprintable():
        raise ValidationError("Must have printable characters only.")


class Ticket(Schema):
    """The body of ``tickets``: whose the ticket is, and when the identity expires."""

    user = fields.String(load_default=None, allow_none=True, validate=_check_user)
    scopes = fields.List(
        fields.String(validate=validate.Regexp(r"\S+\Z", error="Must be without spaces.")),
        load_default=list,
    )
    expires_in = fields.Float(
        load_default=None, allow_none=True, validate=validate.Range(1, _LONGEST_LIFETIME)
    )
    token_id = _token_id()


class Subject(Schema):
    """Exactly one of a token, a user and a connection."""

    token_id = _token_id()
    user = fields.String(validate=_check_user)
    connection = fields.String(validate=[validate.Length(1, 64), _check_printable])

    @validates_schema(skip_on_field_errors=True)
    def exactly_one(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse none, and more than one."""
        names = [name for name in ("token_id", "user", "connection") if name in self.fields]
        if len([name for name in names if name in data]) != 1:
            raise ValidationError(f"Exactly one of {', '.join(names)} is needed.")


class Revoke(Subject):
    """The body of ``revoke``: what to revoke, and for how many seconds."""

    expires_in = fields.Float(validate=validate.Range(1, _LONGEST_LIFETIME))


class Disconnect(Subject):
    """The body of ``disconnect``: whose connections to close."""

    class Meta:
        """Leave tokens out: they can only be revoked."""

        exclude = ("token_id",)


@_post("tickets", Ticket(), status=201)
async def give_ticket(api: ServerApi, data: dict[str, Any]) -> dict[str, Any]:
    """Make a ticket, with which one connection can be opened within seconds."""
    lifetime = data["expires_in"]
    identity = Identity(
        user=data["user"],
        scopes=frozenset(data["scopes"]),
        expires_at=None if lifetime is None else time.time() + lifetime,
        token_id=data.get("token_id"),
    )
    ticket, ttl = new_ticket(), api.ticket_ttl
    await api.tickets.write(ticket, grant(identity), ttl)
    return {"ticket": ticket, "expires_in": ttl}


@_post("revoke", Revoke())
async def revoke(api: ServerApi, data: dict[str, Any]) -> dict[str, Any]:
    """Revoke a token, all tokens of a user, or a connection, on all nodes."""
    lifetime = data.get("expires_in", api.revocation_ttl)
    for key, kind in (
        ("token_id", RevocationKind.TOKEN),
        ("user", RevocationKind.USER),
        ("connection", RevocationKind.CONNECTION),
    ):
        if key in data:
            await api.revocations.revoke(kind, data[key], lifetime)
    return {}


@_post("disconnect", Disconnect())
async def disconnect(api: ServerApi, data: dict[str, Any]) -> dict[str, Any]:
    """Close a connection, or all of a user's, on all nodes; the clients may reconnect."""
    for key, kind in (
        ("user", RevocationKind.DISCONNECT_USER),
        ("connection", RevocationKind.DISCONNECT_CONNECTION),
    ):
        if key in data:
            await api.revocations.disconnect(kind, data[key])
    return {}
