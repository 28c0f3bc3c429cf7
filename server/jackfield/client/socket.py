"""The client's WebSocket: opened, read and closed, with the protocol's meaning of each failure."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from os import strerror
from typing import Final, Literal

import aiohttp
import msgspec
from aiohttp import WSMsgType

from jackfield.wire.close_codes import CloseCode
from jackfield.wire.malformed import UNDECODABLE

from .errors import ConnectionClosed, ConnectionFailed
from .message import Message, decode

ClientSocket = aiohttp.ClientWebSocketResponse[Literal[False]]

#: Bytes of the longest message that is accepted, thirty times what a server by default allows its
#: replies: it bounds the memory that a faulty server can take here.
MESSAGE_BYTES: Final = 2**24
#: Seconds without a frame after which the client pings; without an answer for half as long, the
#: connection is lost. A server by default pings twice as often, so a healthy one is never pinged.
HEARTBEAT: Final = 30.0
#: Seconds to wait for the server's close frame: two round trips across the worst network.
CLOSE_TIMEOUT: Final = 5.0
#: Errors that the next attempt would meet as well: a wrong address, or another kind of server.
_PERMANENT: Final = (
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ClientResponseError,
)
#: The codes of a close frame without a code, and of an end without a close frame (RFC 6455,
#: section 7.4.1).
NO_STATUS: Final = 1005
ABNORMAL_CLOSURE: Final = 1006


class _ProblemDetails(msgspec.Struct):
    """The used members of an `application/problem+json` (RFC 9457); proxies send `detail`."""

    message: str = ""
    detail: str = ""
    retry_after: float | None = None


async def open_socket(
    session: aiohttp.ClientSession, url: str, headers: Mapping[str, str], subprotocol: str
) -> tuple[ClientSocket, Message]:
    """Open a WebSocket and wait for the server's welcome.

    Returns:
        The socket, and the payload of the welcome.

    Raises:
        ConnectionFailed: The server was not reached, or refused.
        ConnectionClosed: The server closed the WebSocket without a welcome.
    """
    try:
        socket = await session.ws_connect(
            url,
            headers=headers,
            protocols=[subprotocol],
            heartbeat=HEARTBEAT,
            max_msg_size=MESSAGE_BYTES,
            decode_text=False,
        )
    except aiohttp.ClientError as error:
        message = _explain(error, url)
        raise ConnectionFailed(
            None, message, reconnect=not isinstance(error, _PERMANENT)
        ) from error
    try:
        return socket, await _welcome(socket)
    except BaseException:  # after a timeout or a cancellation too, nothing stays open
        await close_socket(socket, CloseCode.OK)
        raise


async def raise_refusal(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Raise a response that is an HTTP error, with the message in its body.

    It is a middleware of aiohttp's client, because `ws_connect` discards the body.

    Raises:
        ConnectionFailed: The server refused.
    """
    response = await handler(request)
    if response.status < 400:  # noqa: PLR2004 - where the errors of HTTP begin
        return response
    async with response:
        body = await response.read()
    problem = _ProblemDetails()
    with suppress(*UNDECODABLE):
        problem = msgspec.json.decode(body, type=_ProblemDetails)
    after = response.headers.get("Retry-After", "")
    raise ConnectionFailed(
        response.status,
        problem.message or problem.detail or f"The server refused: {response.reason}.",
        float(after) if after.isdecimal() else problem.retry_after,
    )


async def receive(socket: ClientSocket) -> tuple[Message, int]:
    """Wait for the next message.

    Returns:
        The message, and its size in bytes.

    Raises:
        ConnectionClosed: The connection has ended, or the server sent what is not a message.
    """
    frame = await socket.receive()
    match frame.type:
        case WSMsgType.TEXT:
            try:
                return decode(frame.data), len(frame.data)
            except UNDECODABLE as error:
                raise protocol_violation("text that is not a JSON object") from error
        case WSMsgType.BINARY:
            raise protocol_violation("a binary frame")
        case WSMsgType.CLOSE:
            raise ConnectionClosed(frame.data or NO_STATUS, frame.extra or "")
        case WSMsgType.ERROR if isinstance(frame.data, aiohttp.WebSocketError):
            raise ConnectionClosed(frame.data.code, str(frame.data))
    raise ConnectionClosed(ABNORMAL_CLOSURE, "the connection was lost")


def protocol_violation(what: str) -> ConnectionClosed:
    """Return the end of a connection whose server sent what the protocol does not allow."""
    return ConnectionClosed(CloseCode.PROTOCOL_ERROR, f"the server sent {what}")


async def close_socket(socket: ClientSocket, code: int) -> None:
    """Close a WebSocket, which may be closed already, or stalled."""
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await socket.close(code=code)


async def _welcome(socket: ClientSocket) -> Message:
    message, _ = await receive(socket)
    match message:
        case {"type": "welcome", "payload": {"connection": str()} as welcome}:
            return dict(welcome)
        case {"type": "error", "error": {"message": str(text)}}:
            raise ConnectionFailed(None, text, reconnect=False)
        case {"type": "goodbye", "payload": {"code": int(code), "reason": str(reason)} as goodbye}:
            raise ConnectionClosed(
                code, reason, reconnect=goodbye.get("reconnect"), after=goodbye.get("after")
            )
    raise ConnectionFailed(
        None, "The server does not speak jackfield.v1: it sent no welcome.", reconnect=False
    )


def _explain(error: aiohttp.ClientError, url: str) -> str:
    """Return why a server was not reached, as a sentence for a person."""
    match error:
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            # Without the query, which may hold a ticket.
            message = f"{url.partition('?')[0]!r} is not an address like ws://host:port/path"
        case aiohttp.ClientConnectorDNSError():
            message = f"The host {error.host!r} cannot be found: {error.os_error.strerror}"
        case aiohttp.ClientConnectorCertificateError():
            message = f"The certificate of {error.host} is not trusted: {error.certificate_error}"
        case aiohttp.ClientSSLError():
            message = f"There is no TLS with {error.host}:{error.port}: {error.os_error}"
        case aiohttp.ClientConnectorError(os_error=cause):
            why = strerror(cause.errno) if cause.errno else str(cause)
            message = f"The server at {error.host}:{error.port} cannot be reached: {why}"
        case aiohttp.ClientResponseError():
            message = "There is no WebSocket at this address"
        case _:
            message = f"The connection broke at its opening: {str(error) or type(error).__name__}"
    return f"{message}."
