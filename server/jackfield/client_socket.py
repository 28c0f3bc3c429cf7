"""The client's end of the wire: a WebSocket opened, read and closed in the protocol's terms."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from os import strerror
from typing import Any, Final, Literal

import aiohttp
import msgspec
from aiohttp import WSMsgType

from .client_errors import ConnectionClosed, ConnectionFailed
from .errors import CloseCode
from .malformed import UNDECODABLE

#: A message as it stands on the wire, or the payload of one.
Message = dict[str, Any]
Socket = aiohttp.ClientWebSocketResponse[Literal[False]]

#: Bytes of the longest message taken, thirty times what a server allows its replies unless told
#: otherwise. It stops a server that has run wild.
MESSAGE_BYTES: Final = 2**24
#: Seconds of silence before the client pings; half of them again and the line is dead. A server
#: pings twice as often unless told otherwise, so only one that has gone quiet is asked.
HEARTBEAT: Final = 30.0
#: Seconds from asking to close until the line is cut: two round trips across the worst network.
CLOSE_TIMEOUT: Final = 5.0
#: What the next attempt would meet as well: a wrong address, or a server that is another.
_LASTING: Final = (
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ClientResponseError,
)
#: What a connection ended with if no close code came (RFC 6455, section 7.4.1).
NO_CODE: Final = 1005
LINE_LOST: Final = 1006

decode = msgspec.json.Decoder(Message).decode
encode = msgspec.json.Encoder().encode


class Problem(msgspec.Struct):
    """What is read of an `application/problem+json` (RFC 9457); proxies write `detail`."""

    message: str = ""
    detail: str = ""
    retry_after: float | None = None


async def shake_hands(
    session: aiohttp.ClientSession, url: str, headers: Mapping[str, str], subprotocol: str
) -> tuple[Socket, Message]:
    """Open a WebSocket and wait for the welcome.

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
        words = _explain(error, url)
        raise ConnectionFailed(None, words, reconnect=not isinstance(error, _LASTING)) from error
    try:
        return socket, await _welcome(socket)
    except BaseException:  # a timeout and a cancellation too leave nothing open behind them
        await part(socket, CloseCode.OK)
        raise


async def refusal(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Give an HTTP error its words, as a middleware: `ws_connect` throws the body away."""
    response = await handler(request)
    if response.status < 400:  # noqa: PLR2004 - the errors of HTTP begin there
        return response
    async with response:
        body = await response.read()
    problem = Problem()
    with suppress(*UNDECODABLE):
        problem = msgspec.json.decode(body, type=Problem)
    after = response.headers.get("Retry-After", "")
    raise ConnectionFailed(
        response.status,
        problem.message or problem.detail or f"The server refused: {response.reason}.",
        float(after) if after.isdecimal() else problem.retry_after,
    )


async def receive(socket: Socket) -> tuple[Message, int]:
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
                raise misspoken("text that is not a JSON object") from error
        case WSMsgType.BINARY:
            raise misspoken("a binary frame")
        case WSMsgType.CLOSE:
            raise ConnectionClosed(frame.data or NO_CODE, frame.extra or "")
        case WSMsgType.ERROR if isinstance(frame.data, aiohttp.WebSocketError):
            raise ConnectionClosed(frame.data.code, str(frame.data))
    raise ConnectionClosed(LINE_LOST, "the line was lost")


def misspoken(what: str) -> ConnectionClosed:
    """The end of a connection whose server sent what the protocol does not know."""
    return ConnectionClosed(CloseCode.PROTOCOL_ERROR, f"the server sent {what}")


async def part(socket: Socket, code: int) -> None:
    """Close a WebSocket, one that is already closed or stalled too."""
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await socket.close(code=code)


async def _welcome(socket: Socket) -> Message:
    message, _ = await receive(socket)
    match message:
        case {"type": "welcome", "payload": {"connection": str()} as welcome}:
            return dict(welcome)
        case {"type": "error", "error": {"message": str(words)}}:
            raise ConnectionFailed(None, words, reconnect=False)
        case {"type": "goodbye", "payload": {"code": int(code), "reason": str(reason)} as bye}:
            raise ConnectionClosed(
                code, reason, reconnect=bye.get("reconnect"), after=bye.get("after")
            )
    raise ConnectionFailed(
        None, "The server does not speak jackfield.v1: it sent no welcome.", reconnect=False
    )


def _explain(error: aiohttp.ClientError, url: str) -> str:
    """Why a server was not reached, in words a person understands."""
    match error:
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            # Not the query: it may hold a ticket.
            words = f"{url.partition('?')[0]!r} is not an address like ws://host:port/path"
        case aiohttp.ClientConnectorDNSError():
            words = f"The host {error.host!r} cannot be found: {error.os_error.strerror}"
        case aiohttp.ClientConnectorCertificateError():
            words = f"The certificate of {error.host} is not trusted: {error.certificate_error}"
        case aiohttp.ClientSSLError():
            words = f"There is no TLS with {error.host}:{error.port}: {error.os_error}"
        case aiohttp.ClientConnectorError(os_error=cause):
            why = strerror(cause.errno) if cause.errno else str(cause)
            words = f"The server at {error.host}:{error.port} cannot be reached: {why}"
        case aiohttp.ClientResponseError():
            words = "There is no WebSocket at this address"
        case _:
            words = f"The connection broke at its opening: {str(error) or type(error).__name__}"
    return f"{words}."
