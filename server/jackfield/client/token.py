"""The token of a client that connects again and again: a text, or a function that is asked."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Final

from jackfield.wire.close_codes import CloseCode

from .errors import ConnectionClosed, ConnectionFailed

#: What authenticates a client: a text, or a function that is asked for it before each connection.
Token = str | Callable[[], str | Awaitable[str | None] | None]

_SIGNED_OUT: Final = "The token function returned None: whoever it was has signed out."


async def find_token(token: Token | None, *, retry: bool) -> str | None:
    """Return the token for the next connection; None to send none.

    Args:
        token: The token, or the function: what it returns is the token, an empty text for none.
            None says that whoever it was has signed out.
        retry: Whether a function that fails may be asked again; an exception with an attribute
            ``retryable`` says so itself.

    Raises:
        ConnectionFailed: There is none, or the function has failed. Its `reconnect` says whether
            to ask again.
    """
    if token is None or isinstance(token, str):
        return token
    try:
        found = token()
        if inspect.isawaitable(found):
            found = await found
    except Exception as error:
        retryable = getattr(error, "retryable", None)
        raise ConnectionFailed(
            None,
            f"There is no token to connect with: {error!r}",
            reconnect=retryable if isinstance(retryable, bool) else retry,
        ) from error
    if found is None:
        raise ConnectionFailed(None, _SIGNED_OUT, reconnect=False)
    return found or None


def has_expired(error: Exception, token: Token | None) -> bool:
    """Whether a connection ended because of a token that has expired for good.

    A function may return another one. Without a token there may be a session by cookie, and the
    goodbye decides: one that has the client come back names a time to wait.
    """
    match error:
        case ConnectionClosed(code=CloseCode.TOKEN_EXPIRED, after=after):
            return isinstance(token, str) or (token is None and after is None)
    return False
