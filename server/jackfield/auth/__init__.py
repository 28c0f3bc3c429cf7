"""Who a connection belongs to, and the authenticators that find it out."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a connection belongs to.

    Attributes:
        user: The user's id; None for somebody anonymous.
        scopes: What they may do.
        expires_at: When this runs out, in seconds since the epoch; None if never.
    """

    user: str | None
    scopes: frozenset[str] = frozenset()
    expires_at: float | None = None


#: Tells whose an upgrade request is; None where it can't say.
Authenticator = Callable[[web.Request], Awaitable[Identity | None]]

ANONYMOUS: Final = Identity(user=None)


async def anonymous(request: web.Request) -> Identity:
    """Let everybody in, as nobody."""
    return ANONYMOUS
