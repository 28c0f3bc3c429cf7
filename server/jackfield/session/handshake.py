"""The handshake of a client: check its origin, choose its subprotocol, authenticate it.

It is authenticated by the first of these that it sends: the ``Authorization: Bearer`` header, a
ticket in the URL, a cookie. A browser adds the cookie to the requests of any page, so the cookie
counts only together with an allowed origin. A client that sends none of them is anonymous, or must
authenticate by its first message.
"""

import asyncio
import re
from typing import Final, NamedTuple

import msgspec
from aiohttp import HttpVersion11, WSMsgType, hdrs, web

from jackfield.auth import Credentials
from jackfield.auth.chain import AuthenticatorChain, RefusedError
from jackfield.config import AuthSettings
from jackfield.connection.connection import Connection
from jackfield.wire import frames, protocol
from jackfield.wire.close_codes import CloseCode
from jackfield.wire.errors import Error
from jackfield.wire.identity import Identity
from jackfield.wire.problem import problem
from jackfield.wire.protocol import Codec, Envelope, MalformedError, NotUtf8Error

from .receiver import Receiver

#: The only version of RFC 6455; earlier ones were drafts.
_VERSION: Final = "13"
#: Base64 of 16 bytes.
_KEY: Final = re.compile("[A-Za-z0-9+/]{22}==", re.ASCII)

#: Frames up to the message that authenticates: some libraries ping at once, and none often.
_MAX_FRAMES: Final = 10

#: Characters of a refused origin that the log shows: those of a real one, whose host has 253.
_SHOWN_ORIGIN: Final = 270

_WRONG_FIRST_MESSAGE: Final = (
    'The first message must be {"type": "auth", "payload": {"token": "..."}}, as nothing was sent '
    "with the request that says who this is."
)


def refuse_upgrade(request: web.Request) -> web.Response | None:
    """Return the answer to a request for which there is no WebSocket; None if there is one.

    RFC 6455, section 4.2.1. What is missing else, aiohttp answers with `HTTPBadRequest`.
    """
    headers = request.headers
    # An upgrade from HTTP/1.0 is none (RFC 9110, section 7.8).
    if (
        request.version < HttpVersion11
        or headers.get(hdrs.UPGRADE, "").strip().lower() != "websocket"
    ):
        return _upgrade_required("This is a WebSocket endpoint.")
    if headers.getall(hdrs.SEC_WEBSOCKET_VERSION, ()) != [_VERSION]:
        return _upgrade_required(f"This server speaks version {_VERSION} of WebSocket.")
    keys = headers.getall(hdrs.SEC_WEBSOCKET_KEY, ())
    return None if len(keys) == 1 and _KEY.fullmatch(keys[0]) else bad_handshake()


def _upgrade_required(why: str) -> web.Response:
    """Tell what to upgrade to, and in which version (RFC 6455, section 4.4)."""
    return problem(
        Error("invalid_message", why),
        426,
        {
            hdrs.UPGRADE: "websocket",
            hdrs.CONNECTION: "upgrade",
            hdrs.SEC_WEBSOCKET_VERSION: _VERSION,
        },
    )


def bad_handshake() -> web.Response:
    """Answer a handshake that is not as RFC 6455 has it."""
    return problem(Error("invalid_message", "The WebSocket handshake is not valid."), 400)


class Admission(NamedTuple):
    """What the handshake found out: an identity, None if still to come, and the encoding."""

    identity: Identity | None
    codec: Codec


async def admit(
    request: web.Request, settings: AuthSettings, authenticators: AuthenticatorChain
) -> Admission:
    """Decide whether a client gets the WebSocket that it asks for.

    Args:
        request: The request for it.
        settings: The allowed origins, and the name of the cookie.
        authenticators: What authenticates the client.

    Raises:
        RefusedError: It does not.
    """
    _check_origin(request, settings)
    offered = subprotocols(request)
    codec = protocol.JSON if not offered else _choose_codec(offered)
    if codec is None:
        raise _forbidden("No subprotocol fits.")
    credentials = find_credentials(request, settings)
    return Admission(await authenticators.identify(credentials), codec)


