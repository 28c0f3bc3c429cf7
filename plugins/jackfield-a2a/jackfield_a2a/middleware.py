"""`ConnectionMiddleware`: bound a request, give it a connection to Jackfield, end it if left."""

import asyncio
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jackfield.client import ConnectionClosed, ConnectionFailed

from .pool import Pool, PoolFull
from .problem import connection_problem, problem

#: The key of the scope under which the connection of whoever asks stands.
LEASE: Final = "jackfield.lease"
#: Bytes of a request. Jackfield's own limit for a message is a sixteenth of it by default.
MAX_BYTES: Final = 2**20
#: Seconds in which a request must have come.
_BODY_TIMEOUT: Final = 30.0


class ConnectionMiddleware:
    """ASGI middleware: gives each request a connection that is made with its own token.

    Args:
        app: What handles the request.
        pool: The connections.
        anonymous: Whether a request may come without a token.
    """

    def __init__(self, app: ASGIApp, pool: Pool, *, anonymous: bool) -> None:
        self._app = app
        self._pool = pool
        self._anonymous = anonymous

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a problem."""
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
        has_lease = False
        try:
            async with self._pool.lease(token) as lease:
                has_lease = True
                scope[LEASE] = lease
                await _serve(self._app, scope, body, receive, send)
        except (ConnectionFailed, ConnectionClosed, PoolFull) as error:
            if has_lease:
                raise
            await connection_problem(error)(scope, receive, send)


class _GoneError(Exception):
    """The client has disconnected."""


def _read_token(headers: Headers) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


async def _read_body(receive: Receive) -> bytes | None:
    """Read the body of a request; None if it is too large."""
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
    """Handle a request, and cancel that if its client disconnects: the app would not notice."""
    disconnected = asyncio.Event()
    unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        if unread:
            return unread.pop()
        await disconnected.wait()
        return {"type": "http.disconnect"}

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        disconnected.set()

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
