"""`Authenticator`: what finds out who a connection belongs to, and what it is given.

An authenticator is found by its entry point in the group ``jackfield.authenticators``, the built-in
ones as well, and is used where the configuration asks for it (see `auth.loading`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from aiohttp import web

from jackfield.wire.identity import ANONYMOUS, Identity

#: Characters. A header of aiohttp's holds no more, and no provider's tokens come near it.
MAX_TOKEN_LENGTH: Final = 8192

#: Where a token came from; ``none`` is a client that sent nothing.
Source = Literal["bearer", "ticket", "cookie", "message", "none"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client has sent to prove who it is. Printing it shows no token.

    Attributes:
        source: Where it comes from: the ``Authorization: Bearer`` header, the ``ticket`` of the
            URL, the cookie, a message over the socket, or none if it sent nothing.
        token: The text; empty if it sent nothing.
        request: The request for the WebSocket.
    """

    source: Source
    token: str = field(repr=False)
    request: web.Request = field(repr=False)


class Authenticator(Protocol):
    """Finds out who a connection belongs to.

    One that is an asynchronous context manager as well is entered when the server starts, and
    exited when it stops.
    """

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        """Find out who sent something.

        Args:
            credentials: What was sent.

        Returns:
            Who the connection belongs to; None to leave it to the other authenticators.

        Raises:
            Error: No other is to be asked: ``unauthenticated``, ``token_expired``, or
                ``unavailable`` if it can't be told now.
        """


class Anonymous:
    """Accepts clients that send nothing, as anonymous ones.

    Args:
        scopes: The scopes of an anonymous client.
    """

    def __init__(self, scopes: Iterable[str] = ()) -> None:
        self._identity = Identity(None, frozenset(scopes)) if scopes else ANONYMOUS

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        """Return the anonymous identity for a client that sent nothing."""
        return self._identity if credentials.source == "none" else None
