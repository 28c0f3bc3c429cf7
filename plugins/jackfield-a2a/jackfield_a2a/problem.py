"""Answers for what goes wrong before a request gets as far as A2A: problem details (RFC 9457)."""

from typing import Final

from starlette.responses import JSONResponse

from jackfield.client import ConnectionClosed, ConnectionFailed

from .pool import PoolFull

#: Seconds after which to try again if nothing else is known.
_RETRY_AFTER: Final = 1.0
#: Close codes of Jackfield that mean: not with this token.
_TOKEN_REFUSED: Final = frozenset({4002, 4501, 4502, 4505})
_NOT_ACCEPTED: Final = "Jackfield does not take this token."


def problem(status: int, message: str, retry_after: float | None = None) -> JSONResponse:
    """Make an answer that tells of a problem.

    Args:
        status: The status of HTTP.
        message: What is wrong.
        retry_after: Seconds after which to try again; None where that would not help.
    """
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


def connection_problem(error: ConnectionFailed | ConnectionClosed | PoolFull) -> JSONResponse:
    """Make an answer that tells why there is no connection to Jackfield."""
    match error:
        case PoolFull():
            return problem(503, "Too many requests are under way.", _RETRY_AFTER)
        case ConnectionFailed(status=401):
            return problem(401, _NOT_ACCEPTED)
        case ConnectionClosed(code=code) if code in _TOKEN_REFUSED:
            return problem(401, _NOT_ACCEPTED)
        case ConnectionFailed(reconnect=False) | ConnectionClosed(reconnect=False):
            return problem(502, f"Jackfield is not to be had: {error}")
        case ConnectionFailed(retry_after=after) | ConnectionClosed(after=after):
            return problem(503, f"Jackfield is away: {error}", after or _RETRY_AFTER)
