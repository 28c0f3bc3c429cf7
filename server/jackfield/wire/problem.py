"""Errors as HTTP responses."""

import math
from collections.abc import Mapping
from typing import Final

import msgspec
from aiohttp import hdrs, web

from .errors import Error

#: The code of a failure that aiohttp finds, by its status; ``invalid_message`` for any other.
_CODES: Final = {404: "not_found", 413: "too_large"}


class _Problem(web.Response):
    """A response without `Server`, also where aiohttp sends it before a request is there."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall(hdrs.SERVER, None)


def problem(error: Error, status: int, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return an error as an HTTP response (RFC 9457), with `Retry-After` if it tells a wait.

    Args:
        error: The same error object as on the socket.
        status: The HTTP status.
        headers: Further headers.
    """
    sent = {"X-Content-Type-Options": "nosniff", **(headers or {})}
    if error.retry_after is not None:
        sent[hdrs.RETRY_AFTER] = str(max(1, math.ceil(error.retry_after)))
    return _Problem(
        body=problem_body(error, status),
        status=status,
        headers=sent,
        content_type="application/problem+json",
    )


def problem_body(error: Error, status: int) -> bytes:
    """Return the body of such a response."""
    return msgspec.json.encode({"status": status, "title": error.message, **error.as_dict()})


def problem_of(exc: web.HTTPException) -> web.Response:
    """Return what aiohttp raises for a request that can't be served as a problem."""
    if isinstance(exc, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(exc.allowed_methods))
        error = Error("invalid_message", f"This is not for {exc.method}, but for {allowed}.")
        return problem(error, exc.status, {hdrs.ALLOW: allowed})
    words = "There is nothing here." if isinstance(exc, web.HTTPNotFound) else f"{exc.reason}."
    return problem(Error(_CODES.get(exc.status, "invalid_message"), words), exc.status)
