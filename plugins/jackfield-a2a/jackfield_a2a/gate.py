"""What a request passes on its way to an agent: its size, whose it is, and who still listens."""

import asyncio
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jackfield.client import ConnectionClosed, ConnectionFailed

from .pool import Pool, PoolFull

#: What the scope has the connection of whoever asks as.
LEASE: Final = "jackfield.lease"
#: Bytes of a request. Jackfield's own limit for a message is a sixteenth of it, unless configured.
MAX_BYTES: Final = 2**20
#: Seconds in which a request must have come.
_BODY_TIMEOUT: Final = 30.0
#: Seconds after which to come again if nothing else is known.
_RETRY_AFTER: Final = 1.0
#: Close codes of Jackfield that mean: not with this token.
_NOT_YOU: Final = frozenset({4002, 4501, 4502, 4505})
_NOT_TAKEN: Final = "Jackfield does not take this token."


class Gate:
    """ASGI middleware: gives each request a connection that is made with its own token.

    Args:
        app: What comes behind it.
        pool: Where connections are had.
        anonymous: Whether a request may come without a token.
    """

    def __init__(self, app: ASGIApp, pool: Pool, *, anonymous: bool) -> None:
        self._app = app
        self._pool = pool
        self._anonymous = anonymous

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or say why not."""
        token = _read_token(Headers(scope=scope))
        if token is None and not self._anonymous:
            refused = problem(401, "A bearer token is needed.")
            await refused(scope, receive, send)
            return
        try:
            async with asyncio.timeout(_BODY_TIMEOUT):
                body = await _read_body(receive)
        except TimeoutError:
            refused = problem(408, f"The request did not come within {_BODY_TIMEOUT:g} s.")
            await refused(scope, receive, send)
            return
        except _GoneError:
            return
        if body is None:
            refused = problem(413, f"The request is larger than {MAX_BYTES} bytes.")
            await refused(scope, receive, send)
            return
        begun = False
        try:
            async with self._pool.lease(token) as lease:
                begun = True
                scope[LEASE] = lease
                await _serve(self._app, scope, body, receive, send)
        except (ConnectionFailed, ConnectionClosed, PoolFull) as error:
            if begun:
                raise
            await explain(error)(scope, receive, send)


class _GoneError(Exception):
    """Nobody listens any more."""


def problem(status: int, message: str, retry_after: float | None = None) -> JSONResponse:
    """An answer for what does not come as far as the protocol (RFC 9457)."""
    headers = {}
    if status == 401:  # noqa: PLR2004 - RFC 9110, section 15.5.2
        headers["WWW-Authenticate"] = "Bearer"
    if retry_after is not None:
        headers["Retry-After"] = str(max(1, round(retry_after)))
    return JSONResponse(
        {"status": status, "detail": message},
        status,
        headers,
        media_type="application/problem+json",
    )


def explain(error: ConnectionFailed | ConnectionClosed | PoolFull) -> JSONResponse:
    """Why there is no connection."""
    match error:
        case PoolFull():
            return problem(503, "Too many requests are under way.", _RETRY_AFTER)
        case ConnectionFailed(status=401):
            return problem(401, _NOT_TAKEN)
        case ConnectionClosed(code=code) if code in _NOT_YOU:
            return problem(401, _NOT_TAKEN)
        case ConnectionFailed(reconnect=False) | ConnectionClosed(reconnect=False):
            return problem(502, f"Jackfield is not to be had: {error}")
        case ConnectionFailed(retry_after=after) | ConnectionClosed(after=after):
            return problem(503, f"Jackfield is away: {error}", after or _RETRY_AFTER)


def _read_token(headers: Headers) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


async def _read_body(receive: Receive) -> bytes | None:
    """The body of a request; None if it is too large."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _GoneError
        body += message.get("body", b"")
        if len(body) > MAX_BYTES:
            return None
        if not message.get("more_body", False):
            return bytes(body)


async def _serve(app: ASGIApp, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
    """Answer for as long as somebody listens: nobody else would end a call that waits."""
    left = asyncio.Event()
    unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        if unread:
            return unread.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        left.set()

    serving = asyncio.create_task(_call(app, scope, replay, send))
    watching = asyncio.create_task(watch())
    try:
        await asyncio.wait({serving, watching}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (serving, watching):
            task.cancel()
        await asyncio.wait({serving, watching})
    if not serving.cancelled():
        serving.result()


async def _call(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)
