"""`IdentityRefresh`: exchange the token of a live connection for a newer one, and what follows."""

from collections.abc import Awaitable, Callable, Sequence

from jackfield.connection.connection import Connection
from jackfield.wire.errors import Error

from . import Credentials
from .chain import AuthenticatorChain, RefusedError
from .expiry import Expiry


class IdentityRefresh:
    """Exchanges the identity of live connections.

    Args:
        authenticators: Find out whose a token is.
        expiry: Closes connections whose identity has run out.
        check_again: Each is called with a connection whose identity has changed, and takes from it
            what it may not have any more.
    """

    def __init__(
        self,
        authenticators: AuthenticatorChain,
        expiry: Expiry,
        check_again: Sequence[Callable[[Connection], Awaitable[None]]],
    ) -> None:
        self._authenticators = authenticators
        self._expiry = expiry
        self._check_again = check_again

    async def refresh(self, connection: Connection, token: str) -> float | None:
        """Exchange the identity of a connection for a new one of the same user.

        Requests that need a scope which the new one lacks are stopped, and so is what
        `check_again` finds.

        Args:
            connection: The connection.
            token: What proves the new identity.

        Returns:
            When the new identity runs out, in seconds since the epoch; None if never.

        Raises:
            Error: ``unauthenticated`` or ``token_expired``: the token is not valid; ``forbidden``:
                it is somebody else's; ``unavailable``. Nothing has changed then.
        """
        try:
            credentials = Credentials("message", token, connection.request)
            identity = await self._authenticators.identify(credentials)
        except RefusedError as refused:
            raise refused.error from None
        if identity is None or identity.user != connection.user:
            raise Error("forbidden", "The token is another user's.")
        connection.identify(identity)
        try:
            # It, or the connection, may have been revoked while the authenticators were asked.
            self._authenticators.check(identity, connection.id)
        except RefusedError as refused:
            connection.close(refused.code)
            raise refused.error from None
        self._expiry.watch(connection)
        for request in list(connection.requests.values()):
            needed = request.options.scopes
            if not needed <= identity.scopes:
                request.stop(Error("forbidden", scopes=sorted(needed)))
        for check in self._check_again:
            await check(connection)
        return identity.expires_at
