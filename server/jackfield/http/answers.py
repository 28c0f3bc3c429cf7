"""What all routes have in common: a host that can be told, and headers."""

from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from jackfield.wire.errors import Error
from jackfield.wire.problem import problem


@web.middleware
async def check_host(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Refuse a request whose `Host` names no host: no address of it can be told."""
    try:
        host = request.url.host
    except ValueError:
        host = None
    if not host:
        return problem(Error("invalid_message", "The Host header names no host."), 400)
    return await handler(request)


async def set_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Keep browsers from guessing types, and everybody from learning the versions of libraries.

    For `aiohttp.web.Application.on_response_prepare`.
    """
    response.headers.popall(hdrs.SERVER, None)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
