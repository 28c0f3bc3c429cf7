"""Errors as HTTP responses."""

from collections.abc import Mapping

import msgspec
from aiohttp import web

from .errors import Error


def problem(error: Error, status: int, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return an error as an HTTP response (RFC 9457).

    Args:
        error: The same error object as on the socket.
        status: The HTTP status.
        headers: Further headers.
    """
    return web.Response(
        body=msgspec.json.encode({"status": status, "title": error.message, **error.as_dict()}),
        status=status,
        headers=headers,
        content_type="application/problem+json",
    )
