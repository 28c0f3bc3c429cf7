"""What all routes have in common: a host that is one, and headers."""

import re
from collections.abc import Awaitable, Callable
from ipaddress import AddressValueError, IPv6Address
from typing import Final

from aiohttp import hdrs, web

from jackfield.wire.errors import Error
from jackfield.wire.problem import problem

#: A name or address, and a port (RFC 9110, section 7.2). Nothing is escaped in a name of the DNS.
_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|[A-Za-z0-9._-]+)(?::([0-9]{0,5}))?")
_MAX_PORT: Final = 65_535


@web.middleware
async def check_host(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Refuse a request whose `Host` names no host.

    One without any is of HTTP/1.0, which many a load balancer speaks to ask after health. What
    aiohttp takes for its host then is looked up in the DNS, which may take long: so nothing here
    asks for it.
    """
    host = request.headers.get(hdrs.HOST)
    if host is not None and not is_host(host):
        return problem(Error("invalid_message", "The Host header names no host."), 400)
    return await handler(request)


def is_host(text: str) -> bool:
    """Return whether a text can be a host, with or without a port."""
    match = _HOST.fullmatch(text)
    if match is None or int(match[2] or 0) > _MAX_PORT:
        return False
    try:
        return match[1] is None or bool(IPv6Address(match[1]))
    except AddressValueError:
        return False


async def set_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Keep browsers from guessing types, and everybody from learning the versions of libraries.

    For `aiohttp.web.Application.on_response_prepare`.
    """
    response.headers.popall(hdrs.SERVER, None)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
