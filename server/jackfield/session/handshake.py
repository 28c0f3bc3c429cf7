"""How a client is let in: the page it comes from, how it speaks, and who it is.

Who it is comes from the first of these that it sends: the ``Authorization: Bearer`` header, a
ticket in the URL, a cookie. A browser adds the cookie to whatever any page asks of it, so that it
counts only with the origin of a page that is allowed. A client that sends none of them is
anonymous, or has to say who it is by its first message.
"""

import asyncio
from typing import Final, NamedTuple

import msgspec
from aiohttp import WSMsgType, hdrs, web

from jackfield.auth import Credentials
from jackfield.auth.chain import AuthenticatorChain, RefusedError
from jackfield.config import AuthSettings
from jackfield.connection.connection import Connection
from jackfield.wire import frames, protocol
from jackfield.wire.close_codes import CloseCode
from jackfield.wire.errors import Error
from jackfield.wire.identity import Identity
from jackfield.wire.protocol import Codec, Envelope, MalformedError, NotUtf8Error

from .receiver import Receiver

#: Frames before the message that says who it is: some libraries ping at once, and none often.
_MAX_FRAMES: Final = 10

_UNCLEAR: Final = (
    'The first message must be {"type": "auth", "payload": {"token": "..."}}, as nothing was sent '
    "with the request that says who this is."
)


class Admission(NamedTuple):
    """Who a client is, and how it speaks; it is None where that is still to come."""

    identity: Identity | None
    codec: Codec


async def admit(
    request: web.Request, settings: AuthSettings, authenticators: AuthenticatorChain
) -> Admission:
    """Let in whoever asks for a WebSocket.

    Args:
        request: The request for it.
        settings: Which pages may ask.
        authenticators: What tells who it is.

    Raises:
        RefusedError: They are not.
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
        raise _forbidden("The page's origin is not among auth.origins.")


def subprotocols(request: web.Request) -> list[str]:
    """The subprotocols that a client offers."""
    headers = request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, ())
    return [name.strip() for header in headers for name in header.split(",") if name.strip()]


def find_credentials(request: web.Request, settings: AuthSettings) -> Credentials:
    """What a request has to say about who sends it; its origin has been looked at."""
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
    timeout: float,  # noqa: ASYNC109 - the client's, which is told so
) -> Identity | None:
    """Wait for a client to say who it is.

    Args:
        connection: Its connection, which can do nothing yet.
        receiver: What reads its socket.
        authenticators: What tells who it is.
        timeout: Seconds that it has.

    Returns:
        None if it has gone, or is being closed.

    Raises:
        RefusedError: It has not said so in time, or is not let in.
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
        raise RefusedError(Error("unauthenticated", _UNCLEAR), CloseCode.UNAUTHENTICATED)
    return token


async def _first_message(
    connection: Connection,
    receiver: Receiver,
    timeout: float,  # noqa: ASYNC109 - see above
) -> bytes | None:
    """The first message of a client; None if it has gone before."""
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
    """The first the client offers that is known here (RFC 6455, section 4.2.2)."""
    return next((protocol.CODECS[name] for name in offered if name in protocol.CODECS), None)


def _forbidden(why: str) -> RefusedError:
    return RefusedError(Error("forbidden", why), CloseCode.FORBIDDEN)