def _check_origin(request: web.Request, settings: AuthSettings) -> None:
    """Refuse a page of another site (RFC 6455, section 10.2); programs send no origin."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and origin not in settings.origins:
        shown = origin[:_SHOWN_ORIGIN]
        allowed = ", ".join(f'"{each}"' for each in (*settings.origins, shown))
        raise _forbidden(
            f"The origin {shown!r} is not among [auth] origins; to let its pages connect, set "
            f"origins = [{allowed}]."
        )


def subprotocols(request: web.Request) -> list[str]:
    """Return the subprotocols that a client offers, in its order of preference."""
    headers = request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, ())
    return [name.strip() for header in headers for name in header.split(",") if name.strip()]


def find_credentials(request: web.Request, settings: AuthSettings) -> Credentials:
    """Return the credentials of a request whose origin has been checked."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() == "bearer":
        return Credentials("bearer", token.strip(), request)
    ticket = request.rel_url.query.get("ticket")
    if ticket is not None:
        return Credentials("ticket", ticket, request)
    if settings.cookie is not None and hdrs.ORIGIN in request.headers:
        cookie = request.cookies.get(settings.cookie)
        if cookie is not None:
            return Credentials("cookie", cookie, request)
    return Credentials("none", "", request)


async def identify_by_message(
    connection: Connection,
    receiver: Receiver,
    authenticators: AuthenticatorChain,
    *,
    timeout: float,  # noqa: ASYNC109 - the client's, which gets a close code for it
) -> Identity | None:
    """Authenticate a client by its first message.

    Args:
        connection: Its connection, on which nothing else has happened.
        receiver: What reads its socket.
        authenticators: What authenticates the client.
        timeout: Seconds that the message may take.

    Returns:
        The client's identity; None if it has left, or the connection is being closed.

    Raises:
        RefusedError: The message did not come in time, or does not authenticate the client.
    """
    data = await _first_message(connection, receiver, timeout)
    if data is None or connection.closing is not None:
        return None
    try:
        envelope = connection.codec.decode(data)
    except NotUtf8Error:
        raise RefusedError(Error("invalid_json"), CloseCode.INVALID_TEXT) from None
    except MalformedError as exc:
        connection.refuse(exc.id, exc.error)
        raise RefusedError(exc.error, CloseCode.UNAUTHENTICATED) from None
    try:
        credentials = Credentials("message", _token(envelope), connection.request)
        return await authenticators.identify(credentials)
    except RefusedError as refused:
        message_id = None if envelope.id is msgspec.UNSET else envelope.id
        connection.refuse(message_id, refused.error)
        raise


def _token(envelope: Envelope) -> str:
    token = envelope.payload.get("token")
    if envelope.type != "auth" or len(envelope.payload) != 1 or not isinstance(token, str):
        raise RefusedError(
            Error("unauthenticated", _WRONG_FIRST_MESSAGE), CloseCode.UNAUTHENTICATED
        )
    return token


async def _first_message(
    connection: Connection,
    receiver: Receiver,
    timeout: float,  # noqa: ASYNC109 - see above
) -> bytes | None:
    """Return the first message of a client; None if it left before."""
    is_text = connection.codec.opcode == frames.TEXT
    kind = WSMsgType.TEXT if is_text else WSMsgType.BINARY
    try:
        async with asyncio.timeout(timeout):
            for _ in range(_MAX_FRAMES):
                message = await receiver.receive()
                if message.type is kind:
                    return bytes(message.data)
                if message.type is WSMsgType.PING:
                    connection.outbox.send(frames.frame(frames.PONG, message.data))
                elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    raise RefusedError(Error("invalid_message"), CloseCode.UNSUPPORTED_DATA)
                elif message.type is not WSMsgType.PONG:
                    receiver.end(message)
                    return None
    except TimeoutError:
        error = Error("unauthenticated", "It did not say in time who it is.")
        raise RefusedError(error, CloseCode.AUTHENTICATION_TIMEOUT) from None
    raise RefusedError(Error("rate_limited"), CloseCode.TOO_MANY_REQUESTS)


def _choose_codec(offered: list[str]) -> Codec | None:
    """Return the first that the client offers and this server speaks (RFC 6455, section 4.2.2)."""
    return next((protocol.CODECS[name] for name in offered if name in protocol.CODECS), None)


def _forbidden(why: str) -> RefusedError:
    return RefusedError(Error("forbidden", why), CloseCode.FORBIDDEN)
